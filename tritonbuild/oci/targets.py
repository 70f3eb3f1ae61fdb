"""Where a result goes: a layout, an archive, a registry."""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
import shutil
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from urllib3.exceptions import HTTPError

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci import descriptors
from tritonbuild.oci.cache import chunks, no_room
from tritonbuild.oci.descriptors import REF_NAME, Descriptor, from_json, to_json, verified
from tritonbuild.oci.pipeline import Lane, StoppedError
from tritonbuild.oci.registry import Repository
from tritonbuild.oci.result import Image
from tritonbuild.oci.transport import UnavailableError
from tritonbuild.reference import Reference, parse_reference

_LAYOUT: Final = to_json({"imageLayoutVersion": "1.0.0"})
_IMAGE_NAME: Final = "io.containerd.image.name"
_BLOCK: Final = 512
_NOT_FOUND: Final = 404

Content = Callable[[], Iterator[bytes]]
"""Gives a blob's bytes, anew each time."""


class Target(Protocol):
    """Where a result goes."""

    def take(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Have a blob; return how many bytes were moved.

        Args:
            blob: What it is.
            content: Its bytes, not verified.
            source: A repository of a registry that has it.
            verify: Whether they have to be verified even where whoever gets them does so.
        """
        ...

    def finish(self, image: Image, tags: Sequence[str]) -> None:
        """Have the image itself, once all of its blobs are there, the configuration among them."""
        ...

    def places(self, tags: Sequence[str]) -> list[str]:
        """Return where an image with these *tags* is, as podman and skopeo say it: `oci:FOLDER:NAME`."""
        ...


# A target is told all there is to know of a blob, and not every one has a use for it.
# ruff: noqa: ARG002


class Layout:
    """An OCI layout in a folder, with other images or new.

    Args:
        folder: Where it is; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(error, folder) from error

    def path(self, digest: str) -> Path:
        """Return where a blob is."""
        return self.folder / "blobs" / digest.replace(":", "/")

    def take(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Have a blob, whole or not at all."""
        path = self.path(blob.digest)
        with contextlib.suppress(OSError):
            if path.stat().st_size == blob.size:
                return 0
        self._write(path, verified(content(), blob, what=f"the blob {blob.digest[:19]}"))
        return blob.size

    def _write(self, path: Path, content: Iterable[bytes]) -> None:
        new = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("xb") as out:
                for chunk in content:
                    out.write(chunk)
            new.replace(path)
        except OSError as error:
            raise no_room(error, self.folder) from error
        finally:
            new.unlink(missing_ok=True)

    def finish(self, image: Image, tags: Sequence[str]) -> None:
        """Have the image under *tags*; what had them before loses them."""
        # These are written anew, whatever is there.
        for blob, content in ((image.config, image.config_content), (image.manifest, image.manifest_content)):
            self._write(self.path(blob.digest), [content])
        self._write(self.folder / "oci-layout", [_LAYOUT])
        names = [_names(tag) for tag in tags]
        with self._alone():
            kept = [
                one for one in self._entries() if one.get("annotations", {}).get(REF_NAME) not in {n[0] for n in names}
            ]
            entry = image.manifest.document()
            added = [{**entry, "annotations": {REF_NAME: short, _IMAGE_NAME: long}} for short, long in names] or [entry]
            kept = [one for one in kept if one not in added]
            self._write(self.folder / "index.json", [_index([*kept, *added])])

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the layout's index for oneself, among builds on this machine."""
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def places(self, tags: Sequence[str]) -> list[str]:
        """Return where an image is."""
        return [f"oci:{self.folder.absolute()}{f':{tag}' if tag else ''}" for tag in tags or [""]]

    def attach(self, manifest: Descriptor, content: bytes, blobs: Sequence[tuple[Descriptor, bytes]]) -> None:
        """Have a manifest that refers to an image of the layout."""
        for blob, bytes_ in (*blobs, (manifest, content)):
            self._write(self.path(blob.digest), [bytes_])
        with self._alone():
            entries = [one for one in self._entries() if one.get("digest") != manifest.digest]
            self._write(self.folder / "index.json", [_index([*entries, manifest.document()])])

    def _entries(self) -> list[dict[str, Any]]:
        path = self.folder / "index.json"
        return _manifests(path.read_bytes(), what=str(path)) if path.exists() else []


def _index(manifests: Sequence[dict[str, Any]]) -> bytes:
    """Return an image index of *manifests*."""
    return to_json({"schemaVersion": 2, "mediaType": descriptors.INDEX, "manifests": manifests})


def _manifests(index: bytes, *, what: str) -> list[dict[str, Any]]:
    """Return the manifests of an image index."""
    found = from_json(index, what=what).get("manifests")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _names(tag: str) -> tuple[str, str]:
    reference = parse_reference(tag)
    return tag, str(reference)


class Archive:
    """A tar that is an OCI layout, and what `docker load` takes as well.

    Args:
        path: Where it is to be; it appears whole or not at all.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise InvalidInputError(f"{str(path)!r} is a folder", hint="name a file")
        try:
            self._scratch = Path(tempfile.mkdtemp(prefix=f".{path.name}.", dir=path.parent))
        except OSError as error:
            raise no_room(error, path.parent) from error
        self.layout = Layout(self._scratch)

    def take(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Have a blob."""
        return self.layout.take(blob, content)

    def finish(self, image: Image, tags: Sequence[str]) -> None:
        """Write the archive."""
        self.layout.finish(image, tags)
        repositories = [str(parse_reference(tag)) for tag in tags]
        manifest = [
            {
                "Config": _blob_name(image.config.digest),
                "RepoTags": repositories,
                "Layers": [_blob_name(layer.digest) for layer in image.layers],
            }
        ]
        new = self._scratch / "archive"
        try:
            with new.open("wb") as out:
                _member(out, "manifest.json", [to_json(manifest)], None)
                for path in sorted(self._scratch.rglob("*")):
                    if path.is_file() and path != new:
                        _member(out, str(path.relative_to(self._scratch)), chunks(path), path.stat().st_size)
                out.write(bytes(2 * _BLOCK))
            new.replace(self.path)
        except OSError as error:
            raise no_room(error, self.path.parent) from error

    def places(self, tags: Sequence[str]) -> list[str]:
        """Return where the archive is."""
        return [f"docker-archive:{self.path.absolute()}"]

    def close(self) -> None:
        """Remove what is beside the archive."""
        shutil.rmtree(self._scratch, ignore_errors=True)


def _blob_name(digest: str) -> str:
    return f"blobs/{digest.replace(':', '/')}"


def _member(out: BinaryIO, name: str, content: Iterable[bytes], size: int | None) -> None:
    pieces = content
    if size is None:
        pieces = [*content]
        size = sum(len(piece) for piece in pieces)
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    out.write(member.tobuf(tarfile.PAX_FORMAT))
    out.writelines(pieces)
    out.write(bytes(-size % _BLOCK))


class Push:
    """A repository of a registry.

    Args:
        repository: Where to.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def take(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Have a blob: there already, mounted from another repository of the registry, or uploaded."""
        repository = self.repository
        location = ""
        if source is not None and source.registry == repository.connection.host:
            if source.repository == repository.name:
                return 0
            mounted, location = repository.mount(blob.digest, source.repository)
            if mounted:
                return 0
        elif repository.has(blob.digest):
            return 0
        what = f"the blob {blob.digest[:19]}"

        def stream() -> _Stream:
            return _Stream(verified(content(), blob, what=what) if verify else content())

        repository.upload(blob, stream, location=location)  # type: ignore[arg-type]  # it has what is needed of a file
        return blob.size

    def finish(self, image: Image, tags: Sequence[str]) -> None:
        """Have the image under the tags of *tags* that are of this repository."""
        name = self.repository.full_name
        own = [parse_reference(tag) for tag in tags]
        for tag in [one.tag for one in own if one.name == name] or [image.manifest.digest]:
            self.repository.put_manifest(tag, descriptors.MANIFEST, image.manifest_content)

    def places(self, tags: Sequence[str]) -> list[str]:
        """Return where an image is: under those of its tags that are of this repository."""
        own = [parse_reference(tag) for tag in tags]
        return [f"docker://{one}" for one in own if one.name == self.repository.full_name]

    def stream(self) -> Upload:
        """Return an upload that goes on while a layer is written."""
        return Upload(self.repository)

    def attach(self, manifest: Descriptor, content: bytes, blobs: Sequence[tuple[Descriptor, bytes]]) -> None:
        """Have a manifest that refers to an image of the repository.

        A registry that does not know referrers is told by the tag that the specification has for this.
        """
        for blob, part in blobs:
            if not self.repository.has(blob.digest):
                self.repository.upload(blob, lambda part=part: part)  # type: ignore[misc]
        subject = from_json(content, what="a manifest")["subject"]["digest"]
        if not self.repository.put_manifest(manifest.digest, descriptors.MANIFEST, content):
            tag = str(subject).replace(":", "-")
            others = [one for one in self._referrers(tag) if one.get("digest") != manifest.digest]
            self.repository.put_manifest(tag, descriptors.INDEX, _index([*others, manifest.document()]))

    def _referrers(self, tag: str) -> list[dict[str, Any]]:
        """Return what others have attached under the tag."""
        try:
            _, content = self.repository.manifest(tag)
        except UnavailableError as error:
            if error.status == _NOT_FOUND:
                return []
            raise
        return _manifests(content, what=f"the index {tag}")


class Upload:
    """A layer on its way to a registry while it is written; that it failed is no more than a reason to do it again.

    Args:
        repository: Where to.
    """

    def __init__(self, repository: Repository) -> None:
        self._repository = repository
        self._lane: Lane[bytes | None] = Lane(8)
        self._location = ""
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.suppress(TritonBuildError, HTTPError, OSError, StoppedError):
                self._location = self._repository.stream(self._chunks())
        finally:
            self._lane.close()

    def _chunks(self) -> Iterator[bytes]:
        while (chunk := self._lane.take()) is not None:
            if chunk:
                yield chunk

    def write(self, chunk: bytes) -> None:
        """Send the next bytes, or drop them if the upload has failed."""
        self._lane.put(chunk)

    def end(self) -> None:
        """Say that there are no more bytes."""
        self._lane.put(None)

    def finish(self, digest: str) -> bool:
        """Have the registry take what was sent, which has ended; return whether it has the layer."""
        self._thread.join()
        if not self._location:
            return False
        with contextlib.suppress(TritonBuildError):
            self._repository.end_upload(self._location, digest)
            return True
        return False

    def drop(self) -> None:
        """Give the upload up."""
        self._lane.close()


class _Stream:
    """Chunks as a file that can be read once."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content
        self._rest = b""

    def read(self, size: int = -1) -> bytes:
        """Return up to *size* bytes."""
        while not self._rest:
            chunk = next(self._content, None)
            if chunk is None:
                return b""
            self._rest = chunk
        if size < 0:
            size = len(self._rest)
        part, self._rest = self._rest[:size], self._rest[size:]
        return part

    def close(self) -> None:
        """Stop reading."""
        close = getattr(self._content, "close", None)
        if close is not None:
            close()
