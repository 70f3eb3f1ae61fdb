"""Web origins (RFC 6454), and the decision which of them may receive a registry's login."""

from __future__ import annotations

import contextlib
import ipaddress
import re
from typing import Final
from urllib.parse import urljoin

import attrs
from urllib3.exceptions import LocationParseError
from urllib3.util import parse_url

DEFAULT_PORTS: Final = {"http": 80, "https": 443}


@attrs.frozen
class WebOrigin:
    """Scheme, host and port of a URL, in lower case and with the default port filled in."""

    scheme: str
    host: str
    port: int

    @property
    def names(self) -> tuple[str, ...]:
        """Host and port as references and settings have them; a default port may be left out."""
        name = f"{self.host}:{self.port}"
        return (self.host, name) if self.port == DEFAULT_PORTS[self.scheme] else (name,)


def parse_origin(url: str) -> WebOrigin:
    """Return the origin of *url*, by the parser that the connection is made with.

    Raises:
        LocationParseError: It is not an absolute URL of HTTP.
    """
    parsed = parse_url(url)
    scheme = (parsed.scheme or "").lower()
    if scheme not in DEFAULT_PORTS or not parsed.host:
        raise LocationParseError(url[:200])
    return WebOrigin(scheme, parsed.host.lower(), parsed.port or DEFAULT_PORTS[scheme])


def resolve(base: str, location: str) -> str:
    """Return *location*, absolute or relative to *base*, as a URL.

    A location without TLS at a registry with TLS is that of a server behind a proxy which does not know of the TLS:
    the scheme of *base* is kept.

    Raises:
        LocationParseError: It is not a URL of HTTP.
    """
    try:
        url = urljoin(base, location)
    except ValueError as error:
        raise LocationParseError(location[:200]) from error
    start, found, parsed = parse_origin(base), parse_origin(url), parse_url(url)
    if (start.scheme, found.scheme, found.host) == ("https", "http", start.host) and (
        parsed.port == start.port or (parsed.port is None and start.port == DEFAULT_PORTS["https"])
    ):
        return parsed._replace(scheme="https").url
    return url


def may_receive_login(
    target: WebOrigin, registry: WebOrigin, *, token_service: bool = False, insecure: frozenset[str] = frozenset()
) -> bool:
    """Return whether a login for *registry* may be sent to *target*.

    Args:
        target: The origin of the request.
        registry: The origin the login belongs to.
        token_service: Whether *registry* named *target* as its token service.
        insecure: Hosts that the user declared insecure.
    """
    if target == registry:
        return True
    if not token_service:
        return False
    if target.scheme == "https":
        return True
    return registry.scheme == "http" and (is_loopback(target.host) or not insecure.isdisjoint(target.names))


def is_loopback(host: str) -> bool:
    """Return whether a host, with or without port, is this machine."""
    name = host.rpartition(":")[0] if re.search(r"[^:]:\d+$|\]:\d+$", host) else host
    name = name.strip("[]")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(name).is_loopback
    return False
