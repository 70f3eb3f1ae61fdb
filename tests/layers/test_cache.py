"""The cache: nobody else can write to it, and damaged files are as if they did not exist."""

from __future__ import annotations

import gzip
import hashlib
import json
import os
import random
import stat
import tarfile
import zlib
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from tests.layers.test_layers import archive
from tests.layers.test_odd_tars import indexed, member
from tests.layers.test_writing import FOLDER, big_tree, source
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import indexfile
from tritonbuild.layers.cache import Cache
from tritonbuild.layers.layerindex import LayerIndex

NOBODY = 65534


@pytest.fixture
def umask() -> Iterator[None]:
    """Put the umask back that the test sets."""
    before = os.umask(0o022)
    os.umask(before)
    yield
    os.umask(before)


@pytest.fixture
def index() -> LayerIndex:
    return indexed(gzip.compress(archive([member("opt/x", b"content")], tarfile.PAX_FORMAT))).index


# --- owners and modes ---


@pytest.mark.parametrize("bits", [0, 0o022, 0o777])
def test_whatever_the_umask_the_cache_is_for_its_user_alone(
    bits: int, index: LayerIndex, tmp_path: Path, umask: None
) -> None:
    os.umask(bits)
    folder = tmp_path / "some" / "cache"
    for _ in range(2):
        with Cache(folder) as cache:
            cache.keep_index(index)
            assert cache.index(index.digest) == index
            with cache.alone("name"):
                pass
    for path in (folder, *folder.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600), path


@pytest.mark.parametrize("bits", [0, 0o777])
def test_a_build_with_an_odd_umask(bits: int, bench: Bench) -> None:
    good = bench.run(bench.request("a"), f"--output=type=oci-layout,dest={bench.folder / 'good'}")
    for _ in range(2):
        out = f"--output=type=docker-archive,dest={bench.folder / 'x.tar'}"
        done = bench.run(bench.request("a"), out, cache=bench.folder / "new", umask=bits)
        assert (done.code, done.digest) == (0, good.digest), done.err
    files = [path for path in (bench.folder / "new").rglob("*") if path.is_file()]
    assert {stat.S_IMODE(path.stat().st_mode) for path in files} == {0o600}


@pytest.mark.parametrize("name", ["", "indexes", "layers", "blobs", "locks", "new"])
@pytest.mark.parametrize("mode", [0o770, 0o707, 0o1777])
def test_a_cache_that_others_can_write_to_is_refused(name: str, mode: int, tmp_path: Path) -> None:
    with Cache(tmp_path / "cache"):
        pass
    folder = tmp_path / "cache" / name
    folder.chmod(mode)
    with pytest.raises(TritonBuildError) as raised, Cache(tmp_path / "cache"):
        pass
    assert raised.value.message == f"other users can write to the cache {str(folder)!r}, whose mode is {mode:o}"
    remedy = f"remove {str(tmp_path / 'cache')!r}, or run `chmod -R go-w` on it if you trust its content"
    assert raised.value.hint == remedy


@pytest.mark.parametrize("name", ["", "indexes", "layers", "blobs", "locks", "new"])
def test_a_cache_of_another_user_is_refused(name: str, tmp_path: Path) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    with Cache(tmp_path / "cache"):
        pass
    folder = tmp_path / "cache" / name
    os.chown(folder, NOBODY, NOBODY)
    with pytest.raises(TritonBuildError) as raised, Cache(tmp_path / "cache"):
        pass
    assert raised.value.message == f"the cache {str(folder)!r} belongs to another user, with the id {NOBODY}"
    assert raised.value.hint == "name a folder of your own with --cache-dir"


@pytest.mark.parametrize("kind", ["indexes", "layers", "blobs"])
def test_a_file_that_others_can_write_to_is_refused_in_one_line(kind: str, bench: Bench) -> None:
    out = f"--output=type=oci-layout,dest={bench.folder / 'out'}"
    assert bench.run(bench.request("a"), out).code == 0
    for path in (bench.cache / kind).iterdir():
        path.chmod(0o666)
    done = bench.run(bench.request("a"), out)
    assert done.code == 1
    *_, message, hint = done.err.splitlines()
    assert message.startswith(f"error: other users can write to the cache '{bench.cache / kind}/")
    assert message.endswith("', whose mode is 666")
    assert hint.startswith("hint: remove ")


def test_a_cache_of_another_user_ends_a_build_with_one_line(bench: Bench) -> None:
    if os.geteuid():
        pytest.skip("only root can give a folder away")
    bench.cache.mkdir()
    os.chown(bench.cache, NOBODY, NOBODY)
    done = bench.run(bench.request("a"), f"--output=type=oci-layout,dest={bench.folder / 'out'}")
    assert done.code == 1
    assert done.err.splitlines() == [
        f"error: the cache {str(bench.cache)!r} belongs to another user, with the id {NOBODY}",
        "hint: name a folder of your own with --cache-dir",
    ]
    assert [*bench.cache.iterdir()] == []


# --- damaged indexes ---


def signed(content: bytes, plain: bytes) -> bytes:
    """Return the index file *content* with another payload, and a digest that fits to it."""
    payload = zlib.compress(plain, 1)
    return content[: content.index(b"\n") + 1] + hashlib.sha256(payload).digest() + payload


def plain_of(content: bytes) -> bytes:
    return zlib.decompress(content[content.index(b"\n") + 33 :])


@pytest.fixture(scope="module")
def rich(tmp_path_factory: pytest.TempPathFactory) -> LayerIndex:
    """Return an index with everything in it: ELF metadata, restart points, contents, folders."""
    return source({**tiny.server_tree(), **big_tree()}, tmp_path_factory.mktemp("rich") / "s", level=6).index


def test_an_index_file_with_other_bytes_is_damaged(rich: LayerIndex) -> None:
    content = indexfile.to_bytes(rich)
    chance = random.Random(1)
    for position in [*range(80), *(chance.randrange(len(content)) for _ in range(200))]:
        altered = bytearray(content)
        altered[position] ^= 1 << chance.randrange(8)
        with pytest.raises(TritonBuildError, match=r"^the index is damaged: "):
            indexfile.from_bytes(bytes(altered), what="the index")
    for length in (0, 1, 40, 80, len(content) // 2, len(content) - 1):
        with pytest.raises(TritonBuildError, match=r"^the index is damaged: "):
            indexfile.from_bytes(content[:length], what="the index")


def test_an_index_file_with_other_bytes_and_a_digest_that_fits(rich: LayerIndex) -> None:
    """As another program could write it: damaged, or an index whose parts fit together, and no other error."""
    content = indexfile.to_bytes(rich)
    plain = plain_of(content)
    assert indexfile.from_bytes(signed(content, plain), what="x") == rich
    head = 8 + int.from_bytes(plain[:8], "little")
    chance, damaged = random.Random(2), 0
    for number in range(600):
        altered = bytearray(plain)
        # The head is JSON, where most mutations matter.
        for _ in range(chance.randrange(1, 4)):
            altered[chance.randrange(head if number % 3 else len(plain))] = chance.choice(
                b'0123456789[]{}",:-null\0\xff'
            )
        try:
            found = indexfile.from_bytes(signed(content, bytes(altered)), what="the index")
        except TritonBuildError as error:
            assert error.message.startswith("the index is damaged: ")  # noqa: PT017 - it may also be valid
            damaged += 1
        else:
            assert len(found.paths) == len(found) == len(found.numbers["size"])
    assert damaged > 100


def spots(value: Any, path: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Yield the path of every value in a JSON document, except the document's own."""
    pairs = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    for key, inner in pairs:
        yield (*path, key)
        yield from spots(inner, (*path, key))


ODD: Sequence[Any] = (None, -1, 0, 1 << 70, 1.5, "x", "", [], {}, True, [1], {"1": 2})


def test_an_index_file_with_another_value_in_its_document(rich: LayerIndex) -> None:
    content = indexfile.to_bytes(rich)
    plain = plain_of(content)
    end = 8 + int.from_bytes(plain[:8], "little")
    text, rest = plain[8:end], plain[end:]
    damaged = 0
    for *path, last in spots(json.loads(text)):
        for odd in ODD:
            document = json.loads(text)
            parent = document
            for key in path:
                parent = parent[key]
            parent[last] = odd
            changed = json.dumps(document).encode()
            try:
                found = indexfile.from_bytes(
                    signed(content, len(changed).to_bytes(8, "little") + changed + rest), what="the index"
                )
            except TritonBuildError as error:
                assert error.message.startswith("the index is damaged: ")  # noqa: PT017 - it may also be valid
                damaged += 1
            else:
                assert [found.entry(number).path for number in range(len(found))] == found.paths
                assert all(isinstance(found.entry(number).target, str) for number in range(len(found)))
    assert damaged > 100


def test_a_damaged_index_is_as_if_it_did_not_exist(index: LayerIndex, tmp_path: Path) -> None:
    with Cache(tmp_path / "cache") as cache:
        cache.keep_index(index)
        (path,) = (tmp_path / "cache" / "indexes").iterdir()
        content = path.read_bytes()
        for damaged in (b"", content[:-1], content[:50] + bytes([content[50] ^ 1]) + content[51:]):
            path.write_bytes(damaged)
            assert cache.index(index.digest) is None
        cache.keep_index(index)
        assert cache.index(index.digest) == index


def test_the_index_of_another_layer_is_not_taken(index: LayerIndex, rich: LayerIndex, tmp_path: Path) -> None:
    assert f"{FOLDER}/big.bin" in rich.paths
    with Cache(tmp_path / "cache") as cache:
        cache.keep_index(index)
        (path,) = (tmp_path / "cache" / "indexes").iterdir()
        path.rename(path.with_name(rich.digest.replace(":", "-")))
        assert cache.index(rich.digest) is None
