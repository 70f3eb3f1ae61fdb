"""The enlarged replica: an OCI layout with ten components of 240 MB each, packed.

The bytes are three parts noise and five parts text, and compress to about two thirds. They are the same on every
machine.
"""

from __future__ import annotations

import json
import random
import shutil
import sys
from pathlib import Path
from typing import Any, Final

from tests import replica
from tests.replica import layers, oci

COMPONENTS: Final = tuple(f"big{number}" for number in range(10))
_PIECE: Final = 1 << 20


def write_big(path: Path, seed: int, size: int) -> None:
    """Write *size* bytes that compress to about two thirds."""
    noise = random.Random(seed)
    text = b"".join(b"symbol_%06d:.text:%08x\n" % (number, number * 2654435761 % (1 << 32)) for number in range(40000))
    with path.open("wb") as out:
        written = 0
        while written < size:
            half = noise.randbytes(_PIECE * 3 // 8)
            start = noise.randrange(len(text) // 2)
            filler = (text[start:] + text)[: _PIECE * 5 // 8]
            # Alternate every few KiB, so that no part of the stream is pure noise.
            piece = b"".join(
                half[3 * i : 3 * i + 6144] + filler[5 * i : 5 * i + 10240] for i in range(0, _PIECE // 8, 2048)
            )
            out.write(piece[: size - written])
            written += len(piece)


def make(folder: Path, *, megabytes: int = 370) -> Path:
    """Create the layout in *folder*, unless it exists, and return it; this takes a few minutes.

    Args:
        folder: The parent folder of the layout.
        megabytes: The size of each component, unpacked.
    """
    layout = folder / f"big-{megabytes}"
    if (layout / "index.json").exists():
        return layout
    source = replica.make().layout
    shutil.rmtree(layout, ignore_errors=True)
    shutil.copytree(source, layout)
    content = folder / "content"
    content.mkdir(parents=True, exist_ok=True)
    tree: layers.Tree = {}
    stub = b"#!/bin/sh\n"
    for number, name in enumerate(COMPONENTS):
        path = content / name
        write_big(path, number, megabytes << 20)
        top = f"opt/tritonserver/backends/{name}"
        tree[f"{top}/libtriton_{name}.so"] = layers.file(stub, 0o755)
        tree[f"{top}/weights.bin"] = layers.on_disk(path)
    layer = layers.write_layer(layers.owned(tree, 1000, 1000), layout / "blobs" / "sha256", "COPY more components")
    shutil.rmtree(content)
    _add(layout, layer)
    return layout


def _add(layout: Path, layer: layers.Layer) -> None:
    """Add *layer* to the image full."""
    index = json.loads((layout / "index.json").read_bytes())
    for entry in index["manifests"]:
        if entry["annotations"][oci.REFERENCE] != "tritonserver:24.10-py3":
            continue
        manifest = oci.read_json(layout, entry["digest"])
        config: dict[str, Any] = oci.read_json(layout, manifest["config"]["digest"])
        config["rootfs"]["diff_ids"].append(layer.diff_id)
        config["history"].append({"created": oci.CREATED, "created_by": layer.created_by})
        manifest["layers"].append({"mediaType": oci.LAYER_TYPE, "digest": layer.digest, "size": layer.size})
        manifest["config"] = oci.put(layout, config, oci.CONFIG_TYPE)
        entry.update(oci.put(layout, manifest, oci.MANIFEST_TYPE))
    (layout / "index.json").write_bytes(oci.to_json(index))


if __name__ == "__main__":
    print(make(Path(sys.argv[1]), megabytes=int(sys.argv[2]) if sys.argv[2:] else 370))
