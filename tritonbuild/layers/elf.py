"""ELF metadata for the dynamic loader: names, run paths and versions, read from pieces of a file.

Sources: System V ABI and https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html.
Like the loader, the parser reads the program headers and the tables that the dynamic section points to.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any, Final

import attrs

MAGIC: Final = b"\x7fELF"
_SMALLEST: Final = 64
_LONGEST_TABLE: Final = 64 << 20
_LONGEST_NAME: Final = 4096
_MOST_TAGS: Final = 1 << 16
_MOST_NAMES: Final = 1 << 12
"""Needed libraries, and versions, of one file at most; the largest real files have a tenth."""


_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
EXECUTABLE: Final = 1
WRITABLE: Final = 2
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF


class NotThereError(Exception):
    """A piece of the file that the parser needs was not kept."""


class BrokenError(Exception):
    """The file is not one that a loader accepts."""


@attrs.frozen(kw_only=True)
class Elf:
    """The metadata of an ELF file.

    Attributes:
        bits: 32 or 64.
        machine: The number of the processor (62 is x86-64, 183 is AArch64).
        needed: DT_NEEDED, in order.
        soname: DT_SONAME, or empty.
        rpath: DT_RPATH, or empty. It has no effect beside a run path.
        runpath: DT_RUNPATH, or empty.
        interpreter: The loader that a program names, or empty.
        versions_needed: Libraries, each with the versions of its symbols that are needed and not weak.
        versions: Versions that the file defines.
        dynamic: Whether it has a dynamic section.
    """

    bits: int
    machine: int
    needed: tuple[str, ...] = ()
    soname: str = ""
    rpath: str = ""
    runpath: str = ""
    interpreter: str = ""
    versions_needed: tuple[tuple[str, tuple[str, ...]], ...] = ()
    versions: tuple[str, ...] = ()
    dynamic: bool = False

    @classmethod
    def from_row(cls, row: list[Any]) -> Elf:
        """Return the record with the values of `attrs.astuple`, as JSON gives them back."""
        bits, machine, needed, soname, rpath, runpath, interpreter, versions_needed, versions, dynamic = row
        return cls(
            bits=bits,
            machine=machine,
            needed=tuple(needed),
            soname=soname,
            rpath=rpath,
            runpath=runpath,
            interpreter=interpreter,
            versions_needed=tuple((name, tuple(found)) for name, found in versions_needed),
            versions=tuple(versions),
            dynamic=dynamic,
        )


Read = Callable[[int, int], bytes]
"""A function from offset and length to that piece of the file; raises `NotThereError` if it was not kept."""


@attrs.frozen(kw_only=True)
class Header:
    """The header of an ELF file, with its program headers: type, offset, address, size in the file, flags."""

    bits: int
    machine: int
    order: str
    segments: tuple[tuple[int, int, int, int, int], ...]

    def segment(self, kind: int) -> tuple[int, int] | None:
        """Return offset and size of the first segment of that type."""
        for found, offset, _, size, _ in self.segments:
            if found == kind:
                return offset, size
        return None

    def offset(self, address: int) -> int:
        """Return the offset in the file of the byte that is loaded at *address*."""
        for kind, offset, start, size, _ in self.segments:
            if kind == _LOAD and start <= address < start + size:
                return offset + address - start
        raise BrokenError

    def loaded(self) -> Iterator[tuple[int, int, int]]:
        """Yield offset and size in the file of each segment that is loaded, and its flags."""
        for kind, offset, _, size, flags in self.segments:
            if kind == _LOAD:
                yield offset, size, flags

    @property
    def dynamic(self) -> tuple[int, int] | None:
        """Offset and size of the dynamic section."""
        return self.segment(_DYNAMIC)


def header(read: Read) -> Header:
    """Return the header of the file.

    Raises:
        BrokenError: It is not an ELF file that a loader accepts.
        NotThereError: Its program headers were not kept.
    """
    start = read(0, _SMALLEST)
    if len(start) < _SMALLEST or start[:4] != MAGIC or start[4] not in {1, 2} or start[5] not in {1, 2}:
        raise BrokenError
    bits, order = 32 * start[4], "<" if start[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", start, 18)
    wide = start[4] == 2  # noqa: PLR2004 - ELFCLASS64
    table_offset, entry, count = struct.unpack_from(order + ("Q14xHH" if wide else "I10xHH"), start, 32 if wide else 28)
    form = order + ("IIQQ8xQ" if wide else "III4xI4xI")
    if count and entry != (56 if wide else 32):
        raise BrokenError
    table = read(table_offset, entry * count)
    segments = []
    for number in range(count):
        kind, *values = struct.unpack_from(form, table, number * entry)
        # The flags come second in one class and last in the other.
        flags, offset, address, size = values if wide else (values[-1], *values[:-1])
        segments.append((kind, offset, address, size, flags))
    return Header(bits=bits, machine=machine, order=order, segments=tuple(segments))


def parse(read: Read) -> Elf:
    """Return the metadata of a file.

    Raises:
        BrokenError: It is not an ELF file that a loader accepts.
        NotThereError: A piece that the parser needs was not kept.
    """
    try:
        return _parse(read)
    except struct.error as error:
        raise BrokenError from error


def _parse(read: Read) -> Elf:
    head = header(read)
    interpreter = head.segment(_INTERP)
    program = _text(read(*interpreter)) if interpreter and interpreter[1] <= _LONGEST_NAME else ""
    if head.dynamic is None:
        return Elf(bits=head.bits, machine=head.machine, interpreter=program)
    offset, size = head.dynamic
    form = head.order + ("QQ" if head.bits == 64 else "II")  # noqa: PLR2004
    section = read(offset, min(size, _MOST_TAGS * struct.calcsize(form)))
    tags: dict[int, int] = {}
    needed = []
    for tag, value in struct.iter_unpack(
        form, section[: len(section) // struct.calcsize(form) * struct.calcsize(form)]
    ):
        if tag == 0:
            break
        if tag == _NEEDED:
            needed.append(value)
            if len(needed) > _MOST_NAMES:
                raise BrokenError
        tags[tag] = value
    if _STRTAB not in tags or not 0 < tags.get(_STRSZ, 0) <= _LONGEST_TABLE:
        return Elf(bits=head.bits, machine=head.machine, interpreter=program, dynamic=True)
    strings = read(head.offset(tags[_STRTAB]), tags[_STRSZ])

    def string(index: int) -> str:
        if not 0 <= index < len(strings):
            raise BrokenError
        return _text(strings[index : index + _LONGEST_NAME])

    return Elf(
        bits=head.bits,
        machine=head.machine,
        needed=tuple(string(index) for index in needed),
        soname=string(tags[_SONAME]) if _SONAME in tags else "",
        rpath=string(tags[_RPATH]) if _RPATH in tags else "",
        runpath=string(tags[_RUNPATH]) if _RUNPATH in tags else "",
        interpreter=program,
        versions_needed=_needed(head, tags, read, string),
        versions=_defined(head, tags, read, string),
        dynamic=True,
    )


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _records(head: Header, tags: dict[int, int], tag: int, read: Read) -> Read | None:
    """Return a reader of the version records that *tag* points to, by offset from the first."""
    if tag not in tags:
        return None
    start = head.offset(tags[tag])
    return lambda offset, length: read(start + offset, length)


def _needed(
    head: Header, tags: dict[int, int], read: Read, string: Callable[[int], str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    records = _records(head, tags, _VERNEED, read)
    found: list[tuple[str, tuple[str, ...]]] = []
    offset = total = 0
    for _ in range(tags.get(_VERNEEDNUM, 0) if records else 0):
        assert records  # noqa: S101 - for the type checker
        _, count, name, first, following = struct.unpack(head.order + "HHIII", records(offset, 16))
        total += 1 + count
        if total > _MOST_NAMES:
            raise BrokenError
        versions, inner = [], offset + first
        for _ in range(count):
            _, flags, _, version, after = struct.unpack(head.order + "IHHII", records(inner, 16))
            if not flags & 2:  # not weak
                versions.append(string(version))
            inner += after
        found.append((string(name), tuple(versions)))
        offset += following
    return tuple(found)


def _defined(head: Header, tags: dict[int, int], read: Read, string: Callable[[int], str]) -> tuple[str, ...]:
    records = _records(head, tags, _VERDEF, read)
    found = []
    offset = 0
    for number in range(tags.get(_VERDEFNUM, 0) if records else 0):
        assert records  # noqa: S101 - for the type checker
        if number > _MOST_NAMES:
            raise BrokenError
        _, _, _, count, _, first, following = struct.unpack(head.order + "HHHHIII", records(offset, 20))
        if count:
            name, _ = struct.unpack(head.order + "II", records(offset + first, 8))
            found.append(string(name))
        offset += following
    return tuple(found)
