"""Challenges, origins and proxies."""

from __future__ import annotations

import time

import pytest

from tritonbuild.errors import InvalidInputError
from tritonbuild.oci.http.answers import error_message
from tritonbuild.oci.http.challenges import Challenge, parse_challenges
from tritonbuild.oci.http.origins import may_receive_login, parse_origin, resolve
from tritonbuild.oci.http.proxies import proxy_for
from tritonbuild.oci.http.waiting import retry_after

CHALLENGES = {
    "one": ('Bearer realm="https://a/t",service="s"', [("bearer", {"realm": "https://a/t", "service": "s"})]),
    "several": (
        'Basic realm="a, b", Bearer realm="https://a/t"',
        [("basic", {"realm": "a, b"}), ("bearer", {"realm": "https://a/t"})],
    ),
    "without parameters": ("Negotiate, Basic realm=x", [("negotiate", {}), ("basic", {"realm": "x"})]),
    "capitals": ('BEARER Realm="https://a/t"', [("bearer", {"realm": "https://a/t"})]),
    "escapes": (r'Basic realm="a\"b"', [("basic", {"realm": 'a"b'})]),
    "space around the sign": ('Basic realm = "a"', [("basic", {"realm": "a"})]),
    "a token of 68 characters": ('NTLM abc==, Basic realm="a"', [("ntlm", {}), ("basic", {"realm": "a"})]),
    "unclosed": ('Basic realm="a', [("basic", {"realm": "a"})]),
    "empty": ("", []),
}


@pytest.mark.parametrize("name", CHALLENGES)
def test_challenges(name: str) -> None:
    header, expected = CHALLENGES[name]
    found = [(one.scheme, dict(one.parameters)) for one in parse_challenges([header])]
    if name == "a token of 68 characters":
        found = [(scheme, parameters if scheme == "basic" else {}) for scheme, parameters in found]
    assert found == expected


@pytest.mark.parametrize("unit", ["a", '"', "\\", ",", "=", 'a="', "a=,", "é"])
def test_a_long_header_is_read_in_a_moment(unit: str) -> None:
    started = time.process_time()
    parse_challenges([unit * (60_000 // len(unit))])
    assert time.process_time() - started < 2


def test_challenges_of_several_headers() -> None:
    assert parse_challenges(["Basic", "Bearer"]) == [Challenge("basic", {}), Challenge("bearer", {})]


LOGINS = {
    "the registry": ("https://r.example/v2/", "https://r.example", False, True),
    "its default port": ("https://r.example:443/v2/", "https://r.example", False, True),
    "capitals": ("HTTPS://R.example/v2/", "https://r.example", False, True),
    "another host": ("https://s.example/", "https://r.example", False, False),
    "another port": ("https://r.example:8443/", "https://r.example", False, False),
    "without TLS": ("http://r.example/", "https://r.example", False, False),
    "a token service": ("https://s.example/", "https://r.example", True, True),
    "a token service without TLS": ("http://s.example/", "https://r.example", True, False),
    "a token service without TLS, in capitals": ("HTTP://s.example/", "https://r.example", True, False),
    "the insecure registry's token service elsewhere": ("http://s.example/", "http://r.example", True, False),
    "an insecure token service": ("http://insecure.example/", "http://r.example", True, True),
    "a backslash": ("https://s.example\\@r.example/", "https://r.example", False, False),
    "a user": ("https://r.example@s.example/", "https://r.example", False, False),
}


@pytest.mark.parametrize("name", LOGINS)
def test_who_receives_a_login(name: str) -> None:
    target, registry, token_service, expected = LOGINS[name]
    insecure = frozenset({"r.example", "insecure.example"})
    found = may_receive_login(
        parse_origin(target), parse_origin(registry), token_service=token_service, insecure=insecure
    )
    assert found is expected


RESOLVED = {
    "a path": ("https://r.example/v2/x", "/v2/y?z=1", "https://r.example/v2/y?z=1"),
    "relative": ("https://r.example/v2/a/blobs/uploads/", "id", "https://r.example/v2/a/blobs/uploads/id"),
    "elsewhere": ("https://r.example/v2/x", "https://s.example/y", "https://s.example/y"),
    "a proxy that ends TLS": ("https://r.example/v2/x", "http://r.example/y", "https://r.example/y"),
}


@pytest.mark.parametrize("name", RESOLVED)
def test_locations(name: str) -> None:
    base, location, expected = RESOLVED[name]
    assert resolve(base, location) == expected


PROXY = "http://proxy.example:3128"
NO_PROXY = {
    "*": True,
    "r.example": True,
    ".r.example": False,
    "example": True,
    "*.example": True,
    "R.EXAMPLE": True,
    "other.example": False,
    "r.example:443": True,
    "r.example:5000": False,
    " x , r.example ": True,
    "": False,
    "10.0.0.0/8": False,
    "ample": False,
}


@pytest.mark.parametrize("rules", NO_PROXY)
def test_no_proxy(rules: str) -> None:
    env = {"HTTPS_PROXY": PROXY, "NO_PROXY": rules}
    found = proxy_for(parse_origin("https://r.example"), env)
    assert (found is None) is NO_PROXY[rules]


@pytest.mark.parametrize(
    ("rules", "excluded"),
    [("10.0.0.0/8", True), ("10.1.2.3", True), ("10.1.2.3:443", True), ("10.1.2.3:80", False), ("10.1.2.4", False)],
)
def test_no_proxy_for_addresses(rules: str, excluded: bool) -> None:
    found = proxy_for(parse_origin("https://10.1.2.3"), {"https_proxy": PROXY, "no_proxy": rules})
    assert (found is None) is excluded


def test_a_proxy_with_a_login_or_without_a_scheme() -> None:
    target = parse_origin("https://r.example")
    found = proxy_for(target, {"HTTPS_PROXY": "http://me:p%40ss@proxy.example:3128"})
    assert found is not None
    assert (found.url, dict(found.headers)) == (PROXY, {"proxy-authorization": "Basic bWU6cEBzcw=="})
    found = proxy_for(target, {"HTTPS_PROXY": "proxy.example:3128"})
    assert found is not None
    assert found.url == PROXY
    assert proxy_for(target, {"HTTP_PROXY": PROXY}) is None
    assert proxy_for(parse_origin("http://localhost:5000"), {"HTTP_PROXY": PROXY}) is None


@pytest.mark.parametrize("address", ["socks5://me:secret@proxy.example", "http://", "http://[::1"])
def test_what_is_no_proxy(address: str) -> None:
    with pytest.raises(InvalidInputError, match=r"HTTPS_PROXY is .* not the address of an HTTP proxy") as caught:
        proxy_for(parse_origin("https://r.example"), {"HTTPS_PROXY": address})
    assert "secret" not in str(caught.value)


ERRORS = {
    b'{"errors": [{"code": "A", "message": "no"}, {"code": "B"}]}': "no; B",
    b'{"errors": {"message": "no"}}': "",
    b'{"errors": [1, null, {"message": 5, "code": []}]}': "",
    b"[]": "",
    b"[" * 60_000: "",
    b"<html>": "",
    b'{"errors": [{"message": "a\\u001b[31mb"}]}': "a\\x1b[31mb",
}


@pytest.mark.parametrize("content", ERRORS, ids=range(len(ERRORS)))
def test_error_bodies(content: bytes) -> None:
    assert error_message(content) == ERRORS[content]


@pytest.mark.parametrize(("text", "seconds"), [("2", 2.0), ("9" * 30, 60.0), ("soon", 0.0), ("-1", 0.0), ("²", 0.0)])
def test_retry_after(text: str, seconds: float) -> None:
    assert retry_after(text) == seconds
