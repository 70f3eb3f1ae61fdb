"""Writing a layer's tar: headers, and contents out of the source layers."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import groupby

from tritonbuild.layers.headers import BLOCK, headers, padded
from tritonbuild.layers.items import Item, NewLayer
from tritonbuild.layers.reading import read


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
    """Yield the contents that come out of source layers in pieces, each with the number of its item.

    A source layer is read in one go, whatever stands between its files: links, folders, empty files.
    """
    numbers = [number for number, item in enumerate(items) if item.layer is not None and item.entry.size]
    for source, group in groupby(numbers, key=lambda number: items[number].layer):
        if source is None:
            continue
        own = [*group]
        for place, piece in read(source, [(items[number].entry.offset, items[number].entry.size) for number in own]):
            yield own[place], piece
