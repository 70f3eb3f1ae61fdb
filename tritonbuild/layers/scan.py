"""The scanner of a tar that streams by: its entries, the ELF files in it, the contents of a few small files.

`tarfile` makes an object of thirty attributes of each member and reads through a file object; the scanner reads what
an index needs, in one pass over chunks of any size.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable
from typing import Final, Protocol

from tritonbuild.layers import elf
from tritonbuild.layers.elf import Elf
from tritonbuild.layers.entry import FILE, WHITEOUT, Entry
from tritonbuild.layers.headers import BLOCK, checksum
from tritonbuild.layers.layerindex import Columns
from tritonbuild.layers.opened import NameSearch, in_python
from tritonbuild.layers.tarheader import EXTENSIONS, Extensions, entry_of, number, pax_records, text
from tritonbuild.oci.descriptors import broken

KEPT_HEAD: Final = 48 << 20
"""Bytes of an ELF file that are kept while it streams by; names and versions are near its start."""

_KEPT_TAIL: Final = 4 << 20
_LONGEST_EXTENSION: Final = 1 << 20
_LONGEST_CONTENT: Final = 16 << 20
_LARGEST_PYTHON: Final = 1 << 20
_MOST_ENTRIES: Final = 8_000_000
_ZEROS: Final = bytes(BLOCK)


class Observer(Protocol):
    """An observer of the entries and contents that a scanner finds."""

    wants: bool
    """Whether it takes the content of the last entry."""

    def entry(self, number: int, entry: Entry) -> None:
        """Take an entry and its number in the layer."""
        ...

    def content(self, piece: memoryview) -> None:
        """Take a piece of the content of the last entry."""
        ...


class Scanner:
    """A parser that takes a tar in chunks.

    Args:
        what: The name of the layer in messages.
        keep: Whether the content of a path is kept.
        observer: Takes every entry, and the contents it wants.
    """

    def __init__(self, *, what: str, keep: Callable[[str], bool], observer: Observer | None = None) -> None:
        self.what = what
        self.observer = observer
        self.keep = keep
        self.columns = Columns()
        self.elves: dict[int, Elf] = {}
        self.late: list[int] = []
        """Numbers of ELF files that need a piece which streamed by before the need was known."""
        self.contents: dict[str, bytes] = {}
        self.opened: dict[int, tuple[str, ...]] = {}
        self._names = NameSearch()
        self.offset = 0
        self._partial = b""
        self._left = 0
        self._padding = 0
        self._size = 0
        self._number = 0
        self._path = ""
        self._pieces: list[tuple[int, bytes]] | None = None
        self._at_end: Callable[[], None] | None = None
        self._probe = False
        self._more = Extensions()
        self._pax_of_all: dict[str, str] = {}
        self._ended = False

    @property
    def file(self) -> tuple[int, int]:
        """Size of the file that streams by, and the bytes of it still to come; zeros between files."""
        return (self._size, self._left) if self._left else (0, 0)

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes.

        Raises:
            TritonBuildError: They are not those of a tar that can be a layer.
        """
        position, size = 0, len(chunk)
        if self._partial:
            missing = BLOCK - len(self._partial)
            self._partial += chunk[:missing]
            position = min(missing, size)
            if len(self._partial) < BLOCK:
                self.offset += size
                return
            header, self._partial = self._partial, b""
            self._header(header, self.offset + position)
        while position < size:
            if self._left:
                take = min(self._left, size - position)
                if self._pieces is not None:
                    self._keep(self._pieces, chunk, position, take)
                if self.observer is not None and self.observer.wants:
                    self.observer.content(memoryview(chunk)[position : position + take])
                self._left -= take
                position += take
                if not self._left:
                    self._end()
            elif self._padding:
                take = min(self._padding, size - position)
                self._padding -= take
                position += take
            elif size - position < BLOCK:
                self._partial = chunk[position:]
                position = size
            else:
                self._header(chunk[position : position + BLOCK], self.offset + position + BLOCK)
                position += BLOCK
        self.offset += size

    def close(self) -> None:
        """Raise `TritonBuildError` if the tar ends in the middle of an entry."""
        if self._left or self._partial:
            raise broken(self.what, "its tar ends early")

    def _header(self, header: bytes, offset: int) -> None:
        """Take a header block; *offset* is where its content begins."""
        if self._ended or header == _ZEROS:
            # Two blocks of zeros end a tar; bytes behind them are no part of it.
            self._ended = True
            return
        if number(header[148:156], what=self.what) != checksum(header):
            raise broken(self.what, f"its tar has no header at byte {offset - BLOCK}")
        kind = chr(header[156])
        if kind in EXTENSIONS:
            self._begin_extension(kind, number(header[124:136], what=self.what))
            return
        if self._pax_of_all:
            self._more.pax = {**self._pax_of_all, **self._more.pax}
        entry = entry_of(header, self._more, offset, what=self.what)
        self._more = Extensions()
        if len(self.columns) >= _MOST_ENTRIES:
            raise broken(self.what, f"it has more than {_MOST_ENTRIES} entries")
        self._number = self.columns.add(entry)
        if self.observer is not None:
            self.observer.entry(self._number, entry)
        self._begin_entry(entry)

    def _begin_extension(self, kind: str, size: int) -> None:
        if self.observer is not None:
            self.observer.wants = False
        if size > _LONGEST_EXTENSION:
            raise broken(self.what, f"a header of {size} bytes in its tar is too long")
        ends = {"x": self._end_pax, "g": self._end_pax_of_all, "L": self._end_long_name, "K": self._end_long_target}
        self._begin(size, ends[kind])
        if not size:
            self._end()

    def _begin_entry(self, entry: Entry) -> None:
        self._path = entry.path
        if entry.kind != FILE or not entry.size or posixpath.basename(entry.path).startswith(WHITEOUT):
            self._begin(entry.size, None)
        elif self.keep(entry.path) and entry.size <= _LONGEST_CONTENT:
            self._begin(entry.size, self._end_content)
        elif entry.path.endswith(".py") and entry.size <= _LARGEST_PYTHON:
            self._begin(entry.size, self._end_python)
        elif entry.size > len(elf.MAGIC):
            self._names = NameSearch()
            self._begin(entry.size, self._end_elf, probe=True)
        else:
            self._begin(entry.size, None)

    def _begin(self, size: int, at_end: Callable[[], None] | None, *, probe: bool = False) -> None:
        """Begin a content of *size* bytes, which is kept for *at_end*; *probe* drops it if it is no ELF file."""
        self._size = self._left = size
        self._padding = -size % BLOCK
        self._at_end, self._probe = at_end, probe
        self._pieces = None if at_end is None else []

    def _end(self) -> None:
        if self._at_end is not None:
            self._at_end()
        self._pieces = self._at_end = None

    def _keep(self, pieces: list[tuple[int, bytes]], chunk: bytes, position: int, take: int) -> None:
        seen = self._size - self._left
        if self._probe:
            start = b"".join(piece for _, piece in pieces) + chunk[position : position + min(take, len(elf.MAGIC))]
            if len(start) < len(elf.MAGIC) and take < self._left:
                pieces.append((seen, chunk[position : position + take]))
                return
            self._probe = False
            if not start.startswith(elf.MAGIC):
                self._pieces = self._at_end = None
                return
        piece = chunk if take == len(chunk) else chunk[position : position + take]
        pieces.append((seen, piece))
        if self._at_end == self._end_elf:
            self._names.add(piece)
            # Behind the head, the last few megabytes alone are kept.
            while (drop := _beyond(pieces, seen)) is not None:
                del pieces[drop]

    def _end_elf(self) -> None:
        pieces = self._pieces or []

        def read(start: int, length: int) -> bytes:
            stop, out, at = start + length, [], start
            for begin, piece in pieces:
                if begin <= at < begin + len(piece):
                    out.append(piece[at - begin : min(stop, begin + len(piece)) - begin])
                    at += len(out[-1])
                    if at >= stop:
                        return b"".join(out)
            raise elf.NotThereError

        found: Elf | None = None
        try:
            found = self.elves[self._number] = elf.parse(read)
        except elf.BrokenError:
            return
        except elf.NotThereError:
            if self._size > KEPT_HEAD:
                self.late.append(self._number)
        if names := self._names.names(without=(*found.needed, found.soname) if found else ()):
            self.opened[self._number] = names

    def _kept(self) -> bytes:
        return b"".join(piece for _, piece in self._pieces or [])

    def _end_python(self) -> None:
        if names := in_python(self._kept()):
            self.opened[self._number] = names

    def _end_content(self) -> None:
        self.contents[self._path] = self._kept()

    def _end_pax(self) -> None:
        self._more.pax = pax_records(self._kept(), what=self.what)

    def _end_pax_of_all(self) -> None:
        self._pax_of_all |= pax_records(self._kept(), what=self.what)

    def _end_long_name(self) -> None:
        self._more.name = text(self._kept())

    def _end_long_target(self) -> None:
        self._more.target = text(self._kept())


def _beyond(pieces: list[tuple[int, bytes]], seen: int) -> int | None:
    """Return the index of a piece between the head and the tail that are kept; None if there is none."""
    if seen <= KEPT_HEAD + _KEPT_TAIL:
        return None
    return next((index for index, (at, _) in enumerate(pieces) if KEPT_HEAD <= at < seen - _KEPT_TAIL), None)
