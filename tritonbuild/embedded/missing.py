"""The check of a composed image for missing libraries, by the rules of scripts/check.sh."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Final

from tritonbuild.embedded.runtime import OF_THE_DRIVER, SERVER_PATH, is_library, matches
from tritonbuild.errors import BuildFailedError
from tritonbuild.layers.entry import FILE, FOLDER
from tritonbuild.layers.items import Item
from tritonbuild.rootfs.loader import Loader, Missing
from tritonbuild.rootfs.view import View

_SHOWN: Final = 10


def check(composed: View, loader: Loader, items: Mapping[str, Item], exempt: Sequence[str]) -> None:
    """Check that the libraries of all new files are found.

    Args:
        composed: The files of the composed image.
        loader: Its loader.
        items: The new items, by path.
        exempt: Names of libraries (shell patterns) that may be missing.

    Raises:
        BuildFailedError: A library, or a version of its symbols, is missing.
    """
    missing: dict[Missing, None] = {}
    for path, real in _programs(composed, items):
        for lack in loader.closure(real).missing:
            if not matches(lack.name, (*OF_THE_DRIVER, *exempt)):
                missing[Missing(file=f"/{path}", name=lack.name)] = None
    if missing:
        lines = [f"{lack.file} needs {lack.name}, which the composed image does not have" for lack in missing]
        raise BuildFailedError(
            lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""),
            tail=lines[:_SHOWN],
            hint="use a full image whose base is as old as the base, or --exempt-library for what comes at run time",
        )


def _programs(composed: View, items: Mapping[str, Item]) -> Iterator[tuple[str, str]]:
    """Yield the paths of new programs and libraries, each with its canonical path."""
    for path, item in items.items():
        if item.entry.kind == FOLDER:
            continue
        in_server = path.startswith(f"{SERVER_PATH}/")
        if is_library(path) or (item.entry.mode & 0o111 if in_server else "/bin/" in path):
            real = composed.resolve(path)
            if real is not None and composed.kind(real) == FILE:
                yield path, real
