"""Conventions that several rooms share: folders of the server, the form of a variable's name, the order of a PATH."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

SERVER: Final = "/opt/tritonserver"
"""The folder of the server in every image of Triton."""

COMPONENT_FOLDERS: Final[Mapping[str, str]] = {"backend": "backends", "repoagent": "repoagents", "cache": "caches"}
"""The folder below `SERVER` for each kind of component."""

CONTEXT_FOLDERS: Final = (*COMPONENT_FOLDERS.values(), "files", "models", "programs", "requirements", "wheels")
"""The folders at the top of a build context that hold what users add."""

IGNORE_FILES: Final = (".containerignore", ".dockerignore")
"""The files of a build context that list what builders leave out of it."""

VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
"""The pattern of an environment variable's name, which shells and Containerfiles take; to be used with `re.ASCII`."""


def with_entries(path: str, entries: Iterable[str]) -> str:
    """Return the PATH *path* with *entries* added after the folder of the server's program, or at the beginning."""
    first, colon, rest = path.partition(":")
    if first != f"{SERVER}/bin":
        return ":".join([*entries, *([path] if path else [])])
    return ":".join([first, *entries, *([rest] if colon else [])])
