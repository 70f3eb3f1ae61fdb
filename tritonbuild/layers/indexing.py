"""Reading a layer once: everything that planning, and reading parts of it later, needs to know."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from typing import Any, Final

from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import deflate
from tritonbuild.layers.component import Watch
from tritonbuild.layers.deflate import Point
from tritonbuild.layers.inflate import Gzip, compression, inflater
from tritonbuild.layers.layerindex import Grains, LayerIndex
from tritonbuild.layers.scan import Scanner
from tritonbuild.oci.descriptors import Descriptor, broken, verified
from tritonbuild.threads import ahead, go_on

CHUNK: Final = 1 << 20

SPACING: Final = 16 << 20
"""Bytes of a blob between restart points: what is read needlessly at most, when a piece is read later."""

LARGE: Final = 8 << 20
"""Bytes from which on a file has restart points near its beginning and its end, and `_FAR` times fewer between."""

_FAR: Final = 4
_PAUSE: Final = 4 << 20
"""Bytes of a blob after which a restart point is looked for again, where none was found."""

_SEARCHED: Final = 1 << 18
_COMPARED: Final = 1 << 18

_LARGEST: Final = 16 << 30
_MOST_EXPANSION: Final = 200
"""No layer of files comes near; one that does is made to fill a disk."""

_KEPT: Final = re.compile(
    r"etc/(?:passwd|group|shadow|gshadow|ld\.so\.conf|ld\.so\.conf\.d/[^/]+|os-release|lsb-release)"
    r"|usr/lib/os-release|var/lib/dpkg/status|var/lib/dpkg/status\.d/[^/]+|var/lib/dpkg/info/[^/]+\.list"
    r"|.*\.dist-info/METADATA|.*\.egg-info(?:/PKG-INFO)?|.*/pyvenv\.cfg"
)


def keep(path: str) -> bool:
    """Whether the content of the file *path* is part of an index: what planning and the bill of materials read."""
    return _KEPT.fullmatch(path) is not None


class _Points:
    """Finds restart points while a blob is decompressed.

    Args:
        gzip: What decompresses it.
        scanner: What reads the tar in it.
    """

    def __init__(self, gzip: Gzip, scanner: Scanner) -> None:
        self.gzip = gzip
        self.scanner = scanner
        self.found: list[Point] = []
        self.offset = 0
        self._reached = 0
        self._pause = 0
        self._yielded = 0
        self._tail = b""

    def _wanted(self, start: int) -> bool:
        """Whether there is to be a point at *start* in the blob."""
        if start < self._pause or not self.gzip.inside:
            return False
        size, left = self.scanner.file
        passed = size - left
        if size < LARGE or not left:
            return start >= self._reached + SPACING
        if start >= self._reached + _FAR * SPACING:
            return True
        if passed < deflate.WINDOW:
            return False
        first = not self.found or self.found[-1].offset < self.offset - passed + deflate.WINDOW
        return first or left < 2 * self._yielded

    def pieces(self, chunk: bytes, start: int) -> Iterator[bytes]:
        """Yield what *chunk*, at *start* in the blob, comes to."""
        wanted, before = self._wanted(start), self.offset
        yield from self._pointed(chunk, start) if wanted else self._counted(chunk)
        self._yielded = self.offset - before

    def _pointed(self, chunk: bytes, start: int) -> Iterator[bytes]:
        """Yield what *chunk* comes to, and note a point in it if there is one."""
        self._pause = start + _PAUSE
        bit = deflate.find(chunk[:_SEARCHED])
        if bit is None:
            yield from self._counted(chunk)
            return
        cut = (bit + 7) // 8
        yield from self._counted(chunk[:cut])
        if not self.gzip.inside:
            yield from self._counted(chunk[cut:])
            return
        point = Point(
            byte=start + bit // 8,
            bit=bit % 8,
            offset=self.offset,
            window=self._tail[-deflate.WINDOW :],
            member=self.gzip.members,
        )
        after = b""
        for piece in self._counted(chunk[cut:]):
            if len(after) < _COMPARED:
                after += piece[: _COMPARED - len(after)]
            yield piece
        if _yields(point, chunk[bit // 8 :], after):
            self.found.append(point)
            self._reached, self._pause = start, 0

    def _counted(self, chunk: bytes) -> Iterator[bytes]:
        for piece in self.gzip.feed(chunk):
            self.offset += len(piece)
            size = len(piece)
            self._tail = piece if size >= deflate.WINDOW else (self._tail + piece)[-deflate.WINDOW :]
            yield piece


def _yields(point: Point, stream: bytes, expected: bytes) -> bool:
    """Whether decompression at *point* of *stream* yields what came when the whole blob was decompressed."""
    if not expected:
        return False
    again = Gzip(what="", point=point)
    found = b""
    try:
        for piece in again.feed(stream):
            found += piece
            if len(found) >= len(expected):
                break
    except TritonBuildError:
        return False
    return found[: len(expected)] == expected


def _hashed(chunks: Iterable[bytes], grains: Grains) -> Iterator[bytes]:
    """Pass *chunks* on, and to *grains*."""
    for chunk in chunks:
        grains.add(chunk)
        yield chunk


def _even(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield *chunks* in pieces of equal size: restart points must not depend on how a blob came."""
    held, size = [], 0
    for chunk in chunks:
        rest = chunk
        while rest:
            part = rest[: CHUNK - size]
            held.append(part)
            size += len(part)
            rest = rest[len(part) :]
            if size == CHUNK:
                yield held[0] if len(held) == 1 else b"".join(held)
                held, size = [], 0
    if held:
        yield b"".join(held)


def read(blob: Descriptor, chunks: Iterable[bytes], *, what: str) -> tuple[LayerIndex, tuple[int, ...]]:
    """Read a layer to its end.

    Args:
        blob: What it has to be.
        chunks: Its bytes, as they come.
        what: What to call it in messages.

    Returns:
        Its index, and the places of entries that are ELF files of which too much went by: `complete` adds them.

    Raises:
        TritonBuildError: It is not that blob, or not a layer.
    """
    grains = Grains()
    watch = Watch()
    scanner = Scanner(what=what, keep=keep, watch=watch)
    kind: str | None = None
    unpack: Any = None
    points: _Points | None = None
    size = position = 0
    stream = ahead(_even(_hashed(verified(chunks, blob, what=what), grains)))
    try:
        for chunk in stream:
            go_on()
            if kind is None:
                kind = compression(chunk)
                unpack = inflater(kind, what=what)
                points = _Points(unpack, scanner) if isinstance(unpack, Gzip) else None
            for piece in points.pieces(chunk, position) if points else unpack.feed(chunk):
                size += len(piece)
                if size > _LARGEST and size > _MOST_EXPANSION * blob.size:
                    raise broken(what, f"it unpacks to more than {_MOST_EXPANSION} times its size")
                scanner.feed(piece)
            position += len(chunk)
        folders = watch.close()
    finally:
        stream.close()
        watch.__exit__()
    if unpack is None or not unpack.ended:
        raise broken(what, "it ends early")
    scanner.close()
    index = scanner.columns.index(
        digest=blob.digest,
        blob_size=blob.size,
        size=size,
        compression=kind or "",
        grains=grains.digests(),
        points=tuple(points.found) if points else (),
        elves=scanner.elves,
        contents=scanner.contents,
        folders=folders,
        opened=scanner.opened,
    )
    return index, tuple(scanner.late)
