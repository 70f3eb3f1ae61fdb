"""The tar of a new layer as a stream: headers, and contents from source layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tritonbuild.layers.headers import BLOCK, headers, padded
from tritonbuild.layers.items import Item, NewLayer
from tritonbuild.layers.reading import read_ranges


def stream(layer: NewLayer) -> Iterator[bytes]:
    """Yield the tar of *layer*, in pieces of any size."""
    pieces = _contents(layer.items)
    ahead = next(pieces, None)
    for number, item in enumerate(layer.items):
        yield headers(item.entry) + padded(item.content)
        if ahead is None or ahead[0] != number:
            continue
        while ahead is not None and ahead[0] == number:
            yield ahead[1]
            ahead = next(pieces, None)
        yield bytes(-item.entry.size % BLOCK)
    yield bytes(2 * BLOCK)


def _contents(items: Sequence[Item]) -> Iterator[tuple[int, bytes]]:
    """Yield the contents from source layers in pieces, each with the number of its item.

    A source layer is read in one pass; links, folders and empty files between its files do not interrupt it.
    """
    numbers = [number for number, item in enumerate(items) if item.layer is not None and item.entry.size]
    for source, group in groupby(numbers, key=lambda number: items[number].layer):
        if source is None:
            continue
        files = [*group]
        ranges = [(items[number].entry.offset, items[number].entry.size) for number in files]
        for index, piece in read_ranges(source, ranges):
            yield files[index], piece
