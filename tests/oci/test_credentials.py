"""Logins, out of the files and helpers of docker and podman."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import credentials
from tritonbuild.oci.credentials import Login

ENCODED = "bWU6c2VjcmV0"  # me:secret

FOUND = {
    "by host": ({"auths": {"here:5000": {"auth": ENCODED}}}, "here:5000", Login(user="me", password="secret")),
    "by a part of it": (
        {"auths": {"here/team": {"auth": ENCODED}, "here": {"username": "x", "password": "y"}}},
        "here",
        Login(user="me", password="secret"),
    ),
    "by url": ({"auths": {"https://here/v2/": {"auth": ENCODED}}}, "here", Login(user="me", password="secret")),
    "docker hub": (
        {"auths": {"https://index.docker.io/v1/": {"auth": ENCODED}}},
        "docker.io",
        Login(user="me", password="secret"),
    ),
    "a token": ({"auths": {"here": {"identitytoken": "t", "auth": ENCODED}}}, "here", Login(token="t")),
    "another host": ({"auths": {"there": {"auth": ENCODED}}}, "here", None),
    "not base64": ({"auths": {"here": {"auth": "%%%"}}}, "here", None),
    "nothing": ({}, "here", None),
}


@pytest.mark.parametrize("name", FOUND)
def test_files(name: str, tmp_path: Path) -> None:
    document, host, expected = FOUND[name]
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(document))
    assert credentials.login(host, "team/image", (tmp_path / "none", path)) == expected


@pytest.mark.parametrize("how", ["credHelpers", "credsStore"])
def test_helpers(how: str, tmp_path: Path, fake_program: Callable[[str, str], Path]) -> None:
    fake_program("docker-credential-test", 'read -r server; printf \'{"Username":"%s","Secret":"s"}\' "$server"')
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credsStore": "test"} if how == "credsStore" else {"credHelpers": {"here": "test"}}))
    assert credentials.login("here", "x", (path,)) == Login(user="here", password="s")


def test_a_helper_that_knows_nothing(tmp_path: Path, fake_program: Callable[[str, str], Path]) -> None:
    fake_program("docker-credential-test", "echo credentials not found in native keychain; exit 1")
    path = tmp_path / "config.json"
    path.write_text('{"credsStore": "test"}')
    assert credentials.login("here", "x", (path,)) is None


def test_a_helper_that_fails(tmp_path: Path, fake_program: Callable[[str, str], Path]) -> None:
    fake_program("docker-credential-test", "echo the keychain is locked; exit 1")
    path = tmp_path / "config.json"
    path.write_text('{"credsStore": "test"}')
    with pytest.raises(TritonBuildError, match="failed: the keychain is locked"):
        credentials.login("here", "x", (path,))


def test_a_helper_that_is_not_there(tmp_path: Path) -> None:
    path = tmp_path / "config.json"
    path.write_text('{"credHelpers": {"here": "nosuch"}}')
    with pytest.raises(TritonBuildError, match="the credential helper docker-credential-nosuch is not installed"):
        credentials.login("here", "x", (path,))


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Login(user="me", password="secret", token="secret"))
