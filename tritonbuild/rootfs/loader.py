"""The loader of an image: finds the shared libraries of a program or library, by the search of glibc's loader.

The order of ld.so(8): DT_RPATH of the object and of the objects that loaded it (unless it has DT_RUNPATH),
LD_LIBRARY_PATH, DT_RUNPATH, /etc/ld.so.cache, the standard folders. A library is loaded once, under every name that
led to it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final

import attrs

from tritonbuild.layers.elf import Elf
from tritonbuild.layers.entry import FILE
from tritonbuild.rootfs import ldcache
from tritonbuild.rootfs.view import View

_TOKEN: Final = re.compile(r"\$(?:\{(ORIGIN|LIB|PLATFORM)\}|(ORIGIN|LIB|PLATFORM)\b)")
_PLATFORMS: Final = {62: "x86_64", 183: "aarch64"}


@attrs.frozen(kw_only=True)
class Missing:
    """A library, or a version of a library's symbols, that a file needs and the loader does not find.

    Attributes:
        file: The file.
        name: The name of the library, or the version.
        library: For a version, the path of the library that does not define it, as it was found; else empty.
    """

    file: str
    name: str
    library: str = ""


@attrs.frozen
class _Loaded:
    path: str
    """The path as it was found, with a leading slash."""
    elf: Elf
    by: _Loaded | None
    """The object that needs it."""


@attrs.frozen
class Closure:
    """The libraries of a file: name -> path as found (with a leading slash), and the missing ones."""

    found: Mapping[str, str]
    missing: tuple[Missing, ...]


class Loader:
    """The loader of an image.

    Args:
        view: The image's files.
        machine: The processor's number in ELF.
        library_path: The value of LD_LIBRARY_PATH.
        extra: Additional configuration files of the loader, by path.
    """

    def __init__(
        self, view: View, *, machine: int, library_path: str = "", extra: Mapping[str, bytes] | None = None
    ) -> None:
        self.view = view
        self.machine = machine
        self.library_path = tuple(folder for folder in re.split("[:;]", library_path) if folder.startswith("/"))
        self.lines = ldcache.libraries(view, machine, extra)
        self.baseline = tuple(line for line in self.lines if not line.hwcaps)
        """The lines for every processor, so that an answer does not depend on the processor."""
        self.cache: dict[tuple[str, int], str] = {}
        for line in self.baseline:
            self.cache.setdefault((line.name, line.flags), line.path)
        self.standard = ldcache.standard_folders(view, machine)
        self._in_folder: dict[tuple[str, str, int, int], tuple[str, str, Elf] | None] = {}
        self._expanded: dict[tuple[str, str, int], tuple[str, ...]] = {}

    def names(self) -> set[str]:
        """Return the names that the loader finds without a run path: in its cache and in LD_LIBRARY_PATH."""
        names = {line.name for line in self.lines}
        for folder in self.library_path:
            real = self.view.resolve(folder)
            names.update(self.view.names(real) if real is not None else ())
        return names

    def known(self) -> dict[str, str]:
        """Return name -> path of the libraries that `dlopen` finds by name: in LD_LIBRARY_PATH, then in the cache."""
        known: dict[str, str] = {}
        for folder in self.library_path:
            real = self.view.resolve(folder)
            for name in self.view.names(real) if real is not None else ():
                target = self.view.resolve(f"{folder}/{name}") if ".so" in name else None
                if target is not None and self.view.kind(target) == FILE:
                    known.setdefault(name, f"{folder}/{name}")
        for line in self.baseline:
            known.setdefault(line.name, line.path)
        return known

    def closure(self, path: str) -> Closure:
        """Return the libraries of the file that is loaded as *path*, which may be a link to it."""
        real = self.view.resolve(path)
        elf = self.view.elf(real) if real is not None else None
        if real is None or elf is None or not elf.dynamic:
            return Closure({}, ())
        path = path.strip("/")
        start = _Loaded(f"/{path}", elf, None)
        found: dict[str, str] = {}
        missing: dict[tuple[str, str], Missing] = {}
        by_name: dict[str, _Loaded] = {elf.soname: start} if elf.soname else {}
        by_path: dict[str, _Loaded] = {real: start}
        waiting = [start]
        # The list grows while it is read.
        for one in waiting:
            for name in one.elf.needed:
                if name in by_name:
                    if name not in found and by_name[name] is not start:
                        found[name] = by_name[name].path
                    continue
                answer = self._search(name, one)
                if answer is None:
                    missing.setdefault((one.path, name), Missing(file=f"/{path}", name=name))
                    continue
                at, target, library = answer
                loaded = by_path.get(target)
                if loaded is None:
                    loaded = by_path[target] = _Loaded(at, library, one)
                    waiting.append(loaded)
                by_name[name] = loaded
                if library.soname:
                    by_name.setdefault(library.soname, loaded)
                found[name] = at
        for version, library_path in _versions(waiting, by_name):
            lack = Missing(file=f"/{path}", name=version, library=library_path)
            missing.setdefault((library_path, version), lack)
        return Closure(found, tuple(missing.values()))

    def _search(self, name: str, by: _Loaded) -> tuple[str, str, Elf] | None:  # noqa: C901 - the folders in the loader's order
        elf = by.elf
        if "/" in name:
            return self._at(self._token(name, by), elf)
        folders: list[str] = []
        if not elf.runpath:
            user: _Loaded | None = by
            while user is not None:
                if user.elf.rpath and not user.elf.runpath:
                    folders += self._expand(user.elf.rpath, user)
                user = user.by
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
        key = (written, posixpath.dirname(by.path), by.elf.machine)
        if key not in self._expanded:
            folders = (self._token(folder, by) for folder in written.split(":"))
            self._expanded[key] = tuple(folder for folder in folders if folder.startswith("/"))
        return self._expanded[key]

    def _token(self, text: str, by: _Loaded) -> str:
        multiarch = ldcache.MULTIARCH.get(by.elf.machine)
        values = {
            # The loader resolves no link here.
            "ORIGIN": posixpath.dirname(by.path),
            "LIB": f"lib/{multiarch}" if multiarch else "lib64",
            "PLATFORM": _PLATFORMS.get(by.elf.machine, ""),
        }
        return _TOKEN.sub(lambda match: values[match[1] or match[2]], text)


def _versions(loaded: Iterable[_Loaded], by_name: Mapping[str, _Loaded]) -> list[tuple[str, str]]:
    """Return the symbol versions that one of the objects needs, each with the library that does not define it."""
    lacking = []
    for one in loaded:
        for name, versions in one.elf.versions_needed:
            library = by_name.get(name)
            # A library without versions satisfies every need.
            if library is None or not library.elf.versions:
                continue
            lacking += [(version, library.path) for version in versions if version not in library.elf.versions]
    return lacking


def machine_of(view: View, candidates: Sequence[str]) -> int:
    """Return the ELF machine of an image: that of the first ELF file among *candidates*; 0 without one."""
    for path in candidates:
        real = view.resolve(path)
        elf = view.elf(real) if real else None
        if elf is not None:
            return elf.machine
    return 0
