"""A repository of a registry: manifests and blobs, read and written.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError

from tritonbuild.oci import descriptors
from tritonbuild.oci.blob_reading import read_blob
from tritonbuild.oci.descriptors import Descriptor, check_digest, digest_of, hasher
from tritonbuild.oci.documents import parse
from tritonbuild.oci.http.connections import reason
from tritonbuild.oci.transport import RegistryRequest, Transport, UnavailableError

_MANIFEST_TYPES: Final = ", ".join(sorted(descriptors.MANIFESTS | descriptors.INDEXES))
_OK, _CREATED, _ACCEPTED, _NO_CONTENT = 200, 201, 202, 204
_STORED: Final = (_OK, _CREATED, _ACCEPTED, _NO_CONTENT)
"""Statuses of success that registries answer a PUT with; the specification has 201 alone."""

_SAVING_TRIES: Final = 2
"""Tries of a request that only saves work: without it the work is done."""

_UPLOAD_AGAIN: Final = frozenset({0, 400, 404, 416, 500, 502, 503, 504})
"""Statuses after which another upload may succeed: the registry lost the first, or has half of it."""

_OCTETS: Final = {"Content-Type": "application/octet-stream"}


class RegistryRepository:
    """A repository of a registry.

    Args:
        connection: The connection to the registry.
        name: The repository's name.
    """

    def __init__(self, connection: Transport, name: str) -> None:
        self.connection = connection
        self.name = name

    @property
    def full_name(self) -> str:
        """Registry and repository."""
        return f"{self.connection.host}/{self.name}"

    @property
    def _pull(self) -> str:
        return f"repository:{self.name}:pull"

    @property
    def _push(self) -> str:
        return f"repository:{self.name}:pull,push"

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """Return a manifest or an index by tag or digest; its digest is verified."""
        what = f"the manifest {self.name}:{wanted} of {self.connection.host}"
        answer = self.connection.send(
            RegistryRequest(
                method="GET",
                path=f"/v2/{self.name}/manifests/{wanted}",
                scope=self._pull,
                action=f"fetch the manifest {self.name}:{wanted} from {self.connection.host}",
                accepted=(_OK,),
                headers={"Accept": _MANIFEST_TYPES},
            )
        )
        try:
            content = answer.content(descriptors.LARGEST_DOCUMENT, what=what)
        except HTTPError as error:
            raise UnavailableError(f"{what} broke off: {reason(error)}", hint="run the build again") from error
        digest = digest_of(content)
        if ":" in wanted:
            digest, found = wanted, hasher(wanted)
            found.update(content)
            check_digest(found, wanted, what=what)
        media_type = parse(content, what).text("mediaType") or answer.header("Content-Type").partition(";")[0]
        return Descriptor(media_type=media_type, digest=digest, size=len(content)), content

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Return the bytes of a blob from *start* up to *stop*; a broken transfer is resumed."""
        return read_blob(self.connection, self.name, blob, start, stop)

    def has(self, digest: str) -> bool:
        """Return whether the repository has a blob; False too if the registry does not say."""
        request = RegistryRequest(
            method="HEAD",
            path=f"/v2/{self.name}/blobs/{digest}",
            scope=self._push,
            action=f"look for the blob {digest[:19]} in {self.full_name}",
            accepted=(_OK,),
            tries=_SAVING_TRIES,
        )
        try:
            self.connection.send(request).discard()
        except UnavailableError:
            return False
        return True

    def mount(self, digest: str, source: str) -> tuple[bool, str]:
        """Ask the registry to link a blob of its repository *source* into this one.

        Returns:
            Whether it did, and the location to upload the blob to if it did not but began an upload.
        """
        request = RegistryRequest(
            method="POST",
            path=f"/v2/{self.name}/blobs/uploads/?{urlencode({'mount': digest, 'from': source})}",
            scope=f"{self._push} repository:{source}:pull",
            action=f"mount the blob {digest[:19]} of {source} in {self.full_name}",
            accepted=(_CREATED, _ACCEPTED),
            headers={"Content-Length": "0"},
            tries=_SAVING_TRIES,
        )
        try:
            answer = self.connection.send(request)
            location = answer.location if answer.status == _ACCEPTED else ""
        except (UnavailableError, HTTPError):
            return False, ""
        answer.discard()
        return answer.status == _CREATED, location

    def start_upload(self) -> str:
        """Begin an upload; return the location to upload the blob to."""
        action = f"begin an upload to {self.full_name}"
        answer = self.connection.send(
            RegistryRequest(
                method="POST",
                path=f"/v2/{self.name}/blobs/uploads/",
                scope=self._push,
                action=action,
                accepted=(_ACCEPTED,),
                headers={"Content-Length": "0"},
            )
        )
        answer.discard()
        try:
            location = answer.location
        except HTTPError as error:
            raise UnavailableError(f"cannot {action}: {reason(error)}", hint="tell the registry's operators") from error
        if not location:
            raise UnavailableError(f"cannot {action}: the answer has no Location", hint="tell the registry's operators")
        return location

    def check_push(self) -> None:
        """Check that the repository accepts uploads: begin one and cancel it.

        Raises:
            UnavailableError: It does not.
        """
        location = self.start_upload()
        with contextlib.suppress(UnavailableError):
            self.connection.send(
                RegistryRequest(
                    method="DELETE",
                    path=location,
                    scope=self._push,
                    action=f"cancel an upload to {self.full_name}",
                    accepted=_STORED,
                    tries=1,
                )
            ).discard()

    def upload(self, blob: Descriptor, content: Callable[[], bytes | BinaryIO], *, location: str = "") -> None:
        """Upload a blob in one request.

        Args:
            blob: The blob; the registry refuses other content.
            content: Makes its bytes, or a file that has them, anew for each try.
            location: The location to upload to, if an upload was begun.
        """
        for last in (False, False, True):
            request = RegistryRequest(
                method="PUT",
                path=_with_digest(location or self.start_upload(), blob.digest),
                scope=self._push,
                action=f"upload the blob {blob.digest[:19]} to {self.full_name}",
                accepted=_STORED,
                headers={**_OCTETS, "Content-Length": str(blob.size)},
                body=content,
            )
            location = ""
            try:
                self.connection.send(request).discard()
            except UnavailableError as error:
                if last or error.status not in _UPLOAD_AGAIN:
                    raise
                if self.has(blob.digest):
                    return
                continue
            return

    def stream(self, chunks: Iterator[bytes]) -> str:
        """Upload *chunks* as they come, in one try; return the location at which `end_upload` ends it."""
        answer = self.connection.send(
            RegistryRequest(
                method="PATCH",
                path=self.start_upload(),
                scope=self._push,
                action=f"upload a new layer to {self.full_name}",
                accepted=(_ACCEPTED, _NO_CONTENT),
                headers={**_OCTETS, "Transfer-Encoding": "chunked"},
                body=lambda: chunks,
                repeatable=False,
            )
        )
        answer.discard()
        return answer.location

    def end_upload(self, location: str, digest: str) -> None:
        """End the upload at *location*, whose content has this digest."""
        self.connection.send(
            RegistryRequest(
                method="PUT",
                path=_with_digest(location, digest),
                scope=self._push,
                action=f"upload the blob {digest[:19]} to {self.full_name}",
                accepted=_STORED,
                headers={**_OCTETS, "Content-Length": "0"},
            )
        ).discard()

    def put_manifest(self, name: str, media_type: str, content: bytes) -> bool:
        """Store a manifest under a tag or its digest; return whether the registry knows the image it refers to."""
        answer = self.connection.send(
            RegistryRequest(
                method="PUT",
                path=f"/v2/{self.name}/manifests/{name}",
                scope=self._push,
                action=f"store the manifest {self.name}:{name} in {self.connection.host}",
                accepted=_STORED,
                headers={"Content-Type": media_type},
                body=lambda: content,
            )
        )
        answer.discard()
        return bool(answer.header("OCI-Subject"))


def _with_digest(location: str, digest: str) -> str:
    return f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}"
