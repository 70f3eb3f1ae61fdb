"""Requests to a registry: tried again after passing failures, with the login that the registry asks for."""

from __future__ import annotations

import sys
import threading
from collections import Counter
from collections.abc import Callable, Mapping
from typing import Final

import attrs
import urllib3
from urllib3.exceptions import HTTPError, LocationValueError, SSLError

from tritonbuild import threads
from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import credentials
from tritonbuild.oci.http.answers import RegistryAnswer
from tritonbuild.oci.http.challenges import Challenge, parse_challenges
from tritonbuild.oci.http.connections import Body, Connections, HttpRequest, is_refused, is_unknown_name, reason
from tritonbuild.oci.http.origins import is_loopback, may_receive_login, parse_origin, resolve
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.http.tokens import TokenService, basic
from tritonbuild.oci.http.waiting import FIRST_DELAY, Waits, longer, retry_after

API_HOSTS: Final = {"docker.io": "registry-1.docker.io"}
"""Registries whose API has another host than their name."""

_MOST_AUTHORIZATIONS: Final = {"bearer": 2, "basic": 1}
"""Authentication schemes, the preferred one first, and how often each is tried for one request."""

_REFUSED_TRIES: Final = 3
"""Tries where no program listens: a registry that starts again does so in a second or two."""

_PROBE: Final = urllib3.Timeout(connect=5, read=120)
_UNAUTHORIZED, _NOT_FOUND, _TOO_MANY, _SERVER_ERROR, _NOT_IMPLEMENTED = 401, 404, 429, 500, 501

_TLS_HINTS: Final = {
    "VERIFY_FAILED": "name its authority's certificate with ca_file, or the registry with insecure_registry",
    "CERTIFICATE": "put a client certificate and its key into the registry's folder in certs.d",
    "": "if it has no TLS, name it with insecure_registry",
}
"""Part of a problem with TLS -> advice; the first that fits counts."""

_AGAIN: Final = "run the build again; it resumes where it stopped"


@attrs.frozen(kw_only=True)
class RegistryRequest:
    """A request to a registry.

    Attributes:
        method: The method of HTTP.
        path: A path of the registry, or a location that it gave.
        scope: The access a token must allow: `repository:NAME:pull`.
        action: The request in words, for messages: "fetch the manifest X".
        accepted: The statuses of success.
        headers: Headers to send.
        body: Makes the body, anew for each try.
        repeatable: Whether *body* can be called more than once.
        tries: Tries at most; those of the settings by default.
    """

    method: str
    path: str
    scope: str
    action: str
    accepted: tuple[int, ...]
    headers: Mapping[str, str] = attrs.field(factory=dict)
    body: Callable[[], Body] | None = None
    repeatable: bool = True
    tries: int | None = None


class UnavailableError(TritonBuildError):
    """A registry did not answer, or not with success, in all tries.

    Args:
        status: The last status; 0 if no answer came.
    """

    def __init__(self, message: str, *, status: int = 0, hint: str = "") -> None:
        self.status = status
        super().__init__(message, hint=hint)


@attrs.frozen(kw_only=True)
class _Failure:
    """A failed try.

    Attributes:
        problem: The cause, for the message.
        status: The status of the answer; 0 if none came.
        tries: Tries after which it is final.
        delay: Seconds until the next try, if the registry named them.
        hint: Advice, if there is any beside the usual.
    """

    problem: str
    status: int = 0
    tries: int = 1
    delay: float = 0.0
    hint: str = ""


class Transport:
    """A connection to one registry.

    Args:
        host: Host and port, as in references.
        settings: The user's settings.
    """

    def __init__(self, host: str, settings: TransportSettings) -> None:
        self.host = host
        self.settings = settings
        self.waits = Waits(host, patience=settings.patience, report=settings.report)
        self._connections = Connections(settings, self.waits)
        self._base = ""
        self._authorization: dict[str, str] = {}
        self._lock = threading.Lock()
        self._base_lock = threading.Lock()

    @property
    def base(self) -> str:
        """The URL of the registry."""
        with self._base_lock:
            self._base = self._base or self._find_base()
            return self._base

    def _find_base(self) -> str:
        name = API_HOSTS.get(self.host, self.host)
        if is_loopback(self.host):
            # It may have TLS nevertheless; a server with TLS answers 400 to a request without, or nothing.
            problem = self._probe(f"http://{name}/v2/")
            return f"https://{name}" if problem in {"400", "ProtocolError"} else f"http://{name}"
        if self.host in self.settings.insecure:
            problem = self._probe(f"https://{name}/v2/")
            return f"https://{name}" if problem.isdigit() or problem == "ReadTimeoutError" else f"http://{name}"
        return f"https://{name}"

    def _probe(self, url: str) -> str:
        """Return the status that a request for *url* is answered with, or the name of the error."""
        try:
            answer = self._connections.send(
                HttpRequest(method="GET", url=url, action=f"look for {self.host}", timeout=_PROBE)
            )
        except HTTPError as error:
            return type(error).__name__
        answer.discard()
        return str(answer.status)

    def send(self, request: RegistryRequest) -> RegistryAnswer:
        """Send a request until the answer has one of the accepted statuses.

        Raises:
            UnavailableError: No such answer came.
        """
        tries = (request.tries or self.settings.tries) if request.repeatable else 1
        delay, failures = FIRST_DELAY, 0
        authorizations: Counter[str] = Counter()
        while True:
            try:
                answer = self._send_once(request)
            except HTTPError as error:
                failure = _of_error(error)
            else:
                if answer.status in request.accepted:
                    return answer
                if answer.status == _UNAUTHORIZED:
                    problem = self._authorize(request, answer, authorizations)
                    if not problem and request.repeatable:
                        continue
                    failure = _Failure(problem=problem, status=answer.status)
                else:
                    failure = _of_answer(answer)
            failures += 1
            if failures >= min(tries, failure.tries):
                hint = failure.hint or self._hint(request, failure.status)
                raise UnavailableError(f"cannot {request.action}: {failure.problem}", status=failure.status, hint=hint)
            delay = failure.delay or longer(delay)
            self.settings.report(f"cannot {request.action}: {failure.problem}; trying again in {delay:.1f} s")
            threads.pause(delay)

    def _send_once(self, request: RegistryRequest) -> RegistryAnswer:
        url = resolve(self.base, request.path)
        with self._lock:
            authorization = self._authorization.get(request.scope, "")
        if not may_receive_login(parse_origin(url), parse_origin(self.base)):
            authorization = ""
        return self._connections.send(
            HttpRequest(
                method=request.method,
                url=url,
                action=request.action,
                headers=request.headers,
                authorization=authorization,
                body=request.body,
                repeatable=request.repeatable,
            )
        )

    def _authorize(self, request: RegistryRequest, answer: RegistryAnswer, authorizations: Counter[str]) -> str:
        """Get what a refused request needs: a token, or the login; return the problem if there is one.

        Args:
            request: The request.
            answer: The refusal.
            authorizations: The number of attempts with each authentication scheme for this request; counted here.
        """
        challenges = parse_challenges(answer.response.headers.getlist("WWW-Authenticate"))
        problem = answer.problem()
        if not may_receive_login(parse_origin(answer.url), parse_origin(self.base)):
            return problem
        login = self._search(request.scope).login
        for scheme, most in _MOST_AUTHORIZATIONS.items():
            for challenge in challenges:
                if challenge.scheme != scheme or authorizations[scheme] >= most:
                    continue
                if authorizations[scheme]:
                    # Others may have used the token up; a service may give the next one a moment later.
                    threads.pause(FIRST_DELAY)
                authorizations[scheme] += 1
                try:
                    header = self._header(challenge, request.scope, login)
                except TritonBuildError as error:
                    problem = error.message
                    continue
                if header:
                    with self._lock:
                        self._authorization[request.scope] = header
                    return ""
        return problem

    def _header(self, challenge: Challenge, scope: str, login: credentials.Login | None) -> str:
        """Return the `Authorization` header that a challenge asks for; the empty text if there is none."""
        if challenge.scheme == "basic":
            return basic(login) if login is not None and (login.user or login.token) else ""
        if login is not None and login.registry_token:
            return f"Bearer {login.registry_token}"
        if not challenge.parameters.get("realm"):
            return ""
        service = TokenService(
            connections=self._connections,
            settings=self.settings,
            registry=self.base,
            parameters=challenge.parameters,
        )
        return f"Bearer {service.token(scope, login)}"

    def _search(self, scope: str) -> credentials.LoginSearch:
        return credentials.find_login(self.host, scope.split(":")[1], self.settings.credential_files)

    def _hint(self, request: RegistryRequest, status: int) -> str:
        if status in {401, 403}:
            log_in = f"log in with `podman login {self.host}` or `docker login {self.host}`"
            return "; ".join((*self._search(request.scope).problems, log_in))
        return "check the name" if status == _NOT_FOUND else _AGAIN


def _of_error(error: HTTPError) -> _Failure:
    """Return the failure of a request that got no answer."""
    problem = reason(error)
    if isinstance(error, SSLError):
        # A certificate is no better when it is seen again.
        found = problem.upper().replace(" ", "_")
        return _Failure(problem=problem, hint=next(hint for part, hint in _TLS_HINTS.items() if part in found))
    if isinstance(error, LocationValueError):
        return _Failure(problem=problem, hint="tell the registry's operators")
    if is_unknown_name(error):
        return _Failure(problem=problem, hint="check the registry's name and the network")
    return _Failure(problem=problem, tries=_REFUSED_TRIES if is_refused(error) else sys.maxsize)


def _of_answer(answer: RegistryAnswer) -> _Failure:
    """Return the failure that an answer states."""
    status = answer.status
    passing = status == _TOO_MANY or (status >= _SERVER_ERROR and status != _NOT_IMPLEMENTED)
    return _Failure(
        problem=answer.problem(),
        status=status,
        tries=sys.maxsize if passing else 1,
        delay=retry_after(answer.header("Retry-After")),
    )
