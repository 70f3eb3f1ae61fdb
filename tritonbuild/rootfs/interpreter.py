"""The Python interpreter that the python backend embeds: the folders of its standard library and packages.

Nothing is run, so the folders follow from files: they are those that sysconfig and site name for an interpreter of
Debian and Ubuntu (/usr, dist-packages), for one built from source (site-packages below its prefix), and for a virtual
environment (PEP 405), which pyvenv.cfg marks.
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
        programs: The program, the one that a virtual environment is based on, and other names of these.
        folders: The folders of the standard library and of packages, canonical, with that of a virtual environment.
        packages: The folder that pip installs into; it need not exist.
        environment: The folder of the virtual environment, as the PATH names it; empty without one.
    """

    version: str
    program: str
    programs: tuple[str, ...]
    folders: tuple[str, ...]
    packages: str
    environment: str = ""


def version_of(names: Mapping[str, str]) -> str:
    """Return the version of libpython among the libraries that a stub needs; empty without libpython."""
    for name in sorted(names):
        if match := _LIBPYTHON.match(name):
            return match[1]
    return ""


def find(view: View, env: Mapping[str, str], version: str) -> Interpreter:
    """Return the first interpreter of that minor version on the image's PATH.

    Raises:
        TritonBuildError: The PATH has none, or it is in a virtual environment whose base does not exist.
    """
    program = search(view, env, version)
    if not program:
        raise TritonBuildError(
            f"the python backend needs python{version}, which the full image does not have",
            hint="use a full image in which the python backend works",
        )
    return _interpreter(view, program, version)


def search(view: View, env: Mapping[str, str], version: str) -> str:
    """Return the path of the first interpreter of that minor version on the image's PATH; empty without one."""
    for folder in env.get("PATH", "/usr/bin").split(":"):
        if version and folder.startswith("/") and (program := _program(view, folder.strip("/"), version)):
            return program
    return ""


def _program(view: View, folder: str, version: str) -> str:
    """Return the path of the interpreter in *folder*; empty without one.

    The virtual environments of Python 3.8 have no program that is named with the minor version.
    """
    if view.resolve(f"{folder}/python{version}") is not None:
        return f"{folder}/python{version}"
    root = _environment(view, folder)
    of_version = root and view.resolve(f"{root}/lib/python{version}") is not None
    return f"{folder}/python3" if of_version and view.resolve(f"{folder}/python3") is not None else ""


def _environment(view: View, folder: str) -> str:
    """Return the folder of the virtual environment that has its programs in *folder*; empty without one."""
    for root in (folder, posixpath.dirname(folder)):
        if view.resolve(f"{root}/pyvenv.cfg") is not None:
            return root
    return ""


def _interpreter(view: View, program: str, version: str) -> Interpreter:
    """Return the interpreter with the given program."""
    root = _environment(view, posixpath.dirname(program))
    settings = _settings(view, root) if root else {}
    base = program
    if root:
        home = settings.get("home", "").strip("/")
        found = (path for name in (f"python{version}", "python3") if view.resolve(path := f"{home}/{name}") is not None)
        base = next(found, "")
        if not base:
            raise TritonBuildError(
                f"the virtual environment /{root} is based on python{version} in /{home}, which the full image lacks",
                hint="use a full image in which the python backend works",
            )
    real = view.resolve(base) or base
    prefix = posixpath.dirname(posixpath.dirname(real))
    library = f"{prefix}/lib/python{version}"
    packages = f"{library}/site-packages"
    shared = [packages]
    if prefix == "usr":
        packages = f"usr/local/lib/python{version}/dist-packages"
        shared = [packages, "usr/lib/python3/dist-packages", f"{library}/dist-packages"]
    candidates = [library, *shared]
    if root:
        packages = f"{root}/lib/python{version}/site-packages"
        is_open = settings.get("include-system-site-packages", "").lower() == "true"
        candidates = [root, packages, library, *(shared if is_open else ())]
    resolved = {view.resolve(candidate) for candidate in candidates}
    other = ["usr/bin/python3"] if view.resolve("usr/bin/python3") == real else []
    return Interpreter(
        version=version,
        program=program,
        programs=tuple(dict.fromkeys([program, base, *other])),
        folders=tuple(sorted(folder for folder in resolved if folder is not None and view.is_folder(folder))),
        packages=view.resolve(packages) or packages,
        environment=root,
    )


def _settings(view: View, root: str) -> dict[str, str]:
    """Return the keys and values in the pyvenv.cfg of a virtual environment."""
    lines = (view.content(f"{root}/pyvenv.cfg") or b"").decode("utf-8", "surrogateescape").splitlines()
    pairs = (line.partition("=") for line in lines)
    return {key.strip().lower(): value.strip() for key, equals, value in pairs if equals}


def left_out(path: str, folder: str) -> bool:
    """Return whether *path* below *folder* serves only to link other programs, or to test."""
    return path.endswith((".a", ".o")) or _TESTS.match(path, len(folder) + 1) is not None
