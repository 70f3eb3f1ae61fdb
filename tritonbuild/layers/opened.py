"""Names of libraries that a file may open at run time: they stand in it as strings, in no NEEDED entry."""

from __future__ import annotations

import re
from collections.abc import Collection
from typing import Final

_NAME: Final = re.compile(rb"lib[\w+.-]{1,100}?\.so(?:\.\d+)*(?![\w+.%-])", re.ASCII)
"""A whole name, if no byte of `_INSIDE` is before it; a pattern for printf, as `lib%s.so`, is none.

The expression begins with letters, so that they are searched for at the speed of memory.
"""
_INSIDE: Final = frozenset(b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_+.%-")
_LONGEST: Final = 160
_CALLS: Final = (b"ctypes", b"dlopen", b"CDLL")
"""A Python file without one of these words opens no library."""


class NameSearch:
    """Collects the names in a file that comes in pieces."""

    def __init__(self) -> None:
        self._found: set[bytes] = set()
        self._held = b"\0"
        """The end of the last piece, where a name may go on, and the byte before."""

    def add(self, piece: bytes) -> None:
        """Search the next piece."""
        data = self._held + piece
        self._search(data, len(data) - _LONGEST)
        self._held = data[-_LONGEST - 1 :]

    def names(self, *, without: Collection[str] = ()) -> tuple[str, ...]:
        """Return the names, sorted, at the end of the file."""
        self._search(self._held, len(self._held))
        return tuple(sorted({name.decode("ascii") for name in self._found} - {*without}))

    def _search(self, data: bytes, stop: int) -> None:
        """Add the names that begin after the first byte of *data* and before *stop*."""
        for match in _NAME.finditer(data, 1):
            if match.start() < stop and data[match.start() - 1] not in _INSIDE:
                self._found.add(match[0])


def in_python(content: bytes) -> tuple[str, ...]:
    """Return the names in a Python file that opens libraries, sorted."""
    if b".so" not in content or not any(word in content for word in _CALLS):
        return ()
    search = NameSearch()
    search.add(content)
    return search.names()
