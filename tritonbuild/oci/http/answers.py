"""Answers of a registry, read within bounds."""

from __future__ import annotations

import contextlib
import http
from collections.abc import Generator
from typing import Final, TypeAlias

import attrs
import urllib3
from urllib3.exceptions import HTTPError

from tritonbuild import threads
from tritonbuild.errors import TritonBuildError, one_line
from tritonbuild.oci.descriptors import broken
from tritonbuild.oci.documents import parse
from tritonbuild.oci.http.origins import resolve
from tritonbuild.oci.http.waiting import Waits

CHUNK: Final = 1 << 20
_LONGEST_ERROR: Final = 1 << 16
_LONGEST_MESSAGE: Final = 300

Response: TypeAlias = urllib3.BaseHTTPResponse


@attrs.frozen
class RegistryAnswer:
    """An answer whose content is still to be read.

    Attributes:
        url: The URL that was asked in the end.
        response: The response of urllib3.
        waits: The requests in progress, this one's content among them.
    """

    url: str
    response: Response
    waits: Waits

    @property
    def status(self) -> int:
        """The status code."""
        return self.response.status

    def header(self, name: str) -> str:
        """Return a header; the empty text if there is none."""
        return self.response.headers.get(name, "")

    @property
    def location(self) -> str:
        """The `Location` header as an absolute URL; the empty text if there is none.

        Raises:
            LocationParseError: It is not a URL of HTTP.
        """
        location = self.header("Location")
        return resolve(self.url, location) if location else ""

    @property
    def is_encoded(self) -> bool:
        """Whether the content has a `Content-Encoding`, which `chunks` undoes."""
        return self.header("Content-Encoding").strip().lower() not in {"", "identity"}

    def chunks(self, action: str) -> Generator[bytes, None, None]:
        """Yield the content as it arrives.

        Args:
            action: The request, for reports of waits.

        Raises:
            HTTPError: The connection broke.
        """
        encoded = self.is_encoded
        try:
            while True:
                with self.waits.waiting(action):
                    chunk = self.response.read(CHUNK, decode_content=encoded)
                if not chunk:
                    return
                threads.go_on()
                yield chunk
        finally:
            # The connection cannot be used again while it holds content that nobody reads.
            self.response.close()

    def content(self, largest: int, *, what: str) -> bytes:
        """Return the whole content.

        Raises:
            TritonBuildError: It has more than *largest* bytes.
            HTTPError: The connection broke.
        """
        content = b""
        for chunk in self.chunks(f"send {what}"):
            content += chunk
            if len(content) > largest:
                raise broken(what, f"it has more than {largest} bytes")
        return content

    def discard(self) -> None:
        """Make the connection free for the next request; close it if much content is left."""
        with contextlib.suppress(HTTPError, OSError):
            if len(self.response.read(_LONGEST_ERROR, decode_content=False)) < _LONGEST_ERROR:
                self.response.release_conn()
                return
        self.response.close()

    def problem(self) -> str:
        """Return the status and the registry's message about a failure, for an error message."""
        content = b""
        with contextlib.suppress(HTTPError, OSError):
            content = self.response.read(_LONGEST_ERROR, decode_content=self.is_encoded)
        if len(content) < _LONGEST_ERROR:
            self.response.release_conn()
        else:
            self.response.close()
        with contextlib.suppress(ValueError):
            status = http.HTTPStatus(self.status)
            return ": ".join(part for part in (f"{self.status} {status.phrase}", error_message(content)) if part)
        return ": ".join(part for part in (str(self.status), error_message(content)) if part)


def error_message(content: bytes) -> str:
    """Return the messages in an error body of the distribution specification; the empty text if it is none."""
    try:
        errors = parse(content, "an error body").objects("errors")
        messages = [error.text("message") or error.text("code") for error in errors]
    except TritonBuildError:
        return ""
    return one_line("; ".join(filter(None, messages)))[:_LONGEST_MESSAGE]
