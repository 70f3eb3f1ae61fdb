"""Connections to a registry and the servers it names: pools by proxy and TLS, redirects."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from typing import Any, BinaryIO, Final, TypeAlias

import attrs
import urllib3
from urllib3.exceptions import HTTPError, LocationParseError

from tritonbuild.errors import one_line
from tritonbuild.oci.http.answers import CHUNK, RegistryAnswer
from tritonbuild.oci.http.certificates import certificate_folders, tls_context
from tritonbuild.oci.http.origins import WebOrigin, is_loopback, may_receive_login, parse_origin, resolve
from tritonbuild.oci.http.proxies import HttpProxy, proxy_for
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.http.waiting import Wait, Waits

TIMEOUT: Final = urllib3.Timeout(connect=20, read=120)
_REDIRECTS: Final = 10
_SEE_OTHER: Final = 303
_SAFE: Final = frozenset({"GET", "HEAD"})

Body: TypeAlias = bytes | BinaryIO | Iterator[bytes] | None


@attrs.frozen(kw_only=True)
class HttpRequest:
    """A request, which may be sent several times.

    Attributes:
        method: The method of HTTP.
        url: An absolute URL.
        action: The request, for reports: "send the manifest X".
        headers: Headers without the login.
        authorization: The `Authorization` header, for the origins that may receive the login.
        body: Makes the body, anew for each try.
        repeatable: Whether *body* can be called more than once.
        timeout: Of connecting and reading.
    """

    method: str
    url: str
    action: str
    headers: Mapping[str, str] = attrs.field(factory=dict)
    authorization: str = attrs.field(default="", repr=False)
    body: Callable[[], Body] | None = None
    repeatable: bool = True
    timeout: urllib3.Timeout = TIMEOUT


class Connections:
    """Connections for one registry.

    Args:
        settings: The user's settings.
        waits: The requests in progress.
    """

    def __init__(self, settings: TransportSettings, waits: Waits) -> None:
        self.waits = waits
        self._settings = settings
        self._pools: dict[tuple[WebOrigin, HttpProxy | None], urllib3.PoolManager] = {}
        self._lock = threading.Lock()

    def is_insecure(self, origin: WebOrigin) -> bool:
        """Return whether certificates of *origin* are not verified, and it may be without TLS."""
        return is_loopback(origin.host) or not self._settings.insecure.isdisjoint(origin.names)

    def _pool(self, origin: WebOrigin) -> urllib3.PoolManager:
        proxy = proxy_for(origin)
        with self._lock:
            if (origin, proxy) not in self._pools:
                self._pools[origin, proxy] = self._new_pool(origin, proxy)
            return self._pools[origin, proxy]

    def _new_pool(self, origin: WebOrigin, proxy: HttpProxy | None) -> urllib3.PoolManager:
        options: dict[str, Any] = {"maxsize": 8, "block": False, "retries": False, "blocksize": CHUNK}
        if origin.scheme == "https":
            verify = not self.is_insecure(origin)
            folders = certificate_folders(origin)
            options["ssl_context"] = tls_context(folders, ca_file=self._settings.ca_file, verify=verify)
            if not verify:
                urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
                options |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
        if proxy is None:
            return urllib3.PoolManager(**options)
        return urllib3.ProxyManager(proxy.url, proxy_headers=dict(proxy.headers), **options)

    def send(self, request: HttpRequest) -> RegistryAnswer:
        """Send a request once and follow redirects; the login goes to the request's own origin alone.

        Raises:
            HTTPError: No answer came.
        """
        url = request.url
        start = parse_origin(url)
        with self.waits.waiting(request.action) as wait:
            for _ in range(_REDIRECTS):
                headers = {"User-Agent": "tritonbuild", **request.headers}
                if request.authorization and may_receive_login(parse_origin(url), start):
                    headers["Authorization"] = request.authorization
                answer = RegistryAnswer(url, self._send_to(url, headers, request, wait), self.waits)
                location = answer.response.get_redirect_location()
                followed = request.method in _SAFE or (request.repeatable and answer.status != _SEE_OTHER)
                if not location or not followed:
                    return answer
                answer.discard()
                url = resolve(url, location)
        raise HTTPError(f"more than {_REDIRECTS} redirects")

    def _send_to(
        self, url: str, headers: Mapping[str, str], request: HttpRequest, wait: Wait
    ) -> urllib3.BaseHTTPResponse:
        # The source of a body is opened before the request begins: a registry may lock itself while it reads one.
        wait.pause()
        body = request.body() if request.body else None
        wait.progress()
        try:
            return self._pool(parse_origin(url)).request(
                request.method,
                url,
                headers=headers,
                body=body if body is None or isinstance(body, bytes) else _WatchedBody(body, wait),
                timeout=request.timeout,
                redirect=False,
                preload_content=False,
                decode_content=False,
            )
        finally:
            close = getattr(body, "close", None)
            if close is not None:
                close()


class _WatchedBody:
    """A body whose progress is noted; the wait for its bytes is not one for the registry.

    Args:
        body: A file or an iterator of chunks.
        wait: The request.
    """

    def __init__(self, body: BinaryIO | Iterator[bytes], wait: Wait) -> None:
        self._body = body
        self._wait = wait
        if hasattr(body, "read"):
            self.read = self._read

    def _read(self, size: int = -1) -> bytes:
        self._wait.pause()
        part: bytes = self._body.read(size)  # type: ignore[union-attr]  # it is a file
        self._wait.progress()
        return part

    def __iter__(self) -> Iterator[bytes]:
        self._wait.pause()
        for chunk in self._body:
            self._wait.progress()
            yield chunk
            self._wait.pause()
        self._wait.progress()


def reason(error: HTTPError) -> str:
    """Return the cause of a failed request, for an error message."""
    if isinstance(error, LocationParseError):
        return one_line(f"{error.location[:200]!r} is not a URL of HTTP")
    cause: BaseException = error.__cause__ or error
    while cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    texts = [part for part in cause.args if isinstance(part, str)]
    return one_line(texts[0] if texts else type(error).__name__)


def is_unknown_name(error: HTTPError) -> bool:
    """Return whether a request failed since the host's name is not known."""
    codes = [cause.args[0] for cause in _causes(error) if isinstance(cause, socket.gaierror) and cause.args]
    return bool(codes) and socket.EAI_AGAIN not in codes


def is_refused(error: HTTPError) -> bool:
    """Return whether a request failed since no program listens at the address."""
    return any(isinstance(cause, ConnectionRefusedError) for cause in _causes(error))


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those it was raised for."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or next((one for one in cause.args if isinstance(one, BaseException)), None)
