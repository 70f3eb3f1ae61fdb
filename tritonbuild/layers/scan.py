"""Reading a tar as it streams by: its entries, the ELF files in it, the contents of a few small files.

`tarfile` makes an object of thirty attributes of each member and reads through a file object; this reads what a layer
needs, in one pass over chunks of any size. Formats: ustar, GNU long names and big numbers, pax.
"""

from __future__ import annotations

import base64
import posixpath
from collections.abc import Callable
from typing import Final, Protocol

from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import elf
from tritonbuild.layers.elf import Elf
from tritonbuild.layers.entry import FILE, HARD_LINK, WHITEOUT, Entry
from tritonbuild.layers.headers import checksum
from tritonbuild.layers.layerindex import Columns
from tritonbuild.layers.opened import NameSearch, in_python
from tritonbuild.oci.descriptors import broken

BLOCK: Final = 512
KEPT_HEAD: Final = 48 << 20
"""Bytes of an ELF file that are kept while it streams by; names and versions stand at its start."""
_KEPT_TAIL: Final = 4 << 20
_LONGEST_HEADER: Final = 1 << 20
_LONGEST_CONTENT: Final = 16 << 20
_LARGEST_PYTHON: Final = 1 << 20
_MOST_ENTRIES: Final = 8_000_000
_XATTR: Final = "SCHILY.xattr."
_KINDS: Final = frozenset("0123456")


class Watcher(Protocol):
    """Is told what a scanner finds."""

    wants: bool
    """Whether it wants the content of the entry it was told of last."""

    def entry(self, place: int, entry: Entry) -> None:
        """Take an entry."""
        ...

    def content(self, piece: memoryview) -> None:
        """Take a piece of the content of the last entry."""
        ...


class Scanner:
    """Takes a tar in chunks.

    Args:
        what: What is read, for messages.
        keep: Which paths' contents are kept.
        watch: Told of every entry and of the contents it wants.
    """

    def __init__(self, *, what: str, keep: Callable[[str], bool], watch: Watcher | None = None) -> None:
        self.what = what
        self.watch = watch
        self.keep = keep
        self.columns = Columns()
        self.elves: dict[int, Elf] = {}
        self.late: list[int] = []
        """Places of ELF files of which a piece that is needed went by before it was known to be needed."""
        self.contents: dict[str, bytes] = {}
        self.opened: dict[int, tuple[str, ...]] = {}
        self._names = NameSearch()
        self.offset = 0
        self._partial = b""
        self._left = 0
        self._padding = 0
        self._pieces: list[tuple[int, bytes]] | None = None
        self._done: Callable[[], None] | None = None
        self._member: Entry | None = None
        self._place = 0
        self._probe = False
        self._pax: dict[str, str] = {}
        self._pax_global: dict[str, str] = {}
        self._long_name: str | None = None
        self._long_target: str | None = None
        self._ended = False

    @property
    def file(self) -> tuple[int, int]:
        """Size of the file that streams by, and how many bytes of it are to come; zeros between files."""
        return (self._member.size, self._left) if self._member is not None and self._left else (0, 0)

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
                    self._keep(chunk, position, take)
                if self.watch is not None and self.watch.wants:
                    self.watch.content(memoryview(chunk)[position : position + take])
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
        """Raise `TritonBuildError` if the tar ended in the middle of something."""
        if self._left or self._partial:
            raise broken(self.what, "the archive in it ends early")

    def _keep(self, chunk: bytes, position: int, take: int) -> None:
        member, pieces = self._member, self._pieces
        if member is None or pieces is None:
            return
        seen = member.size - self._left
        if self._probe:
            # The first bytes say whether it is an ELF file at all.
            start = b"".join(piece for _, piece in pieces) + chunk[position : position + min(take, 4)]
            if len(start) < len(elf.MAGIC) and take < self._left:
                pieces.append((seen, chunk[position : position + take]))
                return
            self._probe = False
            if not start.startswith(elf.MAGIC):
                self._pieces = self._done = None
                return
        piece = chunk if take == len(chunk) else chunk[position : position + take]
        pieces.append((seen, piece))
        if self._done == self._end_elf:
            self._names.add(piece)
            while len(pieces) > 1 and pieces[-1][0] - pieces[-2][0] and seen - KEPT_HEAD > _KEPT_TAIL:
                # Beyond the head only the newest few megabytes stay.
                drop = next((i for i, (at, old) in enumerate(pieces) if KEPT_HEAD <= at < seen - _KEPT_TAIL), None)
                if drop is None:
                    break
                del pieces[drop]

    def _end(self) -> None:
        if self._done is not None:
            self._done()
        self._pieces = self._done = None

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
            found = self.elves[self._place] = elf.parse(read)
        except elf.BrokenError:
            return
        except elf.NotThereError:
            if self._member and self._member.size > KEPT_HEAD:
                self.late.append(self._place)
        if names := self._names.names(without=(*found.needed, found.soname) if found else ()):
            self.opened[self._place] = names

    def _joined(self) -> bytes:
        return b"".join(piece for _, piece in self._pieces or [])

    def _end_python(self) -> None:
        if names := in_python(self._joined()):
            self.opened[self._place] = names

    def _end_content(self) -> None:
        if self._member:
            self.contents[self._member.path] = self._joined()

    def _end_pax(self) -> None:
        self._pax = _pax(self._joined(), self.what)

    def _end_pax_global(self) -> None:
        self._pax_global |= _pax(self._joined(), self.what)

    def _end_long_name(self) -> None:
        self._long_name = _text(self._joined())

    def _end_long_target(self) -> None:
        self._long_target = _text(self._joined())

    def _header(self, header: bytes, data: int) -> None:  # noqa: C901 - field by field
        """Take a header; *data* is where what follows it begins."""
        if self._ended or header == _ZEROS:
            # Two blocks of zeros end a tar; what stands behind them is no part of it.
            self._ended = True
            return
        if _number(header[148:156], self.what) != checksum(header):
            raise broken(self.what, f"at byte {data - BLOCK} of the archive in it is no header")
        kind = chr(header[156])
        size = _number(header[124:136], self.what)
        if kind in "xgLK":
            self._extension(kind, size)
            return
        pax = {**self._pax_global, **self._pax}
        size = _decimal(pax["size"], self.what) if "size" in pax else size
        if kind in {"\0", "7"}:
            kind = FILE
        name, target = _text(header[:100]), _text(header[157:257])
        if header[257:262] == b"ustar" and header[257:265] != b"ustar  \0" and header[345]:
            name = f"{_text(header[345:500])}/{name}"
        name = pax.get("path", self._long_name or name)
        if kind == FILE and name.endswith("/"):
            kind = "5"
        if kind not in _KINDS:
            raise TritonBuildError(
                f"{self.what} has an entry of type {kind!r}, which cannot be read: {name!r}",
                hint="write the image anew with a current engine; sparse files and multi-volume archives are not taken",
            )
        target = pax.get("linkpath", self._long_target or target)
        path = inside(name, what=self.what)
        if kind == HARD_LINK:
            target = inside(target, what=self.what)
        member = Entry(
            path=path,
            kind=kind,
            mode=_number(header[100:108], self.what) & 0o7777,
            uid=_decimal(pax["uid"], self.what) if "uid" in pax else _number(header[108:116], self.what),
            gid=_decimal(pax["gid"], self.what) if "gid" in pax else _number(header[116:124], self.what),
            mtime=int(float(pax["mtime"]) // 1) if "mtime" in pax else _number(header[136:148], self.what),
            size=size if kind == FILE else 0,
            offset=data,
            target=target if kind in "12" else "",
            attributes={
                name[len(_XATTR) :]: base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
                for name, value in pax.items()
                if name.startswith(_XATTR)
            },
        )
        self._pax, self._long_name, self._long_target = {}, None, None
        if len(self.columns.kinds) >= _MOST_ENTRIES:
            raise broken(self.what, f"it has more than {_MOST_ENTRIES} entries")
        self._place = self.columns.add(member)
        if self.watch is not None:
            self.watch.entry(self._place, member)
        self._begin(member)

    def _extension(self, kind: str, size: int) -> None:
        if self.watch is not None:
            self.watch.wants = False
        if size > _LONGEST_HEADER:
            raise broken(self.what, f"a header of {size} bytes is too long")
        self._left, self._padding = size, -size % BLOCK
        self._member, self._probe = None, False
        ends = {"x": self._end_pax, "g": self._end_pax_global, "L": self._end_long_name, "K": self._end_long_target}
        self._done = ends[kind]
        self._member = Entry(path="", kind=kind, mode=0, uid=0, gid=0, mtime=0, size=size, offset=0)
        self._pieces = []
        if not size:
            self._end()

    def _begin(self, member: Entry) -> None:
        self._member = member
        self._left, self._padding = member.size, -member.size % BLOCK
        self._pieces = self._done = None
        if member.kind != FILE or not member.size or posixpath.basename(member.path).startswith(WHITEOUT):
            return
        if self.keep(member.path) and member.size <= _LONGEST_CONTENT:
            self._pieces, self._done, self._probe = [], self._end_content, False
        elif member.path.endswith(".py") and member.size <= _LARGEST_PYTHON:
            self._pieces, self._done, self._probe = [], self._end_python, False
        elif member.size > len(elf.MAGIC):
            self._pieces, self._done, self._probe = [], self._end_elf, True
            self._names = NameSearch()


_ZEROS: Final = bytes(BLOCK)


def inside(name: str, *, what: str) -> str:
    """Return the path *name* of an archive without what says nothing.

    Raises:
        TritonBuildError: It leads out of the archive's root.
    """
    parts = [part for part in name.split("/") if part not in {"", "."}]
    if ".." in parts or "\0" in name:
        raise TritonBuildError(f"{what} has an entry outside of its root: {name!r}", hint="do not use this image")
    return "/".join(parts)


def _text(raw: bytes) -> str:
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def _number(field: bytes, what: str) -> int:
    if field[0] & 0x80:
        value = int.from_bytes(field, "big", signed=False) & ((1 << (8 * len(field) - 1)) - 1)
        return value - (1 << (8 * len(field) - 1)) if field[0] == 0xFF else value  # noqa: PLR2004 - a negative number
    text = field.strip(b" \0")
    try:
        return int(text, 8) if text else 0
    except ValueError:
        raise broken(what, f"{text!r} in the archive in it is not a number") from None


def _decimal(text: str, what: str) -> int:
    if not (text.isascii() and text.isdigit()):
        raise broken(what, f"{text!r} in the archive in it is not a number")
    return int(text)


def _pax(raw: bytes, what: str) -> dict[str, str]:
    records: dict[str, str] = {}
    place = 0
    while place < len(raw) and raw[place]:
        blank = raw.find(b" ", place, place + 20)
        digits = raw[place:blank]
        if blank < 0 or not digits.isdigit() or int(digits) <= len(digits) + 2 or place + int(digits) > len(raw):
            raise broken(what, "an extended header in it cannot be read")
        record = raw[blank + 1 : place + int(digits) - 1]
        name, _, value = record.partition(b"=")
        records[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        place += int(digits)
    return records
