"""Items: the content of a new layer, as entries of source layers and generated files."""

from __future__ import annotations

import json
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs

from tritonbuild.layers.entry import FILE, FOLDER, HARD_LINK, Entry
from tritonbuild.layers.headers import LAYER_FORMAT
from tritonbuild.layers.layerindex import Columns, LayerIndex
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import digest_of

_LOADER_CONFIGURATION: Final = "etc/ld.so.conf"


@attrs.frozen(kw_only=True)
class Item:
    """An entry of a new layer.

    Attributes:
        entry: The entry; its offset is that of the content in *layer*.
        layer: The source layer that has the content of a file; None if *content* has it.
        content: The content of a generated file.
        inode: The identity of a file: hard links of one file have an equal one.
        rank: The position in the source image: number of the layer, number of the entry.
    """

    entry: Entry
    layer: Layer | None = attrs.field(default=None, repr=False)
    content: bytes = attrs.field(default=b"", repr=False)
    inode: tuple[str, int] | None = None
    rank: tuple[int, int] | None = None


@attrs.frozen(kw_only=True)
class NewLayer:
    """A layer to be written: its title, and its items in the order of the tar."""

    title: str
    items: tuple[Item, ...] = attrs.field(repr=False)

    @property
    def size(self) -> int:
        """Bytes of the files in it."""
        return sum(item.entry.size for item in self.items if item.entry.kind == FILE)

    def key(self, compression: str) -> str:
        """Return the key of the layer in a cache: equal keys mean equal bytes."""
        described: list[Any] = [LAYER_FORMAT, compression]
        for item in self.items:
            entry = item.entry
            source = item.layer.blob.digest if item.layer else digest_of(item.content)
            described.append(
                [
                    entry.path,
                    entry.kind,
                    [entry.mode, entry.uid, entry.gid, entry.mtime, entry.size, entry.offset],
                    entry.target,
                    dict(entry.attributes),
                    source if entry.kind == FILE else "",
                ]
            )
        # ASCII, because names in Linux are bytes and need not be UTF-8.
        return digest_of(json.dumps(described, sort_keys=True, separators=(",", ":")).encode()).partition(":")[2]


def generated(path: str, content: bytes, *, mode: int = 0o644, mtime: int = 0, gid: int = 0) -> Item:
    """Return the item of a generated file."""
    entry = Entry(path=path, kind=FILE, mode=mode, uid=0, gid=gid, mtime=mtime, size=len(content), offset=0)
    return Item(entry=entry, content=content)


def arranged(title: str, items: Iterable[Item], parents: Mapping[str, Item]) -> NewLayer:
    """Return the layer of *items*, in an order in which source layers are read from front to back.

    Items of one source layer keep its order. Otherwise folders come first, by path; then generated files; then files
    in the order of the source layers; then links, by path. Further names of one file become hard links.

    Args:
        title: The title of the layer.
        items: Its entries, each path once.
        parents: Folders that lead to them, by path; those that are not among the items are added.
    """
    own = {item.entry.path: item for item in items}
    added: dict[str, Item] = {}
    for path in own:
        folder = posixpath.dirname(path)
        while folder and folder not in own and folder not in added:
            added[folder] = parents[folder]
            folder = posixpath.dirname(folder)
    in_order = _in_source_order([*own.values()], [*added.values()])
    if in_order is None:
        in_order = _by_kind([*own.values(), *added.values()])
    return NewLayer(title=title, items=tuple(in_order))


def _in_source_order(own: Sequence[Item], added: Sequence[Item]) -> list[Item] | None:
    """Return the items in the order of their source layer; None if they have several, or its order is unusable."""
    if len({item.rank[0] if item.rank else -1 for item in own}) != 1 or own[0].rank is None:
        return None
    ordered = sorted(added, key=_path)
    seen = {"", *(item.entry.path for item in ordered)}
    reached = 0
    for item in _with_hard_links(sorted(own, key=lambda one: one.rank or (0, 0))):
        entry = item.entry
        if posixpath.dirname(entry.path) not in seen:
            return None
        seen.add(entry.path)
        if entry.kind == FILE and entry.size:
            if entry.offset < reached:
                return None
            reached = entry.offset
        ordered.append(item)
    return ordered


def _by_kind(items: Sequence[Item]) -> list[Item]:
    """Return folders, files, hard links, and then other items."""
    digests = sorted({item.layer.blob.digest for item in items if item.layer is not None})
    ranks = {digest: rank for rank, digest in enumerate(digests)}

    def position(item: Item) -> tuple[int, int, str]:
        return (ranks[item.layer.blob.digest] if item.layer else -1, item.entry.offset, item.entry.path)

    files = [*_with_hard_links(sorted((item for item in items if item.entry.kind == FILE), key=position))]
    return [
        *sorted((item for item in items if item.entry.kind == FOLDER), key=_path),
        *(item for item in files if item.entry.kind == FILE),
        *sorted((item for item in files if item.entry.kind == HARD_LINK), key=_path),
        *sorted((item for item in items if item.entry.kind not in {FILE, FOLDER}), key=_path),
    ]


def _with_hard_links(items: Iterable[Item]) -> Iterator[Item]:
    """Yield *items*, with hard links in place of further names of one file."""
    names: dict[tuple[str, int], str] = {}
    for item in items:
        entry = item.entry
        if item.inode is None or not entry.size:
            yield item
        elif item.inode in names:
            yield Item(entry=attrs.evolve(entry, kind=HARD_LINK, target=names[item.inode], size=0, offset=0))
        else:
            names[item.inode] = entry.path
            yield item


def _path(item: Item) -> str:
    return item.entry.path


def index_of(items: Iterable[Item]) -> LayerIndex:
    """Return the index of a layer of *items* that is not written yet.

    It has the entries, the ELF metadata, and the content of the loader's configuration.
    """
    columns, elves, contents = Columns(), {}, {}
    for item in items:
        number = columns.add(item.entry)
        if item.layer is not None and item.inode is not None:
            index = item.layer.index
            elf = index.elves.get(item.inode[1])
            if elf is not None:
                elves[number] = elf
            if item.entry.path.startswith(_LOADER_CONFIGURATION):
                contents[item.entry.path] = index.contents.get(index.paths[item.inode[1]], b"")
    return columns.index(elves=elves, contents=contents)
