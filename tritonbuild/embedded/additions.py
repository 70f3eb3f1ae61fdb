"""What users add, out of the build context, as layers and items: components, Python packages, folders."""

from __future__ import annotations

import posixpath
import re
from pathlib import Path
from typing import Final

import attrs

from tritonbuild.embedded.request import Addition, Component, Request
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
        folder: Where it is; None without one.
        scratch: A folder for what is made of it, until the image is written.
        moment: The time of what is in it, seconds since 1970.
    """

    folder: Path | None
    scratch: Path | None
    moment: int

    def path(self, name: str) -> Path:
        """Return where something is that has to be in it.

        Raises:
            InvalidInputError: It is not.
        """
        if self.folder is None or not (self.folder / name).exists():
            raise InvalidInputError(f"the build context has no {name!r}", hint="tritonbuild makes it")
        return self.folder / name

    def component(self, component: Component) -> Layer:
        """Return the layer that has a component in place of the one below."""
        folder = component.folder.strip("/")
        return local.layer(self.path(component.context), folder, mtime=self.moment, replaces=True)

    def added(self, composed: View, addition: Addition) -> list[Item]:
        """Return the items of a folder, but for folders that are in the image already."""
        place = canonical(composed, addition.folder)
        layer = local.layer(self.path(addition.context), place, mtime=self.moment, below=composed)
        view = View([layer])
        return [view.item(path) for path in layer.index.paths]

    def packages(self, request: Request, full: View, loader: Loader, base: Loader, path: str) -> Layer:
        """Return the layer with the request's wheels unpacked, for the interpreter on *path* that *full* embeds.

        Raises:
            InvalidInputError: One of them does not fit, or needs what is not there.
        """
        stub = full.resolve(f"{SERVER}/{interpreter.STUB}")
        version = interpreter.version_of(loader.closure(stub).found) if stub else ""
        python = interpreter.find(full, {"PATH": path}, version)
        if self.scratch is None:
            raise InvalidInputError("wheels take a folder to be unpacked in", hint="give one")
        wheels.unpack(
            [self.path(name) for name in request.wheels],
            self.scratch,
            view=full,
            python=python,
            machine=loader.machine,
            glibc=_glibc(base),
        )
        folder = self.scratch / python.packages
        folder.mkdir(parents=True, exist_ok=True)
        return local.layer(folder, python.packages, mtime=self.moment, below=full)


def _glibc(loader: Loader) -> tuple[int, int]:
    """Return the version of an image's C library, by the versions of its symbols."""
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
    """Return where *path* is, or would be, in *view*: the links that lead to it resolved."""
    there, rest = path.strip("/"), ""
    while (real := view.resolve(there)) is None:
        there, _, name = there.rpartition("/")
        rest = posixpath.join(name, rest) if rest else name
    if not view.is_folder(real):
        raise InvalidInputError(f"/{there} is a file in the image, where {path} would be", hint="name another folder")
    return f"{real}/{rest}".strip("/")
