"""The cache: indexes of source layers, and written layers, kept between builds.

Files get their names when they are complete, and are named by a digest or carry one, which is checked when they are
read. The least recently used files are removed when the cache exceeds its size, while no other build uses it. A cache
that somebody else owns or can write to is refused, because an index decides which bytes a layer gets.
"""

from __future__ import annotations

import contextlib
import fcntl
import hashlib
import os
import secrets
import stat
from collections.abc import Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

import attrs

from tritonbuild import dirs
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import indexfile
from tritonbuild.layers.layerindex import LayerIndex
from tritonbuild.layers.writing import Written
from tritonbuild.oci.descriptors import from_json, to_json
from tritonbuild.oci.files import no_room, unfinished
from tritonbuild.reference import is_digest

LARGEST: Final = 20 << 30
"""The default size of a cache, in bytes."""

_FOLDERS: Final = ("indexes", "layers", "blobs", "locks", "new")


def default_folder() -> Path:
    """Return the folder of the user's cache."""
    return dirs.cache() / "oci"


class Cache:
    """A cache in *folder*, to be used as a context.

    Args:
        folder: The folder, which is created if necessary.
        largest: The size of the cache, in bytes.
    """

    def __init__(self, folder: Path, *, largest: int = LARGEST) -> None:
        self.folder = folder
        self.largest = largest
        self._lock: BinaryIO | None = None

    def __enter__(self) -> Cache:  # noqa: PYI034 - nothing inherits from it, and Self is of Python 3.11
        """Create the folder, and prevent its removal by other builds.

        Raises:
            TritonBuildError: The folder cannot be used, or another user can write to it.
        """
        try:
            for path in (self.folder, *(self.folder / name for name in _FOLDERS)):
                _make_folder(path)
                self._check(path)
            self._lock = _open(self.folder / "lock", "ab")
            fcntl.flock(self._lock, fcntl.LOCK_SH)
        except OSError as error:
            raise no_room(error, self.folder) from error
        self._sweep()
        return self

    def __exit__(self, *_: object) -> None:
        """Reduce the cache to its size, unless another build uses it."""
        if self._lock is None:
            return
        with self._lock, contextlib.suppress(OSError):
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            self._shrink()

    def _check(self, path: Path) -> None:
        """Raise `TritonBuildError` if somebody else owns *path* or can write to it; `OSError` if it does not exist."""
        facts = path.stat()
        if facts.st_uid != os.geteuid():
            raise TritonBuildError(
                f"the cache {str(path)!r} belongs to another user, with the id {facts.st_uid}",
                hint="name a folder of your own with --cache-dir",
            )
        if facts.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise TritonBuildError(
                f"other users can write to the cache {str(path)!r}, whose mode is {stat.S_IMODE(facts.st_mode):o}",
                hint=f"remove {str(self.folder)!r}, or run `chmod -R go-w` on it if you trust its content",
            )

    def _sweep(self) -> None:
        """Remove files that killed builds left unfinished."""
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
            written = _written(path.read_bytes())
            if written is None or not self.blob(written.digest).exists():
                path.unlink(missing_ok=True)

    @contextlib.contextmanager
    def alone(self, name: str) -> Iterator[None]:
        """Hold the lock *name*, so that one build makes a file and the others wait for it."""
        with _open(self.folder / "locks" / name, "ab") as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield

    @contextlib.contextmanager
    def new(self) -> Iterator[BinaryIO]:
        """Yield a new file, which is removed at the end unless `keep` names it."""
        path = self.folder / "new" / secrets.token_hex(8)
        with unfinished(path):
            try:
                with _open(path, "xb") as file:
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
        """Return the index of a layer; None if the cache has no valid one.

        Raises:
            TritonBuildError: Another user can write to it.
        """
        path = self.folder / "indexes" / digest.replace(":", "-")
        content = self._read(path)
        if content is None:
            return None
        try:
            found = indexfile.from_bytes(content, what=f"the index {path.name}")
        except TritonBuildError:
            return None
        if found.digest != digest:
            return None
        _touch(path)
        return found

    def keep_index(self, index: LayerIndex) -> None:
        """Keep the index of a layer."""
        with self.new() as file:
            file.write(indexfile.to_bytes(index))
            self.keep(file, self.folder / "indexes" / index.digest.replace(":", "-"))

    def blob(self, digest: str) -> Path:
        """Return the path of the blob with that digest, whether it exists or not."""
        return self.folder / "blobs" / digest.replace(":", "-")

    def layer(self, key: str) -> Written | None:
        """Return the layer that was written for *key*; None if the cache has no blob of its size.

        Raises:
            TritonBuildError: Another user can write to it.
        """
        content = self._read(self.folder / "layers" / key)
        written = None if content is None else _written(content)
        if written is None:
            return None
        path = self.blob(written.digest)
        try:
            self._check(path)
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

    def forget(self, digest: str) -> None:
        """Remove a damaged blob."""
        self.blob(digest).unlink(missing_ok=True)

    def _read(self, path: Path) -> bytes | None:
        """Return the content of a file of the cache; None if it cannot be read."""
        try:
            self._check(path)
            return path.read_bytes()
        except OSError:
            return None


def _written(content: bytes) -> Written | None:
    """Return the record of a layer; None if it is damaged."""
    digest, _, record = content.partition(b"\n")
    if hashlib.sha256(record).hexdigest().encode() != digest:
        return None
    try:
        written = Written(**from_json(record, what="a record of the cache"))
    except (TypeError, TritonBuildError):
        return None
    return written if _is_valid(written) else None


def _is_valid(written: Any) -> bool:
    texts, numbers = (written.media_type, written.digest, written.diff_id), (written.size, written.unpacked)
    return (
        all(isinstance(text, str) for text in texts)
        and all(isinstance(number, int) for number in numbers)
        and is_digest(written.digest)
        and is_digest(written.diff_id)
    )


def _make_folder(path: Path) -> None:
    """Create a folder and those above it for the user alone, whatever the umask is."""
    if not path.is_dir():
        _make_folder(path.parent)
        with contextlib.suppress(FileExistsError):
            path.mkdir(mode=0o700)
            path.chmod(0o700)


def _open(path: Path, mode: str) -> BinaryIO:
    """Open a file for writing; a new one is for the user alone, whatever the umask is."""
    file = open(path, mode, opener=lambda name, flags: os.open(name, flags, 0o600))  # noqa: SIM115 - the caller closes it
    if os.fstat(file.fileno()).st_uid == os.geteuid():
        os.fchmod(file.fileno(), 0o600)
    return cast("BinaryIO", file)


def _touch(path: Path) -> None:
    with contextlib.suppress(OSError):
        os.utime(path)
