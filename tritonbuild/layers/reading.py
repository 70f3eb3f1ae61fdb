"""Reading pieces of a layer that has an index: only what is needed is fetched, and all that is used is verified."""

from __future__ import annotations

import bisect
from collections.abc import Iterable, Iterator, Sequence

import attrs
from blake3 import blake3

from tritonbuild.layers import elf
from tritonbuild.layers.deflate import Point
from tritonbuild.layers.inflate import inflater
from tritonbuild.layers.layerindex import GRAIN, LayerIndex
from tritonbuild.oci.descriptors import Descriptor, Origin, broken
from tritonbuild.threads import ahead


@attrs.frozen(kw_only=True)
class Layer:
    """A layer of a source image: what it is, where it comes from, and what is known of it."""

    blob: Descriptor
    origin: Origin
    index: LayerIndex

    @property
    def what(self) -> str:
        """What to call it in messages."""
        return f"layer {self.blob.digest[:19]} of {self.origin.name}"


@attrs.frozen
class _Run:
    """Ranges that are read in one go: where to begin and to stop in the blob, and the ranges (number, offset, size)."""

    point: Point | None
    start: int
    stop: int
    ranges: tuple[tuple[int, int, int], ...]


def _runs(index: LayerIndex, ranges: Sequence[tuple[int, int]]) -> Iterator[_Run]:
    offsets = [point.offset for point in index.points]
    group: list[tuple[int, int, int]] = []
    begin = reached = -1

    def run() -> _Run:
        end = max(offset + size for _, offset, size in group)
        if not index.compression:
            return _Run(None, group[0][1], min(end, index.blob_size), tuple(group))
        after = bisect.bisect_left(offsets, end)
        stop = min(index.points[after].byte + 1, index.blob_size) if after < len(offsets) else index.blob_size
        point = index.points[begin] if begin >= 0 else None
        return _Run(point, point.byte if point else 0, stop, tuple(group))

    for number, (offset, size) in enumerate(ranges):
        at = bisect.bisect_right(offsets, offset) - 1
        apart = offset > reached + GRAIN if not index.compression else at > bisect.bisect_left(offsets, reached)
        if group and apart:
            yield run()
            group = []
        if not group:
            begin = at
        group.append((number, offset, size))
        reached = offset + size
    if group:
        yield run()


def grains(layer: Layer, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of the blob from *start* to the end of the grain that has *stop*, verified grain by grain."""
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
                raise broken(layer.what, "it has more bytes than it should")
            rest = rest[len(part) :]
            left -= len(part)
            held.append(part)
            digest.update(part)
            if left:
                continue
            if digest.digest() != index.grains[32 * number : 32 * number + 32]:
                raise broken(layer.what, f"the {GRAIN >> 20} MiB from byte {number * GRAIN} on are not what they were")
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


def _plain(layer: Layer, run: _Run) -> Iterator[tuple[int, bytes]]:
    """Yield what a run yields, with its offset in the uncompressed layer."""
    unpack = inflater(layer.index.compression, what=layer.what, point=run.point)
    offset = run.point.offset if run.point else (0 if layer.index.compression else run.start)
    for chunk in grains(layer, run.start, run.stop):
        for piece in unpack.feed(chunk):
            yield offset, piece
            offset += len(piece)


def read(layer: Layer, ranges: Iterable[tuple[int, int]]) -> Iterator[tuple[int, bytes]]:
    """Yield pieces of the uncompressed layer, each with the number of the range it belongs to.

    Args:
        layer: What to read.
        ranges: Offset and size of each, by rising offset and without overlap.

    Raises:
        TritonBuildError: What was read is not the layer.
    """
    for run in _runs(layer.index, [*ranges]):
        wanted = iter(run.ranges)
        number, offset, size = next(wanted)
        left: int | None = size
        stream = ahead(_plain(layer, run), depth=6)
        try:
            for at, piece in stream:
                position = 0
                while left is not None:
                    begin = offset + size - left - at
                    if left and begin >= len(piece):
                        break
                    if left:
                        position = max(position, begin)
                        part = piece[position : position + left]
                        yield number, part
                        left -= len(part)
                    if not left:
                        following = next(wanted, None)
                        if following is None:
                            left = None
                        else:
                            number, offset, size = following
                            left = size
                if left is None:
                    break
        finally:
            stream.close()
        if left:
            raise broken(layer.what, "it ends early")


def complete(layer: Layer, late: Iterable[int]) -> LayerIndex:
    """Return the index with the ELF files added of which too much went by when the layer was read."""
    found = dict(layer.index.elves)
    for place in late:
        entry = layer.index.entry(place)

        def piece(start: int, length: int, base: int = entry.offset, size: int = entry.size) -> bytes:
            if start + length > size:
                raise elf.BrokenError
            return b"".join(part for _, part in read(layer, [(base + start, length)])) if length else b""

        try:
            found[place] = elf.parse(piece)
        except elf.BrokenError:
            continue
    return attrs.evolve(layer.index, elves=found)
