"""Logins from the files and helpers of Docker and Podman."""

from __future__ import annotations

import json
import os
from collections.abc import Callable
from pathlib import Path

import pytest

from tritonbuild.oci.credentials import Login, LoginSearch, files, find_login

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
    "docker hub by its short name": (
        {"auths": {"docker.io": {"auth": ENCODED}}},
        "docker.io",
        Login(user="me", password="secret"),
    ),
    "with a slash": ({"auths": {"here/": {"auth": ENCODED}}}, "here", Login(user="me", password="secret")),
    "with v2": ({"auths": {"https://here/v2": {"auth": ENCODED}}}, "here", Login(user="me", password="secret")),
    "with v1": ({"auths": {"https://here/v1/users/": {"auth": ENCODED}}}, "here", Login(user="me", password="secret")),
    "unpadded": ({"auths": {"here": {"auth": "bWU6c2VjcmV0cw"}}}, "here", Login(user="me", password="secrets")),
    "an identity token": (
        {"auths": {"here": {"identitytoken": "t", "auth": "bWU6"}}},
        "here",
        Login(user="me", token="t"),
    ),
    "a registry token": ({"auths": {"here": {"registrytoken": "t"}}}, "here", Login(registry_token="t")),
    "another host": ({"auths": {"there": {"auth": ENCODED}, "here.example": {"auth": ENCODED}}}, "here", None),
    "another repository": ({"auths": {"here/tea": {"auth": ENCODED}}}, "here", None),
    "another port": ({"auths": {"here:5000": {"auth": ENCODED}}}, "here", None),
    "nothing": ({}, "here", None),
}


@pytest.mark.parametrize("name", FOUND)
def test_files(name: str, tmp_path: Path) -> None:
    document, host, expected = FOUND[name]
    path = tmp_path / "auth.json"
    path.write_text(json.dumps(document))
    assert find_login(host, "team/image", (tmp_path / "none", path)).login == expected


@pytest.mark.parametrize("how", ["credHelpers", "credsStore"])
def test_helpers(how: str, tmp_path: Path, fake_program: Callable[[str, str], Path]) -> None:
    fake_program("docker-credential-test", 'read -r server; printf \'{"Username":"%s","Secret":"s"}\' "$server"')
    path = tmp_path / "config.json"
    path.write_text(json.dumps({"credsStore": "test"} if how == "credsStore" else {"credHelpers": {"here": "test"}}))
    assert find_login("here", "x", (path,)).login == Login(user="here", password="s")


def test_a_helper_that_knows_nothing(tmp_path: Path, fake_program: Callable[[str, str], Path]) -> None:
    fake_program("docker-credential-test", "echo credentials not found in native keychain; exit 1")
    path = tmp_path / "config.json"
    path.write_text('{"credsStore": "test"}')
    assert find_login("here", "x", (path,)) == LoginSearch(None)


PROBLEMS = {
    "a helper that fails": ({"credsStore": "test"}, "failed: the keychain is locked"),
    "a helper that is not installed": (
        {"credHelpers": {"here": "nosuch"}},
        "the credential helper docker-credential-nosuch is not installed",
    ),
    "a helper of an odd name": ({"credHelpers": {"here": "../x"}}, "'../x' is not a credential helper"),
    "not base64": ({"auths": {"here": {"auth": "%%%"}}}, "is damaged: auth is not Base64"),
    "a number for a password": ({"auths": {"here": {"username": "u", "password": 1}}}, "damaged: password is not text"),
    "a list of logins": ({"auths": ["here"]}, "is damaged: auths is not an object"),
    "text for a login": ({"auths": {"here": "bWU6c2VjcmV0"}}, "is damaged: it is not an object"),
}


@pytest.mark.parametrize("name", PROBLEMS)
def test_a_problem_does_not_hide_another_login(
    name: str, tmp_path: Path, fake_program: Callable[[str, str], Path]
) -> None:
    fake_program("docker-credential-test", "echo the keychain is locked; exit 1")
    document, problem = PROBLEMS[name]
    (tmp_path / "bad.json").write_text(json.dumps(document))
    (tmp_path / "good.json").write_text(json.dumps({"auths": {"here": {"auth": ENCODED}}}))
    found = find_login("here", "x", (tmp_path / "bad.json", tmp_path / "good.json"))
    assert found.login == Login(user="me", password="secret")
    assert len(found.problems) == 1
    assert problem in found.problems[0]


@pytest.mark.parametrize("content", [b"{", b"[]", b"\xff", b"[" * 100_000], ids=["cut", "a list", "no text", "deep"])
def test_a_broken_file_does_not_hide_a_good_one(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "bad.json").write_bytes(content)
    (tmp_path / "good.json").write_text(json.dumps({"auths": {"here": {"auth": ENCODED}}}))
    found = find_login("here", "x", (tmp_path / "bad.json", tmp_path / "good.json"))
    assert found.login == Login(user="me", password="secret")
    assert "bad.json is damaged" in found.problems[0]


def test_a_damaged_login_does_not_hide_another_of_the_file(tmp_path: Path) -> None:
    path = tmp_path / "auth.json"
    path.write_text(json.dumps({"auths": {"here/team": {"auth": 5}, "here": {"auth": ENCODED}}}))
    assert find_login("here", "team/x", (path,)).login == Login(user="me", password="secret")


def test_the_variable_of_docker_comes_first(tmp_path: Path) -> None:
    (tmp_path / ".docker").mkdir()
    (tmp_path / ".docker" / "config.json").write_text('{"auths": {"here": {"username": "file", "password": "x"}}}')
    env = {"HOME": str(tmp_path), "XDG_RUNTIME_DIR": str(tmp_path)}
    assert find_login("here", "x", env=env).login == Login(user="file", password="x")
    env["DOCKER_AUTH_CONFIG"] = json.dumps({"auths": {"here": {"auth": ENCODED}}})
    assert find_login("here", "x", env=env).login == Login(user="me", password="secret")


def test_the_files_of_podman_and_docker() -> None:
    assert [str(path) for path in files({"HOME": "/h"})] == [
        f"/run/containers/{os.getuid()}/auth.json",
        "/h/.config/containers/auth.json",
        "/h/.docker/config.json",
    ]
    named = {"HOME": "/h", "XDG_RUNTIME_DIR": "/r", "XDG_CONFIG_HOME": "/c", "DOCKER_CONFIG": "/d"}
    assert [str(path) for path in files(named)] == [
        "/r/containers/auth.json",
        "/c/containers/auth.json",
        "/d/config.json",
    ]
    assert files({**named, "REGISTRY_AUTH_FILE": "/a"}) == (Path("/a"),)


def test_a_password_is_not_shown() -> None:
    assert "secret" not in repr(Login(user="me", password="secret", token="secret"))
