"""Indexing a layer: one pass over the blob finds everything that planning and later partial reads need."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from typing import Final

from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import deflate
from tritonbuild.layers.component import ComponentSums
from tritonbuild.layers.deflate import Point
from tritonbuild.layers.inflate import Gzip, Plain, Zstd, compression, inflater
from tritonbuild.layers.layerindex import Grains, LayerIndex
from tritonbuild.layers.scan import Scanner
from tritonbuild.oci.descriptors import Descriptor, broken, verified
from tritonbuild.threads import ahead, go_on

CHUNK: Final = 1 << 20

SPACING: Final = 16 << 20
"""Bytes of a blob between restart points: the most that a later partial read decompresses in vain."""

LARGE: Final = 8 << 20
"""Bytes from which a file has restart points near its beginning and its end, and `_FAR` times fewer between."""

_FAR: Final = 4
_PAUSE: Final = 4 << 20
"""Bytes of a blob after a vain search for a restart point until the next search."""

_SEARCHED: Final = 1 << 18
_COMPARED: Final = 1 << 18

_LARGEST: Final = 16 << 30
_MOST_EXPANSION: Final = 200
"""Both limits together: real layers stay far below, and one that exceeds them is meant to fill a disk."""

_KEPT: Final = re.compile(
    r"etc/(?:passwd|group|shadow|gshadow|ld\.so\.conf|ld\.so\.conf\.d/[^/]+|os-release|lsb-release)"
    r"|usr/lib/os-release|var/lib/dpkg/status|var/lib/dpkg/status\.d/[^/]+|var/lib/dpkg/info/[^/]+\.list"
    r"|.*\.dist-info/METADATA|.*\.egg-info(?:/PKG-INFO)?|.*/pyvenv\.cfg"
)


def keep(path: str) -> bool:
    """Whether an index keeps the content of the file *path*: planning or the bill of materials reads it."""
    return _KEPT.fullmatch(path) is not None


class _Points:
    """A finder of restart points while a blob is decompressed.

    Args:
        gzip: The decompressor of the blob.
        scanner: The scanner of the tar in it.
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
        """Whether a point is wanted at *start* in the blob."""
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
        """Decompress *chunk*, which is at *start* in the blob."""
        wanted, before = self._wanted(start), self.offset
        yield from self._pointed(chunk, start) if wanted else self._counted(chunk)
        self._yielded = self.offset - before

    def _pointed(self, chunk: bytes, start: int) -> Iterator[bytes]:
        """Decompress *chunk*, and note a point in it if one is found."""
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
    """Whether decompression of *stream* from *point* yields the bytes that the whole blob did."""
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
    """Yield *chunks*, and add them to *grains*."""
    for chunk in chunks:
        grains.add(chunk)
        yield chunk


def _even(chunks: Iterable[bytes]) -> Iterator[bytes]:
    """Yield *chunks* in pieces of equal size, so that restart points do not depend on how the blob was transferred."""
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


def index_layer(
    blob: Descriptor, chunks: Iterable[bytes], *, what: str, diff_algorithm: str = ""
) -> tuple[LayerIndex, tuple[int, ...]]:
    """Read a layer to its end and index it. A blob without bytes is a layer without entries.

    Args:
        blob: The descriptor that the bytes must match.
        chunks: The bytes of the blob, in pieces of any size.
        what: The name of the layer in messages.
        diff_algorithm: The algorithm of the diff ID to compute; none is computed by default, to save time.

    Returns:
        The index, and the numbers of ELF files whose metadata `reading.complete` has to add.

    Raises:
        TritonBuildError: The bytes are not those of the blob, or the blob is not a layer.
    """
    grains = Grains()
    sums = ComponentSums()
    scanner = Scanner(what=what, keep=keep, observer=sums)
    kind = ""
    unpack: Gzip | Zstd | Plain = Plain()
    points: _Points | None = None
    diff = hashlib.new(diff_algorithm) if diff_algorithm else None
    size = position = 0
    stream = ahead(_even(_hashed(verified(chunks, blob, what=what), grains)))
    try:
        for chunk in stream:
            go_on()
            if not position:
                kind = compression(chunk)
                unpack = inflater(kind, what=what)
                points = _Points(unpack, scanner) if isinstance(unpack, Gzip) else None
            for piece in points.pieces(chunk, position) if points else unpack.feed(chunk):
                size += len(piece)
                if size > _LARGEST and size > _MOST_EXPANSION * blob.size:
                    raise broken(what, f"it unpacks to more than {_MOST_EXPANSION} times its size")
                if diff is not None:
                    diff.update(piece)
                scanner.feed(piece)
            position += len(chunk)
        folders = sums.close()
    finally:
        stream.close()
        sums.__exit__()
    if not unpack.ended:
        raise broken(what, "it ends early")
    scanner.close()
    index = scanner.columns.index(
        digest=blob.digest,
        blob_size=blob.size,
        size=size,
        diff_id=f"{diff_algorithm}:{diff.hexdigest()}" if diff is not None else "",
        compression=kind,
        grains=grains.digests(),
        points=tuple(points.found) if points else (),
        elves=scanner.elves,
        contents=scanner.contents,
        folders=folders,
        opened=scanner.opened,
    )
    return index, tuple(scanner.late)
