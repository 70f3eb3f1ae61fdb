"""Golden digests: an equal selection of equal sources gives the same bytes on every machine and in every version.

A digest changes only together with `LAYER_FORMAT`, or with the files of an image (the version of the embedded
engine), and the changelog says so.
"""

from __future__ import annotations

import gzip
import hashlib
import json
import subprocess
import tarfile
from pathlib import Path

import pytest

from tests.layers.test_writing import big_tree, component, source, written
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tritonbuild.layers import component as component_layers
from tritonbuild.layers import indexing, splice
from tritonbuild.layers.headers import LAYER_FORMAT

FORMAT = 5

SOURCES = {
    tiny.BASE: "sha256:707dabe27bfdfe452db3a38b7a173c3bcbd991e9ee89a7ec27c47a34a77dfd9d",
    tiny.FULL: "sha256:fd71dbdb99a1034f8eee711cdc5451c3d94bb46c93c7e5c0319ae6447881cbf9",
}

IMAGES = {
    ("gzip", "a"): "sha256:aa9a97a3d9aec3447184fcf21b477cfde8755903ff1735f9b2c8bed33bd46c76",
    ("gzip", "ab"): "sha256:5712cba6adb356b17c1a5b036c74dcc624285dc16d9f596940022fcc3c9d0f60",
    ("zstd", "a"): "sha256:7623b43e90c66b9c9f931fde21faef6725ceee73208dc1b9f0a135cc0aba55ec",
    ("zstd", "ab"): "sha256:56db27d62c6130b2d6744302741348416c683d8fdf115a447ff0ca3949d0d1a5",
}

SPLICED_SOURCE = "sha256:6e73d1af4d4a88b1d59818914b778ac7a3aadbb8e3804adbe5e837eeea72a8e9"
SPLICED = "sha256:4e10a5ac19a3ec52f141123ea18c23d88cabd0acc65110301c9f1aeb427f6a4a"
SPLICED_TAR = "sha256:3c40bcb37fcc7251249b8ea55236fb7b20d1246cf24fdd6922a1a843b531e645"


def test_the_digests_are_those_of_this_format() -> None:
    assert LAYER_FORMAT == FORMAT, "take the digests anew, and say in the changelog that layers change"


@pytest.mark.parametrize(("compression", "names"), IMAGES)
def test_a_small_image(compression: str, names: str, bench: Bench) -> None:
    assert tiny.digests(bench.layout) == SOURCES, "the source images differ: another zlib compresses them here"
    done = bench.run(
        bench.request(*names),
        "--tag=x/y:1",
        f"--output=type=oci,dest={bench.folder / 'x.tar'}",
        f"--compression={compression}",
    )
    assert done.code == 0, done.err
    assert done.digest == IMAGES[compression, names], done.err


def test_a_layer_with_stretches_of_its_source(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "SPACING", 1 << 20)
    layer = source(big_tree(), tmp_path / "s")
    assert layer.blob.digest == SPLICED_SOURCE, "the source layer differs: another zlib compresses it here"
    new = component(layer)
    assert component_layers.source_of(new) is not None
    assert sum(len(part.content) for part in splice.parts(new, layer) if isinstance(part, splice.Taken)) > 10_000_000
    done, _ = written(new)
    assert (done.digest, done.diff_id) == (SPLICED, SPLICED_TAR)


PREVIOUS = """
import runpy
from tritonbuild.layers import headers

# Numbers end with a blank and a zero, as old tars wrote them, and the format is the one before.
headers._octal = lambda value, width: f"{value:0{width - 2}o} \\0".encode()
headers.LAYER_FORMAT -= 1
runpy.run_module("tritonbuild.embedded", run_name="__main__")
"""


def layers_of(archive: Path) -> list[bytes]:
    """Return the layers of the one image in an OCI archive, unpacked and checked."""
    found = []
    with tarfile.open(archive) as tar:

        def blob(digest: str) -> bytes:
            file = tar.extractfile(f"blobs/{digest.replace(':', '/')}")
            assert file is not None
            content = file.read()
            assert digest == f"sha256:{hashlib.sha256(content).hexdigest()}"
            return content

        index = tar.extractfile("index.json")
        assert index is not None
        manifest = json.loads(blob(json.load(index)["manifests"][0]["digest"]))
        config = json.loads(blob(manifest["config"]["digest"]))
        for layer, diff_id in zip(manifest["layers"], config["rootfs"]["diff_ids"], strict=True):
            found.append(gzip.decompress(blob(layer["digest"])))
            assert diff_id == f"sha256:{hashlib.sha256(found[-1]).hexdigest()}"
    return found


def test_a_cache_of_the_previous_format(bench: Bench) -> None:
    archive = bench.folder / "x.tar"
    python, _, _, *rest = bench.argv(bench.request("a"), "--tag=x/y:1", f"--output=type=oci,dest={archive}")
    subprocess.run([python, "-c", PREVIOUS, *rest], check=True, capture_output=True, timeout=120)
    old = layers_of(archive)
    done = bench.run(bench.request("a", "b"), "--tag=x/y:1", f"--output=type=oci,dest={archive}")
    assert done.code == 0, done.err
    assert done.digest == IMAGES["gzip", "ab"]
    new = layers_of(archive)
    # The base's layer alone is in both: no layer and no index of the other format was used.
    assert [layer for layer in new if layer in old] == new[:1]
