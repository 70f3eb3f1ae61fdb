"""The build context: the user's own folders and files, and nothing that a link leads to outside of them."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Iterable
from pathlib import Path

from tritonbuild.errors import InvalidInputError


def fill(context: Path, entries: Iterable[tuple[str, Path]]) -> None:
    """Lay *entries* into the folder *context*: pairs of a path inside it, and the file or folder that goes there.

    Files are hard links where the file system allows it, since models are large. Links inside a folder stay links.
    Several folders can go to one place, as long as no two have an entry of the same name at its top.

    Raises:
        InvalidInputError: A link leads out of its folder, something is neither file nor folder nor link, cannot be
            read, or is there already.
    """
    for name, source in entries:
        place = context / name
        place.parent.mkdir(parents=True, exist_ok=True)
        try:
            if source.is_dir():
                _folder(source.resolve(), source.resolve(), place)
            else:
                _file(source.resolve(), place)
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}" if error.filename else str(error)
            raise InvalidInputError(f"cannot take {str(source)!r} into the image: {reason}") from error


def _folder(source: Path, root: Path, place: Path) -> None:
    place.mkdir(exist_ok=source == root)
    with os.scandir(source) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        path, target = Path(entry.path), place / entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if os.path.lexists(target):
            raise InvalidInputError(
                f"{entry.path!r} goes to a place that is taken: two folders have {entry.name!r}", hint="rename one"
            )
        if stat.S_ISLNK(mode):
            _link(path, root, target)
        elif stat.S_ISDIR(mode):
            _folder(path, root, target)
        elif stat.S_ISREG(mode):
            _file(path, target)
        else:
            raise InvalidInputError(f"{entry.path!r} is neither a file nor a folder", hint="move it elsewhere")
    if source != root:
        shutil.copystat(source, place)


def _link(path: Path, root: Path, target: Path) -> None:
    """Make the link *path* anew, relative, if it leads to something inside *root*."""
    leads = path.resolve()
    if not leads.is_relative_to(root):
        raise InvalidInputError(f"link {str(path)!r} leads out of {str(root)!r}", hint="put a copy in its place")
    text = path.readlink()
    target.symlink_to(os.path.relpath(leads, path.parent) if text.is_absolute() else text)


def _file(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
