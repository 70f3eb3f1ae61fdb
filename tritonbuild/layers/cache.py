"""What is kept between builds: indexes of source layers, and layers that were written.

A folder of the user's own. Files come into it whole (written beside, then renamed) and carry or are named by their
digest, which is checked when they are read. What was not used for longest goes first when there is too much; only
while no other build uses the folder.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import BinaryIO, Final

import attrs

from tritonbuild import dirs
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import layerindex
from tritonbuild.layers.layerindex import LayerIndex
from tritonbuild.layers.writing import Written
from tritonbuild.oci.descriptors import from_json, to_json
from tritonbuild.oci.files import no_room

LARGEST: Final = 20 << 30
"""Bytes that are kept at most, unless told otherwise."""


def default_folder() -> Path:
    """Return the cache's folder of this user."""
    return dirs.cache() / "oci"


class Cache:
    """The cache in *folder*; to be used as a context.

    Args:
        folder: Where it is; made if need be.
        largest: Bytes that are kept at most.
    """

    def __init__(self, folder: Path, *, largest: int = LARGEST) -> None:
        self.folder = folder
        self.largest = largest
        self._lock = -1

    def __enter__(self) -> Cache:  # noqa: PYI034 - nothing inherits from it, and Self is of Python 3.11
        """Make the folder, and keep it from being cleared while it is used."""
        try:
            for name in ("indexes", "layers", "blobs", "locks", "new"):
                (self.folder / name).mkdir(parents=True, exist_ok=True, mode=0o700)
            self._lock = os.open(self.folder / "lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        except OSError as error:
            raise no_room(error, self.folder) from error
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        """Remove what is too much, unless another build uses the folder."""
        with contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._shrink()
        os.close(self._lock)

    def _sweep(self) -> None:
        """Remove what killed builds left: new files that nobody holds."""
        for path in (self.folder / "new").iterdir():
            with contextlib.suppress(OSError), path.open("rb") as file:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
                path.unlink(missing_ok=True)

    def _shrink(self) -> None:
        found = []
        for name in ("indexes", "blobs"):
            for path in (self.folder / name).iterdir():
                facts = path.stat()
                found.append((facts.st_mtime_ns, facts.st_size, path))
        total = sum(size for _, size, _ in found)
        for _, size, path in sorted(found):
            if total <= self.largest:
                break
            path.unlink(missing_ok=True)
            total -= size
        for path in (self.folder / "locks").iterdir():
            path.unlink(missing_ok=True)
        for path in (self.folder / "layers").iterdir():
            written = self._read_written(path)
            if written is None or not self.blob(written.digest).exists():
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold the lock *name*: whoever makes the same thing waits, and then finds it made."""
        with (self.folder / "locks" / name).open("wb") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def new(self) -> Iterator[BinaryIO]:
        """Yield a new file; it is removed in the end unless `keep` gave it a name."""
        path = self.folder / "new" / secrets.token_hex(8)
        try:
            with path.open("xb") as file:
                fcntl.flock(file, fcntl.LOCK_EX)
                yield file
        except OSError as error:
            raise no_room(error, self.folder) from error
        finally:
            path.unlink(missing_ok=True)

    def keep(self, file: BinaryIO, path: Path) -> None:
        """Give a new file its name."""
        file.flush()
        Path(file.name).replace(path)

    def index(self, digest: str) -> LayerIndex | None:
        """Return the index of a layer, if it is there and whole."""
        path = self.folder / "indexes" / digest.replace(":", "-")
        try:
            found = layerindex.from_bytes(path.read_bytes(), what=f"the index {path.name}")
        except (OSError, TritonBuildError, ValueError, KeyError, IndexError):
            return None
        if found.digest != digest:
            return None
        _touch(path)
        return found

    def keep_index(self, index: LayerIndex) -> None:
        """Keep the index of a layer."""
        with self.new() as file:
            file.write(layerindex.to_bytes(index))
            self.keep(file, self.folder / "indexes" / index.digest.replace(":", "-"))

    def blob(self, digest: str) -> Path:
        """Return where the blob of that digest is, or would be."""
        return self.folder / "blobs" / digest.replace(":", "-")

    def layer(self, key: str) -> Written | None:
        """Return the layer that was written for *key*, if its blob is there and has its size."""
        written = self._read_written(self.folder / "layers" / key)
        if written is None:
            return None
        path = self.blob(written.digest)
        try:
            if path.stat().st_size != written.size:
                return None
        except OSError:
            return None
        _touch(path)
        return written

    def keep_layer(self, key: str, file: BinaryIO, written: Written) -> None:
        """Keep the layer that was written for *key*."""
        self.keep(file, self.blob(written.digest))
        content = to_json(attrs.asdict(written))
        with self.new() as record:
            record.write(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
            self.keep(record, self.folder / "layers" / key)

    def _read_written(self, path: Path) -> Written | None:
        try:
            digest, _, content = path.read_bytes().partition(b"\n")
            if hashlib.sha256(content).hexdigest().encode() != digest:
                return None
            return Written(**from_json(content, what="a record of the cache"))
        except (OSError, TypeError, TritonBuildError):
            return None

    def forget(self, digest: str) -> None:
        """Remove a blob that is damaged."""
        self.blob(digest).unlink(missing_ok=True)


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)
