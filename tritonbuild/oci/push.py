"""A registry's repository as a target: blobs are found, mounted or uploaded, manifests put under tags."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator, Sequence
from typing import Any, Final

from urllib3.exceptions import HTTPError

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import descriptors
from tritonbuild.oci.descriptors import Descriptor, from_json, verified
from tritonbuild.oci.layouts import index_of, manifests_of
from tritonbuild.oci.registry import Repository
from tritonbuild.oci.targets import Content, Image
from tritonbuild.oci.transport import UnavailableError
from tritonbuild.reference import Reference, parse_reference
from tritonbuild.threads import Lane, StoppedError

_NOT_FOUND: Final = 404


class Push:
    """A repository of a registry.

    Args:
        repository: Where to.
    """

    def __init__(self, repository: Repository) -> None:
        self.repository = repository

    def store(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
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

    def publish(self, image: Image, tags: Sequence[str]) -> None:
        """Have the image under the tags of *tags* that are of this repository."""
        name = self.repository.full_name
        own = [parse_reference(tag) for tag in tags]
        for tag in [one.tag for one in own if one.name == name] or [image.manifest.digest]:
            self.repository.put_manifest(tag, descriptors.MANIFEST, image.manifest_content)

    def locations(self, tags: Sequence[str]) -> list[str]:
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
            self.repository.put_manifest(tag, descriptors.INDEX, index_of([*others, manifest.document()]))

    def _referrers(self, tag: str) -> list[dict[str, Any]]:
        """Return what others have attached under the tag."""
        try:
            _, content = self.repository.manifest(tag)
        except UnavailableError as error:
            if error.status == _NOT_FOUND:
                return []
            raise
        return manifests_of(content, what=f"the index {tag}")


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
