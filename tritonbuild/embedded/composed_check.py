"""The check of a composed image for missing libraries, by the rules of scripts/check.sh.

The full image is the reference. A library that its loader does not find for the same file either is no fault, and
neither is one that the file's package has in another folder: the package loads it before, or does without it.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Container, Iterator, Mapping, Sequence
from typing import Final

from tritonbuild.embedded.libraries import OF_THE_BASE, OF_THE_DRIVER, is_library, matches
from tritonbuild.embedded.runtime import SERVER_PATH
from tritonbuild.errors import BuildFailedError
from tritonbuild.layers.entry import FILE, FOLDER
from tritonbuild.layers.items import Item
from tritonbuild.optional_parts import AbsentLibraries
from tritonbuild.planned import ExcusedLibrary
from tritonbuild.rootfs import interpreter
from tritonbuild.rootfs.interpreter import Interpreter
from tritonbuild.rootfs.loader import Loader, Missing
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import with_entries

_SHOWN: Final = 10
_PACKAGE: Final = re.compile(
    rf"(?:{SERVER_PATH}/(?:backends|repoagents|caches)/[^/]+|(?:.*/)?(?:site|dist)-packages)(?=/)", re.DOTALL
)
"""The folder in which a file's package may have a library: a component's, or that of all Python packages."""


def lacking(
    composed: Loader, full: Loader, items: Mapping[str, Item], exempt: Sequence[str], added: Container[str]
) -> Mapping[Missing, str]:
    """Return the libraries and versions that new files do not find, each with the reason why that is no fault.

    Args:
        composed: The loader of the composed image.
        full: The loader of the full image, without the parts of components that are left out.
        items: The new items, by path.
        exempt: Names of libraries (shell patterns) that may be missing.
        added: The paths of the user's files.
    """
    missing: dict[Missing, None] = {}
    for path in _programs(composed.view, items, added):
        for lack in composed.closure(path).missing:
            if not matches(lack.name, (*OF_THE_DRIVER, *exempt)):
                missing[lack] = None
    return {lack: _excuse(lack, composed.view, full) for lack in missing}


def verify(lacks: Mapping[Missing, str], absent: Sequence[AbsentLibraries] = ()) -> tuple[ExcusedLibrary, ...]:
    """Return the missing libraries that need not be found, of those that `lacking` returned.

    Args:
        lacks: The missing libraries, each with its excuse.
        absent: Libraries that are left out with a part of the image.

    Raises:
        BuildFailedError: One of them has no excuse.
    """
    excused, faults = [], {}
    for lack, reason in lacks.items():
        inside = _left_out(lack, [one for one in absent if one.folder and lack.file.startswith(f"{one.folder}/")])
        if reason and not inside:
            excused.append(ExcusedLibrary(file=lack.file, name=lack.name, reason=reason))
        else:
            faults[lack] = inside or _left_out(lack, [one for one in absent if not one.folder])
    if faults:
        raise _failed(faults)
    return tuple(excused)


def replacement(lack: Missing, full: Loader, base: View, exclude: Sequence[str]) -> str:
    """Return the canonical path of full's library, for a version that the base's does not define; or empty."""
    name = posixpath.basename(lack.library)
    kept = matches(name, (*OF_THE_BASE, *OF_THE_DRIVER, *exclude))
    if kept or not lack.library or base.resolve(lack.library) is None:
        return ""
    path = full.closure(lack.file).found.get(name, "")
    return (path and full.view.resolve(path)) or ""


def check_python(composed: View, env: Mapping[str, str], python: Interpreter | None) -> None:
    """Check that the image's PATH selects the interpreter that the full image's PATH selects.

    Args:
        composed: The files of the composed image.
        env: Its environment variables.
        python: The interpreter of the full image; None if the image has no need of one.

    Raises:
        BuildFailedError: Another interpreter comes first.
    """
    if python is None:
        return
    found = interpreter.search(composed, env, python.version)
    if found != python.program:
        path = with_entries(env.get("PATH", ""), [f"/{posixpath.dirname(python.program)}"])
        text = (
            f"PATH leads to {f'/{found}' if found else f'no python{python.version}'} in the composed image, and to"
            f" /{python.program} in the full image"
        )
        raise BuildFailedError(text, tail=[text], hint=f"add --env PATH={path}")


def _left_out(lack: Missing, absent: Sequence[AbsentLibraries]) -> AbsentLibraries | None:
    """Return those libraries, left out on purpose, that a missing library is one of; None for another library."""
    return next((one for one in absent if matches(lack.name, (one.pattern,))), None)


def _failed(faults: Mapping[Missing, AbsentLibraries | None]) -> BuildFailedError:
    """Return the error over missing libraries, each with the part of the image that it was left out with."""
    lines = [f"{lack.file} needs {lack.name}{part or f', {_lack(lack)}'}" for lack, part in faults.items()]
    hint = "add --exempt-library for a library that is provided at run time"
    if any(lack.name.startswith("GLIBC_") for lack in faults):
        hint = "use a full image whose base is as old as the base image"
    elif any(faults.values()):
        hint = "add what is named: a file that stays needs it"
    return BuildFailedError(
        lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""), tail=lines[:_SHOWN], hint=hint
    )


def _lack(lack: Missing) -> str:
    """Return the end of the message about a library that no part of the image was left out with."""
    return f"which {lack.library} does not define" if lack.library else "which the composed image does not have"


def _excuse(lack: Missing, composed: View, full: Loader) -> str:
    """Return the reason why a missing library is no fault; empty if it is one."""
    if lack.name in {one.name for one in full.closure(lack.file).missing}:
        return "which the full image lacks too"
    folder = _PACKAGE.match(lack.file.strip("/"))
    if folder is None or lack.library:
        return ""
    found = _named(composed, folder[0], lack.name)
    return f"which its package has as /{found}" if found else ""


def _named(view: View, folder: str, name: str) -> str:
    """Return the first file called *name* below *folder*; empty without one."""
    for path in view.walk(folder):
        if posixpath.basename(path) == name and not view.is_folder(path):
            return path
    return ""


def _programs(composed: View, items: Mapping[str, Item], added: Container[str]) -> Iterator[str]:
    """Yield the paths of new programs and libraries, and of links to such files."""
    for path, item in items.items():
        if item.entry.kind == FOLDER:
            continue
        by_mode = path.startswith(f"{SERVER_PATH}/") or path in added
        if is_library(path) or (item.entry.mode & 0o111 if by_mode else "/bin/" in path):
            real = composed.resolve(path)
            if real is not None and composed.kind(real) == FILE:
                yield path
