"""Requests to a registry: TLS or not, logins and tokens, patience with what fails for a moment."""

from __future__ import annotations

import base64
import contextlib
import email.utils
import ipaddress
import json
import os
import random
import re
import ssl
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, TypeAlias
from urllib.parse import urlencode, urljoin

import attrs
import urllib3
from urllib3.exceptions import HTTPError, SSLError

from tritonbuild import threads
from tritonbuild.errors import InvalidInputError, TritonBuildError, one_line
from tritonbuild.oci import credentials

API_HOSTS: Final = {"docker.io": "registry-1.docker.io"}
"""Registries whose API is elsewhere than their name says."""

TRIES: Final = 6
_LONGEST_WAIT: Final = 60.0
_TIMEOUT: Final = urllib3.Timeout(connect=20, read=120)
_REDIRECTS: Final = 5
_CHUNK: Final = 1 << 20
_CHALLENGE: Final = re.compile(r'([a-zA-Z_]+)="((?:[^"\\]|\\.)*)"')
_BAD_REQUEST: Final = 400
_UNAUTHORIZED, _TOO_MANY, _SERVER_ERROR, _NOT_IMPLEMENTED = 401, 429, 500, 501

_TLS_HINTS: Final = {
    True: "name its authority's certificate with ca_file, or the registry with insecure_registry",
    False: "if it has no TLS, name it with insecure_registry",
}

Body: TypeAlias = bytes | BinaryIO | Iterator[bytes] | None
Response: TypeAlias = urllib3.BaseHTTPResponse


@attrs.frozen(kw_only=True)
class Settings:
    """How registries are talked to.

    Attributes:
        insecure: Hosts that are talked to without TLS, or with certificates that are not verified; loopback always is.
        mirrors: Host -> hosts that are asked first when something is read from it.
        credential_files: Where logins are; podman's and docker's files by default.
        ca_file: Certificates to trust besides the system's.
        tries: How often a request is tried.
    """

    insecure: frozenset[str] = frozenset()
    mirrors: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    credential_files: tuple[Path, ...] | None = None
    ca_file: str = ""
    tries: int = TRIES


def is_loopback(host: str) -> bool:
    """Whether a host (with or without port) is this machine."""
    name = host.rpartition(":")[0] if re.search(r":\d+$", host) else host
    name = name.strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False


class UnavailableError(TritonBuildError):
    """A registry did not answer, or not with success, however often it was asked."""

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        self.status = status
        super().__init__(message, hint=hint)


class Transport:
    """A connection to one registry.

    Args:
        host: Host and port, as in references.
        settings: How to talk to it.
    """

    def __init__(self, host: str, settings: Settings) -> None:
        self.host = host
        self.settings = settings
        self.plain = is_loopback(host) or host in settings.insecure
        self._pool = self._new_pool()
        self._base: str | None = None
        self._authorization: dict[str, str] = {}
        self._lock = threading.Lock()

    def _new_pool(self) -> urllib3.PoolManager:
        options: dict[str, Any] = {
            "maxsize": 8,
            "block": False,
            "timeout": _TIMEOUT,
            "retries": False,
            "blocksize": _CHUNK,
        }
        if self.host in self.settings.insecure or is_loopback(self.host):
            urllib3.disable_warnings(urllib3.exceptions.InsecureRequestWarning)
            options |= {"cert_reqs": "CERT_NONE", "assert_hostname": False}
        elif self.settings.ca_file:
            options["ssl_context"] = _trusting(self.settings.ca_file)
        proxy = None if self.plain else _proxy()
        return urllib3.ProxyManager(proxy, **options) if proxy else urllib3.PoolManager(**options)

    def url(self, path: str) -> str:
        """Return *path*, or a location that the registry gave, as a URL."""
        if self._base is None:
            self._base = self._find_base()
        return urljoin(self._base, path)

    def _find_base(self) -> str:
        name = API_HOSTS.get(self.host, self.host)
        if not self.plain:
            return f"https://{name}"
        # A host that need not have TLS may have it.
        with contextlib.suppress(HTTPError):
            answer = self._pool.request("GET", f"http://{name}/v2/", redirect=False)
            # What a server with TLS says to a request without.
            if answer.status != _BAD_REQUEST:
                return f"http://{name}"
        with contextlib.suppress(HTTPError):
            self._pool.request("GET", f"https://{name}/v2/", redirect=False)
            return f"https://{name}"
        return f"http://{name}"

    def request(  # noqa: PLR0913 - what an HTTP request has
        self,
        method: str,
        path: str,
        *,
        scope: str,
        accepted: tuple[int, ...],
        headers: Mapping[str, str] | None = None,
        body: Callable[[], Body] | None = None,
        stream: bool = False,
        once: bool = False,
        what: str,
    ) -> Response:
        """Send a request until the answer is one of *accepted*.

        Args:
            method: Of HTTP.
            path: Below the registry's root, or a location that it gave.
            scope: What a token has to allow, say `repository:NAME:pull`.
            accepted: The statuses that are answers.
            headers: To be sent.
            body: Gives the body, anew for each try.
            stream: Whether the answer's content is left to be read.
            once: Whether the request cannot be sent a second time.
            what: What is asked for, for messages.

        Raises:
            UnavailableError: No such answer came.
        """
        delay, problem, status, refused, hint = 0.5, "", 0, 0, ""
        for attempt in range(1 if once else self.settings.tries):
            if attempt:
                threads.pause(delay)
            authorization = self._authorization.get(scope)
            sent = {"User-Agent": "tritonbuild", **(headers or {})}
            if authorization:
                sent["Authorization"] = authorization
            try:
                response = self._follow(method, self.url(path), sent, body, stream=stream)
            except HTTPError as error:
                problem, status = _reason(error), 0
                if isinstance(error, SSLError):
                    # A certificate is no better when it is seen again.
                    hint = _TLS_HINTS["CERTIFICATE" in problem.upper()]
                    break
                delay = _longer(delay)
                continue
            if response.status in accepted:
                return response
            status, problem = response.status, _told(response)
            retry_after = response.headers.get("Retry-After", "")
            challenge = response.headers.getlist("WWW-Authenticate")
            response.release_conn()
            if status == _UNAUTHORIZED and refused < 2:  # noqa: PLR2004 - a token may have run out on the way
                refused += 1
                delay = 0.0 if refused == 1 else 0.5
                self._authorize(scope, challenge, what=what)
                continue
            if status != _TOO_MANY and (status < _SERVER_ERROR or status == _NOT_IMPLEMENTED):
                break
            delay = _wait(retry_after) or _longer(delay)
        said = f"status {status}" + (f", {problem}" if problem else "") if status else problem
        raise UnavailableError(
            f"{self.host} does not give {what}: {said}"
            if method in {"GET", "HEAD"}
            else f"{self.host}: {what}: {said}",
            status=status,
            hint=hint or _hint(status, self.host),
        )

    def _follow(
        self, method: str, url: str, headers: dict[str, str], body: Callable[[], Body] | None, *, stream: bool
    ) -> Response:
        """Send a request, and go where the answer says; a login is for the registry alone."""
        start = urllib3.util.parse_url(url)
        for _ in range(_REDIRECTS):
            content = body() if body else None
            try:
                response: Response = self._pool.request(
                    method,
                    url,
                    headers=headers,
                    body=content,
                    redirect=False,
                    preload_content=not stream,
                    decode_content=False,
                )
            finally:
                close = getattr(content, "close", None)
                if close is not None:
                    close()
            location = response.get_redirect_location()
            if not location or method not in {"GET", "HEAD"}:
                return response
            response.drain_conn()
            url = urljoin(url, location)
            there = urllib3.util.parse_url(url)
            if (there.scheme, there.host, there.port) != (start.scheme, start.host, start.port):
                headers = {name: value for name, value in headers.items() if name != "Authorization"}
        return response

    def _authorize(self, scope: str, challenges: list[str], *, what: str) -> None:
        """Get what the registry wants to see: a token, or the login itself."""
        repository = scope.split(":")[1] if ":" in scope else ""
        known = credentials.login(self.host, repository, self.settings.credential_files)
        for challenge in challenges:
            kind, _, rest = challenge.partition(" ")
            fields = dict(_CHALLENGE.findall(rest))
            if kind.lower() == "bearer" and fields.get("realm"):
                token = self._token(fields, scope, known, what=what)
                with self._lock:
                    self._authorization[scope] = f"Bearer {token}"
                return
            if kind.lower() == "basic" and known is not None and known.user:
                with self._lock:
                    self._authorization[scope] = _basic(known)
                return

    def _token(self, fields: Mapping[str, str], scope: str, known: credentials.Login | None, *, what: str) -> str:
        scopes = scope.split(" ")
        query = [("service", fields["service"])] if fields.get("service") else []
        query += [("scope", one) for one in scopes]
        url = urljoin(self.url("/v2/"), fields["realm"])
        if url.startswith("http://") and not self.plain:
            raise UnavailableError(f"{self.host} wants logins to be sent without TLS", hint="do not use this registry")
        headers = {"User-Agent": "tritonbuild"}
        delay = 0.5
        for _ in range(self.settings.tries):
            try:
                if known is not None and known.token:
                    form = [*query, ("grant_type", "refresh_token"), ("refresh_token", known.token)]
                    form += [("client_id", "tritonbuild")]
                    content = urlencode(form).encode()
                    answer = self._pool.request(
                        "POST",
                        url,
                        body=content,
                        headers={**headers, "Content-Type": "application/x-www-form-urlencoded"},
                    )
                else:
                    login = {"Authorization": _basic(known)} if known is not None else {}
                    answer = self._pool.request("GET", f"{url}?{urlencode(query)}", headers={**headers, **login})
            except HTTPError:
                threads.pause(delay)
                delay = _longer(delay)
                continue
            if answer.status == _TOO_MANY or answer.status >= _SERVER_ERROR:
                threads.pause(_wait(answer.headers.get("Retry-After", "")) or delay)
                delay = _longer(delay)
                continue
            with contextlib.suppress(ValueError, KeyError, TypeError):
                document = json.loads(answer.data)
                return str(document.get("token") or document["access_token"])
            break
        raise UnavailableError(
            f"{self.host} gives no token for {what}", status=_UNAUTHORIZED, hint=_hint(_UNAUTHORIZED, self.host)
        )


def chunks(response: Response) -> Iterator[bytes]:
    """Yield the content of an answer, as it comes.

    Raises:
        HTTPError: The connection broke.
    """
    try:
        while chunk := response.read(_CHUNK):
            threads.go_on()
            yield chunk
    finally:
        # A connection with content that nobody reads any more is of no use.
        response.close()


def _trusting(path: str) -> ssl.SSLContext:
    """Return the settings of TLS that trust the system's certificates and those in the file *path*.

    Raises:
        InvalidInputError: It holds none.
    """
    context = ssl.create_default_context()
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise InvalidInputError(
            f"{path!r} holds no certificates: {error.strerror or error}", hint="name a PEM file"
        ) from error
    return context


def _proxy() -> str | None:
    return os.environ.get("HTTPS_PROXY") or os.environ.get("https_proxy") or None


def _basic(known: credentials.Login) -> str:
    return "Basic " + base64.b64encode(f"{known.user}:{known.password}".encode()).decode()


def _longer(delay: float) -> float:
    return min(_LONGEST_WAIT, max(delay, 0.25) * (1.5 + random.random()))  # noqa: S311 - not for secrets


def _wait(text: str) -> float:
    """Return the seconds that Retry-After says, within reason; 0 where it says nothing."""
    if text.strip().isdigit():
        return min(_LONGEST_WAIT, float(text))
    with contextlib.suppress(TypeError, ValueError):
        return min(_LONGEST_WAIT, max(0.0, email.utils.parsedate_to_datetime(text).timestamp() - time.time()))
    return 0.0


def _reason(error: HTTPError) -> str:
    cause: BaseException = error.__cause__ or error
    while cause.args and isinstance(cause.args[0], BaseException):
        cause = cause.args[0]
    texts = [part for part in cause.args if isinstance(part, str)]
    return one_line(texts[0] if texts else type(error).__name__)


def _told(response: Response) -> str:
    """Return what a registry says about a failure."""
    with contextlib.suppress(ValueError, KeyError, TypeError, HTTPError):
        content = response.read(1 << 16) if not response.closed and response.data == b"" else response.data
        errors = json.loads(content)["errors"]
        return one_line("; ".join(str(one.get("message") or one.get("code")) for one in errors))[:300]
    return ""


def _hint(status: int, host: str) -> str:
    if status in {401, 403}:
        return f"log in with `podman login {host}` or `docker login {host}`"
    if status == 404:  # noqa: PLR2004
        return "check the name"
    return "try again; a second run goes on where this one stopped"
