"""Who one is to a registry: docker's and podman's credential files, and the helpers they name.

https://docs.docker.com/reference/cli/docker/login/ and containers-auth.json(5). Nothing is written.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import process
from tritonbuild.errors import TritonBuildError
from tritonbuild.oci.descriptors import from_json

_TIMEOUT: Final = 30.0
_DOCKER_HUB: Final = "https://index.docker.io/v1/"
_TOKEN: Final = "<token>"  # noqa: S105 - the user name that helpers give with an identity token
_HELPER: Final = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-")


@attrs.frozen(kw_only=True)
class Login:
    """A user and a password, or an identity token (then without user)."""

    user: str = ""
    password: str = attrs.field(default="", repr=False)
    token: str = attrs.field(default="", repr=False)


def files(env: Mapping[str, str] | None = None) -> tuple[Path, ...]:
    """Return the credential files, in the order in which podman looks at them."""
    env = os.environ if env is None else env
    home = Path(env.get("HOME") or Path.home())
    named = [Path(env[name]) for name in ("REGISTRY_AUTH_FILE",) if env.get(name)]
    runtime = env.get("XDG_RUNTIME_DIR")
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    docker = Path(env.get("DOCKER_CONFIG") or home / ".docker") / "config.json"
    standard = [
        *([Path(runtime) / "containers" / "auth.json"] if runtime else []),
        config / "containers" / "auth.json",
        docker,
    ]
    return tuple(named or standard)


def login(registry: str, repository: str, paths: tuple[Path, ...] | None = None) -> Login | None:
    """Return the login for a repository; None where no file and no helper knows one.

    Args:
        registry: Host and port.
        repository: podman's file may have logins for a part of a registry.
        paths: Credential files; those of podman and docker by default.

    Raises:
        TritonBuildError: A file cannot be read, or a helper fails.
    """
    for path in files() if paths is None else paths:
        try:
            content = path.read_bytes()
        except FileNotFoundError:
            continue
        except OSError as error:
            raise TritonBuildError(f"cannot read {str(path)!r}: {error.strerror}", hint="make it readable") from error
        found = _of_file(from_json(content or b"{}", what=str(path)), registry, repository)
        if found is not None:
            return found
    return None


def _keys(registry: str, repository: str) -> Iterator[str]:
    """Yield what an entry may be called, the most particular first."""
    path = f"{registry}/{repository}"
    while "/" in path:
        yield path
        path = path.rpartition("/")[0]
    yield registry
    yield from (f"{scheme}://{registry}{rest}" for scheme in ("https", "http") for rest in ("", "/", "/v1/", "/v2/"))
    if registry == "docker.io":
        yield from (_DOCKER_HUB, "index.docker.io")


def _of_file(document: Mapping[str, Any], registry: str, repository: str) -> Login | None:
    helpers, logins = document.get("credHelpers") or {}, document.get("auths") or {}
    for key in _keys(registry, repository):
        if key in helpers:
            return _of_helper(str(helpers[key]), key)
        entry = logins.get(key)
        if isinstance(entry, Mapping):
            found = _of_entry(entry)
            if found is not None:
                return found
    store = document.get("credsStore")
    if store:
        for key in (_DOCKER_HUB,) if registry == "docker.io" else (registry, f"https://{registry}"):
            found = _of_helper(str(store), key)
            if found is not None:
                return found
    return None


def _of_entry(entry: Mapping[str, Any]) -> Login | None:
    if entry.get("identitytoken"):
        return Login(token=str(entry["identitytoken"]))
    if entry.get("username"):
        return Login(user=str(entry["username"]), password=str(entry.get("password", "")))
    try:
        user, colon, password = base64.b64decode(str(entry.get("auth", "")), validate=True).decode().partition(":")
    except (binascii.Error, UnicodeDecodeError):
        return None
    return Login(user=user, password=password.rstrip("\0")) if colon else None


def _of_helper(name: str, server: str) -> Login | None:
    """Ask `docker-credential-NAME get`; it answers with JSON, or fails where it knows nothing."""
    if not name or not set(name) <= _HELPER:
        raise TritonBuildError(f"{name!r} is not a credential helper", hint="mend the credential file")
    program = shutil.which(f"docker-credential-{name}")
    if program is None:
        raise TritonBuildError(
            f"the credential helper docker-credential-{name} is not installed",
            hint="install it, or mend the credential file",
        )
    # It reads the server's name; what is between the quotes is the same always.
    with tempfile.NamedTemporaryFile("w", prefix="tritonbuild-", encoding="utf-8") as asked:
        asked.write(server)
        asked.flush()
        answer = process.capture(["/bin/sh", "-c", 'exec "$1" get < "$2"', "sh", program, asked.name], timeout=_TIMEOUT)
    if answer.timed_out:
        raise TritonBuildError(f"the credential helper {program} gives no answer", hint="try it by hand")
    if answer.returncode:
        said = (answer.output + answer.error).strip()
        if "not found" in said.lower():
            return None
        raise TritonBuildError(f"the credential helper {program} failed: {said[:200]}", hint="try it by hand")
    try:
        document = json.loads(answer.output)
        user, secret = str(document["Username"]), str(document["Secret"])
    except (ValueError, KeyError, TypeError) as error:
        raise TritonBuildError(f"the credential helper {program} gives no login", hint="try it by hand") from error
    return Login(token=secret) if user == _TOKEN else Login(user=user, password=secret)
