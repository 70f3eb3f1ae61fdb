"""The files of an image: layers laid over each other, with whiteouts, hard links and symlinks."""

from __future__ import annotations

import posixpath
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

import attrs

from tritonbuild.oci.elf import Elf
from tritonbuild.oci.layerindex import FILE, FOLDER, HARD_LINK, OPAQUE, SYMLINK, WHITEOUT, Entry
from tritonbuild.oci.reading import Layer

_MOST_LINKS: Final = 40
"""Symlinks that are followed at most, as in Linux."""


class Place(NamedTuple):
    """Which entry of which layer a path is: numbers in the image's layers and in the layer's entries.

    A hard link is the file it names; *named* is the entry that names it.
    """

    layer: int
    entry: int
    named: int


_IMPLIED: Final = Place(-1, -1, -1)
"""A folder that no layer has an entry for."""


class View:
    """The files of an image, by path without a leading slash; the root is the empty path."""

    def __init__(self, layers: Sequence[Layer]) -> None:
        self.layers = tuple(layers)
        self._places: dict[str, Place] = {"": _IMPLIED}
        self._children: dict[str, dict[str, None]] = {"": {}}
        self._real: dict[str, str | None] = {}
        for number in range(len(self.layers)):
            self._lay(number)

    def _lay(self, number: int) -> None:  # noqa: C901, PLR0912 - one loop over many thousand entries
        index = self.layers[number].index
        whiteouts = [place for place, path in enumerate(index.paths) if WHITEOUT in path]
        hidden = set()
        for place in whiteouts:
            folder, _, name = index.paths[place].rpartition("/")
            if not name.startswith(WHITEOUT):
                continue
            hidden.add(place)
            if name == OPAQUE:
                for child in [*self._children.get(folder, ())]:
                    self._remove(posixpath.join(folder, child))
            elif not name.startswith(f"{WHITEOUT}{WHITEOUT}"):
                self._remove(posixpath.join(folder, name[len(WHITEOUT) :]))
        own: dict[str, int] = {}
        kinds, paths, places, children = index.kinds, index.paths, self._places, self._children
        for place, path in enumerate(paths):
            if place in hidden:
                continue
            folder, _, name = path.rpartition("/")
            if folder not in children:
                self._make_folder(folder)
            kind = kinds[place]
            if kind == FOLDER:
                if path not in children:
                    children[path] = {}
            elif path in children:
                self._remove(path)
            entry, layer = place, number
            if kind == HARD_LINK:
                target = index.targets.get(place, "")
                known = own.get(target)
                if known is not None:
                    entry = known
                elif target in places and target not in children and places[target].layer >= 0:
                    layer, entry = places[target].layer, places[target].entry
                else:
                    continue  # it names nothing
            places[path] = Place(layer, entry, place)
            own[path] = entry
            if name:
                children[folder][name] = None

    def _make_folder(self, path: str) -> None:
        if path in self._children:
            return
        folder, _, name = path.rpartition("/")
        self._make_folder(folder)
        self._places[path] = _IMPLIED
        self._children[path] = {}
        self._children[folder][name] = None

    def _remove(self, path: str) -> None:
        for child in [*self._children.pop(path, ())]:
            self._remove(posixpath.join(path, child))
        if path and path in self._places:
            del self._places[path]
            folder, _, name = path.rpartition("/")
            self._children.get(folder, {}).pop(name, None)

    def __contains__(self, path: str) -> bool:
        """Whether there is something at *path*, no link being followed."""
        return path in self._places

    def __iter__(self) -> Iterator[str]:
        """Yield every path but the root."""
        return (path for path in self._places if path)

    def place(self, path: str) -> Place:
        """Return which entry *path* is."""
        return self._places[path]

    def is_folder(self, path: str) -> bool:
        """Whether a folder is at *path* itself."""
        return path in self._children

    def kind(self, path: str) -> str:
        """Return the kind of what is at *path*; empty if nothing is."""
        if path in self._children:
            return FOLDER
        place = self._places.get(path)
        return self.layers[place.layer].index.kinds[place.entry] if place else ""

    def names(self, folder: str) -> Sequence[str]:
        """Return the names in *folder*, sorted; none if it is no folder."""
        return sorted(self._children.get(folder, ()))

    def entry(self, path: str) -> Entry:
        """Return what is at *path*; a folder that no layer has an entry for is root's and old."""
        place = self._places[path]
        if place is _IMPLIED or place.layer < 0:
            return Entry(path=path, kind=FOLDER, mode=0o755, uid=0, gid=0, mtime=0, size=0, offset=0)
        return attrs.evolve(self.layers[place.layer].index.entry(place.entry), path=path)

    def target(self, path: str) -> str:
        """Return what the symlink at *path* names."""
        place = self._places[path]
        return self.layers[place.layer].index.targets.get(place.entry, "")

    def elf(self, path: str) -> Elf | None:
        """Return what the loader reads of the file at *path*; None if it is no ELF file."""
        place = self._places.get(path)
        if place is None or place.layer < 0:
            return None
        return self.layers[place.layer].index.elves.get(place.entry)

    def content(self, path: str) -> bytes | None:
        """Return the content of a small file that indexes keep, following links; None if there is none."""
        found = self.resolve(path)
        if found is None or self.kind(found) != FILE:
            return None
        place = self._places[found]
        index = self.layers[place.layer].index
        if index.numbers["size"][place.entry] == 0:
            return b""
        return index.contents.get(index.paths[place.entry])

    def walk(self, folder: str) -> Iterator[str]:
        """Yield the paths below *folder*, sorted, folders before what is in them; no link is followed."""
        for name in self.names(folder):
            path = f"{folder}/{name}" if folder else name
            yield path
            if path in self._children:
                yield from self.walk(path)

    def resolve(self, path: str) -> str | None:
        """Return the canonical path of what *path* leads to through all links; None if that is nothing."""
        return self._resolve(path, _MOST_LINKS)

    def resolve_folder(self, path: str) -> str | None:
        """Return *path* with the links of its folder resolved and its last name as it is; None without the folder."""
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
            if step not in self._places:
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
