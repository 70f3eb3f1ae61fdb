"""The files of an image: layers laid over each other, with whiteouts, hard links and symlinks."""

from __future__ import annotations

import bisect
import posixpath
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import attrs

from tritonbuild.layers.elf import Elf
from tritonbuild.layers.entry import FILE, FOLDER, HARD_LINK, OPAQUE, SYMLINK, WHITEOUT, Entry
from tritonbuild.layers.items import Item
from tritonbuild.layers.layerindex import LayerIndex
from tritonbuild.layers.reading import Layer

_MOST_LINKS: Final = 40
"""The most symbolic links that are followed for one path, as in Linux."""


class EntryId(NamedTuple):
    """The entry of a path: the number of the layer in the image, and of the entry in the layer.

    For a hard link, *entry* is the file that it names, and *named* is the entry of the link.
    """

    layer: int
    entry: int
    named: int


_IMPLIED: Final = EntryId(-1, -1, -1)
"""The entry of a folder for which no layer has one."""


class View:
    """The files of an image, by path without a leading slash; the root is the empty path."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        # The numbers of entries go on from layer to layer.
        self._starts: list[int] = []
        self._kinds = ""
        self._numbers: dict[str, int] = {"": -1}
        self._linked: dict[int, int] = {}
        self._children: dict[str, dict[str, None]] = {"": {}}
        self._real: dict[str, str | None] = {}
        for layer in self.layers:
            self._lay(layer.index)

    def _lay(self, index: LayerIndex) -> None:  # noqa: C901 - one loop over many thousand entries
        """Lay a layer over the layers before it."""
        start = len(self._kinds)
        self._starts.append(start)
        self._kinds += index.kinds
        hidden = self._hidden(index.paths)
        kinds, numbers, linked, children = self._kinds, self._numbers, self._linked, self._children
        # The entries of one folder are usually next to each other.
        last, siblings = "", children[""]
        for number, path in enumerate(index.paths, start):
            if hidden and path in hidden:
                continue
            folder, _, name = path.rpartition("/")
            if folder != last:
                if folder not in children:
                    self._make_folder(folder)
                last, siblings = folder, children[folder]
            kind = kinds[number]
            if kind == FOLDER:
                if path not in children:
                    children[path] = {}
            elif path in children:
                self._remove(path)
            if kind == HARD_LINK:
                target = index.targets.get(number - start, "")
                real = numbers.get(target, -1)
                if real < 0 or target in children:
                    continue  # the link names no file
                linked[number] = linked.get(real, real)
            numbers[path] = number
            if name:
                siblings[name] = None

    def _hidden(self, paths: Sequence[str]) -> set[str]:
        """Remove the paths that whiteouts among *paths* name; return the whiteouts."""
        hidden = set()
        for path in [path for path in paths if WHITEOUT in path]:
            folder, _, name = path.rpartition("/")
            if not name.startswith(WHITEOUT):
                continue
            hidden.add(path)
            if name == OPAQUE:
                for child in [*self._children.get(folder, ())]:
                    self._remove(posixpath.join(folder, child))
            elif not name.startswith(f"{WHITEOUT}{WHITEOUT}"):
                self._remove(posixpath.join(folder, name[len(WHITEOUT) :]))
        return hidden

    def _make_folder(self, path: str) -> None:
        missing = []
        while path not in self._children:
            missing.append(path)
            path = path.rpartition("/")[0]
        for one in reversed(missing):
            folder, _, name = one.rpartition("/")
            self._numbers[one] = -1
            self._children[one] = {}
            self._children[folder][name] = None

    def _remove(self, path: str) -> None:
        """Remove *path*, which is not the root, and everything below it."""
        doomed = [path]
        for one in doomed:  # it grows while it is read
            doomed += [f"{one}/{child}" for child in self._children.pop(one, ())]
            self._numbers.pop(one, None)
        folder, _, name = path.rpartition("/")
        self._children.get(folder, {}).pop(name, None)

    def __contains__(self, path: str) -> bool:
        """Whether there is something at *path*, no link being followed."""
        return path in self._numbers

    def __iter__(self) -> Iterator[str]:
        """Yield every path except the root."""
        return (path for path in self._numbers if path)

    def entry_id(self, path: str) -> EntryId:
        """Return the entry of *path*."""
        number = self._numbers[path]
        if number < 0:
            return _IMPLIED
        named = bisect.bisect_right(self._starts, number) - 1
        real = self._linked.get(number, number)
        layer = bisect.bisect_right(self._starts, real) - 1
        return EntryId(layer, real - self._starts[layer], number - self._starts[named])

    def is_folder(self, path: str) -> bool:
        """Return whether *path* itself is a folder, not a link to one."""
        return path in self._children

    def kind(self, path: str) -> str:
        """Return the kind of *path*; empty if it does not exist."""
        if path in self._children:
            return FOLDER
        number = self._numbers.get(path)
        return "" if number is None else self._kinds[self._linked.get(number, number)]

    def names(self, folder: str) -> Sequence[str]:
        """Return the names in *folder*, sorted; none if it is not a folder."""
        return sorted(self._children.get(folder, ()))

    def entry(self, path: str) -> Entry:
        """Return the entry of *path*; a folder for which no layer has one belongs to root and has the time 0."""
        number = self.entry_id(path)
        if number is _IMPLIED:
            return Entry(path=path, kind=FOLDER, mode=0o755, uid=0, gid=0, mtime=0, size=0, offset=0)
        return attrs.evolve(self.layers[number.layer].index.entry(number.entry), path=path)

    def item(self, path: str, *, to: str | None = None, root: bool = False) -> Item:
        """Return the item that puts *path* at the path *to* of a new layer; *root* makes root its owner."""
        number = self.entry_id(path)
        entry = attrs.evolve(self.entry(path), path=path if to is None else to)
        if root:
            entry = attrs.evolve(entry, uid=0, gid=0)
        rank = (number.layer, number.named) if number.layer >= 0 else None
        if entry.kind != FILE or number.layer < 0:
            return Item(entry=entry, rank=rank)
        layer = self.layers[number.layer]
        return Item(entry=entry, layer=layer, inode=(layer.blob.digest, number.entry), rank=rank)

    def target(self, path: str) -> str:
        """Return the target of the symbolic link *path*, as it is written."""
        number = self.entry_id(path)
        return self.layers[number.layer].index.targets.get(number.entry, "")

    def elf(self, path: str) -> Elf | None:
        """Return the ELF metadata of the file *path*; None if it is not an ELF file."""
        if path not in self._numbers:
            return None
        number = self.entry_id(path)
        return None if number is _IMPLIED else self.layers[number.layer].index.elves.get(number.entry)

    def opened(self, path: str) -> tuple[str, ...]:
        """Return the names of libraries that the file *path* may open."""
        if path not in self._numbers:
            return ()
        number = self.entry_id(path)
        return () if number is _IMPLIED else self.layers[number.layer].index.opened.get(number.entry, ())

    def content(self, path: str) -> bytes | None:
        """Return the content of a small file that the layer index keeps, links followed; None without one."""
        found = self.resolve(path)
        if found is None or self.kind(found) != FILE:
            return None
        number = self.entry_id(found)
        index = self.layers[number.layer].index
        if index.numbers["size"][number.entry] == 0:
            return b""
        return index.contents.get(index.paths[number.entry])

    def walk(self, folder: str) -> Iterator[str]:
        """Yield the paths below *folder*, sorted, each folder before its content; links are not followed."""
        ahead = [posixpath.join(folder, name) for name in reversed(self.names(folder))]
        while ahead:
            path = ahead.pop()
            yield path
            if path in self._children:
                ahead += [f"{path}/{name}" for name in reversed(self.names(path))]

    def resolve(self, path: str) -> str | None:
        """Return the canonical path of *path*, all links resolved; None if it leads to nothing."""
        return self._resolve(path, _MOST_LINKS)

    def resolve_folder(self, path: str) -> str | None:
        """Return *path* with the links of its folder resolved and the last name kept; None without the folder."""
        folder, _, name = path.strip("/").rpartition("/")
        real = self.resolve(folder)
        if real is None or real not in self._children:
            return None
        return f"{real}/{name}" if real else name

    def _resolve(self, path: str, links: int) -> str | None:
        if path in self._real:
            return self._real[path]
        parts = [part for part in path.split("/") if part not in {"", "."}]
        real = ""
        answer: str | None
        for number, part in enumerate(parts):
            if part == "..":
                real = real.rpartition("/")[0]
                continue
            step = f"{real}/{part}" if real else part
            if step not in self._numbers:
                answer = None
                break
            if step not in self._children and self.kind(step) == SYMLINK:
                if not links:
                    return None
                target = self.target(step)
                rest = "/".join(parts[number + 1 :])
                start = target if target.startswith("/") else f"{real}/{target}"
                answer = self._resolve(f"{start}/{rest}" if rest else start, links - 1)
                break
            if step not in self._children and number < len(parts) - 1:
                answer = None
                break
            real = step
        else:
            answer = real
        self._real[path] = answer
        return answer
