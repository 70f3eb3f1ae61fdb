"""What the chosen components need at run time and the base lacks: scripts/runtime.sh, computed from indexes.

The rules and their order are the script's, so that an image has the same files whichever engine writes it.
"""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable, Iterator, Mapping

from tritonbuild.layers.entry import FILE, FOLDER, SYMLINK
from tritonbuild.rootfs import interpreter
from tritonbuild.rootfs.loader import Loader
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER

SERVER_PATH = SERVER.strip("/")
"""The folder of the server as a path of a view."""

OF_THE_BASE = tuple(
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
"""The C library is the base's."""

OF_THE_DRIVER = ("libcuda.so*", "libcudadebugger.so*", "libnvidia-*", "libnvcuvid.so*", "libnvoptix.so*")
"""Libraries that come from the host, with the GPU."""

_STANDARD = ("/lib", "/usr/lib", "/lib/*-linux-gnu", "/usr/lib/*-linux-gnu")


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Whether a library's name matches one of the shell patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_library(path: str) -> bool:
    """Whether a file is called as a shared library is."""
    name = posixpath.basename(path)
    return name.endswith(".so") or ".so." in name


class Runtime:
    """Collects files of *full* that *base* lacks.

    Args:
        full: The image that has everything.
        base: The image that the result is made on.
        env: The environment of *full*.
        full_loader: The loader of *full*.
        base_loader: The loader of *base*.
    """

    def __init__(
        self, full: View, base: View, *, env: Mapping[str, str], full_loader: Loader, base_loader: Loader
    ) -> None:
        self.full = full
        self.base = base
        self.env = env
        self.loader = full_loader
        self.sonames = base_loader.names()
        self.cached = {line.path for line in full_loader.lines}
        self.brought: dict[str, None] = {}
        """Canonical paths of what is brought: links, files, and the folders of the interpreter."""
        self.configured: set[str] = set()
        """Folders that the base's loader has to be told of."""
        self._same: dict[str, bool] = {}

    def stage(  # noqa: C901, PLR0912 - the steps of scripts/runtime.sh, in its order
        self, folders: Iterable[str], opened: Iterable[str], read: Iterable[str]
    ) -> tuple[str, ...]:
        """Collect what the files in *folders* need besides what was collected before; return its paths.

        Args:
            folders: Canonical paths of folders or files of *full*.
            opened: Names of libraries (shell patterns) that they open.
            read: Files that they read.
        """
        before = len(self.brought)
        candidates = [path for folder in folders for path in self._programs(folder)]
        elves: dict[str, None] = {}
        for path in candidates:
            target = self.full.resolve(path)
            if target is None:
                continue
            elves[target] = None
            if not target.startswith(f"{SERVER_PATH}/") and target not in self.base:
                self.bring(target)
        for path in candidates:
            if path.endswith(f"/{interpreter.STUB}"):
                self._interpreter(path)
        for path in read:
            name = path.strip("/")
            if self.full.resolve(name) is not None and name not in self.base:
                self.bring(name)
        for path in [*self.brought][before:]:
            if is_library(path) or "/bin/" in path:
                target = self.full.resolve(path)
                if target is not None:
                    elves[target] = None
        needed = self._opened(opened)
        for _, path in needed:
            target = self.full.resolve(path)
            if target is not None:
                elves[target] = None
        found = dict.fromkeys(needed)
        for path in sorted(elves):
            if self.full.elf(path) is not None:
                found.update(dict.fromkeys(self.loader.closure(path).found.items()))
        for name, path in sorted(found):
            self._library(name, path)
        return tuple([*self.brought][before:])

    def _programs(self, folder: str) -> Iterator[str]:
        paths = self.full.walk(folder) if self.full.is_folder(folder) else (folder,)
        for path in paths:
            kind = self.full.kind(path)
            if kind == SYMLINK or (kind == FILE and (is_library(path) or self.full.entry(path).mode & 0o111)):
                yield path

    def _opened(self, patterns: Iterable[str]) -> list[tuple[str, str]]:
        found: list[tuple[str, str]] = []
        for pattern in patterns:
            names: dict[str, str] = {}
            for line in self.loader.baseline:
                if fnmatch.fnmatchcase(line.name, pattern):
                    names.setdefault(line.name, line.path)
            found += names.items()
        return found

    def _library(self, name: str, path: str) -> None:
        if matches(name, OF_THE_BASE) or matches(name, OF_THE_DRIVER):
            return
        canonical = self.full.resolve_folder(path)
        if canonical is None:
            return
        folder = posixpath.dirname(canonical)
        if folder == SERVER_PATH or folder.startswith(f"{SERVER_PATH}/"):
            return
        if name in self.sonames or (canonical in self.base and not self.base.is_folder(canonical)):
            return
        self.bring(path)
        if not matches(f"/{folder}", _STANDARD) and (
            path in self.cached or posixpath.dirname(path) in self.loader.library_path
        ):
            self.configured.add(f"/{folder}")

    def bring(self, path: str) -> None:
        """Bring what is at *path*, and every link it leads through, each at its canonical path."""
        while True:
            canonical = self.full.resolve_folder(path)
            if canonical is None or canonical in self.brought or canonical not in self.full:
                return
            self.brought[canonical] = None
            if self.full.kind(canonical) != SYMLINK:
                return
            target = self.full.target(canonical)
            path = target if target.startswith("/") else f"{posixpath.dirname(canonical)}/{target}"

    def _interpreter(self, stub: str) -> None:
        version = interpreter.version_of(self.loader.closure(stub).found)
        python = interpreter.find(self.full, self.env, version)
        self.bring(python.program)
        for link in python.links:
            self.bring(link)
        own: list[str] = []
        for folder in python.folders:
            for path in (folder, *self.full.walk(folder)):
                if path in self.brought or (path != folder and interpreter.left_out(path, folder)):
                    continue
                # What the base has from the very same layer is there already.
                if path in self.base and self._is_same(path):
                    continue
                self.brought[path] = None
                if self.full.kind(path) == SYMLINK:
                    own.append(path)
        for path in [*own, python.program, *python.links]:
            target = self.full.resolve(path)
            if target is not None and self.full.kind(target) == FILE:
                self.bring(path)
                self.bring(target)

    def _is_same(self, path: str) -> bool:
        if self.full.is_folder(path) or self.base.is_folder(path):
            return self.full.kind(path) == self.base.kind(path) == FOLDER and self.full.entry(path) == self.base.entry(
                path
            )
        one, other = self.full.place(path), self.base.place(path)
        return one.entry == other.entry and (
            self.full.layers[one.layer].blob.digest == self.base.layers[other.layer].blob.digest
        )
