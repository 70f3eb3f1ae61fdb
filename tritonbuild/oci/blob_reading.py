"""Reading a blob of a repository: by ranges, and resumed where a transfer breaks."""

from __future__ import annotations

import contextlib
from collections.abc import Generator, Iterator

from urllib3.exceptions import HTTPError

from tritonbuild import threads
from tritonbuild.oci.descriptors import Descriptor, broken
from tritonbuild.oci.http.answers import RegistryAnswer
from tritonbuild.oci.http.connections import reason
from tritonbuild.oci.http.waiting import FIRST_DELAY, longer
from tritonbuild.oci.transport import RegistryRequest, Transport, UnavailableError

_OK, _PARTIAL = 200, 206


def read_blob(connection: Transport, repository: str, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
    """Yield the bytes of a blob from *start* up to *stop*, as they come and not verified.

    Raises:
        UnavailableError: The registry does not send them, or breaks off too often.
        TritonBuildError: It sends more bytes than the blob has, or another range.
    """
    what = f"the blob {blob.digest[:19]} of {connection.host}/{repository}"
    failures, delay, ranges = 0, FIRST_DELAY, True
    while start < stop:
        whole = start == 0 and stop >= blob.size
        request = RegistryRequest(
            method="GET",
            path=f"/v2/{repository}/blobs/{blob.digest}",
            scope=f"repository:{repository}:pull",
            action=f"fetch {what}",
            accepted=(_OK, _PARTIAL),
            headers={"Range": f"bytes={start}-{stop - 1}"} if ranges and not whole else {},
        )
        answer = connection.send(request)
        if answer.status == _PARTIAL and answer.is_encoded:
            # A part of encoded content cannot be decoded: the whole is read instead.
            answer.discard()
            ranges = False
            continue
        before, problem = start, ""
        try:
            with contextlib.closing(_parts(answer, start, stop, size=blob.size, what=what)) as parts:
                for part in parts:
                    start += len(part)
                    yield part
        except HTTPError as error:
            problem = f": {reason(error)}"
        failures = 0 if start > before else failures + 1
        if start < stop and failures >= connection.settings.tries:
            raise UnavailableError(
                f"{what} breaks off at byte {start}{problem}",
                hint="run the build again; it resumes where it stopped",
            )
        if start < stop and failures:
            threads.pause(delay)
            delay = longer(delay)


def _parts(answer: RegistryAnswer, start: int, stop: int, *, size: int, what: str) -> Generator[bytes, None, None]:
    """Yield what an answer has of the bytes from *start* up to *stop* of a blob of *size* bytes."""
    position = 0
    if answer.status == _PARTIAL:
        position = start
        content_range = answer.header("Content-Range")
        if content_range and not content_range.replace(" ", "").lower().startswith(f"bytes{start}-"):
            answer.discard()
            raise broken(what, f"its range is {content_range!r} instead of {start}-{stop - 1}")
    with contextlib.closing(answer.chunks(f"fetch {what}")) as chunks:
        for chunk in chunks:
            part = chunk[start - position :] if position < start else chunk
            position += len(chunk)
            if position > stop >= size:
                raise broken(what, f"it has more than the {size} bytes it should have")
            if position > stop:
                part = part[: len(part) - (position - stop)]
            if part:
                yield part
            if position >= stop:
                return
