"""Registry logins from Docker's and Podman's credential files, and the helpers they name.

https://docs.docker.com/reference/cli/docker/login/ and containers-auth.json(5). Nothing is written.
"""

from __future__ import annotations

import base64
import binascii
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import dirs, process
from tritonbuild.errors import TritonBuildError
from tritonbuild.oci.descriptors import broken, from_json

_TIMEOUT: Final = 30.0
_DOCKER_HUB: Final = "https://index.docker.io/v1/"
_DOCKER_HUB_HOSTS: Final = frozenset({"docker.io", "index.docker.io", "registry-1.docker.io"})
_TOKEN: Final = "<token>"  # noqa: S105 - the user name that helpers give with an identity token
_HELPER: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")
_API_PATHS: Final = frozenset({"", "v1", "v2", "v1/users"})
"""Paths of old APIs that stand behind the host in keys; any other path is that of a repository."""


@attrs.frozen(kw_only=True)
class Login:
    """A login: a user and a password, an identity token, or a token that the registry itself takes."""

    user: str = ""
    password: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)
    registry_token: str = attrs.field(default="", repr=False)


@attrs.frozen
class LoginSearch:
    """The login that was found, and the problems on the way: files that are damaged, helpers that are missing."""

    login: Login | None
    problems: tuple[str, ...] = ()


def files(env: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the credential files, in the order in which Podman reads them."""
    env = os.environ if env is None else env
    if env.get("REGISTRY_AUTH_FILE"):
        return (Path(env["REGISTRY_AUTH_FILE"]),)
    home = Path(env["HOME"]) if env.get("HOME") else dirs.home()
    runtime = Path(env.get("XDG_RUNTIME_DIR") or f"/run/containers/{os.getuid()}")
    return (
        runtime / "containers" / "auth.json" if env.get("XDG_RUNTIME_DIR") else runtime / "auth.json",
        Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "containers" / "auth.json",
        Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json",
    )


def find_login(
    registry: str, repository: str, paths: tuple[Path, ...] | None = None, env: Mapping[str, str] | None = None
) -> LoginSearch:
    """Return the login for a repository.

    A damaged file or a helper that fails is a problem to report if the registry refuses the request; it does not end
    the search.

    Args:
        registry: Host and port.
        repository: Podman's file may have logins for a part of a registry.
        paths: Credential files; by default the variable `DOCKER_AUTH_CONFIG` and the files of Podman and Docker.
        env: Variables; the process's environment by default.
    """
    env = os.environ if env is None else env
    problems: list[str] = []
    for what, content in _contents(files(env) if paths is None else paths, env if paths is None else {}, problems):
        try:
            document = from_json(content or b"{}", what=what)
            login = _search_file(document, registry, repository, problems, what=what)
        except TritonBuildError as error:
            problems.append(error.message)
            continue
        if login is not None:
            return LoginSearch(login, tuple(problems))
    return LoginSearch(None, tuple(problems))


def _contents(paths: tuple[Path, ...], env: Mapping[str, str], problems: list[str]) -> Iterator[tuple[str, bytes]]:
    """Yield the name and content of each source of logins that exists."""
    if env.get("DOCKER_AUTH_CONFIG"):
        yield "DOCKER_AUTH_CONFIG", os.fsencode(env["DOCKER_AUTH_CONFIG"])
    for path in paths:
        content = _read(path, problems)
        if content is not None:
            yield str(path), content


def _read(path: Path, problems: list[str]) -> bytes | None:
    try:
        return path.read_bytes()
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        problems.append(f"cannot read {str(path)!r}: {error.strerror}")
        return None


def _search_file(
    document: Mapping[str, Any], registry: str, repository: str, problems: list[str], *, what: str
) -> Login | None:
    helpers, logins = (_mapping(document, key, what=what) for key in ("credHelpers", "auths"))
    found = [(rank, key) for key in {**helpers, **logins} if (rank := _rank(key, registry, repository)) is not None]
    for _, key in sorted(found, reverse=True):
        try:
            if key in helpers:
                login = _ask_helper(helpers[key], key)
            else:
                login = _parse_entry(logins[key], what=f"the login for {key} in {what}")
        except TritonBuildError as error:
            problems.append(error.message)
            continue
        if login is not None:
            return login
    if document.get("credsStore"):
        for server in (_DOCKER_HUB,) if registry in _DOCKER_HUB_HOSTS else (registry, f"https://{registry}"):
            login = _ask_helper(document["credsStore"], server)
            if login is not None:
                return login
    return None


def _mapping(document: Mapping[str, Any], key: str, *, what: str) -> Mapping[str, Any]:
    found = document.get(key)
    if found is not None and not isinstance(found, dict):
        raise broken(what, f"{key} is not an object")
    return found or {}


def _rank(key: str, registry: str, repository: str) -> tuple[int, int] | None:
    """Return how well a key names a repository, the more the better; None if it does not."""
    scheme, _, rest = key.rpartition("://")
    if scheme not in {"", "http", "https"}:
        return None
    host, _, path = rest.rstrip("/").partition("/")
    same = host == registry or {host, registry} <= _DOCKER_HUB_HOSTS
    if same and path in _API_PATHS:
        return (0, 1 if scheme else 2)
    if same and not scheme and f"{repository}/".startswith(f"{path}/"):
        return (len(path), 2)
    return None


def _parse_entry(entry: object, *, what: str) -> Login | None:
    if not isinstance(entry, dict):
        raise broken(what, "it is not an object")
    texts = {}
    for key in ("auth", "identitytoken", "password", "registrytoken", "username"):
        value = entry.get(key)
        if value is not None and not isinstance(value, str):
            raise broken(what, f"{key} is not text")
        texts[key] = value or ""
    user, password = texts["username"], texts["password"]
    if not user and texts["auth"]:
        user, password = _decode(texts["auth"], what=what)
    token, registry_token = texts["identitytoken"], texts["registrytoken"]
    if not (user or token or registry_token):
        return None
    return Login(user=user, password=password, token=token, registry_token=registry_token)


def _decode(auth: str, *, what: str) -> tuple[str, str]:
    """Return user and password of a Base64 text, with or without padding."""
    text = auth.strip().rstrip("=")
    try:
        content = base64.b64decode(text + "=" * (-len(text) % 4), validate=True).decode()
    except (binascii.Error, ValueError) as error:
        raise broken(what, "auth is not Base64") from error
    user, colon, password = content.partition(":")
    if not colon:
        raise broken(what, "auth has no colon between user and password")
    return user, password.rstrip("\0")


def _ask_helper(name: object, server: str) -> Login | None:
    """Return the login that `docker-credential-NAME get` prints; None if it knows none."""
    if not isinstance(name, str) or not name or not set(name) <= _HELPER:
        raise TritonBuildError(f"{name!r} is not a credential helper")
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise TritonBuildError(f"the credential helper docker-credential-{name} is not installed")
    # The helper reads the server's name from its input.
    with tempfile.NamedTemporaryFile("w", prefix="tritonbuild-", encoding="utf-8") as question:
        question.write(server)
        question.flush()
        argv = ["/bin/sh", "-c", 'exec "$1" get < "$2"', "sh", program, question.name]
        answer = process.capture(argv, timeout=_TIMEOUT)
    if answer.timed_out:
        raise TritonBuildError(f"the credential helper {program} does not answer")
    if answer.returncode:
        output = (answer.output + answer.error).strip()
        if "not found" in output.lower():
            return None
        raise TritonBuildError(f"the credential helper {program} failed: {output[:200]}")
    what = f"the answer of the credential helper {program}"
    document = from_json(answer.output.encode(), what=what)
    user, secret = document.get("Username"), document.get("Secret")
    if not isinstance(user, str) or not isinstance(secret, str):
        raise broken(what, "it has no user and secret")
    return Login(token=secret) if user == _TOKEN else Login(user=user, password=secret)
