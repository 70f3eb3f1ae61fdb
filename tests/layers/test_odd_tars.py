"""Odd tars: read by their meaning, or refused by name, and never a wrong file."""

from __future__ import annotations

import io
import subprocess
import tarfile
from collections.abc import Sequence
from pathlib import Path

import pytest
import zstandard

from tests.layers.test_layers import Memory, archive, scanned
from tests.tiny import images as tiny
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import indexing, reading
from tritonbuild.layers.headers import checksum
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor, digest_of
from tritonbuild.rootfs.view import View

LARGEST = (1 << 63) - 1
LONG = "9" * 30
NUMBER = "is not a number of 64 bits"


def indexed(blob: bytes) -> Layer:
    descriptor = Descriptor(media_type="", digest=digest_of(blob), size=len(blob))
    index, _ = indexing.index_layer(descriptor, [blob] if blob else [], what="the layer")
    return Layer(blob=descriptor, origin=Memory(blob), index=index)


def content_of(layer: Layer, path: str) -> bytes:
    entry = layer.index.entry([*layer.index.paths].index(path))
    return b"".join(piece for _, piece in reading.read_ranges(layer, [(entry.offset, entry.size)]))


def with_pax(name: str = "x", **records: str) -> bytes:
    member = tarfile.TarInfo(name)
    member.pax_headers = records
    return archive([(member, b"")], tarfile.PAX_FORMAT)


def with_field(start: int, field: bytes) -> bytes:
    """Return a tar of one empty file whose header has *field* at *start*."""
    content = bytearray(archive([(tarfile.TarInfo("x"), b"")], tarfile.USTAR_FORMAT))
    content[start : start + len(field)] = field
    content[148:156] = b"%06o\0 " % checksum(bytes(content[:512]))
    return bytes(content)


def member(name: str, content: bytes = b"", kind: bytes = tarfile.REGTYPE) -> tuple[tarfile.TarInfo, bytes]:
    found = tarfile.TarInfo(name)
    found.type, found.size = kind, len(content)
    return found, content


# --- sparse files ---

SPARSE = {
    "old GNU": ("tar", "--format=gnu", "-S"),
    "PAX 0.0": ("tar", "--format=pax", "-S", "--sparse-version=0.0"),
    "PAX 0.1": ("tar", "--format=pax", "-S", "--sparse-version=0.1"),
    "PAX 1.0": ("tar", "--format=pax", "-S", "--sparse-version=1.0"),
    "libarchive": ("bsdtar", "--format=pax", "--read-sparse"),
}


def sparse_file(path: Path) -> None:
    with path.open("wb") as file:
        for start in (500_000, 3_000_000):
            file.seek(start)
            file.write(tiny.noise(start, 5000))
        file.truncate(4 << 20)


@pytest.mark.parametrize("form", SPARSE)
def test_a_sparse_file_is_refused(form: str, tmp_path: Path) -> None:
    sparse_file(tmp_path / "model.bin")
    program, *options = SPARSE[form]
    argv: Sequence[str] = [program, *options, "-cf", "x.tar", "model.bin"]
    try:
        subprocess.run(argv, cwd=tmp_path, check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"{program} is not installed")
    content = (tmp_path / "x.tar").read_bytes()
    assert len(content) < 1 << 20, "the holes are in the tar"
    with pytest.raises(TritonBuildError) as raised:
        scanned(content, 10_000)
    assert raised.value.message == "the layer has a sparse file, which cannot be read: 'model.bin'"
    assert raised.value.hint == "sparse files and multi-volume archives are not supported; build the image again"


@pytest.mark.parametrize("program", ["tar", "bsdtar"])
def test_a_file_with_holes_that_were_not_left_out(program: str, tmp_path: Path) -> None:
    sparse_file(tmp_path / "model.bin")
    try:
        subprocess.run([program, "--format=ustar", "-cf", "x.tar", "model.bin"], cwd=tmp_path, check=True, timeout=60)
    except FileNotFoundError:
        pytest.skip(f"{program} is not installed")
    layer = indexed((tmp_path / "x.tar").read_bytes())
    assert content_of(layer, "model.bin") == (tmp_path / "model.bin").read_bytes()


@pytest.mark.parametrize(("kind", "what"), [(b"M", "an entry of type 'M'"), (b"V", "an entry of type 'V'")])
def test_an_entry_that_is_no_file_is_refused(kind: bytes, what: str) -> None:
    with pytest.raises(TritonBuildError, match=f"^the layer has {what}, which cannot be read: 'x'$"):
        scanned(with_field(156, kind), 512)


# --- numbers ---

TIMES = {
    "0": 0,
    "1700000000.123456789": 1_700_000_000,
    "1.": 1,
    "-1.5": -2,
    "-1.0": -1,
    "-1": -1,
    str(LARGEST): LARGEST,
}


@pytest.mark.parametrize("text", TIMES)
def test_a_time(text: str) -> None:
    assert scanned(with_pax(mtime=text), 512).columns.numbers["mtime"][0] == TIMES[text]


@pytest.mark.parametrize(
    "text",
    ["nan", "inf", "-inf", "yesterday", "1e19", str(1 << 70), str(1 << 63), "1/5", "0x10", "1_0", "\u0661", " 1"],
)
def test_a_time_that_is_none(text: str) -> None:
    with pytest.raises(TritonBuildError) as raised:
        scanned(with_pax(mtime=text), 512)
    assert raised.value.message == f"the layer is damaged: {text!r} in its tar is not a time"


@pytest.mark.parametrize("key", ["size", "uid", "gid"])
@pytest.mark.parametrize("text", [LONG, str(1 << 63), "-1", "1.5", "1e3", "x", "\u0661", "+1"])
def test_a_number_that_is_none(key: str, text: str) -> None:
    with pytest.raises(TritonBuildError) as raised:
        scanned(with_pax(**{key: text}), 512)
    assert raised.value.message == f"the layer is damaged: {text!r} in its tar {NUMBER}"


def test_the_largest_ids() -> None:
    columns = scanned(with_pax(uid=str(LARGEST), gid=str(LARGEST)), 512).columns
    assert (columns.numbers["uid"][0], columns.numbers["gid"][0]) == (LARGEST, LARGEST)


FIELDS = {"mode": (100, 8), "uid": (108, 8), "gid": (116, 8), "size": (124, 12)}


@pytest.mark.parametrize("name", FIELDS)
@pytest.mark.parametrize("value", [-1, -512, -(1 << 50)])
def test_a_negative_number_in_base_256(name: str, value: int) -> None:
    start, size = FIELDS[name]
    with pytest.raises(
        TritonBuildError, match=rf"^the layer is damaged: the number {value} in its tar is out of range$"
    ):
        scanned(with_field(start, value.to_bytes(size, "big", signed=True)), 512)


def test_a_size_of_more_than_64_bits_in_base_256() -> None:
    with pytest.raises(
        TritonBuildError, match=r"^the layer is damaged: the number 9223372036854775808 in its tar is out"
    ):
        scanned(with_field(124, b"\x80" + (1 << 63).to_bytes(11, "big")), 512)


def test_a_time_before_1970_in_base_256() -> None:
    content = with_field(136, (-86400).to_bytes(12, "big", signed=True))
    assert scanned(content, 512).columns.numbers["mtime"][0] == -86400


@pytest.mark.parametrize("field", [b"0x000000001", b"12345678901", b"-0000000001", b"1e000000000"])
def test_a_field_that_is_not_octal(field: bytes) -> None:
    with pytest.raises(TritonBuildError, match=r"^the layer is damaged: b'.*' in its tar is not a number$"):
        scanned(with_field(124, field), 512)


# --- streams ---


def skippable(content: bytes, number: int) -> bytes:
    return bytes([0x50 + number]) + b"\x2a\x4d\x18" + len(content).to_bytes(4, "little") + content


@pytest.mark.parametrize("number", [0, 15])
@pytest.mark.parametrize("between", [False, True])
def test_zstd_with_skippable_frames(number: int, between: bool) -> None:
    data = tiny.noise(5, 300_000)
    plain = archive([member("x", data)], tarfile.PAX_FORMAT)
    middle = skippable(b"m" * 70_000, number) if between else b""
    frames = (zstandard.compress(plain[:100_000]), middle, zstandard.compress(plain[100_000:]))
    layer = indexed(skippable(b"a table of contents", number) + b"".join(frames) + skippable(b"", number))
    assert layer.index.compression == "zstd"
    assert content_of(layer, "x") == data


def test_a_layer_of_no_bytes() -> None:
    layer = indexed(b"")
    assert (len(layer.index), layer.index.size, layer.index.compression) == (0, 0, "")
    assert [*View([layer])] == []


@pytest.mark.parametrize("size", [0, 512, 1024, 10_240])
def test_a_tar_without_entries(size: int) -> None:
    assert len(indexed(bytes(size)).index) == 0


# --- paths ---


@pytest.mark.parametrize(
    ("name", "path"),
    [("opt/../opt/x", "opt/x"), ("./opt//x", "opt/x"), ("/opt/./x", "opt/x"), ("a/b/../../opt/x", "opt/x")],
)
def test_a_path_that_is_not_normal(name: str, path: str) -> None:
    layer = indexed(archive([member(name, b"content")], tarfile.PAX_FORMAT))
    assert layer.index.paths == [path]
    assert content_of(layer, path) == b"content"


def test_a_hard_link_to_a_path_that_is_not_normal() -> None:
    link = tarfile.TarInfo("y")
    link.type, link.linkname = tarfile.LNKTYPE, "opt/../opt/x"
    view = View([indexed(archive([member("opt/x", b"content"), (link, b"")], tarfile.PAX_FORMAT))])
    assert view.entry_id("y").entry == view.entry_id("opt/x").entry


@pytest.mark.parametrize("name", [".wh.", "a/.wh.", ".wh..", ".wh...", "a/.wh.."])
def test_a_whiteout_of_nothing_is_refused(name: str) -> None:
    with pytest.raises(TritonBuildError) as raised:
        scanned(archive([member(name)], tarfile.PAX_FORMAT), 512)
    assert raised.value.message == f"the layer is damaged: it has a whiteout that names nothing: {name!r}"


@pytest.mark.parametrize("name", [".", "./", "/", "a/.."])
def test_a_root_that_is_no_folder_is_refused(name: str) -> None:
    # tarfile takes a slash from the end of a name.
    content = with_field(0, name.encode() + b"\0")
    if name.endswith("/"):
        assert scanned(content, 512).columns.kinds == ["5"]
        return
    with pytest.raises(TritonBuildError) as raised:
        scanned(content, 512)
    assert raised.value.message == f"the layer is damaged: its root is not a folder: {name!r}"


def test_whiteouts_at_the_root() -> None:
    lower = indexed(archive([member("a", b"1"), member("b/c", b"2")], tarfile.PAX_FORMAT))
    assert [*View([lower, indexed(archive([member(".wh.a")], tarfile.PAX_FORMAT))])] == ["b", "b/c"]
    assert [*View([lower, indexed(archive([member(".wh..wh..opq")], tarfile.PAX_FORMAT))])] == []


@pytest.mark.parametrize("form", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_a_path_of_a_thousand_folders(form: int) -> None:
    path = "/".join(["folder"] * 1000) + "/file"
    layer = indexed(archive([member(path, b"deep")], form))
    view = View([layer])
    assert content_of(layer, path) == b"deep"
    assert [*view.walk("")][-1] == path
    assert [*View([layer, indexed(archive([member(".wh.folder")], form))])] == []


def test_names_that_are_not_utf_8() -> None:
    name = b"opt/caf\xe9"
    layer = indexed(with_field(0, name))
    assert layer.index.paths[0].encode("utf-8", "surrogateescape") == name


def test_what_follows_the_end_of_a_tar_is_no_part_of_it() -> None:
    whole = archive([member("x", b"1")], tarfile.PAX_FORMAT)
    assert scanned(whole + io.BytesIO(archive([member("y")], tarfile.PAX_FORMAT)).read(), 512).columns.paths == ["x"]
