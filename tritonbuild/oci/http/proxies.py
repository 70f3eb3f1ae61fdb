"""Proxies that the environment names, by the rules that Go programs (Docker, Podman) follow.

https://pkg.go.dev/golang.org/x/net/http/httpproxy
"""

from __future__ import annotations

import contextlib
import ipaddress
import os
from collections.abc import Mapping
from typing import Final
from urllib.parse import unquote

import attrs
from urllib3.exceptions import LocationParseError
from urllib3.util import make_headers, parse_url

from tritonbuild.errors import InvalidInputError
from tritonbuild.masking import mask_token
from tritonbuild.oci.http.origins import WebOrigin, is_loopback

_HINT: Final = "write it as http://HOST:PORT"


@attrs.frozen
class HttpProxy:
    """The address of a proxy, and the headers with its login."""

    url: str
    headers: Mapping[str, str] = attrs.field(factory=dict, repr=False, hash=False, eq=False)


def proxy_for(target: WebOrigin, env: Mapping[str, str] | None = None) -> HttpProxy | None:
    """Return the proxy for requests to *target*; None if there is none.

    Args:
        target: The origin of the requests.
        env: Variables; the process's environment by default.

    Raises:
        InvalidInputError: The variable holds no address of a proxy.
    """
    env = os.environ if env is None else env
    name = f"{target.scheme}_proxy"
    variable = next((one for one in (name.upper(), name) if env.get(one)), "")
    if not variable or is_loopback(target.host) or _is_excluded(target, env.get("NO_PROXY") or env.get("no_proxy", "")):
        return None
    return _parse(variable, env[variable])


def _parse(variable: str, text: str) -> HttpProxy:
    address = text if "://" in text else f"http://{text}"
    try:
        parsed = parse_url(address)
    except LocationParseError:
        parsed = parse_url("")
    if parsed.scheme not in {"http", "https"} or not parsed.host:
        raise InvalidInputError(
            f"{variable} is {mask_token(address)!r}, which is not the address of an HTTP proxy", hint=_HINT
        )
    login = make_headers(proxy_basic_auth=unquote(parsed.auth)) if parsed.auth else {}
    return HttpProxy(parsed._replace(auth=None).url, login)


def _is_excluded(target: WebOrigin, rules: str) -> bool:
    """Return whether `NO_PROXY` covers a host: by `*`, a network, an address or a domain, each with or without port."""
    host = target.host.strip("[]").rstrip(".")
    return any(_matches(rule.strip().lower(), host, target.port) for rule in rules.split(","))


def _matches(rule: str, host: str, port: int) -> bool:
    if rule == "*":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(host) in ipaddress.ip_network(rule.strip("[]"), strict=False)
    name, _, number = rule.rpartition(":")
    if name and number.isascii() and number.isdigit() and (":" not in name or name.endswith("]")):
        return number == str(port) and _matches(name, host, port)
    name = rule.removeprefix("*").rstrip(".")
    if name.startswith("."):
        return host.endswith(name)
    return bool(name) and (host == name or host.endswith(f".{name}"))
