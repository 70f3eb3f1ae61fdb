"""Optional parts of an image: extras of components, and libraries for one architecture of GPUs.

The composition decides which are kept. The recipes and the embedded engine leave out the others by the rules here.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

import attrs

LEFT_OUT: Final = ", which is left out"
"""The end of the message about a missing library that belongs to a part, after the file and the library."""


def _texts(value: Iterable[str]) -> tuple[str, ...]:
    return tuple(value)


@attrs.frozen(kw_only=True)
class OptionalPart:
    """A part of an image that can be left out. Patterns are shell patterns in which `*` matches `/` too.

    Attributes:
        name: Its name in messages and plans: `backend onnxruntime[cuda]`, `gpu-arch 8.0`.
        folder: The folder of its component in the image; empty for libraries alone.
        files: Patterns of its files and folders, relative to *folder*.
        opened: Patterns of names of libraries outside of *folder* that its files open.
        libraries: Patterns of names of libraries outside of *folder* that are left out with it.
        kept: Whether the image has it.
    """

    name: str
    folder: str = ""
    files: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    opened: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    libraries: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    kept: bool = True


def opened(parts: Iterable[OptionalPart], folder: str) -> tuple[str, ...]:
    """Return the patterns of libraries that the kept parts of the component in *folder* open."""
    return tuple(name for part in parts if part.kept and part.folder == folder for name in part.opened)


@attrs.frozen(kw_only=True)
class AbsentLibraries:
    """Libraries that an image does not have, because a part of it is left out.

    Attributes:
        part: The name of the part.
        pattern: A shell pattern of their names.
        folder: The folder of the component whose files are left out; empty for libraries outside of it.
    """

    part: str
    pattern: str
    folder: str = ""

    def __str__(self) -> str:
        return f"{LEFT_OUT}: add {self.part}"


def absent(parts: Sequence[OptionalPart], names: Iterable[str]) -> tuple[AbsentLibraries, ...]:
    """Return the libraries that are left out.

    Libraries outside of components that a component or a kept part opens are not among them.

    Args:
        parts: All parts.
        names: Patterns of libraries that the server and the components open.
    """
    needed = {*names, *(name for part in parts if part.kept for name in part.opened)}
    left_out = [part for part in parts if not part.kept]
    files = [
        AbsentLibraries(part=part.name, pattern=pattern.rpartition("/")[2], folder=part.folder)
        for part in left_out
        for pattern in part.files
    ]
    others = [
        AbsentLibraries(part=part.name, pattern=pattern)
        for part in left_out
        for pattern in part.libraries
        if pattern not in needed
    ]
    return (*files, *others)


def excluded(libraries: Iterable[AbsentLibraries]) -> tuple[str, ...]:
    """Return the patterns of those libraries that are not brought."""
    return tuple(one.pattern for one in libraries if not one.folder)
