"""Tokens from a registry's token service.

https://distribution.github.io/distribution/spec/auth/token/ and .../auth/oauth/
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from typing import Final
from urllib.parse import urlencode

import attrs
from urllib3.exceptions import HTTPError

from tritonbuild import threads
from tritonbuild.errors import TritonBuildError
from tritonbuild.oci.credentials import Login
from tritonbuild.oci.descriptors import broken
from tritonbuild.oci.documents import parse
from tritonbuild.oci.http.answers import RegistryAnswer
from tritonbuild.oci.http.connections import Connections, HttpRequest, reason
from tritonbuild.oci.http.origins import may_receive_login, parse_origin, resolve
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.http.waiting import FIRST_DELAY, longer, retry_after

_OK, _TOO_MANY, _SERVER_ERROR = 200, 429, 500
_LARGEST: Final = 1 << 20
_FORM: Final = {"Content-Type": "application/x-www-form-urlencoded"}


@attrs.frozen(kw_only=True)
class TokenService:
    """The token service that a registry's challenge names.

    Attributes:
        connections: The connections of the registry.
        settings: The user's settings.
        registry: The URL of the registry.
        parameters: Parameters of the challenge, `realm` among them.
    """

    connections: Connections
    settings: TransportSettings
    registry: str
    parameters: Mapping[str, str]

    def token(self, scope: str, login: Login | None) -> str:
        """Return a token for *scope*, several separated by spaces.

        Raises:
            TritonBuildError: The service does not answer, refuses the login or must not receive it; its answer is
                damaged.
        """
        try:
            url = resolve(self.registry, self.parameters["realm"])
            target, registry = parse_origin(url), parse_origin(self.registry)
        except HTTPError as error:
            raise TritonBuildError(f"the token service of {self.registry}: {reason(error)}") from error
        if login is not None and not may_receive_login(
            target, registry, token_service=True, insecure=self.settings.insecure
        ):
            raise TritonBuildError(
                f"{registry.names[0]} names the token service {target.scheme}://{target.names[0]}, which has no TLS",
                hint="do not use this registry, or log out to read public images",
            )
        query = [("service", self.parameters["service"])] if self.parameters.get("service") else []
        query += [("scope", one) for one in scope.split()]
        if login is not None and login.token:
            form = [
                *query,
                ("grant_type", "refresh_token"),
                ("refresh_token", login.token),
                ("client_id", "tritonbuild"),
            ]
            content = urlencode(form).encode()
            answer = self._send(
                HttpRequest(method="POST", url=url, action="give a token", headers=_FORM, body=lambda: content)
            )
            if answer.status == _OK:
                return self._token(answer)
            # Services that know no OAuth 2 take the identity token as a password.
            answer.discard()
        separator = "&" if "?" in url else "?"
        answer = self._send(
            HttpRequest(
                method="GET",
                url=f"{url}{separator}{urlencode(query)}" if query else url,
                action="give a token",
                authorization=basic(login) if login is not None else "",
            )
        )
        if answer.status != _OK:
            raise TritonBuildError(f"the token service {target.names[0]} refuses: {answer.problem()}")
        return self._token(answer)

    def _send(self, request: HttpRequest) -> RegistryAnswer:
        delay, problem = FIRST_DELAY, ""
        for attempt in range(self.settings.tries):
            if attempt:
                threads.pause(delay)
            try:
                answer = self.connections.send(request)
            except HTTPError as error:
                problem = reason(error)
                delay = longer(delay)
                continue
            if answer.status != _TOO_MANY and answer.status < _SERVER_ERROR:
                return answer
            delay = retry_after(answer.header("Retry-After")) or longer(delay)
            problem = answer.problem()
        raise TritonBuildError(f"the token service {parse_origin(request.url).names[0]} gives no token: {problem}")

    def _token(self, answer: RegistryAnswer) -> str:
        what = f"the answer of the token service {parse_origin(answer.url).names[0]}"
        try:
            document = parse(answer.content(_LARGEST, what=what), what)
        except HTTPError as error:
            raise TritonBuildError(f"{what} broke off: {reason(error)}") from error
        for name in ("token", "access_token"):
            token = document.text(name)
            if token:
                if not (token.isascii() and token.isprintable()):
                    raise broken(what, f"its {name} is not printable")
                return token
        raise broken(what, "it has no token")


def basic(login: Login) -> str:
    """Return the `Authorization` header with a login; an identity token counts as the password."""
    user = login.user or "<token>"
    return "Basic " + base64.b64encode(f"{user}:{login.token or login.password}".encode()).decode()
