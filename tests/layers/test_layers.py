"""Scanning, indexing and reading layers, against tarfile and gzip."""

from __future__ import annotations

import gzip
import hashlib
import io
import tarfile
from collections.abc import Iterator

import pytest
import zstandard
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import images as tiny
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import indexfile, indexing, reading
from tritonbuild.layers.headers import checksum
from tritonbuild.layers.reading import Layer
from tritonbuild.layers.scan import Scanner
from tritonbuild.oci.descriptors import Descriptor, digest_of

NAME = st.text(st.characters(codec="utf-8", exclude_characters="/\0\n"), min_size=1, max_size=60).filter(
    lambda name: name not in {".", ".."} and not name.startswith(".wh.")
)
PATH = st.lists(NAME, min_size=1, max_size=6).map("/".join)


@st.composite
def members(draw: st.DrawFn) -> list[tuple[tarfile.TarInfo, bytes]]:
    found = []
    for path in draw(st.lists(PATH, min_size=1, max_size=8, unique=True)):
        member = tarfile.TarInfo(path)
        member.type = draw(
            st.sampled_from([tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE])
        )
        member.mode = draw(st.integers(0, 0o7777))
        member.uid, member.gid = draw(st.integers(0, 1 << 31)), draw(st.integers(0, 70000))
        member.mtime = draw(st.integers(0, 1 << 34))
        content = draw(st.binary(max_size=1500)) if member.isreg() else b""
        member.size = len(content)
        member.linkname = draw(PATH) if member.issym() else ""
        found.append((member, content))
    return found


def archive(entries: list[tuple[tarfile.TarInfo, bytes]], form: int) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=form) as tar:
        for member, content in entries:
            tar.addfile(member, io.BytesIO(content))
    return out.getvalue()


def scanned(content: bytes, step: int) -> Scanner:
    scanner = Scanner(what="the layer", keep=lambda _: False)
    for start in range(0, len(content), step):
        scanner.feed(content[start : start + step])
    scanner.close()
    return scanner


@settings(max_examples=150, deadline=None)
@given(members(), st.sampled_from([tarfile.PAX_FORMAT, tarfile.GNU_FORMAT]), st.integers(1, 3000))
def test_a_scan_finds_what_tarfile_finds(entries: list[tuple[tarfile.TarInfo, bytes]], form: int, step: int) -> None:
    content = archive(entries, form)
    columns = scanned(content, step).columns
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        expected = [*tar]
    assert columns.paths == ["/".join(p for p in one.name.split("/") if p not in {"", "."}) for one in expected]
    for number, one in enumerate(expected):
        assert columns.numbers["size"][number] == one.size
        assert columns.numbers["uid"][number] == one.uid
        assert columns.numbers["gid"][number] == one.gid
        assert columns.numbers["mode"][number] == one.mode
        assert columns.numbers["mtime"][number] == int(one.mtime)
        assert columns.targets.get(number, "") == one.linkname
        if one.isreg():
            assert columns.numbers["offset"][number] == one.offset_data


@settings(max_examples=60, deadline=None)
@given(members(), st.data())
def test_a_scan_of_damage_ends_or_raises(entries: list[tuple[tarfile.TarInfo, bytes]], data: st.DataObject) -> None:
    content = bytearray(archive(entries, tarfile.PAX_FORMAT))
    position = data.draw(st.integers(0, len(content) - 1))
    content[position] ^= data.draw(st.integers(1, 255))
    try:
        scanned(bytes(content), 700)
    except TritonBuildError as error:
        assert str(error).startswith("the layer")  # noqa: PT017


@given(st.one_of(st.binary(min_size=512, max_size=512), st.sampled_from([b"\xff" * 512, bytes(512)])))
def test_the_checksum_of_a_header(header: bytes) -> None:
    assert checksum(header) == sum(header[:148]) + sum(header[156:]) + 8 * 32


@pytest.mark.parametrize("name", ["../x", "a/../../x", "/../x", "a/../../b"])
def test_a_name_outside(name: str) -> None:
    with pytest.raises(TritonBuildError, match="outside of its root"):
        scanned(archive([(tarfile.TarInfo(name), b"")], tarfile.PAX_FORMAT), 512)


def test_a_hard_link_to_outside() -> None:
    member = tarfile.TarInfo("x")
    member.type, member.linkname = tarfile.LNKTYPE, "../../etc/shadow"
    with pytest.raises(TritonBuildError, match="outside of its root"):
        scanned(archive([(member, b"")], tarfile.PAX_FORMAT), 512)


def test_an_archive_that_ends_early() -> None:
    member = tarfile.TarInfo("x")
    member.size = 1000
    content = archive([(member, bytes(1000))], tarfile.PAX_FORMAT)
    with pytest.raises(TritonBuildError, match="its tar ends early"):
        scanned(content[:900], 512)


class Memory:
    """A blob in memory, which comes in pieces of *step* bytes, and how much of it was read."""

    name = "memory"

    def __init__(self, content: bytes, step: int = 1 << 20) -> None:
        self.content = content
        self.step = step
        self.moved = 0

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        for at in range(start, stop, self.step):
            part = self.content[at : min(at + self.step, stop)]
            self.moved += len(part)
            yield part


def big_tar() -> tuple[bytes, dict[str, bytes]]:
    files = {f"folder/file{number}": tiny.noise(number, 9_000_000) for number in range(9)}
    return archive([(_member(name, content), content) for name, content in files.items()], tarfile.PAX_FORMAT), files


def _member(name: str, content: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.size = len(content)
    return member


def _members_of_gzip(content: bytes) -> bytes:
    return b"".join(gzip.compress(content[at : at + 5_000_000], 1) for at in range(0, len(content), 5_000_000))


@pytest.mark.parametrize("form", ["gzip", "members", "zstd", "plain"])
def test_pieces_are_read_from_the_middle(form: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "SPACING", 2 << 20)
    content, files = big_tar()
    blob = {
        "gzip": lambda: gzip.compress(content, 1),
        "members": lambda: _members_of_gzip(content),
        "zstd": lambda: zstandard.compress(content, 1),
        "plain": lambda: content,
    }[form]()
    origin = Memory(blob)
    descriptor = Descriptor(media_type="", digest=digest_of(blob), size=len(blob))
    index, late = indexing.index_layer(descriptor, origin.read(descriptor, 0, len(blob)), what="the layer")
    assert late == ()
    assert indexfile.from_bytes(indexfile.to_bytes(index), what="x") == index
    if form in {"gzip", "members"}:
        assert len(index.points) > 3
    origin.moved = 0
    layer = Layer(blob=descriptor, origin=origin, index=index)
    numbers = [
        number for number, path in enumerate(index.paths) if path in {"folder/file3", "folder/file4", "folder/file8"}
    ]
    wanted = [(index.entry(number).offset, index.entry(number).size) for number in numbers]
    found: dict[int, bytes] = {}
    for number, piece in reading.read_ranges(layer, wanted):
        found[number] = found.get(number, b"") + piece
    assert [found[number] for number in range(3)] == [files[index.paths[number]] for number in numbers]
    if form != "zstd":
        assert origin.moved < len(blob) * 0.75


def test_an_altered_piece_is_not_passed_on(monkeypatch: pytest.MonkeyPatch) -> None:
    content, _ = big_tar()
    blob = gzip.compress(content, 1)
    descriptor = Descriptor(media_type="", digest=digest_of(blob), size=len(blob))
    index, _ = indexing.index_layer(descriptor, Memory(blob).read(descriptor, 0, len(blob)), what="the layer")
    altered = bytearray(blob)
    altered[len(blob) // 2] ^= 1
    layer = Layer(blob=descriptor, origin=Memory(bytes(altered)), index=index)
    with pytest.raises(TritonBuildError, match="have another digest"):
        for _ in reading.read_ranges(layer, [(512, 80_000_000)]):
            pass


def test_the_digest_is_checked() -> None:
    blob = gzip.compress(archive([(_member("x", b"y"), b"y")], tarfile.PAX_FORMAT))
    other = Descriptor(media_type="", digest=f"sha256:{hashlib.sha256(b'').hexdigest()}", size=len(blob))
    with pytest.raises(TritonBuildError, match="the layer is damaged: its digest is sha256:"):
        indexing.index_layer(other, [blob], what="the layer")


@pytest.mark.parametrize("from_the_end", [8, 1])
def test_a_gzip_of_another_checksum(from_the_end: int) -> None:
    content = bytearray(gzip.compress(archive([(_member("x", b"y"), b"y")], tarfile.PAX_FORMAT)))
    content[-from_the_end] ^= 1
    blob = _members_of_gzip(b"") + bytes(content) + gzip.compress(b"")
    descriptor = Descriptor(media_type="", digest=digest_of(blob), size=len(blob))
    with pytest.raises(TritonBuildError, match="the layer is damaged: its gzip checksum does not match"):
        indexing.index_layer(descriptor, [blob[at : at + 1] for at in range(len(blob))], what="the layer")


@pytest.mark.parametrize("spacing", [1, 64])
def test_a_large_file_can_be_read_from_its_beginning_and_its_end(spacing: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "SPACING", spacing << 20)
    large = b"".join(tiny.noise(number, 1_000_000) for number in range(60))
    content = archive([(_member("a", b"a" * 700), b"a" * 700), (_member("b", large), large)], tarfile.PAX_FORMAT)
    blob = gzip.compress(content, 1)
    descriptor = Descriptor(media_type="", digest=digest_of(blob), size=len(blob))
    index, _ = indexing.index_layer(descriptor, [blob], what="the layer")
    end = index.entry(1).offset + len(large)
    assert index.points[0].offset - index.entry(1).offset < 4 << 20
    assert end - index.points[-1].offset < 8 << 20
    assert (len(index.points) > 6) == (spacing == 1)


def test_a_gzip_that_ends_early() -> None:
    content, _ = big_tar()
    blob = gzip.compress(content, 1)[:-100_000]
    descriptor = Descriptor(media_type="", digest=digest_of(blob), size=len(blob))
    with pytest.raises(TritonBuildError, match="the layer is damaged: it ends early"):
        indexing.index_layer(descriptor, [blob], what="the layer")
