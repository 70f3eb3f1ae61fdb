"""Wheels: checked against the interpreter of an image and unpacked for it, without running anything.

The tags of a wheel must fit the interpreter, the processor and the C library. Each requirement must be installed
already or be another of the given wheels; nothing is upgraded. For everything else that pip does, use another engine.
https://packaging.python.org/en/latest/specifications/binary-distribution-format/
"""

from __future__ import annotations

import email.parser
import posixpath
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from email.message import Message
from pathlib import Path
from typing import Any, Final, TypeAlias

from tritonbuild.errors import InvalidInputError
from tritonbuild.rootfs.interpreter import Interpreter
from tritonbuild.rootfs.view import View

# The libraries are imported inside the functions: most builds have no wheels.
# ruff: noqa: PLC0415

Tag: TypeAlias = Any
"""packaging.tags.Tag"""
Version: TypeAlias = Any
"""packaging.version.Version"""

_Environment: TypeAlias = dict[str, str | AbstractSet[str]]
_INSTALLED: Final = re.compile(r"(?P<name>.+?)-(?P<version>[^-]+)(?:-py[^-]+)?\.(?:dist|egg)-info")
_OLDEST_GLIBC: Final = 5
_LEGACY: Final = {17: "manylinux2014", 12: "manylinux2010", 5: "manylinux1"}
_MACHINES: Final = {62: "x86_64", 183: "aarch64"}


def unpack(  # noqa: PLR0913 - the facts that a wheel must fit
    wheels: Sequence[Path], root: Path, *, view: View, python: Interpreter, machine: int, glibc: tuple[int, int]
) -> None:
    """Unpack *wheels* into the folder *root*, each file at its path in the image.

    Args:
        wheels: The files of the wheels.
        root: An empty folder.
        view: The image that has the interpreter.
        python: The interpreter.
        machine: The processor's number in ELF.
        glibc: The version of the composed image's C library.

    Raises:
        InvalidInputError: A file is not a wheel, does not fit, or has a requirement that is not installed.
    """
    try:
        import installer  # noqa: F401
        import packaging  # noqa: F401
    except ImportError as error:
        raise InvalidInputError(
            f"wheels need the Python package {error.name!r}, which is not installed",
            hint="pip install 'tritonbuild[wheels]'",
        ) from error
    installed = {name: version for name, version, _ in _installed(view, python.folders)}
    replaced = {name for name, _, folder in _installed(view, [python.packages])}
    tags = frozenset(_tags(python.version, machine, glibc))
    given: dict[str, Version] = {}
    metadata: dict[Path, Message] = {}
    for path in wheels:
        name, version = _fitting(path, tags, python)
        if name in replaced or name in given:
            raise InvalidInputError(
                f"wheel {path.name!r} would replace {name} {given.get(name, installed.get(name))}",
                hint="use an engine that runs pip: tritonbuild engines lists them",
            )
        given[name] = version
        metadata[path] = _metadata(path)
    environment = _environment(python.version, machine)
    for path, message in metadata.items():
        _check(path, message, {**installed, **given}, environment, python)
    for path in sorted(wheels):
        _unpack(path, root, python)
    for path in root.rglob("*"):
        # Modes must not depend on the umask.
        path.chmod(0o755 if path.is_dir() or path.stat().st_mode & 0o100 else 0o644)


def _tags(version: str, machine: int, glibc: tuple[int, int]) -> Iterator[Tag]:
    """Yield the tags of the wheels that an interpreter accepts."""
    from packaging.tags import compatible_tags, cpython_tags

    arch = _MACHINES.get(machine, "")
    platforms = [f"linux_{arch}"]
    for minor in range(glibc[1], _OLDEST_GLIBC - 1, -1):
        platforms.append(f"manylinux_{glibc[0]}_{minor}_{arch}")
        if minor in _LEGACY:
            platforms.append(f"{_LEGACY[minor]}_{arch}")
    major, minor = (int(part) for part in version.split(".")[:2])
    yield from cpython_tags((major, minor), [f"cp{major}{minor}"], platforms)
    yield from compatible_tags((major, minor), f"cp{major}{minor}", platforms)


def _fitting(path: Path, tags: Iterable[Tag], python: Interpreter) -> tuple[str, Version]:
    from packaging.utils import InvalidWheelFilename, parse_wheel_filename

    try:
        name, version, _, found = parse_wheel_filename(path.name)
    except InvalidWheelFilename as error:
        raise InvalidInputError(
            f"{path.name!r} is not the name of a wheel", hint="keep the name that the wheel was built with"
        ) from error
    if not found & frozenset(tags):
        raise InvalidInputError(
            f"wheel {path.name!r} does not fit python{python.version} of the image",
            hint="use a wheel that is built for it",
        )
    return str(name), version


def _metadata(path: Path) -> Message:
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    try:
        with WheelFile.open(path) as wheel:
            wheel.validate_record()
            return email.parser.Parser().parsestr(wheel.read_dist_info("METADATA"))
    except (InstallerError, zipfile.BadZipFile, KeyError, OSError, UnicodeDecodeError, ValueError) as error:
        reason = (getattr(error, "issues", None) or [error])[0]
        raise InvalidInputError(f"wheel {path.name!r} is damaged: {reason}", hint="download it again") from error


def _installed(view: View, folders: Iterable[str]) -> Iterator[tuple[str, Version, str]]:
    """Yield name, version and folder of each package in *folders*."""
    from packaging import version
    from packaging.utils import canonicalize_name

    for folder in folders:
        for entry in view.names(folder):
            match = _INSTALLED.fullmatch(entry)
            if match is None:
                continue
            try:
                yield canonicalize_name(match["name"]), version.Version(match["version"]), folder
            except version.InvalidVersion:
                continue


def _environment(version: str, machine: int) -> _Environment:
    """Return the values for environment markers (PEP 508); no file tells the patch release."""
    return {
        "extra": "",
        "implementation_name": "cpython",
        "implementation_version": f"{version}.0",
        "os_name": "posix",
        "platform_machine": _MACHINES.get(machine, ""),
        "platform_python_implementation": "CPython",
        "platform_release": "",
        "platform_system": "Linux",
        "platform_version": "",
        "python_full_version": f"{version}.0",
        "python_version": version,
        "sys_platform": "linux",
    }


def _check(
    path: Path,
    message: Message,
    installed: Mapping[str, Version],
    environment: _Environment,
    python: Interpreter,
) -> None:
    """Raise `InvalidInputError` where the interpreter does not meet a requirement of a wheel."""
    from packaging.requirements import InvalidRequirement, Requirement
    from packaging.specifiers import InvalidSpecifier, SpecifierSet
    from packaging.utils import canonicalize_name

    try:
        asked = str(message.get("Requires-Python") or "")
        # No file tells the patch release.
        if not SpecifierSet(asked).contains(f"{python.version}.99", prereleases=True):
            raise InvalidInputError(
                f"wheel {path.name!r} needs Python {asked}, and the image has python{python.version}",
                hint="use a wheel that is built for it",
            )
        for text in message.get_all("Requires-Dist") or ():
            requirement = Requirement(str(text))
            if requirement.marker and not requirement.marker.evaluate(environment):
                continue
            version = installed.get(canonicalize_name(requirement.name))
            if version is None or not requirement.specifier.contains(version, prereleases=True):
                found = f"has {version}" if version else "lacks it"
                raise InvalidInputError(
                    f"wheel {path.name!r} requires {requirement}, and the image {found}",
                    hint="add its wheel, or use an engine that runs pip",
                )
    except (InvalidRequirement, InvalidSpecifier) as error:
        raise InvalidInputError(f"wheel {path.name!r} is damaged: {error}", hint="download it again") from error


def _unpack(path: Path, root: Path, python: Interpreter) -> None:
    from installer import install
    from installer.destinations import SchemeDictionaryDestination
    from installer.exceptions import InstallerError
    from installer.sources import WheelFile

    packages = f"/{python.packages}"
    programs = f"/{posixpath.dirname(python.packages).rsplit('/lib/', 1)[0]}"
    scheme = {
        "data": programs,
        "headers": f"{programs}/include/python{python.version}",
        "platlib": packages,
        "purelib": packages,
        "scripts": f"{programs}/bin",
    }
    destination = SchemeDictionaryDestination(
        scheme, interpreter=f"/{python.program}", script_kind="posix", destdir=str(root)
    )
    try:
        with WheelFile.open(path) as wheel:
            install(wheel, destination, additional_metadata={"INSTALLER": b"tritonbuild\n"})
    except FileExistsError as error:
        raise InvalidInputError(f"wheel {path.name!r} has the same file as another wheel: {error}") from error
    except (InstallerError, OSError, ValueError) as error:
        raise InvalidInputError(f"wheel {path.name!r} cannot be unpacked: {error}", hint="download it again") from error
