"""The size of images on each base, for three selections, as a table in Markdown.

    python -m benchmarks.sizes
    python -m benchmarks.sizes --container-version 24.12 [--registry mirror.example/nvidia]

Without a release, it composes from the replica that the tests make (Debian 12 and root), with Debian in place of
Ubuntu. With a release, it reads the source images from their registries, some 15 GB the first time. The embedded engine
writes the images to a temporary folder, so that no other engine is needed. A size is that of the unpacked layers.
"""

from __future__ import annotations

import argparse
import os
import tempfile
import zlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import tritonbuild
from tests import replica
from tests.replica import oci
from tritonbuild.catalog import BUILTIN
from tritonbuild.composition import BASES, NVIDIA_REGISTRY
from tritonbuild.layers.cache import Cache, default_folder
from tritonbuild.oci import images
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.registry import Registries

SELECTIONS: Final[Mapping[str, Mapping[str, Sequence[str]]]] = {
    "python, local cache": {"backends": ["python"], "caches": ["local"]},
    "onnxruntime": {"backends": ["onnxruntime"]},
    "tensorrt, python": {"backends": ["tensorrt", "python"]},
}
NO_SOURCES: Final[Mapping[str, str]] = {}
_CHUNK: Final = 1 << 20


def unpacked(blob: Path) -> int:
    """Return the size of a layer's tar; the layer is compressed with gzip or not at all."""
    inflate, size = zlib.decompressobj(wbits=31), 0
    with blob.open("rb") as file:
        if file.read(2) != b"\x1f\x8b":
            return blob.stat().st_size
        file.seek(0)
        while chunk := file.read(_CHUNK):
            size += len(inflate.decompress(chunk))
            while inflate.eof and inflate.unused_data:
                rest, inflate = inflate.unused_data, zlib.decompressobj(wbits=31)
                size += len(inflate.decompress(rest))
    return size


def size_of(layout: Path, digest: str) -> int:
    """Return the unpacked size of an image in a layout."""
    layers = oci.read_json(layout, digest)["layers"]
    return sum(unpacked(layout / "blobs" / layer["digest"].replace(":", "/")) for layer in layers)


def size_of_source(name: str) -> int:
    """Return the unpacked size of a source image, by the indexes of its layers, which a build has made."""
    image = images.open_image(name, Registries(TransportSettings()), platform="linux/amd64")
    with Cache(default_folder()) as cache:
        indexes = [cache.index(layer.digest) for layer in image.layers]
    return sum(index.size for index in indexes if index is not None)


def composed(folder: Path, base: str, sources: Mapping[str, str], **keywords: Any) -> int:
    """Compose an image in *folder* and return its size."""
    options: dict[str, Any] = {"output": {"type": "oci-layout", "dest": str(folder)}}
    options |= {"source": sources} if sources else {}
    result = tritonbuild.build(backend="embedded", base=base, options=options, measure=False, **keywords)
    assert result.digest
    return size_of(folder, result.digest)


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--container-version", default="")
    parser.add_argument("--registry", default=NVIDIA_REGISTRY)
    given = parser.parse_args()
    version = given.container_version or "24.10"
    keywords: dict[str, Any] = {"container_version": version, "registry": given.registry}
    full, sources = BUILTIN.image(version, registry=given.registry), dict.fromkeys(BASES, NO_SOURCES)
    if not given.container_version:
        made = replica.make()
        found = {name: f"oci:{made.layout}:{reference}" for name, reference in made.references.items()}
        full = found["full"]
        bases = {"min": {"min": found["min"]}, "slim": {"min": found["cpu-min"]}, "scratch": NO_SOURCES}
        sources = {base: {"full": full, **source} for base, source in bases.items()}
    rows = []
    with tempfile.TemporaryDirectory(prefix="tritonbuild-sizes-", dir=os.environ.get("TMPDIR", "/var/tmp")) as name:
        for selection, chosen in SELECTIONS.items():
            sizes = [
                composed(Path(name) / f"{selection}-{base}", base, sources[base], **chosen, **keywords)
                for base in BASES
            ]
            rows.append((selection, sizes))
    whole = size_of_source(full)
    print(f"| selection | full | {' | '.join(BASES)} |")
    print(f"|---|{'---|' * (len(BASES) + 1)}")
    for selection, sizes in rows:
        cells = [f"{size / 1e6:,.0f} ({size / whole:.1%})" for size in sizes]
        print(f"| {selection} | {whole / 1e6:,.0f} | {' | '.join(cells)} |")


if __name__ == "__main__":
    main()
