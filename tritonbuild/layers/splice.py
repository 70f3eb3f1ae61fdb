"""Splicing: a component's layer takes compressed bytes of its source layer, without compressing them again.

Blocks of a deflate stream can be part of another stream if the 32 KiB before them are equal: inside a large file, the
bits from one restart point to a later one are copied. The bytes between such stretches (headers, the beginning and the
end of a file) are compressed. Stretches are verified, but not decompressed; `component` explains why the digest of the
uncompressed layer is nevertheless known.
"""

from __future__ import annotations

import bisect
from collections.abc import Iterator

import attrs

from tritonbuild.layers import reading
from tritonbuild.layers.deflate import WINDOW, Point, joined, lead
from tritonbuild.layers.entry import FILE
from tritonbuild.layers.headers import BLOCK, headers
from tritonbuild.layers.items import NewLayer
from tritonbuild.layers.reading import Layer

_EMPTY_BLOCK = b"\0\0\xff\xff"


@attrs.frozen
class Plain:
    """Uncompressed bytes, to be compressed."""

    content: bytes


@attrs.frozen
class Taken:
    """Compressed bytes of a source layer, from one byte boundary to another."""

    content: bytes


def _stretch(layer: Layer, offset: int, size: int) -> tuple[Point, Point] | None:
    """Return the first and the last restart point of a file's stretch; None if it has none."""
    points = layer.index.points
    first = bisect.bisect_left(points, offset + WINDOW, key=_offset)
    last = bisect.bisect_right(points, offset + size, key=_offset) - 1
    if first >= last or points[first].member != points[last].member:
        return None
    return points[first], points[last]


def _offset(point: Point) -> int:
    return point.offset


def parts(layer: NewLayer, source: Layer) -> Iterator[Plain | Taken]:
    """Yield the parts of a layer, in order."""
    stretches = {
        number: found
        for number, item in enumerate(layer.items)
        if item.entry.kind == FILE
        and item.entry.size
        and (found := _stretch(source, item.entry.offset, item.entry.size)) is not None
    }
    ranges: list[tuple[int, int]] = []
    steps: list[bytes | int | tuple[Point, Point]] = []
    for number, item in enumerate(layer.items):
        entry = item.entry
        steps.append(headers(entry))
        if entry.kind != FILE or not entry.size:
            continue
        end = entry.offset + entry.size
        if number in stretches:
            begin, finish = stretches[number]
            steps += [len(ranges), (begin, finish)]
            ranges.append((entry.offset, begin.offset - entry.offset))
            if finish.offset < end:
                steps.append(len(ranges))
                ranges.append((finish.offset, end - finish.offset))
        else:
            steps.append(len(ranges))
            ranges.append((entry.offset, entry.size))
        steps.append(bytes(-entry.size % BLOCK))
    steps.append(bytes(2 * BLOCK))
    contents = reading.read_ranges(source, ranges)
    ahead = next(contents, None)
    for step in steps:
        if isinstance(step, bytes):
            yield Plain(step)
        elif isinstance(step, int):
            while ahead is not None and ahead[0] == step:
                yield Plain(ahead[1])
                ahead = next(contents, None)
        else:
            yield from _taken(source, *step)


def _taken(source: Layer, begin: Point, finish: Point) -> Iterator[Taken]:
    """Yield the blocks between two points; empty blocks around them fill the bits up to whole bytes."""
    left = finish.byte - begin.byte
    start, mask = lead(begin.bit)
    first = True
    last = b""
    for piece in reading.grains(source, begin.byte, finish.byte + 1):
        part, last = piece[:left], piece[left : left + 1]
        if part:
            left -= len(part)
            yield Taken(joined(start, mask, part) if first else part)
            first = False
        if last:
            break
    if finish.bit:
        # The header of an empty stored block: three zero bits, and zeros up to the next byte.
        yield Taken(bytes([last[0] & ((1 << finish.bit) - 1)]) + (b"\0" if finish.bit > 5 else b"") + _EMPTY_BLOCK)  # noqa: PLR2004
