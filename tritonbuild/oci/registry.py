"""A registry's repository: manifests and blobs, to and fro.

https://github.com/opencontainers/distribution-spec/blob/main/spec.md
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterator
from typing import BinaryIO, Final
from urllib.parse import urlencode

from urllib3.exceptions import HTTPError

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import descriptors, transport
from tritonbuild.oci.descriptors import Descriptor, broken, digest_of
from tritonbuild.oci.transport import Settings, Transport, UnavailableError
from tritonbuild.reference import Reference

_ACCEPTED: Final = ", ".join(sorted(descriptors.MANIFESTS | descriptors.INDEXES))
_OK, _CREATED, _ACCEPTED_UPLOAD, _PARTIAL, _NOT_FOUND = 200, 201, 202, 206, 404


class Registries:
    """The registries that a build talks to, each over connections that stay open."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._transports: dict[str, Transport] = {}

    def transport(self, host: str) -> Transport:
        """Return the connection to a host."""
        if host not in self._transports:
            self._transports[host] = Transport(host, self.settings)
        return self._transports[host]

    def origin(self, reference: Reference) -> RepositoryOrigin:
        """Return the repository of *reference* as something to read from, its mirrors first."""
        hosts = (*self.settings.mirrors.get(reference.registry, ()), reference.registry)
        places = []
        for host in hosts:
            name, _, prefix = host.partition("/")
            repository = f"{prefix}/{reference.repository}" if prefix else reference.repository
            places.append(Repository(self.transport(name), repository))
        return RepositoryOrigin(reference, tuple(places))

    def target(self, reference: Reference) -> Repository:
        """Return the repository of *reference* as something to write to."""
        return Repository(self.transport(reference.registry), reference.repository)


class Repository:
    """One repository of a registry."""

    def __init__(self, connection: Transport, name: str) -> None:
        self.connection = connection
        self.name = name
        self._mountable: dict[str, bool] = {}

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
        """Return a manifest or an index by tag or digest, verified in the second case."""
        what = f"the manifest {self.name}:{wanted}"
        response = self.connection.request(
            "GET",
            f"/v2/{self.name}/manifests/{wanted}",
            scope=self._pull,
            accepted=(_OK,),
            headers={"Accept": _ACCEPTED},
            stream=True,
            what=what,
        )
        content = b""
        try:
            for chunk in transport.chunks(response):
                content += chunk
                if len(content) > descriptors.LARGEST_DOCUMENT:
                    raise broken(what, "it is too long")
        except HTTPError as error:
            raise UnavailableError(f"{self.full_name}: {what} broke off", hint="try again") from error
        digest = digest_of(content, wanted.partition(":")[0] if ":" in wanted else "sha256")
        if ":" in wanted and digest != wanted:
            raise broken(what, f"its digest is {digest}")
        document = descriptors.from_json(content, what=what)
        media_type = document.get("mediaType") or response.headers.get("Content-Type", "").partition(";")[0]
        return Descriptor(media_type=str(media_type), digest=digest, size=len(content)), content

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of a blob; where the connection breaks, it goes on from there."""
        what = f"the blob {blob.digest[:19]}"
        failures = 0
        while start < stop:
            whole = start == 0 and stop >= blob.size
            response = self.connection.request(
                "GET",
                f"/v2/{self.name}/blobs/{blob.digest}",
                scope=self._pull,
                accepted=(_OK, _PARTIAL),
                headers={} if whole else {"Range": f"bytes={start}-{stop - 1}"},
                stream=True,
                what=what,
            )
            skip = start if response.status == _OK and not whole else 0
            before, problem = start, ""
            chunks = transport.chunks(response)
            try:
                for chunk in chunks:
                    part = chunk[skip:] if skip else chunk
                    skip -= min(skip, len(chunk))
                    if start + len(part) > stop:
                        if whole:
                            raise broken(f"{what} of {self.full_name}", "it has more bytes than it should")
                        part = part[: stop - start]
                    if part:
                        start += len(part)
                        yield part
                    if start >= stop:
                        break
            except HTTPError as error:
                problem = transport._reason(error)  # noqa: SLF001
            finally:
                chunks.close()  # type: ignore[attr-defined]
            if start < stop:
                failures = 0 if start > before else failures + 1
                if failures >= self.connection.settings.tries:
                    raise UnavailableError(
                        f"{self.full_name}: {what} breaks off at byte {start}{problem and ': ' + problem}",
                        hint="try again; a second run goes on where this one stopped",
                    )

    def has(self, digest: str) -> bool:
        """Whether the repository has a blob."""
        try:
            response = self.connection.request(
                "HEAD",
                f"/v2/{self.name}/blobs/{digest}",
                scope=self._push,
                accepted=(_OK, _NOT_FOUND),
                what=f"the blob {digest[:19]}",
            )
        except UnavailableError as error:
            if error.status in {400, 403, 405}:
                return False
            raise
        return response.status == _OK

    def mount(self, digest: str, source: str) -> tuple[bool, str]:
        """Ask the registry to take a blob over from its repository *source*.

        Returns:
            Whether it did, and where to upload the blob if not.
        """
        response = self.connection.request(
            "POST",
            f"/v2/{self.name}/blobs/uploads/?{urlencode({'mount': digest, 'from': source})}",
            scope=f"{self._push} repository:{source}:pull",
            accepted=(_CREATED, _ACCEPTED_UPLOAD),
            headers={"Content-Length": "0"},
            what=f"mounting {digest[:19]}",
        )
        return response.status == _CREATED, response.headers.get("Location", "")

    def start_upload(self) -> str:
        """Return where a blob can be uploaded."""
        response = self.connection.request(
            "POST",
            f"/v2/{self.name}/blobs/uploads/",
            scope=self._push,
            accepted=(_ACCEPTED_UPLOAD,),
            headers={"Content-Length": "0"},
            what="starting an upload",
        )
        location = response.headers.get("Location", "")
        if not location:
            raise UnavailableError(f"{self.full_name} does not say where to upload to", hint="tell its operators")
        return location

    def upload(self, blob: Descriptor, content: Callable[[], bytes | BinaryIO], *, location: str = "") -> None:
        """Upload a blob in one request.

        Args:
            blob: What it is; the registry refuses anything else.
            content: Gives its bytes, or a file that has them, anew for each try.
            location: Where to, if that is known already.
        """
        for last in (False, False, True):
            place = location or self.start_upload()
            location = ""
            url = f"{place}{'&' if '?' in place else '?'}{urlencode({'digest': blob.digest})}"
            try:
                self.connection.request(
                    "PUT",
                    url,
                    scope=self._push,
                    accepted=(_CREATED, 204),
                    headers={"Content-Type": "application/octet-stream", "Content-Length": str(blob.size)},
                    body=content,
                    what=f"uploading {blob.digest[:19]}",
                )
            except UnavailableError as error:
                # An upload that broke off may be known to the registry no more, or be half there: another one.
                if last or error.status not in {0, 400, 404, 416, 500, 502, 503, 504}:
                    raise
                with contextlib.suppress(TritonBuildError):
                    if self.has(blob.digest):
                        return
                continue
            return

    def stream(self, chunks: Iterator[bytes]) -> str:
        """Begin an upload with *chunks*, as they come; return where it is to be ended with `end_upload`.

        It is tried once: chunks do not come twice.
        """
        response = self.connection.request(
            "PATCH",
            self.start_upload(),
            scope=self._push,
            accepted=(_ACCEPTED_UPLOAD, 204),
            headers={"Content-Type": "application/octet-stream", "Transfer-Encoding": "chunked"},
            body=lambda: chunks,
            once=True,
            what="uploading a new layer",
        )
        return response.headers.get("Location", "")

    def end_upload(self, location: str, digest: str) -> None:
        """Say which digest what was uploaded to *location* has."""
        self.connection.request(
            "PUT",
            f"{location}{'&' if '?' in location else '?'}{urlencode({'digest': digest})}",
            scope=self._push,
            accepted=(_CREATED, 204),
            headers={"Content-Type": "application/octet-stream", "Content-Length": "0"},
            what=f"uploading {digest[:19]}",
        )

    def put_manifest(self, name: str, media_type: str, content: bytes) -> bool:
        """Put a manifest under a tag, or under its digest; return whether the registry knows what it refers to."""
        response = self.connection.request(
            "PUT",
            f"/v2/{self.name}/manifests/{name}",
            scope=self._push,
            accepted=(_CREATED, _OK),
            headers={"Content-Type": media_type},
            body=lambda: content,
            what=f"putting the manifest {self.name}:{name}",
        )
        return "OCI-Subject" in response.headers


class RepositoryOrigin:
    """A repository to read from, with its mirrors.

    Args:
        reference: What was asked for.
        places: Repositories to ask, in order.
    """

    def __init__(self, reference: Reference, places: tuple[Repository, ...]) -> None:
        self.reference = reference
        self.places = places
        self.name = reference.name

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """Return a manifest of the first place that has it."""
        for place in self.places[:-1]:
            with contextlib.suppress(TritonBuildError):
                return place.manifest(wanted)
        return self.places[-1].manifest(wanted)

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of *blob*, of the first place that has it."""
        for place in self.places[:-1]:
            try:
                for chunk in place.read(blob, start, stop):
                    start += len(chunk)
                    yield chunk
            except TritonBuildError:
                continue
            return
        yield from self.places[-1].read(blob, start, stop)
