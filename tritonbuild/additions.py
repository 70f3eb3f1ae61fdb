"""What a user adds to an image beside Triton's own components: the forms that it takes, and their checks."""

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
_LARGEST_FRAGMENT: Final = 1 << 20
"""Bytes."""

_LIBRARY: Final = {"backend": "", "repoagent": "repoagent", "cache": "cache"}
"""What stands between `libtriton` and the name in a component's file."""

PYTHON_MODEL: Final = "model.py"
"""The file of a backend that is written in Python (triton-inference-server/python_backend)."""


@attrs.frozen(kw_only=True)
class OwnFolder:
    """A component of the user's own: a folder that goes into the image.

    Attributes:
        kind: `backend`, `repoagent` or `cache`.
        name: What Triton calls it.
        path: The folder, absolute.
        python_based: Whether it is a backend that is written in Python, and so needs the python backend.
    """

    kind: str
    name: str
    path: Path
    python_based: bool


def own_folder(kind: str, name: str, folder: str) -> OwnFolder:
    """Return the component in *folder*, a path as the caller sees it.

    Raises:
        InvalidInputError: It is not a folder, or holds nothing that Triton would load under *name*.
    """
    path = Path(folder).absolute() if folder else None
    if path is None or not path.is_dir():
        raise InvalidInputError(
            f"the folder of {kind} {name!r}, {folder!r}, does not exist", hint=f"say --{kind} {name}=FOLDER"
        )
    library = f"libtriton{_LIBRARY[kind]}_{name}.so"
    compiled = (path / library).is_file()
    python_based = kind == "backend" and not compiled and (path / PYTHON_MODEL).is_file()
    if not compiled and not python_based:
        wanted = f"{library} or {PYTHON_MODEL}" if kind == "backend" else library
        raise InvalidInputError(
            f"folder {folder!r} of {kind} {name!r} has no {wanted}", hint="Triton looks for it by that name"
        )
    return OwnFolder(kind=kind, name=name, path=path, python_based=python_based)


def requirements(values: Iterable[str]) -> tuple[str, ...]:
    """Return what pip is to install; options are refused, since a file can have them. A wheel is a file's path."""
    found: list[str] = []
    for value in values:
        if value.endswith(WHEEL) and not value.startswith(("http:", "https:")):
            path = files([value], "wheel")[0]
            if not re.fullmatch(_WHEEL, path.name, re.ASCII):
                raise InvalidInputError(f"{path.name!r} is not the name of a wheel", hint="leave it as it was made")
            if any(path.name == Path(other).name for other in found):
                raise InvalidInputError(f"wheel {path.name!r} is given twice", hint="give each once")
            found.append(str(path))
            continue
        if not re.fullmatch(_PIP, value, re.ASCII):
            raise InvalidInputError(f"{value!r} is not a requirement of pip's", hint="say numpy or 'numpy<2'")
        found.append(value)
    return tuple(found)


def files(values: Iterable[str | os.PathLike[str]], what: str) -> tuple[Path, ...]:
    """Return absolute paths of files that are there."""
    found = tuple(Path(value).absolute() for value in values)
    for path in found:
        if not path.is_file():
            raise InvalidInputError(f"{what} {str(path)!r} does not exist", hint="name a file")
    return found


def folders(values: Iterable[str | os.PathLike[str]], what: str) -> tuple[Path, ...]:
    """Return absolute paths of folders that are there."""
    found = tuple(Path(value).absolute() for value in values)
    for path in found:
        if not path.is_dir():
            raise InvalidInputError(f"{what} {str(path)!r} is not a folder", hint="name a local folder")
    return found


def variables(values: Mapping[str, str]) -> dict[str, str]:
    """Return environment variables; their values are taken as they are, `$` included."""
    for name, value in values.items():
        if not re.fullmatch(VARIABLE, name, re.ASCII):
            raise InvalidInputError(f"{name!r} is not the name of an environment variable", hint="say NAME=VALUE")
        _one_line(value, f"environment variable {name}")
    return dict(values)


def labels(values: Mapping[str, str]) -> dict[str, str]:
    """Return labels of the image."""
    for name, value in values.items():
        if not re.fullmatch(_LABEL, name, re.ASCII):
            raise InvalidInputError(f"{name!r} is not the name of a label", hint="say com.example.name=VALUE")
        _one_line(value, f"label {name}")
    return dict(values)


def user(value: str) -> str:
    """Return who the image's processes run as: a name or an id, with a group or without."""
    if value and not re.fullmatch(_USER, value, re.ASCII):
        raise InvalidInputError(f"{value!r} is not a user", hint="say triton-server, 1000 or 1000:1000")
    return value


def entrypoint(values: Iterable[str]) -> tuple[str, ...]:
    """Return the words of an entry point."""
    words = (values,) if isinstance(values, str) else tuple(values)
    for word in words:
        _one_line(word, "the entry point")
    return words


def target(value: str, what: str) -> str:
    """Return an absolute path inside the image."""
    strange = not value.startswith("/") or not value.isprintable() or not value.strip("/")
    if strange or {".", ".."} & set(value.split("/")):
        raise InvalidInputError(f"{value!r} is not a folder for {what}", hint="give an absolute path, say /models")
    return value.rstrip("/")


def fragment(path: str | os.PathLike[str] | None) -> str:
    """Return the instructions of the user's own in the file *path*, which end the Containerfile.

    Raises:
        InvalidInputError: It cannot be read, has control characters, or would start another stage.
    """
    if path is None or not os.fspath(path):
        return ""
    file = files([path], "fragment")[0]
    try:
        content = file.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"fragment {str(file)!r} cannot be read as text", hint="write it as UTF-8") from error
    if len(content) > _LARGEST_FRAGMENT:
        raise InvalidInputError(f"fragment {str(file)!r} is larger than 1 MiB", hint="copy files in some other way")
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    continued = False
    for number, line in enumerate(lines, 1):
        if not line.replace("\t", " ").isprintable():
            raise InvalidInputError(f"fragment {str(file)!r} has a control character in line {number}")
        bare = line.strip()
        if not continued and bare.split(maxsplit=1)[:1] and bare.split(maxsplit=1)[0].upper() == "FROM":
            raise InvalidInputError(
                f"fragment {str(file)!r} has FROM in line {number}",
                hint="it continues the image that is composed; build another one from that with a file of its own",
            )
        if not (continued and bare.startswith("#")):
            continued = bare.endswith("\\") and not bare.startswith("#")
    if continued:
        raise InvalidInputError(f"fragment {str(file)!r} ends in the middle of an instruction")
    return "\n".join(lines)


def _one_line(value: Any, place: str) -> None:
    if not isinstance(value, str) or not value.isprintable():
        raise InvalidInputError(f"{value!r} cannot be in {place}", hint="give text without control characters")
