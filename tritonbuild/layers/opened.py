"""Names of libraries that a file may open at run time: they stand in it as strings, in no NEEDED entry."""

from __future__ import annotations

import re
import struct
import sys
from collections.abc import Collection, Iterator
from typing import Final

from tritonbuild.layers import elf

_NAME: Final = re.compile(rb"lib[\w+.-]{1,100}?\.so(?:\.\d+)*(?![\w+.%-])", re.ASCII)
"""A whole name, if no byte of `_INSIDE` is before it; a pattern for printf, as `lib%s.so`, is none.

The expression begins with letters, which are searched for without the rest of the expression.
"""
_INSIDE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.%-")
_LONGEST: Final = 128
_REACH: Final = _LONGEST + 2
"""Bytes of a name with the one before and the one after it."""

_HEAD: Final = 1 << 14
"""Bytes of a file that are collected before the search: the program headers are among them."""

_WORD: Final = 64
_CALLS: Final = (b"ctypes", b"dlopen", b"CDLL")
"""A Python file without one of these words opens no library."""


class NameSearch:
    """A search for names in a 64-bit ELF file that comes in pieces; only parts that may hold strings are searched."""

    def __init__(self) -> None:
        self._found: set[bytes] = set()
        self._head: list[bytes] | None = []
        self._collected = 0
        self._skipped: tuple[tuple[int, int], ...] = ()
        """Parts of the file without strings, by offset, in order."""
        self._offset = 0
        """Offset in the file of the next piece."""
        self._tail = b"\0"
        """The last bytes that were searched, where a name may go on."""

    def add(self, piece: bytes) -> None:
        """Search the next piece."""
        if self._head is not None:
            self._head.append(piece)
            self._collected += len(piece)
            if self._collected >= _HEAD:
                self._begin(self._head)
            return
        at = 0
        for start, stop in self._skipped:
            first, last = (min(max(offset - self._offset, 0), len(piece)) for offset in (start, stop))
            if first < last:
                self._search(piece, at, first)
                self._end()
                at = last
        self._search(piece, at, len(piece))
        self._offset += len(piece)

    def names(self, *, without: Collection[str] = ()) -> tuple[str, ...]:
        """Return the names, sorted, at the end of the file."""
        if self._head is not None:
            self._begin(self._head)
        self._end()
        return tuple(sorted({name.decode("ascii") for name in self._found} - {*without}))

    def _begin(self, head: list[bytes]) -> None:
        """Search the head of the file, and read its program headers."""
        content = head[0] if len(head) == 1 else b"".join(head)
        self._head, self._skipped = None, tuple(_without_strings(content))
        self.add(content)

    def _search(self, data: bytes, start: int, stop: int) -> None:
        """Search from *start* up to *stop* in *data*, which go on after the bytes that were searched last."""
        if start >= stop:
            return
        self._found.update(_names(self._tail + data[start : min(stop, start + _REACH)]))
        if stop - start > _REACH:
            self._found.update(_names(data, start, stop))
            self._tail = data[stop - _REACH : stop]
        else:
            self._tail = (self._tail + data[start:stop])[-_REACH:]

    def _end(self) -> None:
        """Search what is left; the bytes that follow are no part of a name."""
        self._found.update(_names(self._tail + b"\0"))
        self._tail = b"\0"


def _names(data: bytes, start: int = 0, stop: int | None = None) -> Iterator[bytes]:
    """Yield the names between the first and the last byte of a part of *data*."""
    end = len(data) if stop is None else stop
    for match in _NAME.finditer(data, start + 1, end):
        first, last = match.span()
        if last < end and last - first <= _LONGEST and data[first - 1] not in _INSIDE:
            yield match[0]


def _without_strings(content: bytes) -> Iterator[tuple[int, int]]:
    """Yield the parts of a file that hold no strings of a program, by offset, in order; *content* is its beginning.

    The loader does not map them, or they hold code alone, or the linker's tables alone. Linkers that keep code apart
    begin the file with a segment that is not executable. If it is followed by the code and then by a segment that can
    only be read, the strings are in that one, and the first one holds tables.
    """

    def read(start: int, length: int) -> bytes:
        if start + length > len(content):
            raise elf.NotThereError
        return content[start : start + length]

    try:
        header = elf.header(read)
        segments = sorted(header.loaded())
    except (elf.BrokenError, elf.NotThereError, struct.error):
        segments = []
    if not segments or header.bits != _WORD:
        yield 0, sys.maxsize
        return
    if not segments[0][2] & elf.EXECUTABLE:
        code = [segment for segment in segments if segment[2] & elf.EXECUTABLE]
        behind = [flags for offset, _, flags in segments if code and offset > code[0][0]]
        only_read = [flags for flags in behind if not flags & (elf.EXECUTABLE | elf.WRITABLE)]
        segments = [one for one in segments[1 if only_read else 0 :] if one not in code]
    end = 0
    for offset, size, _ in segments:
        if offset > end:
            yield end, offset
        end = max(end, offset + size)
    yield end, sys.maxsize


def in_python(content: bytes) -> tuple[str, ...]:
    """Return the names in a Python file that opens libraries, sorted."""
    if b".so" not in content or not any(word in content for word in _CALLS):
        return ()
    return tuple(sorted({name.decode("ascii") for name in _names(b"\0%b\0" % content)}))
