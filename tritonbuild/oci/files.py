"""Files by name, in a folder or inside a tar archive, read without unpacking."""

from __future__ import annotations

import errno
import tarfile
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final, Protocol

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci.descriptors import LARGEST_DOCUMENT, broken
from tritonbuild.threads import go_on

_CHUNK: Final = 1 << 20


class Files(Protocol):
    """Files by name, in a folder or an archive."""

    path: Path

    def size(self, name: str) -> int | None:
        """Return a file's size; None if there is none of that name."""
        ...

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a file's bytes."""
        ...


def _chunks(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    file.seek(start)
    while start < stop and (chunk := file.read(min(_CHUNK, stop - start))):
        start += len(chunk)
        yield chunk


class Folder:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self, name: str) -> int | None:
        """Return a file's size; None if there is none of that name."""
        try:
            return (self.path / name).stat().st_size
        except OSError:
            return None

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a file's bytes."""
        with (self.path / name).open("rb") as file:
            yield from _chunks(file, start, stop)


class TarFiles:
    """The files of a tar, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, tuple[int, int]] = {}
        links = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    name = member.name.removeprefix("./")
                    if member.isreg():
                        self._files[name] = (member.offset_data, member.size)
                    elif member.issym() or member.islnk():
                        # docker wrote links for layers that several images have; they lead to files of the archive.
                        links[name] = _joined(name, member.linkname) if member.issym() else member.linkname
        except (OSError, tarfile.TarError) as error:
            raise InvalidInputError(f"{str(path)!r} is not a tar archive: {error}", hint="name another file") from error
        for name, target in links.items():
            if target in self._files:
                self._files[name] = self._files[target]

    def size(self, name: str) -> int | None:
        """Return a file's size; None if there is none of that name."""
        return self._files[name][1] if name in self._files else None

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a file's bytes."""
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


def open_files(path: Path) -> Files:
    """Return the files of a folder or an archive.

    Raises:
        InvalidInputError: It is neither.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise InvalidInputError(f"{str(path)!r} does not exist", hint="name a layout or an archive that exists")
    return TarFiles(path)


def document_of(files: Files, name: str) -> bytes | None:
    """Return the content of a small file; None if there is none of that name.

    Raises:
        TritonBuildError: It is larger than any document.
    """
    size = files.size(name)
    if size is None:
        return None
    if size > LARGEST_DOCUMENT:
        raise broken(f"{name} of {files.path}", f"{size} bytes are too many")
    return b"".join(files.read(name, 0, size))


def no_room(error: OSError, folder: Path) -> TritonBuildError:
    """Return the error for a file that cannot be written."""
    if error.errno in {errno.ENOSPC, errno.EDQUOT}:
        return TritonBuildError(f"no space is left in {str(folder)!r}", hint="make room, or name another cache folder")
    return TritonBuildError(f"cannot write to {str(folder)!r}: {error.strerror}", hint="name another folder")


def chunks(path: Path) -> Iterator[bytes]:
    """Yield the content of a file."""
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            go_on()
            yield chunk
