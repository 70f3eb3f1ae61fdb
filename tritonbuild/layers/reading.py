"""Reading ranges of an indexed layer: only the pieces that are needed are fetched, and every byte is verified."""

from __future__ import annotations

import bisect
import contextlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator, Sequence
from typing import Final

import attrs
from blake3 import blake3

from tritonbuild.layers import elf
from tritonbuild.layers.deflate import Point
from tritonbuild.layers.entry import Entry
from tritonbuild.layers.inflate import inflater
from tritonbuild.layers.layerindex import GRAIN, LayerIndex
from tritonbuild.oci.descriptors import Descriptor, Origin, broken
from tritonbuild.threads import ahead

_ELF_BLOCK: Final = 1 << 16
"""Bytes of a file that `_File` reads at once: version records follow each other, a few bytes each."""


@attrs.frozen(kw_only=True)
class Layer:
    """A layer of a source image: its blob, the origin that has it, and its index."""

    blob: Descriptor
    origin: Origin
    index: LayerIndex

    @property
    def what(self) -> str:
        """The name of the layer in messages."""
        return f"layer {self.blob.digest[:19]} of {self.origin.name}"


@attrs.frozen
class _Run:
    """Ranges that are read in one pass.

    Attributes:
        point: The restart point to begin at; None for the start of the blob.
        start: Offset in the blob of the first byte to read.
        stop: Offset in the blob behind the last one.
        ranges: Number, offset and size of each range.
    """

    point: Point | None
    start: int
    stop: int
    ranges: tuple[tuple[int, int, int], ...]


def _runs(index: LayerIndex, ranges: Iterable[tuple[int, int]]) -> Iterator[_Run]:
    """Yield runs: a new one begins where a later restart point makes the gap between two ranges shorter to skip."""
    offsets = [point.offset for point in index.points]
    group: list[tuple[int, int, int]] = []
    begin = reached = -1
    for number, (offset, size) in enumerate(ranges):
        at = bisect.bisect_right(offsets, offset) - 1
        apart = offset > reached + GRAIN if not index.compression else at > bisect.bisect_left(offsets, reached)
        if group and apart:
            yield _run(index, offsets, begin, group)
            group = []
        if not group:
            begin = at
        group.append((number, offset, size))
        reached = offset + size
    if group:
        yield _run(index, offsets, begin, group)


def _run(index: LayerIndex, offsets: Sequence[int], begin: int, group: Sequence[tuple[int, int, int]]) -> _Run:
    end = max(offset + size for _, offset, size in group)
    if not index.compression:
        return _Run(None, group[0][1], min(end, index.blob_size), tuple(group))
    after = bisect.bisect_left(offsets, end)
    stop = min(index.points[after].byte + 1, index.blob_size) if after < len(offsets) else index.blob_size
    point = index.points[begin] if begin >= 0 else None
    return _Run(point, point.byte if point else 0, stop, tuple(group))


def grains(layer: Layer, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of the blob from *start* to the end of the grain with the byte *stop*, verified grain by grain.

    Raises:
        TritonBuildError: The blob has changed since it was indexed.
    """
    index = layer.index
    number = start // GRAIN
    stop = min(-(-stop // GRAIN) * GRAIN, index.blob_size)
    held: list[bytes] = []
    left = min(GRAIN, index.blob_size - number * GRAIN)
    digest = blake3()
    for chunk in layer.origin.read(layer.blob, number * GRAIN, stop):
        rest = chunk
        while rest:
            part = rest[:left]
            if not part:
                raise broken(layer.what, f"it has more than {index.blob_size} bytes")
            rest = rest[len(part) :]
            left -= len(part)
            held.append(part)
            digest.update(part)
            if left:
                continue
            if digest.digest() != index.grains[32 * number : 32 * number + 32]:
                raise broken(layer.what, f"the {GRAIN >> 20} MiB at byte {number * GRAIN} have another digest")
            skip = max(0, start - number * GRAIN)
            for piece in held:
                if skip < len(piece):
                    yield piece[skip:]
                skip = max(0, skip - len(piece))
            number += 1
            held, digest = [], blake3()
            left = min(GRAIN, index.blob_size - number * GRAIN)
    if held or number * GRAIN < stop:
        raise broken(layer.what, "it ends early")


def _inflated(layer: Layer, run: _Run) -> Iterator[tuple[int, bytes]]:
    """Yield the uncompressed pieces of a run, each with its offset in the uncompressed layer."""
    unpack = inflater(layer.index.compression, what=layer.what, point=run.point)
    offset = run.point.offset if run.point else (0 if layer.index.compression else run.start)
    for chunk in grains(layer, run.start, run.stop):
        for piece in unpack.feed(chunk):
            yield offset, piece
            offset += len(piece)


def read_ranges(layer: Layer, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of ranges of the uncompressed layer, each with the number of its range.

    Args:
        layer: The layer.
        ranges: Offset and size of each range, by rising offset and without overlap.

    Raises:
        TritonBuildError: The blob has changed since it was indexed.
    """
    for run in _runs(layer.index, ranges):
        pieces = ahead(_inflated(layer, run), depth=6)
        try:
            wanted = yield from _cut(pieces, run.ranges)
        finally:
            pieces.close()
        if wanted:
            raise broken(layer.what, "it ends early")


def _cut(
    pieces: Iterable[tuple[int, bytes]], ranges: Iterable[tuple[int, int, int]]
) -> Generator[tuple[int, bytes], None, bool]:
    """Yield the parts of *pieces* that are in *ranges*; return whether some of these were not reached."""
    wanted = deque((number, start, start + size) for number, start, size in ranges if size)
    for at, piece in pieces:
        end = at + len(piece)
        while wanted and wanted[0][1] < end:
            number, start, stop = wanted[0]
            yield number, piece[max(start - at, 0) : stop - at]
            if stop > end:
                break
            wanted.popleft()
        if not wanted:
            break
    return bool(wanted)


def complete(layer: Layer, late: Iterable[int]) -> LayerIndex:
    """Return the index of *layer* with the metadata of the ELF files *late*, which `indexing` could not read."""
    found = dict(layer.index.elves)
    for number in late:
        with contextlib.suppress(elf.BrokenError):
            found[number] = elf.parse(_File(layer, layer.index.entry(number)).read)
    return attrs.evolve(layer.index, elves=found)


class _File:
    """A file of a layer that is read by offset; small reads share blocks."""

    def __init__(self, layer: Layer, entry: Entry) -> None:
        self._layer = layer
        self._entry = entry
        self._blocks: dict[int, bytes] = {}

    def read(self, start: int, length: int) -> bytes:
        """Return *length* bytes from *start*; raise `elf.BrokenError` if the file is shorter."""
        if start + length > self._entry.size:
            raise elf.BrokenError
        if length > _ELF_BLOCK:
            return self._read(start, length)
        first = start // _ELF_BLOCK
        both = self._block(first) + (self._block(first + 1) if start + length > (first + 1) * _ELF_BLOCK else b"")
        at = start - first * _ELF_BLOCK
        return both[at : at + length]

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start = number * _ELF_BLOCK
            self._blocks[number] = self._read(start, min(_ELF_BLOCK, self._entry.size - start))
        return self._blocks[number]

    def _read(self, start: int, length: int) -> bytes:
        return b"".join(piece for _, piece in read_ranges(self._layer, [(self._entry.offset + start, length)]))
