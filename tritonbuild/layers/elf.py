"""What the loader reads of an ELF file: names, run paths and versions, out of pieces of the file.

System V ABI and https://refspecs.linuxfoundation.org/LSB_5.0.0/LSB-Core-generic/LSB-Core-generic/symversion.html;
nothing but the program headers and what the dynamic section points to is read, as the loader does.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any, Final

import attrs

MAGIC: Final = b"\x7fELF"
_SMALLEST: Final = 64
_LONGEST_TABLE: Final = 64 << 20
_LONGEST_NAME: Final = 4096
_MOST_RECORDS: Final = 1 << 16

_LOAD, _DYNAMIC, _INTERP = 1, 2, 3
_NEEDED, _STRTAB, _STRSZ, _SONAME, _RPATH, _RUNPATH = 1, 5, 10, 14, 15, 29
_VERDEF, _VERDEFNUM, _VERNEED, _VERNEEDNUM = 0x6FFFFFFC, 0x6FFFFFFD, 0x6FFFFFFE, 0x6FFFFFFF


class NotThereError(Exception):
    """A piece of the file that is needed was not kept."""


class BrokenError(Exception):
    """The file is not one that the loader would take."""


@attrs.frozen(kw_only=True)
class Elf:
    """What the loader reads of an ELF file.

    Attributes:
        bits: 32 or 64.
        machine: The number of the processor (62 is x86-64, 183 is AArch64).
        needed: DT_NEEDED, in order.
        soname: DT_SONAME; empty without.
        rpath: DT_RPATH as it is written; empty without. Without effect beside a run path.
        runpath: DT_RUNPATH as it is written; empty without.
        interpreter: The loader that a program names.
        versions_needed: Library -> versions of its symbols that are needed and not weak.
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

    def fields(self) -> list[Any]:
        """Return the values for a file, in the order of the attributes."""
        return list(attrs.astuple(self, recurse=False))

    @classmethod
    def from_fields(cls, fields: list[Any]) -> Elf:
        """Return the record of what `fields` gave."""
        names = [field.name for field in attrs.fields(cls)]
        values = dict(zip(names, fields, strict=True))
        values["needed"], values["versions"] = tuple(values["needed"]), tuple(values["versions"])
        values["versions_needed"] = tuple((name, tuple(found)) for name, found in values["versions_needed"])
        return cls(**values)


Read = Callable[[int, int], bytes]
"""From offset and length to that piece of the file; raises `NotThereError` where it was not kept."""


@attrs.frozen(kw_only=True)
class Header:
    """The head of an ELF file: its program headers (type, offset, address, size in the file)."""

    bits: int
    machine: int
    order: str
    segments: tuple[tuple[int, int, int, int], ...]

    def segment(self, kind: int) -> tuple[int, int] | None:
        """Return offset and size of the first segment of that type."""
        for found, offset, _, size in self.segments:
            if found == kind:
                return offset, size
        return None

    def offset(self, address: int) -> int:
        """Return where in the file is what will be at *address*."""
        for kind, offset, start, size in self.segments:
            if kind == _LOAD and start <= address < start + size:
                return offset + address - start
        raise BrokenError

    @property
    def dynamic(self) -> tuple[int, int] | None:
        """Offset and size of the dynamic section."""
        return self.segment(_DYNAMIC)


def header(read: Read) -> Header:
    """Return the head of the file.

    Raises:
        BrokenError: It is no ELF file that a loader takes.
        NotThereError: Its program headers were not kept.
    """
    start = read(0, _SMALLEST)
    if len(start) < _SMALLEST or start[:4] != MAGIC or start[4] not in {1, 2} or start[5] not in {1, 2}:
        raise BrokenError
    bits, order = 32 * start[4], "<" if start[5] == 1 else ">"
    (machine,) = struct.unpack_from(order + "H", start, 18)
    wide = start[4] == 2  # noqa: PLR2004 - ELFCLASS64
    place, entry, count = struct.unpack_from(order + ("Q14xHH" if wide else "I10xHH"), start, 32 if wide else 28)
    form = order + ("I4xQQ8xQ" if wide else "IIIxxxxI")
    if entry < struct.calcsize(form) and count:
        raise BrokenError
    table = read(place, entry * count)
    segments = []
    for number in range(count):
        kind, offset, address, size = struct.unpack_from(form, table, number * entry)
        segments.append((kind, offset, address, size))
    return Header(bits=bits, machine=machine, order=order, segments=tuple(segments))


def parse(read: Read) -> Elf:
    """Return what the loader would read of a file.

    Raises:
        BrokenError: It is no ELF file that a loader takes.
        NotThereError: A piece that is needed was not kept.
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
    section = read(offset, min(size, _MOST_RECORDS * struct.calcsize(form)))
    tags: dict[int, int] = {}
    needed = []
    for tag, value in struct.iter_unpack(
        form, section[: len(section) // struct.calcsize(form) * struct.calcsize(form)]
    ):
        if tag == 0:
            break
        if tag == _NEEDED:
            needed.append(value)
        tags[tag] = value
    if _STRTAB not in tags or not 0 < tags.get(_STRSZ, 0) <= _LONGEST_TABLE:
        return Elf(bits=head.bits, machine=head.machine, interpreter=program, dynamic=True)
    strings = read(head.offset(tags[_STRTAB]), tags[_STRSZ])

    def string(place: int) -> str:
        if not 0 <= place < len(strings):
            raise BrokenError
        return _text(strings[place : place + _LONGEST_NAME])

    return Elf(
        bits=head.bits,
        machine=head.machine,
        needed=tuple(string(place) for place in needed),
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
    """Return a reader of the version records that *tag* points to."""
    if tag not in tags:
        return None
    start = head.offset(tags[tag])
    return lambda place, length: read(start + place, length)


def _needed(
    head: Header, tags: dict[int, int], read: Read, string: Callable[[int], str]
) -> tuple[tuple[str, tuple[str, ...]], ...]:
    records = _records(head, tags, _VERNEED, read)
    found: list[tuple[str, tuple[str, ...]]] = []
    place = 0
    for _ in range(min(tags.get(_VERNEEDNUM, 0), _MOST_RECORDS) if records else 0):
        assert records  # noqa: S101 - for the type checker
        _, count, name, first, following = struct.unpack(head.order + "HHIII", records(place, 16))
        versions, inner = [], place + first
        for _ in range(count):
            _, flags, _, version, after = struct.unpack(head.order + "IHHII", records(inner, 16))
            if not flags & 2:  # not weak
                versions.append(string(version))
            inner += after
        found.append((string(name), tuple(versions)))
        place += following
    return tuple(found)


def _defined(head: Header, tags: dict[int, int], read: Read, string: Callable[[int], str]) -> tuple[str, ...]:
    records = _records(head, tags, _VERDEF, read)
    found = []
    place = 0
    for _ in range(min(tags.get(_VERDEFNUM, 0), _MOST_RECORDS) if records else 0):
        assert records  # noqa: S101 - for the type checker
        _, _, _, count, _, first, following = struct.unpack(head.order + "HHHHIII", records(place, 20))
        if count:
            name, _ = struct.unpack(head.order + "II", records(place + first, 8))
            found.append(string(name))
        place += following
    return tuple(found)
