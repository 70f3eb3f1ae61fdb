"""The layer of a component: its digest is computed while its source layer is indexed, before it is written.

The invariant: for a component whose entries are contiguous in a source layer, the tar that `tarstream` writes is

    headers(entry) of each folder in `parents`, then for each entry of the source, in its order,
    headers(as_root(entry)) and the content, padded to whole blocks; then two empty blocks.

`ComponentSums` computes the digest, CRC-32 and size of exactly these bytes; `source_of` accepts a new layer only if its
items are exactly these entries in this order. `splice` then copies compressed bytes from the source layer and trusts
the sums. `LAYER_FORMAT` covers both sides: it is part of the magic of an index file and of the key of a layer.
"""

from __future__ import annotations

import hashlib
import re
from collections import deque
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any, Final

import attrs
from isal import isal_zlib

from tritonbuild.layers.entry import FILE, FOLDER, HARD_LINK, SYMLINK, Entry
from tritonbuild.layers.headers import BLOCK, headers
from tritonbuild.layers.items import Item, NewLayer
from tritonbuild.layers.layerindex import FolderSums
from tritonbuild.layers.reading import Layer

FOLDER_OF: Final = re.compile(r"(opt/tritonserver/(?:backends|repoagents|caches)/[^/]+)(?:/.*)?", re.DOTALL)
_PLAIN: Final = frozenset({FILE, FOLDER, HARD_LINK, SYMLINK})
_UNDERWAY: Final = 8
_BATCH: Final = 1 << 20
"""Bytes that the thread gets at once."""


def parent(path: str) -> Entry:
    """Return the entry of a folder above the server's files: equal for all source images."""
    return Entry(path=path, kind=FOLDER, mode=0o755, uid=0, gid=0, mtime=0, size=0, offset=0)


def parents(folder: str) -> Iterator[Entry]:
    """Yield the entries of the folders above *folder*, the highest first."""
    parts = folder.split("/")
    for number in range(1, len(parts)):
        yield parent("/".join(parts[:number]))


def as_root(entry: Entry) -> Entry:
    """Return *entry* with root as its owner, like all files of the server in new layers."""
    return attrs.evolve(entry, uid=0, gid=0)


class _Running:
    def __init__(self, folder: str, first: int) -> None:
        self.folder = folder
        self.first = self.last = first
        self.sha256 = hashlib.sha256()
        self.crc = 0
        self.size = 0

    def add(self, pieces: list[bytes | memoryview]) -> None:
        for piece in pieces:
            self.sha256.update(piece)
            self.crc = isal_zlib.crc32(piece, self.crc)
            self.size += len(piece)


class ComponentSums:
    """An observer of a scanner that computes the sums of components' layers; a context, because it has a thread."""

    def __init__(self) -> None:
        self.wants = False
        self._found: dict[str, FolderSums] = {}
        self._broken: set[str] = set()
        self._running: _Running | None = None
        self._padding = 0
        self._batch: list[bytes | memoryview] = []
        self._batched = 0
        self._thread = ThreadPoolExecutor(1)
        self._underway: deque[Future[Any]] = deque()

    def __enter__(self) -> ComponentSums:  # noqa: PYI034 - nothing inherits from it, and Self is of Python 3.11
        """Return the observer."""
        return self

    def __exit__(self, *_: object) -> None:
        """End the thread."""
        self._thread.shutdown(wait=True, cancel_futures=True)

    def _add(self, piece: bytes | memoryview) -> None:
        if self._running is not None:
            self._batch.append(piece)
            self._batched += len(piece)
            if self._batched >= _BATCH:
                self._hand_over(self._running)

    def _hand_over(self, running: _Running) -> None:
        self._underway.append(self._thread.submit(running.add, self._batch))
        self._batch, self._batched = [], 0
        while len(self._underway) > _UNDERWAY:
            self._underway.popleft().result()

    def entry(self, number: int, entry: Entry) -> None:
        """Take an entry, which belongs to a component's folder or ends one."""
        self._pad()
        match = FOLDER_OF.fullmatch(entry.path)
        folder = match[1] if match else ""
        if self._running is not None and self._running.folder != folder:
            self._end()
        if folder and self._running is None:
            if folder in self._found or entry.path != folder or entry.kind != FOLDER:
                self._broken.add(folder)
            else:
                self._running = _Running(folder, number)
                for above in parents(folder):
                    self._add(headers(above))
        self.wants = False
        if folder and self._running is not None:
            if entry.kind not in _PLAIN:
                self._broken.add(folder)
                return
            self._running.last = number
            self._add(headers(as_root(entry)))
            if entry.kind == FILE and entry.size:
                self.wants = True
                self._padding = -entry.size % BLOCK

    def content(self, piece: memoryview) -> None:
        """Take a piece of a file's content."""
        self._add(piece)

    def _pad(self) -> None:
        if self._padding:
            self._add(bytes(self._padding))
            self._padding = 0

    def _end(self) -> None:
        running = self._running
        if running is None:
            return
        self._add(bytes(2 * BLOCK))
        self._hand_over(running)
        while self._underway:
            self._underway.popleft().result()
        self._found[running.folder] = FolderSums(
            running.first, running.last, f"sha256:{running.sha256.hexdigest()}", running.crc, running.size
        )
        self._running = None

    def close(self) -> dict[str, FolderSums]:
        """Return the sums by folder, of those folders whose entries are contiguous."""
        self._pad()
        self._end()
        return {folder: sums for folder, sums in self._found.items() if folder not in self._broken}


@attrs.frozen
class ComponentSource:
    """The source layer of a component's new layer, and the sums of the new layer."""

    layer: Layer
    sums: FolderSums


def source_of(layer: NewLayer) -> ComponentSource | None:
    """Return the source of a component's layer; None for another layer, or if the invariant does not hold."""
    sources = {item.layer.blob.digest: item.layer for item in layer.items if item.layer is not None and item.entry.size}
    if len(sources) != 1:
        return None
    (source,) = sources.values()
    if source.index.compression != "gzip":
        return None
    for folder, sums in source.index.folders.items():
        above = [*parents(folder)]
        if [item.entry for item in layer.items[: len(above)]] != above:
            continue
        items = layer.items[len(above) :]
        if len(items) != sums.last - sums.first + 1:
            continue
        if all(_same(item, source, number) for number, item in enumerate(items, sums.first)):
            return ComponentSource(source, sums)
    return None


def _same(item: Item, source: Layer, number: int) -> bool:
    has_content = item.entry.kind == FILE and item.entry.size > 0
    if has_content and (item.layer is None or item.layer.blob.digest != source.blob.digest):
        return False
    entry = as_root(source.index.entry(number))
    # The offset matters only for entries with a content.
    return item.entry == (entry if has_content else attrs.evolve(entry, offset=item.entry.offset))
