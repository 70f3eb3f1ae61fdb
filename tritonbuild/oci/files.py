"""Files by name in a folder or a tar archive, read without unpacking."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import re
import secrets
import shutil
import stat
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci.descriptors import LARGEST_DOCUMENT, Descriptor, broken, verified
from tritonbuild.threads import go_on

_CHUNK: Final = 1 << 20
_YOUNG: Final = 1.0
"""Seconds within which a file that was created is locked."""
_UNFINISHED: Final[set[Path]] = set()
"""The temporary files and folders of this process."""

_UNREADABLE: Final = (OSError, tarfile.TarError, EOFError, LookupError, OverflowError, RecursionError, ValueError)
"""The errors that tarfile raises for damaged archives."""


class FileSource(Protocol):
    """Files by name in a folder or a tar archive."""

    path: Path

    def size(self, name: str) -> int | None:
        """Return the size of the file *name*; None if it does not exist."""
        ...

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of the file *name* from *start* up to *stop*."""
        ...


def _chunks(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    file.seek(start)
    while start < stop and (chunk := file.read(min(_CHUNK, stop - start))):
        start += len(chunk)
        yield chunk


class FolderFiles:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self, name: str) -> int | None:
        """Return the size of the file *name*; None if it does not exist."""
        try:
            found = (self.path / name).stat()
        except (OSError, ValueError):
            return None
        return found.st_size if stat.S_ISREG(found.st_mode) else None

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of the file *name* from *start* up to *stop*."""
        with (self.path / name).open("rb") as file:
            yield from _chunks(file, start, stop)


class TarFiles:
    """The files of a tar archive, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, tuple[int, int]] = {}
        links = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    if member.size < 0:  # the next header would be before this one, and so for ever
                        raise tarfile.ReadError(f"{member.name!r} has a negative size")
                    name = member.name.removeprefix("./")
                    if member.isreg():
                        self._files[name] = (member.offset_data, member.size)
                    elif member.issym() or member.islnk():
                        # Docker and crane write a link to the first of two equal layers.
                        links[name] = _joined(name, member.linkname) if member.issym() else member.linkname
        except _UNREADABLE as error:
            raise InvalidInputError(f"{str(path)!r} is not a tar archive: {error}", hint="name another file") from error
        for name, target in links.items():
            if target in self._files:
                self._files[name] = self._files[target]

    def size(self, name: str) -> int | None:
        """Return the size of the file *name*; None if it does not exist."""
        return self._files[name][1] if name in self._files else None

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of the file *name* from *start* up to *stop*."""
        offset, size = self._files[name]
        with self.path.open("rb") as file:
            yield from _chunks(file, offset + start, offset + min(stop, size))


def _joined(name: str, target: str) -> str:
    parts: list[str] = name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def open_files(path: Path) -> FileSource:
    """Open a folder or a tar archive.

    Raises:
        InvalidInputError: *path* is neither.
    """
    if path.is_dir():
        return FolderFiles(path)
    if not path.exists():
        raise InvalidInputError(f"{str(path)!r} does not exist", hint="name an existing layout or archive")
    return TarFiles(path)


def document_of(files: FileSource, name: str) -> bytes | None:
    """Return the content of the document *name*; None if it does not exist.

    Raises:
        TritonBuildError: It is larger than `LARGEST_DOCUMENT`.
    """
    size = files.size(name)
    if size is None:
        return None
    if size > LARGEST_DOCUMENT:
        raise broken(f"{name} of {files.path}", f"it has {size} bytes, more than the limit of {LARGEST_DOCUMENT}")
    return b"".join(files.read(name, 0, size))


@contextlib.contextmanager
def unfinished(path: Path) -> Iterator[None]:
    """Have `remove_unfinished` remove the file or folder *path* until the block ends.

    Enter the block before *path* exists, since a signal may come at any time.
    """
    _UNFINISHED.add(path)
    try:
        yield
    finally:
        _UNFINISHED.discard(path)


@contextlib.contextmanager
def temporary_file(folder: Path) -> Iterator[BinaryIO]:
    """Yield a new file in *folder*, which is locked, and removed at the end unless it was renamed."""
    path = folder / f".{secrets.token_hex(8)}"
    with unfinished(path):
        try:
            with path.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
        finally:
            path.unlink(missing_ok=True)


@contextlib.contextmanager
def temporary_folder(folder: Path, name: str) -> Iterator[Path]:
    """Yield a new folder `.NAME.HEX` in *folder*, which is locked, and removed at the end."""
    path = folder / f".{name}.{secrets.token_hex(8)}"
    with unfinished(path):
        path.mkdir(0o700)
        lock = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield path
        finally:
            shutil.rmtree(path, ignore_errors=True)
            os.close(lock)


def remove_unfinished() -> None:
    """Remove the temporary files and folders of this process, which ends without leaving their contexts."""
    for path in [*_UNFINISHED]:
        with contextlib.suppress(OSError):
            path.unlink() if not path.is_dir() else shutil.rmtree(path, ignore_errors=True)


def sweep(folder: Path, name: str = "") -> None:
    """Remove the temporary files, or the temporary folders of *name*, that killed builds left in *folder*."""
    pattern = re.compile(rf"\.{re.escape(name)}\.[0-9a-f]{{16}}" if name else r"\.[0-9a-f]{16}")
    with contextlib.suppress(OSError):
        for path in [one for one in folder.iterdir() if pattern.fullmatch(one.name)]:
            _remove_unlocked(path)


def _remove_unlocked(path: Path) -> None:
    with contextlib.suppress(OSError):
        # A build locks what it has just created; a file this new may not be locked yet.
        if time.time() - path.stat().st_ctime < _YOUNG:
            return
        lock = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            shutil.rmtree(path) if path.is_dir() else path.unlink()
        finally:
            os.close(lock)


def no_room(error: OSError, folder: Path) -> TritonBuildError:
    """Return the error for a failed write in *folder*."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return TritonBuildError(f"no space is left in {str(folder)!r}", hint="free some space, or name another folder")
    return TritonBuildError(f"cannot write to {str(folder)!r}: {error.strerror}", hint="name another folder")


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of the file *path*."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            go_on()
            yield chunk


def is_whole(blob: Descriptor, path: Path) -> bool:
    """Whether the file *path* has the content of *blob*."""
    with contextlib.suppress(TritonBuildError, OSError):
        for _ in verified(chunks(path), blob, what=str(path)):
            pass
        return True
    return False
