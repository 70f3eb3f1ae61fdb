"""A registry's repository as a target: blobs are found, mounted or uploaded, manifests stored under tags."""

from __future__ import annotations

import contextlib
import tempfile
import threading
from collections.abc import Callable, Iterator, Sequence
from typing import Any, BinaryIO, Final

from urllib3.exceptions import HTTPError

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import descriptors
from tritonbuild.oci.descriptors import Descriptor, from_json, verified
from tritonbuild.oci.layouts import index_of, manifests_of
from tritonbuild.oci.repository import RegistryRepository
from tritonbuild.oci.targets import Content, Image
from tritonbuild.oci.transport import UnavailableError
from tritonbuild.reference import Reference, parse_reference
from tritonbuild.threads import Lane, StoppedError

_NOT_FOUND: Final = 404


class Push:
    """A repository of a registry as a target.

    Args:
        repository: The repository.
    """

    def __init__(self, repository: RegistryRepository) -> None:
        self.repository = repository

    def check(self) -> None:
        """Check that the repository accepts uploads.

        Raises:
            UnavailableError: It does not.
        """
        self.repository.check_push()

    def store(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Store a blob, by a mount or an upload unless the repository has it; return the bytes transferred."""
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

        def chunks() -> Iterator[bytes]:
            return verified(content(), blob, what=what) if verify else content()

        with _Attempts(chunks) as attempts:
            repository.upload(blob, attempts.file, location=location)
        return blob.size

    def publish(self, image: Image, tags: Sequence[str]) -> None:
        """Store the manifest under those of *tags* that are of this repository, or else under its digest."""
        name = self.repository.full_name
        references = [parse_reference(tag) for tag in tags]
        for tag in [one.tag for one in references if one.name == name] or [image.manifest.digest]:
            self.repository.put_manifest(tag, descriptors.MANIFEST, image.manifest_content)

    def locations(self, tags: Sequence[str]) -> list[str]:
        """Return the addresses of an image: those of its tags that are of this repository."""
        references = [parse_reference(tag) for tag in tags]
        return [f"docker://{one}" for one in references if one.name == self.repository.full_name]

    def stream(self) -> Upload:
        """Return an upload for a layer that is being written."""
        return Upload(self.repository)

    def attach(self, manifest: Descriptor, content: bytes, blobs: Sequence[tuple[Descriptor, bytes]]) -> None:
        """Store a manifest that refers to an image of the repository.

        In a registry without the referrers API, the index under the tag that the specification defines lists it.
        """
        for blob, part in blobs:
            if not self.repository.has(blob.digest):
                self.repository.upload(blob, lambda part=part: part)  # type: ignore[misc]
        subject = from_json(content, what="a manifest")["subject"]["digest"]
        if not self.repository.put_manifest(manifest.digest, descriptors.MANIFEST, content):
            tag = str(subject).replace(":", "-")
            others = [one for one in self._referrers(tag) if one.get("digest") != manifest.digest]
            self.repository.put_manifest(tag, descriptors.INDEX, index_of([*others, manifest.document()]))

    def _referrers(self, tag: str) -> list[dict[str, Any]]:
        """Return the referrers that are listed under the tag."""
        try:
            _, content = self.repository.manifest(tag)
        except UnavailableError as error:
            if error.status == _NOT_FOUND:
                return []
            raise
        return manifests_of(content, what=f"the index {tag}")


class Upload:
    """An upload of a layer while it is written.

    A failed stream is not an error: the layer is uploaded afterwards. A stream that gets no bytes for a while is given
    up, since a registry may wait for its end before it sends what the layer is written from.

    Args:
        repository: The repository.
    """

    def __init__(self, repository: RegistryRepository) -> None:
        self._repository = repository
        self._lane: Lane[bytes | None] = Lane(8)
        self._location = ""
        self._thread = threading.Thread(target=self._run, name="upload", daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with contextlib.suppress(TritonBuildError, HTTPError, OSError, StoppedError):
                # The request begins when there is something to send.
                first = self._lane.take()
                self._location = self._repository.stream(self._chunks(first))
        finally:
            self._lane.close()

    def _chunks(self, chunk: bytes | None) -> Iterator[bytes]:
        patience = self._repository.connection.settings.patience
        while chunk is not None:
            if chunk:
                yield chunk
            chunk = self._lane.take(patience)

    def write(self, chunk: bytes) -> None:
        """Send the next bytes, or drop them if the upload has failed."""
        self._lane.put(chunk)

    def end(self) -> None:
        """Note that all bytes were written."""
        self._lane.put(None)

    def finish(self, digest: str) -> bool:
        """End the upload with the digest of what was sent; return whether the registry has the layer."""
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


class _Attempts:
    """The bodies of the attempts to upload a blob; to be used as a context.

    The first streams the content from its source. The next ones send a copy that was stored before: the source and the
    target may be one registry that does not read from one request while it waits for the other.

    Args:
        chunks: Makes the content, anew each time.
    """

    def __init__(self, chunks: Callable[[], Iterator[bytes]]) -> None:
        self._chunks = chunks
        self._attempts = 0
        self._stack = contextlib.ExitStack()
        self._copy: BinaryIO | None = None

    def __enter__(self) -> _Attempts:  # noqa: PYI034 - nothing inherits from it, and Self is of Python 3.11
        """Return this."""
        return self

    def __exit__(self, *_: object) -> None:
        """Remove the copy."""
        self._stack.close()

    def file(self) -> BinaryIO:
        """Return the body for the next attempt."""
        self._attempts += 1
        if self._attempts == 1:
            return _Stream(self._chunks())  # type: ignore[return-value]  # it has what is needed of a file
        if self._copy is None:
            copy = tempfile.TemporaryFile(prefix="tritonbuild-")  # noqa: SIM115 - closed with the stack
            self._copy = self._stack.enter_context(copy)
            copy.writelines(self._chunks())
        self._copy.seek(0)
        return _Unclosed(self._copy)  # type: ignore[return-value]  # it has what is needed of a file


class _Stream:
    """Chunks as a file that can be read once; the first is taken at once."""

    def __init__(self, content: Iterator[bytes]) -> None:
        self._content = content
        self._rest = next(content, b"")

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


class _Unclosed:
    """A file that stays open when its reader closes it."""

    def __init__(self, file: BinaryIO) -> None:
        self.read = file.read
