"""The Python interpreter that the python backend embeds: the folders of its standard library and packages.

Nothing is run, so the folders follow from files: they are those that sysconfig and site name for an interpreter of
Debian and Ubuntu (/usr, dist-packages) and for one built from source (site-packages below its prefix).
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Final

import attrs

from tritonbuild.errors import TritonBuildError
from tritonbuild.rootfs.view import View

STUB: Final = "backends/python/triton_python_backend_stub"
_TESTS: Final = re.compile(r"test(?:/|$)|numpy/(?:.*/)?tests(?:/|$)", re.DOTALL)
"""Tests of the standard library and of NumPy. Those of other packages stay: some packages import their own."""
_LIBPYTHON: Final = re.compile(r"libpython([0-9.]*)\.so")


@attrs.frozen(kw_only=True)
class Interpreter:
    """An interpreter of an image; all paths are without a leading slash.

    Attributes:
        version: The minor version, `3.11`.
        program: The program on the PATH.
        links: Other names of the program.
        folders: The folders of the standard library and of packages, canonical.
        packages: The folder that pip installs into; it need not exist.
    """

    version: str
    program: str
    links: tuple[str, ...]
    folders: tuple[str, ...]
    packages: str


def version_of(names: Mapping[str, str]) -> str:
    """Return the version of libpython among the libraries that a stub needs; empty without libpython."""
    for name in sorted(names):
        if match := _LIBPYTHON.match(name):
            return match[1]
    return ""


def find(view: View, env: Mapping[str, str], version: str) -> Interpreter:
    """Return the first interpreter of that minor version on the image's PATH.

    Raises:
        TritonBuildError: The PATH has none.
    """
    for folder in env.get("PATH", "/usr/bin").split(":"):
        program = view.resolve(f"{folder}/python{version}") if version and folder.startswith("/") else None
        if program is None:
            continue
        path = f"{folder}/python{version}".strip("/")
        links = ("usr/bin/python3",) if view.resolve("usr/bin/python3") == program else ()
        prefix = posixpath.dirname(posixpath.dirname(program))
        library = f"{prefix}/lib"
        packages = f"{library}/python{version}/site-packages"
        candidates = [f"{library}/python{version}", packages]
        if prefix == "usr":
            packages = f"usr/local/lib/python{version}/dist-packages"
            candidates = [
                f"usr/lib/python{version}",
                packages,
                "usr/lib/python3/dist-packages",
                f"usr/lib/python{version}/dist-packages",
            ]
        real = (view.resolve(candidate) for candidate in candidates)
        folders = sorted({found for found in real if found is not None and view.is_folder(found)})
        return Interpreter(
            version=version,
            program=path,
            links=links,
            folders=tuple(folders),
            packages=view.resolve(packages) or packages,
        )
    raise TritonBuildError(
        f"the python backend needs python{version}, which the full image does not have",
        hint="use a full image in which the python backend works",
    )


def left_out(path: str, folder: str) -> bool:
    """Return whether *path* below *folder* serves only to link other programs, or to test."""
    return path.endswith((".a", ".o")) or _TESTS.match(path, len(folder) + 1) is not None
