"""The runtime: files that the chosen components need and the base lacks, computed from layer indexes.

The rules and their order are those of scripts/runtime.sh, so that every engine gives an image the same files.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from tritonbuild.layers.entry import FILE, FOLDER, SYMLINK
from tritonbuild.rootfs import interpreter
from tritonbuild.rootfs.loader import Loader
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER

SERVER_PATH: Final = SERVER.strip("/")
"""The folder of the server as a path of a view."""

OF_THE_BASE: Final = tuple(
    f"{name}*"
    for name in (
        "ld-linux",
        "libc.so.",
        "libm.so.",
        "libdl.so.",
        "libpthread.so.",
        "librt.so.",
        "libresolv.so.",
        "libutil.so.",
    )
)
"""Libraries that are always the base's: the C library."""

OF_THE_DRIVER: Final = ("libcuda.so*", "libcudadebugger.so*", "libnvidia-*", "libnvcuvid.so*", "libnvoptix.so*")
"""Libraries of the GPU's driver, which the host provides."""

_SMALL: Final = 4 << 20
"""The most bytes of a file or folder that is brought only if it is small."""

_STANDARD: Final = ("/lib", "/usr/lib", "/lib/*-linux-gnu", "/usr/lib/*-linux-gnu")


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether the name of a library matches one of the shell patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_library(path: str) -> bool:
    """Return whether a file is named like a shared library."""
    name = posixpath.basename(path)
    return name.endswith(".so") or ".so." in name


@attrs.frozen(kw_only=True)
class OpenedLibrary:
    """A library that is brought because *file* names it."""

    name: str
    path: str
    file: str


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
        self.exclude = exclude
        self.sonames = base_loader.names()
        self.known = full_loader.known()
        self.cached = {line.path for line in full_loader.lines}
        self.brought: dict[str, None] = {}
        """Canonical paths that are brought: links, files, and the folders of the interpreter."""
        self.configured: set[str] = set()
        """Folders that are added to the configuration of the loader."""
        self.named: list[OpenedLibrary] = []
        """Libraries that are brought because a file names them."""

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
        targets = self._followed(candidates)
        for path in candidates:
            if path.endswith(f"/{interpreter.STUB}"):
                self._interpreter(path)
        for path in read:
            self._read(path)
        for path in read_small:
            self._read(path, most=_SMALL)
        programs = [path for path in [*self.brought][before:] if is_library(path) or "/bin/" in path]
        libraries = self._opened(opened)
        targets |= self._resolved([*programs, *(path for _, path in libraries)])
        targets |= self._python_files(folders, before)
        self._libraries(targets, libraries)
        return tuple([*self.brought][before:])

    def _python_files(self, folders: Iterable[str], before: int) -> set[str]:
        """Return the Python files in *folders*, and those brought since *before*, that open libraries."""
        paths = [path for folder in folders for path in self.full.walk(folder)]
        python = (path for path in [*paths, *[*self.brought][before:]] if path.endswith(".py"))
        return {path for path in python if self.full.opened(path)}

    def _libraries(self, targets: Iterable[str], libraries: Iterable[tuple[str, str]]) -> None:
        """Bring *libraries*, those that *targets* need and name, and those that these need and name in turn."""
        found = dict.fromkeys(libraries)
        namers: dict[tuple[str, str], str] = {}
        seen: set[str] = set()
        waiting = sorted(targets)
        while waiting:
            seen.update(waiting)
            more: set[str] = set()
            for path in waiting:
                if self.full.elf(path) is not None:
                    found.update(dict.fromkeys(self.loader.closure(path).found.items()))
                for name in self.full.opened(path):
                    if name in self.known and not self._is_left_out(name):
                        library = (name, self.known[name])
                        namers.setdefault(library, path)
                        found.setdefault(library)
            for library in found:
                if not self._is_left_out(library[0]):
                    more |= self._resolved([library[1]])
            waiting = sorted(more - seen)
        for name, path in sorted(found):
            if self._library(name, path) and (name, path) in namers:
                at = f"/{self.full.resolve_folder(path)}"
                self.named.append(OpenedLibrary(name=name, path=at, file=f"/{namers[name, path]}"))

    def _is_left_out(self, name: str) -> bool:
        """Return whether a library is the base's or the driver's, or excluded."""
        return matches(name, (*OF_THE_BASE, *OF_THE_DRIVER, *self.exclude))

    def _programs(self, folder: str) -> Iterator[str]:
        """Yield the links, libraries and programs in *folder*."""
        paths = self.full.walk(folder) if self.full.is_folder(folder) else (folder,)
        for path in paths:
            kind = self.full.kind(path)
            if kind == SYMLINK or (kind == FILE and (is_library(path) or self.full.entry(path).mode & 0o111)):
                yield path

    def _resolved(self, paths: Iterable[str]) -> set[str]:
        """Return the canonical paths of those *paths* that exist."""
        return {target for target in map(self.full.resolve, paths) if target is not None}

    def _followed(self, candidates: Iterable[str]) -> set[str]:
        """Return the canonical paths of *candidates*; bring those outside of the server's folder."""
        targets = dict.fromkeys(target for target in map(self.full.resolve, candidates) if target is not None)
        for target in targets:
            if not target.startswith(f"{SERVER_PATH}/") and target not in self.base:
                self.bring(target)
        return set(targets)

    def _read(self, path: str, *, most: int | None = None) -> None:
        """Bring a file or folder that is read at run time: what the base lacks of it, and of what its links lead to.

        Nothing is brought if its files have more bytes than *most*.
        """
        ahead = [path]
        while ahead:
            reached = {found for one in ahead for found in self._files(one)}
            new = sorted(found for found in reached if found not in self.base and found not in self.brought)
            if most is not None and sum(self.full.entry(one).size for one in new) > most:
                return
            most = None
            self.brought.update(dict.fromkeys(new))
            ahead = [self._next(one) for one in new if self.full.kind(one) == SYMLINK]

    def _files(self, path: str) -> Iterator[str]:
        """Yield the canonical paths of the files and links that *path* is or, as a folder, has below it."""
        canonical = self.full.resolve_folder(path)
        if canonical is None or self.full.resolve(path) is None:
            return
        if self.full.kind(canonical) == SYMLINK:
            yield canonical
            return
        real = self.full.resolve(path) or ""
        paths = self.full.walk(real) if self.full.is_folder(real) else (real,)
        yield from (one for one in paths if not self.full.is_folder(one))

    def _next(self, link: str) -> str:
        """Return the path that the symbolic link *link* names."""
        target = self.full.target(link)
        return target if target.startswith("/") else f"{posixpath.dirname(link)}/{target}"

    def _opened(self, patterns: Iterable[str]) -> list[tuple[str, str]]:
        """Return name and path of the libraries in the loader's cache that match *patterns*."""
        found: list[tuple[str, str]] = []
        for pattern in patterns:
            names: dict[str, str] = {}
            for line in self.loader.baseline:
                if fnmatch.fnmatchcase(line.name, pattern):
                    names.setdefault(line.name, line.path)
            found += names.items()
        return found

    def _library(self, name: str, path: str) -> bool:
        """Bring a library that was found as *name* at *path*, unless the base or the server has it."""
        canonical = self.full.resolve_folder(path)
        if canonical is None or self._is_left_out(name):
            return False
        folder = posixpath.dirname(canonical)
        if folder == SERVER_PATH or folder.startswith(f"{SERVER_PATH}/"):
            return False
        if name in self.sonames or (canonical in self.base and not self.base.is_folder(canonical)):
            return False
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
            path = self._next(canonical)

    def _interpreter(self, stub: str) -> None:
        """Bring the interpreter that the python backend's stub embeds, with its standard library and packages."""
        version = interpreter.version_of(self.loader.closure(stub).found)
        python = interpreter.find(self.full, self.env, version)
        self.bring(python.program)
        for link in python.links:
            self.bring(link)
        links = [link for folder in python.folders for link in self._packages(folder)]
        for path in [*links, python.program, *python.links]:
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
