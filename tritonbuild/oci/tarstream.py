"""Writing a layer's tar: headers, and contents out of the source layers."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import groupby

from tritonbuild.oci.headers import BLOCK, headers, padded
from tritonbuild.oci.items import Item, NewLayer
from tritonbuild.oci.reading import read


def stream(layer: NewLayer) -> Iterator[bytes]:
    """Yield the tar of *layer*, in pieces of any size."""
    for source, group in groupby(layer.items, key=lambda item: item.layer if item.entry.size else None):
        items = [*group]
        if source is None:
            for item in items:
                yield headers(item.entry) + padded(item.content)
            continue
        yield from _contents(items)
    yield bytes(2 * BLOCK)


def _contents(items: list[Item]) -> Iterator[bytes]:
    """Yield headers and contents of files out of one source layer."""
    source = items[0].layer
    if source is None:
        return
    yield headers(items[0].entry)
    current = 0
    for number, piece in read(source, [(item.entry.offset, item.entry.size) for item in items]):
        while current < number:
            yield bytes(-items[current].entry.size % BLOCK)
            current += 1
            yield headers(items[current].entry)
        yield piece
    yield bytes(-items[-1].entry.size % BLOCK)
