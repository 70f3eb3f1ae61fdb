"""Which shared libraries a program or library leads to: the search of glibc's loader, in an image's files.

ld.so(8): DT_RPATH of the object and of those that brought it (unless it has DT_RUNPATH), LD_LIBRARY_PATH, DT_RUNPATH,
/etc/ld.so.cache, the standard folders. A library is loaded once, under each name it was found by.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from tritonbuild.layers.elf import Elf
from tritonbuild.rootfs import ldcache
from tritonbuild.rootfs.view import View

_TOKEN: Final = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)\b)")
_PLATFORMS: Final = {62: "x86_64", 183: "aarch64"}


@attrs.frozen(kw_only=True)
class Missing:
    """Something that a file needs and that is not there: a library, or a version of its symbols."""

    file: str
    name: str


@attrs.frozen
class _Loaded:
    path: str
    """As it was found, with a leading slash."""
    real: str
    elf: Elf
    by: _Loaded | None


@attrs.frozen
class Closure:
    """What a file leads to: name -> path as found (with a leading slash), and what is missing."""

    found: Mapping[str, str]
    missing: tuple[Missing, ...]


class Loader:
    """The loader of an image.

    Args:
        view: The image's files.
        machine: The processor's number in ELF.
        library_path: LD_LIBRARY_PATH.
        extra: Files of the loader's configuration that are to be there besides.
    """

    def __init__(
        self, view: View, *, machine: int, library_path: str = "", extra: Mapping[str, bytes] | None = None
    ) -> None:
        self.view = view
        self.machine = machine
        self.library_path = tuple(folder for folder in re.split("[:;]", library_path) if folder.startswith("/"))
        self.lines = ldcache.libraries(view, machine, extra)
        self.baseline = tuple(line for line in self.lines if not line.hwcaps)
        """Those that every processor takes, so that an answer does not depend on one."""
        self.cache: dict[tuple[str, int], str] = {}
        for line in self.baseline:
            self.cache.setdefault((line.name, line.flags), line.path)
        self.standard = ldcache.standard_folders(view, machine)
        self._in_folder: dict[tuple[str, str, int, int], tuple[str, str, Elf] | None] = {}
        self._expanded: dict[tuple[str, str, int], tuple[str, ...]] = {}

    def names(self) -> set[str]:
        """Return the names that the loader finds by itself: those of its cache, and of LD_LIBRARY_PATH's folders."""
        names = {line.name for line in self.lines}
        for folder in self.library_path:
            real = self.view.resolve(folder)
            names.update(self.view.names(real) if real is not None else ())
        return names

    def closure(self, path: str) -> Closure:
        """Return what the file at *path* (canonical, without leading slash) leads to."""
        elf = self.view.elf(path)
        if elf is None or not elf.dynamic:
            return Closure({}, ())
        start = _Loaded(f"/{path}", path, elf, None)
        found: dict[str, str] = {}
        missing: dict[tuple[str, str], Missing] = {}
        by_name: dict[str, _Loaded] = {elf.soname: start} if elf.soname else {}
        by_path: dict[str, _Loaded] = {path: start}
        waiting, place = [start], 0
        while place < len(waiting):
            one = waiting[place]
            place += 1
            for name in one.elf.needed:
                if name in by_name:
                    if name not in found and by_name[name] is not start:
                        found[name] = by_name[name].path
                    continue
                answer = self._search(name, one)
                if answer is None:
                    missing.setdefault((one.path, name), Missing(file=f"/{path}", name=name))
                    continue
                at, real, library = answer
                loaded = by_path.get(real)
                if loaded is None:
                    loaded = by_path[real] = _Loaded(at, real, library, one)
                    waiting.append(loaded)
                by_name[name] = loaded
                if library.soname:
                    by_name.setdefault(library.soname, loaded)
                found[name] = at
        for version in _versions(waiting, by_name):
            missing.setdefault(("", version), Missing(file=f"/{path}", name=version))
        return Closure(found, tuple(missing.values()))

    def _search(self, name: str, by: _Loaded) -> tuple[str, str, Elf] | None:  # noqa: C901 - the places, in the loader's order
        elf = by.elf
        if "/" in name:
            return self._at(self._token(name, by), elf)
        folders: list[str] = []
        if not elf.runpath:
            bringer: _Loaded | None = by
            while bringer is not None:
                if bringer.elf.rpath and not bringer.elf.runpath:
                    folders += self._expand(bringer.elf.rpath, bringer)
                bringer = bringer.by
        folders += self.library_path
        if elf.runpath:
            folders += self._expand(elf.runpath, by)
        for folder in folders:
            if answer := self._look(folder, name, elf):
                return answer
        cached = self.cache.get((name, ldcache.flags(elf)))
        if cached and (answer := self._at(cached, elf)):
            return answer
        for folder in self.standard:
            if answer := self._look(folder, name, elf):
                return answer
        return None

    def _look(self, folder: str, name: str, elf: Elf) -> tuple[str, str, Elf] | None:
        key = (folder, name, elf.bits, elf.machine)
        if key not in self._in_folder:
            self._in_folder[key] = self._at(f"{folder}/{name}", elf)
        return self._in_folder[key]

    def _at(self, path: str, elf: Elf) -> tuple[str, str, Elf] | None:
        real = self.view.resolve(path)
        library = self.view.elf(real) if real else None
        if real is None or library is None or (library.bits, library.machine) != (elf.bits, elf.machine):
            return None
        return path, real, library

    def _expand(self, written: str, by: _Loaded) -> tuple[str, ...]:
        key = (written, posixpath.dirname(by.real), by.elf.machine)
        if key not in self._expanded:
            folders = (self._token(folder, by) for folder in written.split(":"))
            self._expanded[key] = tuple(folder for folder in folders if folder.startswith("/"))
        return self._expanded[key]

    def _token(self, text: str, by: _Loaded) -> str:
        multiarch = ldcache.MULTIARCH.get(by.elf.machine)
        values = {
            "ORIGIN": f"/{posixpath.dirname(by.real)}",
            "LIB": f"lib/{multiarch}" if multiarch else "lib64",
            "PLATFORM": _PLATFORMS.get(by.elf.machine, ""),
        }
        return _TOKEN.sub(lambda match: values[match[1] or match[2]], text)


def _versions(loaded: Iterable[_Loaded], by_name: Mapping[str, _Loaded]) -> list[str]:
    """Return the versions of symbols that something needs of a library that does not have them."""
    lacking = []
    for one in loaded:
        for name, versions in one.elf.versions_needed:
            library = by_name.get(name)
            # A library without versions satisfies every one.
            if library is None or not library.elf.versions:
                continue
            lacking += [version for version in versions if version not in library.elf.versions]
    return lacking


def machine_of(view: View, candidates: Sequence[str]) -> int:
    """Return the processor that an image is for, by the first of *candidates* that is an ELF file; 0 without one."""
    for path in candidates:
        real = view.resolve(path)
        elf = view.elf(real) if real else None
        if elf is not None:
            return elf.machine
    return 0
