"""The build context: a folder of hard links to, or copies of, the folders and files that a user adds."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
from collections.abc import Collection
from pathlib import Path
from typing import Final

from tritonbuild.errors import InvalidInputError
from tritonbuild.wellknown import CONTEXT_FOLDERS, IGNORE_FILES

PROGRAMS: Final = "programs"
"""The path in the build context that has, of the folders put there, the programs alone (see `is_program`)."""

_ELF: Final = b"\x7fELF"
_OPENING: Final = (b"ctypes", b"dlopen", b"CDLL")
"""A Python file without one of these words opens no library."""
_LARGEST_SCRIPT: Final = 1 << 20


def is_program(path: Path) -> bool:
    """Return whether a file needs libraries: it is an ELF file, or a Python file that opens some by name."""
    with path.open("rb") as file:
        if path.suffix != ".py":
            return file.read(len(_ELF)) == _ELF
        content = file.read(_LARGEST_SCRIPT + 1)
    return len(content) <= _LARGEST_SCRIPT and any(word in content for word in _OPENING)


def has_programs(folder: Path) -> bool:
    """Return whether a folder holds programs (see `is_program`); files that cannot be read count as none."""
    for found, _, names in os.walk(folder):
        for path in (Path(found, name) for name in names):
            with contextlib.suppress(OSError):
                if path.is_file() and is_program(path):
                    return True
    return False


def fill(context: Path, entries: Collection[tuple[str, Path]]) -> None:
    """Fill the folder *context* with *entries*: pairs of a path inside it, and a file or folder of the user.

    A user's ignore file is extended, so that builders do not leave out what tritonbuild adds.

    Files become hard links where the file system allows it, since models are large. Symbolic links inside a folder are
    kept. Several folders can share a path if no name occurs at the top of two of them. Of folders at `PROGRAMS`, only
    programs are taken, and the links that lead to them.

    Raises:
        InvalidInputError: A link leads out of its folder, an entry is neither file nor folder nor link, or cannot be
            read, or two entries have the same path.
    """
    for name, source in entries:
        target = context / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            if name in IGNORE_FILES:
                kept = sorted({path.partition("/")[0] for path, _ in entries} & set(CONTEXT_FOLDERS))
                rules = "".join(f"!{folder}\n!{folder}/**\n" for folder in kept)
                target.write_bytes(source.read_bytes() + b"\n" + rules.encode())
            elif source.is_dir():
                _folder(source.resolve(), source.resolve(), target, programs=name == PROGRAMS)
            else:
                _file(source.resolve(), target)
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}" if error.filename else str(error)
            raise InvalidInputError(f"cannot take {str(source)!r} into the image: {reason}") from error


def _folder(source: Path, root: Path, target: Path, *, programs: bool) -> None:
    target.mkdir(exist_ok=source == root)
    with os.scandir(source) as found:
        entries = sorted(found, key=lambda entry: os.fsencode(entry.name))
    for entry in entries:
        path, inner = Path(entry.path), target / entry.name
        mode = entry.stat(follow_symlinks=False).st_mode
        if programs and not stat.S_ISDIR(mode) and not _leads_to_program(path):
            continue
        if os.path.lexists(inner):
            raise InvalidInputError(
                f"{entry.path!r} has the same path in the image as an entry of another folder", hint="rename one"
            )
        if stat.S_ISLNK(mode):
            _link(path, root, inner)
        elif stat.S_ISDIR(mode):
            _folder(path, root, inner, programs=programs)
        elif stat.S_ISREG(mode):
            _file(path, inner)
        else:
            raise InvalidInputError(f"{entry.path!r} is neither a file nor a folder", hint="remove it from the folder")
    if source != root:
        shutil.copystat(source, target)
        if programs and not any(target.iterdir()):
            target.rmdir()


def _leads_to_program(path: Path) -> bool:
    """Return whether a file is a program, or a link leads to one or to a folder."""
    return path.is_dir() or (path.is_file() and is_program(path))


def _link(path: Path, root: Path, target: Path) -> None:
    """Copy the symbolic link *path* as a relative one; it must lead to a file or folder inside *root*."""
    leads = path.resolve()
    if not leads.is_relative_to(root):
        raise InvalidInputError(
            f"link {str(path)!r} leads out of {str(root)!r}", hint="replace it with a copy of its target"
        )
    text = path.readlink()
    target.symlink_to(os.path.relpath(leads, path.parent) if text.is_absolute() else text)


def _file(source: Path, target: Path) -> None:
    with contextlib.suppress(OSError):
        os.link(source, target)
        return
    shutil.copy2(source, target)
