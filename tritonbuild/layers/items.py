"""What a new layer holds: entries out of source layers, and files whose content is made here."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import attrs

from tritonbuild.layers.entry import FILE, FOLDER, HARD_LINK, Entry
from tritonbuild.layers.headers import LAYER_FORMAT
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import digest_of, to_json


@attrs.frozen(kw_only=True)
class Item:
    """An entry of a new layer.

    Attributes:
        entry: Its path and all that a tar's header says.
        layer: The source layer that has the content of a file; None where *content* is the content.
        content: The content of a file that is made here.
        inode: What is equal for hard links of one file.
        rank: Where it stands in the source image: number of the layer, place in it.
    """

    entry: Entry
    layer: Layer | None = attrs.field(default=None, repr=False)
    content: bytes = attrs.field(default=b"", repr=False)
    inode: tuple[str, int] | None = None
    rank: tuple[int, int] | None = None


@attrs.frozen(kw_only=True)
class NewLayer:
    """A layer to be written: what it is, in words, and its items in the order in which they are written."""

    title: str
    items: tuple[Item, ...] = attrs.field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the files in it."""
        return sum(item.entry.size for item in self.items if item.entry.kind == FILE)

    def key(self, compression: str) -> str:
        """Return what names the layer in a cache: equal for layers that are equal byte for byte."""
        described: list[Any] = [LAYER_FORMAT, compression]
        for item in self.items:
            entry = item.entry
            source = item.layer.blob.digest if item.layer else digest_of(item.content)
            described.append(
                [
                    entry.path.encode("utf-8", "surrogateescape").decode("latin-1"),
                    entry.kind,
                    [entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.offset],
                    entry.target.encode("utf-8", "surrogateescape").decode("latin-1"),
                    dict(entry.attributes),
                    source if entry.kind == FILE else "",
                ]
            )
        return digest_of(to_json(described)).partition(":")[2]


def made(path: str, content: bytes, *, mode: int = 0o644, mtime: int = 0, gid: int = 0) -> Item:
    """Return the item for a file whose content is made here."""
    entry = Entry(path=path, kind=FILE, mode=mode, uid=0, gid=gid, mtime=mtime, size=len(content), offset=0)
    return Item(entry=entry, content=content)


def arranged(title: str, items: Iterable[Item], parents: Mapping[str, Item]) -> NewLayer:
    """Return the layer of *items*, ordered so that source layers are read from front to back.

    What stands in one source layer keeps the order it has there. Otherwise folders come first, by path; then files in
    the order in which they stand in the source layers, made ones before; then links, by path. Further names of one
    file become hard links.

    Args:
        title: What the layer is.
        items: Its entries, each path once.
        parents: Folders that lead to them, by path; those that are not among the items are added.
    """
    by_path = {item.entry.path: item for item in items}
    own = [*by_path.values()]
    for path in [*by_path]:
        folder = posixpath.dirname(path)
        while folder and folder not in by_path:
            by_path[folder] = parents[folder]
            folder = posixpath.dirname(folder)
    as_there = _as_in_source(own, by_path)
    if as_there is not None:
        return NewLayer(title=title, items=as_there)
    order: dict[str, int] = {}
    for item in by_path.values():
        if item.layer is not None:
            order.setdefault(item.layer.blob.digest, len(order))
    ranks = {digest: rank for rank, digest in enumerate(sorted(order))}
    folders = [item for item in by_path.values() if item.entry.kind == FOLDER]
    files = [item for item in by_path.values() if item.entry.kind == FILE]
    others = [item for item in by_path.values() if item.entry.kind not in {FILE, FOLDER}]
    files.sort(
        key=lambda item: (ranks[item.layer.blob.digest] if item.layer else -1, item.entry.offset, item.entry.path)
    )
    first: dict[tuple[str, int], str] = {}
    written: list[Item] = sorted(folders, key=_path)
    again: list[Item] = []
    for item in files:
        if item.inode is None or item.inode not in first or not item.entry.size:
            if item.inode is not None:
                first.setdefault(item.inode, item.entry.path)
            written.append(item)
        else:
            entry = attrs.evolve(item.entry, kind=HARD_LINK, target=first[item.inode], size=0, offset=0)
            again.append(Item(entry=entry))
    return NewLayer(title=title, items=(*written, *sorted(again, key=_path), *sorted(others, key=_path)))


def _as_in_source(own: Sequence[Item], by_path: Mapping[str, Item]) -> tuple[Item, ...] | None:
    """Return the items in the order of their source layer; None if they are of several, or that order will not do."""
    if len({item.rank[0] if item.rank else -1 for item in own}) != 1 or own[0].rank is None:
        return None
    paths = {item.entry.path for item in own}
    written = sorted((item for path, item in by_path.items() if path not in paths), key=_path)
    seen = {"", *(item.entry.path for item in written)}
    first: dict[tuple[str, int], str] = {}
    reached = 0
    for item in sorted(own, key=lambda one: one.rank or (0, 0)):
        if posixpath.dirname(item.entry.path) not in seen:
            return None
        seen.add(item.entry.path)
        if item.entry.kind == FILE and item.inode is not None and item.entry.size:
            if item.inode in first:
                target = first[item.inode]
                entry = attrs.evolve(item.entry, kind=HARD_LINK, target=target, size=0, offset=0)
                written.append(Item(entry=entry))
                continue
            if item.entry.offset < reached:
                return None
            first[item.inode], reached = item.entry.path, item.entry.offset
        written.append(item)
    return tuple(written)


def _path(item: Item) -> str:
    return item.entry.path


def pseudo_index(items: Sequence[Item]) -> tuple[list[Entry], dict[int, Any]]:
    """Return the entries of *items*, and place -> what the loader reads of the ELF files among them."""
    entries, elves = [], {}
    for number, item in enumerate(items):
        entries.append(item.entry)
        if item.layer is not None and item.inode is not None:
            elf = item.layer.index.elves.get(item.inode[1])
            if elf is not None:
                elves[number] = elf
    return entries, elves
