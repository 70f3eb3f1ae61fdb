"""Names of libraries in the bytes of a file."""

from __future__ import annotations

import struct

import pytest

from tritonbuild.layers.opened import NameSearch, in_python

CONTENT = (
    b"\0libone.so.1\0/opt/x/libtwo-2.so\0mylibthree.so\0libfour.so.%d\0lib%s.so\0libfive.so.12.3\0libsix.sofa\0"
    b"libseven.so.1.bak\0lib.so\0" + b"x" * 400 + b"\0libc++.so.1\0libend.so.9"
)
READ, CODE, DATA = 4, 5, 6


def elf_file(*parts: tuple[int, bytes]) -> bytes:
    """Return an ELF file with a segment for each part: its flags and its content; no segment for flags 0."""
    offset = 64 + 56 * len(parts)
    head = struct.pack(
        "<4sBBB9xHHIQQQIHHHHHH", b"\x7fELF", 2, 1, 1, 3, 62, 1, 0, 64, 0, 0, 64, 56, len(parts), 64, 0, 0
    )
    headers, contents = b"", b""
    for number, (flags, content) in enumerate(parts):
        begin = 0 if number == 0 else offset + len(contents)
        contents += content
        size = offset + len(contents) - begin
        headers += struct.pack("<IIQQQQQQ", 1 if flags else 0, flags, begin, begin, 0, size, size, 4096)
    return head + headers + contents


def found(content: bytes, size: int = 1000) -> tuple[str, ...]:
    search = NameSearch()
    for start in range(0, len(content), size):
        search.add(content[start : start + size])
    return search.names()


NAMES = ("libc++.so.1", "libend.so.9", "libfive.so.12.3", "libone.so.1", "libtwo-2.so")


@pytest.mark.parametrize("size", [1, 2, 7, 160, 161, 162, 1000])
def test_names_in_pieces(size: int) -> None:
    content = elf_file((READ, CONTENT))
    assert found(content, size) == NAMES
    search = NameSearch()
    search.add(content)
    assert search.names(without=["libone.so.1", ""]) == tuple(name for name in NAMES if name != "libone.so.1")


LAYOUTS = {
    "GNU ld": ([READ, CODE, READ, DATA], "cd"),
    "lld and gold": ([READ, CODE, DATA], "ac"),
    "code and strings in one segment": ([CODE, DATA], "ab"),
    "an object without segments": ([0, 0], ""),
    "parts that are not loaded": ([READ, CODE, DATA, 0], "ac"),
}


@pytest.mark.parametrize("size", [61, 20000])
@pytest.mark.parametrize(("flags", "names"), LAYOUTS.values(), ids=LAYOUTS)
def test_only_segments_with_strings(flags: list[int], names: str, size: int) -> None:
    """Also where code is longer than all that is collected before the search begins, and names are at its ends."""
    parts = [b"\0lib%b.so%b\0lib%b.so" % (name, bytes(9000), name) for name in (b"a", b"b", b"c", b"d")]
    content = elf_file(*zip(flags, parts, strict=False))
    assert found(content, size) == tuple(f"lib{name}.so" for name in names)


def test_a_file_that_is_cut_off() -> None:
    content = elf_file((READ, CONTENT))
    assert found(content[:63]) == found(content[:100]) == ()
    assert found(content[: content.index(b"libfive")]) == ("libone.so.1", "libtwo-2.so")


def test_only_python_that_opens_libraries() -> None:
    assert in_python(b"import ctypes\nctypes.CDLL('libfoo.so.1')\n") == ("libfoo.so.1",)
    assert in_python(b"NAME = 'libfoo.so.1'\n") == ()
