"""User additions to an image: component folders, Python packages, models, variables, labels; their forms and checks."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild.errors import InvalidInputError
from tritonbuild.wellknown import VARIABLE

_PIP: Final = r"[A-Za-z0-9][\x20-\x7e]*"
_WHEEL: Final = r"[A-Za-z0-9][A-Za-z0-9._+!-]*\.whl"
_USER: Final = r"[a-z_0-9][a-z0-9_-]*(?::[a-z_0-9][a-z0-9_-]*)?"
_LABEL: Final = r"[A-Za-z0-9](?:[A-Za-z0-9._/-]*[A-Za-z0-9])?"
WHEEL: Final = ".whl"
_APT: Final = r"[a-z0-9][a-z0-9+.-]+(?::[a-z0-9]+)?(?:=[A-Za-z0-9][A-Za-z0-9.+:~-]*)?"
_LIBRARY: Final = {"backend": "", "repoagent": "repoagent", "cache": "cache"}
"""The text between `libtriton` and `_NAME.so` in the file name of a component, by kind."""

PYTHON_MODEL: Final = "model.py"
"""The file of a backend that is written in Python (triton-inference-server/python_backend)."""


@attrs.frozen(kw_only=True)
class ComponentFolder:
    """A folder of the user that holds a component.

    Attributes:
        kind: `backend`, `repoagent` or `cache`.
        name: The name of the component in Triton.
        path: The folder, absolute.
        python_based: Whether it is a backend written in Python, which needs the python backend.
    """

    kind: str
    name: str
    path: Path
    python_based: bool


def component_folder(kind: str, name: str, folder: str) -> ComponentFolder:
    """Return the component in *folder*, a path relative to the working directory or absolute.

    Raises:
        InvalidInputError: It is not a folder, or holds no file that Triton loads for *name*.
    """
    path = Path(folder).absolute() if folder else None
    if path is None or not path.is_dir():
        raise InvalidInputError(
            f"the folder of {kind} {name!r}, {folder!r}, does not exist", hint=f"use --{kind} {name}=FOLDER"
        )
    library = f"libtriton{_LIBRARY[kind]}_{name}.so"
    compiled = (path / library).is_file()
    python_based = kind == "backend" and not compiled and (path / PYTHON_MODEL).is_file()
    if not compiled and not python_based:
        wanted = f"{library} or {PYTHON_MODEL}" if kind == "backend" else library
        raise InvalidInputError(
            f"folder {folder!r} of {kind} {name!r} has no {wanted}", hint="Triton loads the file of that name"
        )
    return ComponentFolder(kind=kind, name=name, path=path, python_based=python_based)


def requirements(values: Iterable[str]) -> tuple[str, ...]:
    """Return pip requirements and absolute paths of wheels; options of pip belong into a requirements file."""
    found: list[str] = []
    for value in values:
        if value.endswith(WHEEL) and not value.startswith(("http:", "https:")):
            path = files([value], "wheel")[0]
            if not re.fullmatch(_WHEEL, path.name, re.ASCII):
                raise InvalidInputError(
                    f"{path.name!r} is not a file name of a wheel", hint="restore the name from its build"
                )
            if any(path.name == Path(other).name for other in found):
                raise InvalidInputError(f"wheel {path.name!r} is given twice", hint="name each wheel once")
            found.append(str(path))
            continue
        if not re.fullmatch(_PIP, value, re.ASCII):
            raise InvalidInputError(f"{value!r} is not a pip requirement", hint="write it as numpy or 'numpy<2'")
        found.append(value)
    return tuple(found)


def apt(values: Iterable[str]) -> tuple[str, ...]:
    """Return packages of the distribution: names, with or without an architecture and a version."""
    found = tuple(values)
    for value in found:
        if not re.fullmatch(_APT, value, re.ASCII):
            raise InvalidInputError(f"{value!r} is not a package for apt", hint="write it as libgl1 or libgl1=1.6.0-1")
    return found


def files(values: Iterable[str | os.PathLike[str]], noun: str) -> tuple[Path, ...]:
    """Return the absolute paths of files, all of which exist; *noun* names them in messages."""
    found = tuple(Path(value).absolute() for value in values)
    for path in found:
        if not path.is_file():
            raise InvalidInputError(f"{noun} {str(path)!r} does not exist", hint="name a file")
    return found


def folders(values: Iterable[str | os.PathLike[str]], noun: str) -> tuple[Path, ...]:
    """Return the absolute paths of folders, all of which exist; *noun* names them in messages."""
    found = tuple(Path(value).absolute() for value in values)
    for path in found:
        if not path.is_dir():
            raise InvalidInputError(f"{noun} {str(path)!r} is not a folder", hint="name a local folder")
    return found


def added_files(values: Mapping[str, str]) -> dict[str, str]:
    """Return files and folders of the user, absolute, each with its path in the image.

    A file whose path ends with a slash keeps its name in that folder.

    Raises:
        InvalidInputError: One does not exist, or its path cannot be used, or two have the same path.
    """
    found: dict[str, str] = {}
    for source, path in values.items():
        file = Path(source).absolute()
        if not source or not file.exists():
            raise InvalidInputError(f"file {source!r} does not exist", hint="name a file or folder")
        to = target(path, "a path", f"--file {source}")
        if path.endswith("/") and not file.is_dir():
            to = f"{to}/{file.name}"
        if to in found.values():
            raise InvalidInputError(f"two files have the path {to!r} in the image", hint="give each its own path")
        found[str(file)] = to
    return found


def variables(values: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables; their values are literal, `$` included."""
    for name, value in values.items():
        if not re.fullmatch(VARIABLE, name, re.ASCII):
            raise InvalidInputError(
                f"{name!r} is not the name of an environment variable", hint="write it as NAME=VALUE"
            )
        _one_line(value, f"environment variable {name}")
    return dict(values)


def labels(values: Mapping[str, str]) -> dict[str, str]:
    """Return labels, whose names and values are valid."""
    for name, value in values.items():
        if not re.fullmatch(_LABEL, name, re.ASCII):
            raise InvalidInputError(f"{name!r} is not the name of a label", hint="write it as com.example.name=VALUE")
        _one_line(value, f"label {name}")
    return dict(values)


def user(value: str) -> str:
    """Return the user of the image's processes: a name or an id, with or without a group."""
    if value and not re.fullmatch(_USER, value, re.ASCII):
        raise InvalidInputError(f"{value!r} is not a user", hint="write it as triton-server, 1000 or 1000:1000")
    return value


def entrypoint(values: Iterable[str]) -> tuple[str, ...]:
    """Return the words of an entry point."""
    words = (values,) if isinstance(values, str) else tuple(values)
    for word in words:
        _one_line(word, "the entry point")
    return words


def target(value: str, kind: str, noun: str) -> str:
    """Return an absolute path in the image; *kind* and *noun* say in messages whose path it is."""
    malformed = not value.startswith("/") or not value.isprintable() or not value.strip("/")
    if malformed or {".", ".."} & set(value.split("/")):
        raise InvalidInputError(
            f"{value!r} is not {kind} for {noun}", hint="give an absolute path, for example /models"
        )
    return value.rstrip("/")


def _one_line(value: Any, noun: str) -> None:
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidInputError(f"{noun} cannot be {value!r}", hint="give text without control characters")
