"""Files that are read at run time and that the base lacks: of folders, and of all that their links lead to.

The rules are those of `bring_read` in scripts/runtime.sh.
"""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator
from typing import Final

from tritonbuild.layers.entry import SYMLINK
from tritonbuild.rootfs.view import View

SMALL: Final = 4 << 20
"""The most bytes of a file or folder that is brought only if it is small."""


def lacking(full: View, base: View, paths: Iterable[str], *, most: int | None = None) -> list[str]:
    """Return the canonical paths of files and links that *base* lacks: *paths* of *full*, and what their links lead to.

    Args:
        full: The full image.
        base: The base image.
        paths: Files and folders of *full*; those that it does not have are left out.
        most: The most bytes of the files; nothing is returned if they have more.
    """
    found: dict[str, None] = {}
    ahead = [*paths]
    while ahead:
        reached = {path for one in ahead for path in _files(full, one)}
        new = sorted(path for path in reached if path not in base and path not in found)
        if most is not None and sum(full.entry(path).size for path in new) > most:
            return []
        most = None
        found.update(dict.fromkeys(new))
        ahead = [target(full, path) for path in new if full.kind(path) == SYMLINK]
    return [*found]


def target(view: View, link: str) -> str:
    """Return the path that the symbolic link *link* names."""
    written = view.target(link)
    return written if written.startswith("/") else f"{posixpath.dirname(link)}/{written}"


def _files(full: View, path: str) -> Iterator[str]:
    """Yield the canonical paths of the files and links that *path* is or, as a folder, has below it."""
    canonical, real = full.resolve_folder(path), full.resolve(path)
    if canonical is None or real is None:
        return
    if full.kind(canonical) == SYMLINK:
        yield canonical
        return
    paths = full.walk(real) if full.is_folder(real) else (real,)
    yield from (one for one in paths if not full.is_folder(one))
