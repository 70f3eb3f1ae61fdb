"""Additions out of the build context, as layers and items: components, Python packages, folders."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

import attrs

from tritonbuild.embedded.request import Addition, Request, RequestedComponent
from tritonbuild.errors import InvalidInputError
from tritonbuild.layers.items import Item
from tritonbuild.layers.reading import Layer
from tritonbuild.rootfs import interpreter, ldcache, local, wheels
from tritonbuild.rootfs.loader import Loader
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER

_GLIBC: Final = re.compile(r"GLIBC_(\d+)\.(\d+)")


@attrs.frozen(kw_only=True)
class Context:
    """The build context.

    Attributes:
        folder: The folder of the build context; None without one.
        scratch: An empty folder for unpacked wheels, needed until the image is written.
        moment: The time of all its files, seconds since 1970.
    """

    folder: Path | None
    scratch: Path | None
    moment: int

    def path(self, name: str) -> Path:
        """Return the path of *name* in the build context.

        Raises:
            InvalidInputError: The build context has no such file.
        """
        if self.folder is None or not (self.folder / name).exists():
            raise InvalidInputError(
                f"the build context has no {name!r}", hint="use the build context that tritonbuild creates"
            )
        return self.folder / name

    def component(self, component: RequestedComponent) -> Layer:
        """Return the layer with the user's component; it hides the component of lower layers."""
        folder = component.folder.strip("/")
        return local.layer(self.path(component.context), folder, mtime=self.moment, replaces=True)

    def addition(self, view: View, addition: Addition) -> Layer:
        """Return the layer with a file, or with a folder and its content, above the image *view*."""
        path = self.path(addition.context)
        if path.is_dir():
            return local.layer(path, canonical(view, addition.folder), mtime=self.moment, below=view)
        folder, _, name = addition.folder.rpartition("/")
        return local.layer(path, posixpath.join(canonical(view, folder), name), mtime=self.moment)

    def added(self, composed: View, addition: Addition) -> list[Item]:
        """Return the items of a file, or of a folder except for folders that the image has."""
        layer = self.addition(composed, addition)
        view = View([layer])
        return [view.item(path) for path in layer.index.paths]

    def packages(self, request: Request, full: View, loader: Loader, base: Loader, path: str) -> Layer:
        """Return the layer with the unpacked wheels, for the interpreter on *path* that the python backend embeds.

        Raises:
            InvalidInputError: A wheel does not fit, or has a requirement that is not installed.
        """
        stub = full.resolve(f"{SERVER}/{interpreter.STUB}")
        version = interpreter.version_of(loader.closure(stub).found) if stub else ""
        python = interpreter.find(full, {"PATH": path}, version)
        if self.scratch is None:
            raise InvalidInputError("wheels need a folder to be unpacked in", hint="pass scratch")
        wheels.unpack(
            [self.path(name) for name in request.wheels],
            self.scratch,
            view=full,
            python=python,
            machine=loader.machine,
            glibc=_glibc(base if base.view.layers else loader),
        )
        folder = self.scratch / python.packages
        folder.mkdir(parents=True, exist_ok=True)
        return local.layer(folder, python.packages, mtime=self.moment, below=full)


def _glibc(loader: Loader) -> tuple[int, int]:
    """Return the version of an image's C library, by the versions that its symbols have."""
    paths = [line.path for line in loader.baseline if line.name == "libc.so.6"]
    found = [(0, 0)]
    for path in paths:
        real = loader.view.resolve(path)
        elf = loader.view.elf(real) if real else None
        if elf is not None and elf.machine == loader.machine and ldcache.flags(elf):
            matches = (_GLIBC.fullmatch(version) for version in elf.versions)
            found += [(int(match[1]), int(match[2])) for match in matches if match]
    return max(found)


def canonical(view: View, path: str) -> str:
    """Return the canonical path of *path* in *view*; the part of it that does not exist stays unchanged."""
    existing, rest = path.strip("/"), ""
    while (real := view.resolve(existing)) is None:
        existing, _, name = existing.rpartition("/")
        rest = posixpath.join(name, rest) if rest else name
    if not view.is_folder(real):
        raise InvalidInputError(
            f"/{existing} is a file in the image, not a folder for {path}", hint="name another folder"
        )
    return f"{real}/{rest}".strip("/")
