"""Layers that are written: the same bytes always, and what is in them."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
import zlib
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import zstandard

from tests.layers.test_layers import Memory
from tests.replica import layers
from tests.replica.layers import Tree, file
from tests.tiny import images as tiny
from tritonbuild.layers import component as component_layers
from tritonbuild.layers import indexfile, indexing, splice
from tritonbuild.layers.component import parent
from tritonbuild.layers.items import Item, NewLayer, arranged
from tritonbuild.layers.reading import Layer
from tritonbuild.layers.writing import Written, write
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.rootfs.view import View

FOLDER = f"{tiny.SERVER_FOLDER}/backends/a"


class Parents(dict[str, Item]):
    def __missing__(self, path: str) -> Item:
        return Item(entry=parent(path))


def source(tree: Tree, folder: Path, *, level: int = 0) -> Layer:
    folder.mkdir()
    made = layers.write_layer(layers.owned(layers.with_parents(tree), 1000, 1000), folder, "x")
    content = (folder / made.digest[7:]).read_bytes()
    if level:
        content = gzip.compress(gzip.decompress(content), level)
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blob = Descriptor(media_type="", digest=digest, size=len(content))
    origin = Memory(content)
    index, _ = indexing.index_layer(blob, origin.read(blob, 0, blob.size), what="the layer")
    return Layer(blob=blob, origin=origin, index=index)


def component(layer: Layer, folder: str = FOLDER) -> NewLayer:
    view = View([layer])
    items = [view.item(path, root=True) for path in (folder, *view.walk(folder))]
    return arranged("backend a", items, Parents())


def written(layer: NewLayer, compression: str = "gzip") -> tuple[Written, bytes]:
    out = io.BytesIO()
    with ThreadPoolExecutor(2) as pool:
        done = write(layer, out, pool, compression)
    assert done.digest == f"sha256:{hashlib.sha256(out.getvalue()).hexdigest()}"
    assert done.size == len(out.getvalue())
    return done, out.getvalue()


def big_tree() -> Tree:
    tree = tiny.server_tree()
    tree[f"{FOLDER}/big.bin"] = file(b"".join(tiny.noise(number, 3_000_000) for number in range(9)))
    tree[f"{FOLDER}/zz"] = file(b"behind")
    tree[f"{FOLDER}/sub/deep.bin"] = file(tiny.noise(77, 12_000_000), 0o600)
    return tree


@pytest.mark.parametrize("level", [1, 6, 9])
@pytest.mark.parametrize(("spacing", "large"), [(1, 1 << 10), (3, 1 << 10), (64, 8), (64, 1 << 10)])
def test_a_component_out_of_compressed_bytes(
    level: int, spacing: int, large: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(indexing, "SPACING", spacing << 20)
    monkeypatch.setattr(indexing, "LARGE", large << 20)
    tree = big_tree()
    layer = source(tree, tmp_path / "s", level=level)
    new = component(layer)
    known = component_layers.source_of(new)
    assert known is not None
    taken = sum(len(part.content) for part in splice.parts(new, layer) if isinstance(part, splice.Taken))
    assert (taken > 5_000_000) == (spacing < 64 or large < 1 << 10)
    done, packed = written(new)
    plain = gzip.decompress(packed)
    assert zlib.decompressobj(31).decompress(packed) == plain
    assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == done.diff_id
    assert len(plain) == done.unpacked
    with tarfile.open(fileobj=io.BytesIO(plain)) as tar:
        found = {member.name: member for member in tar}
        wanted = {path for path in layers.with_parents(tree) if path.startswith(FOLDER)}
        assert {name for name in found if name.startswith(FOLDER)} == wanted
        for path in wanted:
            assert (found[path].uid, found[path].gid, found[path].mode) == (
                0,
                0,
                tree[path].mode if path in tree else 0o755,
            )
            if found[path].isreg():
                extracted = tar.extractfile(found[path])
                assert extracted is not None
                assert extracted.read() == layers.bytes_of(tree[path].content)


def test_the_same_without_taking(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    layer = source(big_tree(), tmp_path / "s")
    new = component(layer)
    done, _ = written(new)
    monkeypatch.setattr(component_layers, "source_of", lambda _: None)
    again, _ = written(new)
    assert (again.diff_id, again.unpacked) == (done.diff_id, done.unpacked)


def test_how_a_blob_comes_makes_no_difference(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "SPACING", 2 << 20)
    layer = source(big_tree(), tmp_path / "s")
    content = layer.origin.content  # type: ignore[attr-defined]  # it is a blob in memory
    found = set()
    for step in (1 << 20, 100_003, 5_000_011):
        origin = Memory(content, step)
        index, _ = indexing.index_layer(layer.blob, origin.read(layer.blob, 0, layer.blob.size), what="the layer")
        assert len(index.points) > 4
        _, packed = written(component(Layer(blob=layer.blob, origin=origin, index=index)))
        found.add((indexfile.to_bytes(index), packed))
    assert len(found) == 1


def test_a_source_is_read_once(tmp_path: Path) -> None:
    tree: Tree = {}
    for number in range(60):
        tree[f"usr/lib/python/p{number}/__init__.py"] = file(b"")
        tree[f"usr/lib/python/p{number}/link"] = layers.symlink("m.py")
        tree[f"usr/lib/python/p{number}/m.py"] = file(tiny.noise(number, 200_000))
    layer = source(tree, tmp_path / "s")
    view = View([layer])
    new = arranged("runtime", [view.item(path) for path in view], Parents())
    assert component_layers.source_of(new) is None
    layer.origin.moved = 0  # type: ignore[attr-defined]  # it is a blob in memory
    _, packed = written(new)
    assert layer.origin.moved == layer.blob.size  # type: ignore[attr-defined]
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        found = {member.name: tar.extractfile(member) for member in tar if member.isreg()}
        contents = {name: one.read() for name, one in found.items() if one is not None}
    assert contents == {path: layers.bytes_of(one.content) for path, one in tree.items() if one.target == ""}


@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_same_bytes_twice(compression: str, tmp_path: Path) -> None:
    layer = source(big_tree(), tmp_path / "s")
    one, first = written(component(layer), compression)
    other, second = written(component(layer), compression)
    assert (one, first) == (other, second)
    if compression == "zstd":
        plain = zstandard.ZstdDecompressor().stream_reader(io.BytesIO(first), read_across_frames=True).read()
        assert f"sha256:{hashlib.sha256(plain).hexdigest()}" == one.diff_id


def test_hard_links_long_names_and_odd_owners(tmp_path: Path) -> None:
    shared = tmp_path / "shared"
    shared.write_bytes(b"shared content")
    long = f"{FOLDER}/{'n' * 120}/{'m' * 130}"
    tree = {
        f"{FOLDER}/one": layers.on_disk(shared),
        f"{FOLDER}/two": layers.on_disk(shared),
        long: file(b"long", 0o4755),
        f"{FOLDER}/ä link": layers.symlink("é" * 90),
    }
    layer = source(tree, tmp_path / "s")
    new = component(layer)
    assert component_layers.source_of(new) is not None
    _, packed = written(new)
    with tarfile.open(fileobj=io.BytesIO(gzip.decompress(packed))) as tar:
        found = {member.name: member for member in tar}
    assert found[f"{FOLDER}/two"].islnk()
    assert found[f"{FOLDER}/two"].linkname == f"{FOLDER}/one"
    assert found[long].mode == 0o4755
    assert found[f"{FOLDER}/ä link"].linkname == "é" * 90
