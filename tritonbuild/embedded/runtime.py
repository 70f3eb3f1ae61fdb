"""The runtime: files that the chosen components need and the base lacks, computed from layer indexes.

The rules and their order are those of scripts/runtime.sh, so that every engine gives an image the same files.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

from tritonbuild.embedded import read_files
from tritonbuild.embedded.libraries import C_LIBRARY, OF_THE_BASE, OF_THE_DRIVER, is_library, matches
from tritonbuild.layers.entry import FILE, FOLDER, SYMLINK
from tritonbuild.planned import PlannedLibrary
from tritonbuild.rootfs import interpreter
from tritonbuild.rootfs.loader import Loader
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER

SERVER_PATH: Final = SERVER.strip("/")
"""The folder of the server as a path of a view."""


_STANDARD: Final = ("/lib", "/usr/lib", "/lib/*-linux-gnu", "/usr/lib/*-linux-gnu")


class Runtime:
    """Collects files of *full* that *base* lacks.

    Args:
        full: The full image, with the user's components and packages.
        base: The base image.
        env: The environment of *full*.
        full_loader: The loader of *full*.
        base_loader: The loader of *base*.
        exclude: Names of libraries (shell patterns) that are not brought.
    """

    def __init__(  # noqa: PLR0913 - the two images and what is known of them
        self,
        full: View,
        base: View,
        *,
        env: Mapping[str, str],
        full_loader: Loader,
        base_loader: Loader,
        exclude: Sequence[str] = (),
    ) -> None:
        self.full = full
        self.base = base
        self.env = env
        self.loader = full_loader
        self.sonames = base_loader.names()
        of_the_base = OF_THE_BASE if C_LIBRARY in self.sonames else ()
        self.left_out = (*of_the_base, *OF_THE_DRIVER, *exclude)
        """Names of libraries (shell patterns) that are the base's or the driver's, or excluded."""
        self.known = full_loader.known()
        self.cached = {line.path for line in full_loader.lines}
        self.brought: dict[str, None] = {}
        """Canonical paths that are brought: links, files, and the folders of the interpreter."""
        self.configured: set[str] = set()
        """Folders that are added to the configuration of the loader."""
        self.named: list[PlannedLibrary] = []
        """Libraries that are brought because a file names them."""
        self.python: interpreter.Interpreter | None = None
        """The interpreter that is brought."""

    def stage(
        self, folders: Sequence[str], opened: Iterable[str], read: Iterable[str] = (), read_small: Iterable[str] = ()
    ) -> tuple[str, ...]:
        """Bring what the files in *folders* need and no earlier stage brought; return its paths.

        Args:
            folders: Canonical paths of folders or files of *full*.
            opened: Names of libraries (shell patterns) that these files open.
            read: Files and folders that these files read.
            read_small: Files and folders of the same kind, left out if they have more than 4 MiB beyond the base.
        """
        before = len(self.brought)
        candidates = [path for folder in folders for path in self._programs(folder)]
        self._follow(candidates)
        for path in candidates:
            if path.endswith(f"/{interpreter.STUB}"):
                self._interpreter(path)
        self._read(read)
        for path in read_small:
            self._read([path], most=read_files.SMALL)
        programs = [path for path in [*self.brought][before:] if is_library(path) or "/bin/" in path]
        libraries = self._opened(opened)
        targets = self._loaded([*candidates, *programs, *(path for _, path in libraries)])
        targets |= self._python_files(folders, before)
        self._libraries(targets, libraries)
        return tuple([*self.brought][before:])

    def _python_files(self, folders: Iterable[str], before: int) -> set[str]:
        """Return the Python files in *folders*, and those brought since *before*, that open libraries."""
        paths = [path for folder in folders for path in (folder, *self.full.walk(folder))]
        python = (path for path in [*paths, *[*self.brought][before:]] if path.endswith(".py"))
        return {path for path in python if self.full.opened(path)}

    def _libraries(self, targets: Iterable[str], libraries: Iterable[tuple[str, str]]) -> None:
        """Bring *libraries*, those that *targets* need and name, and those that the brought ones need and name."""
        found = dict.fromkeys(libraries)
        handled: set[tuple[str, str]] = set()
        seen: set[str] = set()
        waiting = sorted(targets)
        while waiting:
            seen.update(waiting)
            closures = {path: self.loader.closure(path) for path in waiting}
            for closure in closures.values():
                found.update(dict.fromkeys(closure.found.items()))
            for path, closure in closures.items():
                linked = {*closure.found, *(one.name for one in closure.missing)}
                for name in self.full.opened(self.full.resolve(path) or ""):
                    library = (name, self.known.get(name, ""))
                    if library[1] and library not in found and name not in linked and self._lacking(*library):
                        found[library] = None
                        self.named.append(PlannedLibrary(name=name, path=self._lacking(*library), file=f"/{path}"))
            brought = [library[1] for library in sorted(found.keys() - handled) if self._library(*library)]
            handled.update(found)
            waiting = sorted(self._loaded(brought) - seen)

    def _programs(self, folder: str) -> Iterator[str]:
        """Yield the links, libraries and programs in *folder*."""
        paths = self.full.walk(folder) if self.full.is_folder(folder) else (folder,)
        for path in paths:
            kind = self.full.kind(path)
            if kind == SYMLINK or (kind == FILE and (is_library(path) or self.full.entry(path).mode & 0o111)):
                yield path

    def _loaded(self, paths: Iterable[str]) -> set[str]:
        """Return the files that *paths* lead to, each by its canonical path.

        A link in another folder than its file is returned too: the loader searches from the folder of the link.
        """
        files = set()
        for path in paths:
            target, link = self.full.resolve(path), self.full.resolve_folder(path)
            if target is not None and link is not None:
                files.add(target if posixpath.dirname(target) == posixpath.dirname(link) else link)
        return files

    def _follow(self, candidates: Iterable[str]) -> None:
        """Bring the targets of *candidates* that are outside of the server's folder."""
        targets = dict.fromkeys(target for target in map(self.full.resolve, candidates) if target is not None)
        for target in targets:
            # A folder that holds the server is no part of a component.
            if f"{target}/".startswith(f"{SERVER_PATH}/") or f"{SERVER_PATH}/".startswith(f"{target}/".lstrip("/")):
                continue
            if self.full.is_folder(target):
                self._read([target])
            elif target not in self.base:
                self.bring(target)

    def _read(self, paths: Iterable[str], *, most: int | None = None) -> None:
        """Bring files and folders that are read at run time; nothing if they have more bytes than *most*."""
        self.brought |= dict.fromkeys(read_files.lacking(self.full, self.base, paths, most=most))

    def _opened(self, patterns: Iterable[str]) -> list[tuple[str, str]]:
        """Return name and path of the libraries that the loader finds by name and that match *patterns*."""
        return [
            library
            for pattern in patterns
            for library in self.known.items()
            if fnmatch.fnmatchcase(library[0], pattern)
        ]

    def _lacking(self, name: str, path: str) -> str:
        """Return the canonical path of the library found as *name* at *path*; empty if it need not be brought."""
        canonical = self.full.resolve_folder(path)
        if canonical is None or matches(name, self.left_out) or f"{canonical}/".startswith(f"{SERVER_PATH}/"):
            return ""
        if name in self.sonames or (canonical in self.base and not self.base.is_folder(canonical)):
            return ""
        return f"/{canonical}"

    def _library(self, name: str, path: str) -> bool:
        """Bring the library that was found as *name* at *path*, unless the base or the server has it."""
        canonical = self._lacking(name, path)
        if not canonical:
            return False
        folder = posixpath.dirname(canonical).strip("/")
        self.bring(path)
        if not matches(f"/{folder}", _STANDARD) and (
            path in self.cached or posixpath.dirname(path) in self.loader.library_path
        ):
            self.configured.add(f"/{folder}")
        return True

    def bring(self, path: str) -> None:
        """Bring the file or link *path*, and each further link up to the file, each at its canonical path."""
        while True:
            canonical = self.full.resolve_folder(path)
            if canonical is None or canonical in self.brought or canonical not in self.full:
                return
            self.brought[canonical] = None
            if self.full.kind(canonical) != SYMLINK:
                return
            path = read_files.target(self.full, canonical)

    def _interpreter(self, stub: str) -> None:
        """Bring the interpreter that the python backend's stub embeds, with its standard library and packages."""
        version = interpreter.version_of(self.loader.closure(stub).found)
        python = self.python = interpreter.find(self.full, self.env, version)
        for path in (*python.programs, *([python.environment] if python.environment else ())):
            self.bring(path)
        links = [link for folder in python.folders for link in self._packages(folder)]
        for path in [*links, *python.programs]:
            target = self.full.resolve(path)
            if target is not None and self.full.kind(target) == FILE:
                self.bring(path)
                self.bring(target)

    def _packages(self, folder: str) -> list[str]:
        """Bring a folder of the interpreter, except for files that the base has; return the links in it."""
        links: list[str] = []
        for path in (folder, *self.full.walk(folder)):
            if path in self.brought or (path != folder and interpreter.left_out(path, folder)):
                continue
            if path in self.base and self._is_same(path):
                continue
            self.brought[path] = None
            if self.full.kind(path) == SYMLINK:
                links.append(path)
        return links

    def _is_same(self, path: str) -> bool:
        """Return whether *path* is the same entry in both images: of the same layer, or an equal folder."""
        if self.full.is_folder(path) or self.base.is_folder(path):
            return self.full.kind(path) == self.base.kind(path) == FOLDER and self.full.entry(path) == self.base.entry(
                path
            )
        one, other = self.full.entry_id(path), self.base.entry_id(path)
        return one.entry == other.entry and (
            self.full.layers[one.layer].blob.digest == self.base.layers[other.layer].blob.digest
        )
