"""A local folder as a layer: the user's components and models are planned and read like source layers.

The layer is not compressed, and its content is that of the files, joined. Owners and times of the file system are left
out, so that the same files give the same image on every machine.
"""

from __future__ import annotations

import bisect
import contextlib
import hashlib
import os
import stat
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from tritonbuild.errors import InvalidInputError
from tritonbuild.layers import elf
from tritonbuild.layers.entry import FILE, FOLDER, OPAQUE, SYMLINK, Entry
from tritonbuild.layers.indexing import keep
from tritonbuild.layers.layerindex import Columns, Grains
from tritonbuild.layers.opened import NameSearch, in_python
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.rootfs.view import View
from tritonbuild.threads import go_on

_CHUNK: Final = 1 << 20
_LARGEST_KEPT: Final = 1 << 20


@attrs.define(kw_only=True)
class FolderOrigin:
    """Local files as one blob.

    Attributes:
        name: The name in messages.
        files: The offset of each file in the blob, and its path; in ascending order.
    """

    name: str
    files: Sequence[tuple[int, Path]] = attrs.field(repr=False)

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes from *start* up to *stop*; `reading` verifies that they have not changed."""
        number = bisect.bisect_right(self.files, start, key=lambda one: one[0]) - 1
        for begin, path in self.files[number:]:
            if begin >= stop:
                return
            with path.open("rb") as file:
                file.seek(max(0, start - begin))
                left = min(stop, blob.size) - max(start, begin)
                while left > 0 and (chunk := file.read(min(left, _CHUNK))):
                    go_on()
                    left -= len(chunk)
                    yield chunk


def layer(folder: Path, to: str, *, mtime: int, replaces: bool = False, below: View | None = None) -> Layer:
    """Return the layer that puts the content of *folder* at the path *to* of an image.

    Args:
        folder: The local folder, or a file; links in it are not followed.
        to: The path, without a leading slash.
        mtime: The time of every entry, seconds since 1970.
        replaces: Whether the content that lower layers have in *to* is hidden.
        below: The files of the lower layers: their folders stay unchanged.

    Raises:
        InvalidInputError: An entry cannot be read, or is neither a file nor a folder nor a link.
    """
    found = _Reader(mtime, below)
    try:
        if folder.is_dir():
            found.folder(folder, to, mode=0o755)
        else:
            found.file(folder, to, stat.S_IMODE(folder.stat().st_mode))
        if replaces:
            found.add(f"{to}/{OPAQUE}", FILE, 0o644)
    except OSError as error:
        raise InvalidInputError(f"cannot read {str(error.filename or folder)!r}: {error.strerror}") from error
    return found.layer(str(folder))


class _Reader:
    def __init__(self, mtime: int, below: View | None) -> None:
        self._mtime = mtime
        self._below = below
        self._columns = Columns()
        self._elves: dict[int, elf.Elf] = {}
        self._contents: dict[str, bytes] = {}
        self._opened: dict[int, tuple[str, ...]] = {}
        self._files: list[tuple[int, Path]] = []
        self._whole, self._grains = hashlib.sha256(), Grains()
        self._size = 0

    def add(self, path: str, kind: str, mode: int, *, size: int = 0, target: str = "") -> int:
        """Add an entry; return its number."""
        entry = Entry(
            path=path,
            kind=kind,
            mode=mode,
            uid=0,
            gid=0,
            mtime=self._mtime,
            size=size,
            offset=self._size - size,
            target=target,
        )
        return self._columns.add(entry)

    def folder(self, folder: Path, to: str, *, mode: int) -> None:
        """Add a folder and its content."""
        if self._below is None or not self._below.is_folder(to):
            self.add(to, FOLDER, mode)
        with os.scandir(folder) as scan:
            found = sorted(scan, key=lambda entry: os.fsencode(entry.name))
        for one in found:
            path, target = Path(one.path), f"{to}/{one.name}"
            facts = one.stat(follow_symlinks=False)
            mode = stat.S_IMODE(facts.st_mode)
            if stat.S_ISLNK(facts.st_mode):
                self.add(target, SYMLINK, 0o777, target=str(path.readlink()))
            elif stat.S_ISDIR(facts.st_mode):
                self.folder(path, target, mode=mode)
            elif stat.S_ISREG(facts.st_mode):
                self.file(path, target, mode)
            else:
                raise InvalidInputError(
                    f"{one.path!r} is neither a file nor a folder", hint="move it out of the folder"
                )

    def file(self, path: Path, to: str, mode: int) -> None:
        """Add a file."""
        begin, names = self._size, None
        with path.open("rb") as file:
            while chunk := file.read(_CHUNK):
                go_on()
                self._size += len(chunk)
                self._whole.update(chunk)
                self._grains.add(chunk)
                if names is None and self._size - len(chunk) == begin and chunk.startswith(elf.MAGIC):
                    names = NameSearch()
                if names is not None:
                    names.add(chunk)

            def read(start: int, length: int) -> bytes:
                piece = os.pread(file.fileno(), length, start)
                if len(piece) < length:
                    raise elf.BrokenError
                return piece

            size = self._size - begin
            number = self.add(to, FILE, mode, size=size)
            if size:
                self._files.append((begin, path))
            with contextlib.suppress(elf.BrokenError, elf.NotThereError):
                found = self._elves[number] = elf.parse(read)
                self._opened[number] = names.names(without=(*found.needed, found.soname)) if names else ()
            if to.endswith(".py") and size <= _LARGEST_KEPT:
                self._opened[number] = in_python(os.pread(file.fileno(), size, 0))
            if keep(to) and size <= _LARGEST_KEPT:
                self._contents[to] = os.pread(file.fileno(), size, 0)

    def layer(self, name: str) -> Layer:
        """Return the layer of the entries that were added."""
        digest = f"sha256:{self._whole.hexdigest()}"
        index = self._columns.index(
            elves=self._elves,
            contents=self._contents,
            opened={number: names for number, names in self._opened.items() if names},
            digest=digest,
            blob_size=self._size,
            size=self._size,
            grains=self._grains.digests(),
        )
        blob = Descriptor(media_type="", digest=digest, size=self._size)
        return Layer(blob=blob, origin=FolderOrigin(name=name, files=self._files), index=index)
