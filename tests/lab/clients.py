"""The clients that run the habits of `tests.lab.habits`: the embedded engine, crane and skopeo."""

from __future__ import annotations

import base64
import json
import os
import re
import signal
import subprocess
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final
from unittest import mock

import attrs

from tests.lab import programs
from tests.lab.odd import Habit, OddRegistry, odd_registry
from tests.services import Certificate
from tests.services import programs as services
from tests.tiny import images as tiny
from tritonbuild.embedded import __main__ as engine
from tritonbuild.embedded import arguments, delivery
from tritonbuild.errors import TritonBuildError

LIMIT: Final = 60
"""Seconds after which a client is said to hang."""

WORKS, REFUSES = "works", "refuses"
GOOD: Final = frozenset({WORKS, REFUSES})


@attrs.frozen(kw_only=True)
class Run:
    """A client's attempt to copy or build an image in one registry.

    Attributes:
        folder: An empty folder.
        registry: The registry, with the source images under `src/tiny`.
        target: The reference of the image to push.
    """

    folder: Path
    registry: OddRegistry
    target: str

    @property
    def authority(self) -> str:
        certificate = self.registry.certificate
        return str(certificate.authority) if certificate else ""

    def logins(self) -> Path:
        """Write a credential file of Docker's form, and return it."""
        login = self.registry.habit.login
        entry = {"auth": base64.b64encode(b"me:secret").decode()}
        if login == "identity":
            entry = {"auth": base64.b64encode(b"<token>:").decode(), "identitytoken": "refresh"}
        path = self.folder / "config.json"
        path.write_text(json.dumps({"auths": {self.registry.host: entry} if login else {}}))
        return path


@attrs.frozen(kw_only=True)
class Done:
    """The end of a client's attempt: whether it succeeded, or None if it was stopped, and its output."""

    ok: bool | None
    output: str


def embedded(run: Run) -> Done:
    """Build an image in this process; uploads of layers begin while they are written, as those of large layers do."""
    source = f"{run.registry.host}/src/tiny"
    request = run.folder / "request.json"
    request.write_bytes(tiny.request(f"{source}:full", f"{source}:base", "a").to_json())
    argv = [f"--file={request}", f"--cache-dir={run.folder / 'cache'}", f"--tag={run.target}", "--push", "--retry=3"]
    argv += [f"--authfile={run.logins()}", "--quiet", *([f"--ca-file={run.authority}"] if run.authority else [])]
    with mock.patch.object(delivery, "STREAMED", 1):
        try:
            engine._run(arguments.parser().parse_args(argv))
        except TritonBuildError as error:
            return Done(ok=False, output=f"{error}\n{error.hint}")
    return Done(ok=True, output="")


def _program(run: Run, *argv: str | Path) -> Done:
    env = {**os.environ, "HOME": str(run.folder), "DOCKER_CONFIG": str(run.logins().parent)}
    env |= {"SSL_CERT_FILE": run.authority} if run.authority else {}
    output = run.folder / "output"
    with output.open("wb") as out:
        process = subprocess.Popen([str(word) for word in argv], env=env, stdout=out, stderr=subprocess.STDOUT)
        end = time.monotonic() + LIMIT
        try:
            while process.poll() is None and not run.registry.is_flooded and time.monotonic() < end:
                time.sleep(0.02)
        finally:
            process.kill()
            status = process.wait(30)
    return Done(
        ok=None if status == -signal.SIGKILL else status == 0,
        output=output.read_bytes().decode(errors="replace"),
    )


def crane(run: Run) -> Done:
    words = ["copy", "--platform=linux/amd64", f"{run.registry.host}/src/tiny:full", run.target]
    return _program(run, programs.built("crane") / "crane", *words)


def skopeo(run: Run) -> Done:
    tls = [] if run.authority else ["--src-tls-verify=false", "--dest-tls-verify=false"]
    words = ["--insecure-policy", "--override-os=linux", "--override-arch=amd64", "copy", *tls]
    names = [f"docker://{run.registry.host}/src/tiny:full", f"docker://{run.target}"]
    return _program(run, services.find("skopeo"), *words, f"--authfile={run.logins()}", *names)


CLIENTS: Final[Mapping[str, Callable[[Run], Done]]] = {"tritonbuild": embedded, "crane": crane, "skopeo": skopeo}


def version(client: str) -> str:
    """Return the version of crane or skopeo."""
    if client == "crane":
        (found,) = re.findall(
            r"go-containerregistry (v[\d.]+)", (programs.MODULES / "crane" / "go.mod").read_text(encoding="utf-8")
        )
        return str(found).removeprefix("v")
    return services.run([services.find("skopeo"), "--version"]).split()[-1]


def _is_right(image: Mapping[str, Any]) -> bool:
    """Return whether an image is for the platform, and made from the entry that is wanted of an index."""
    labels = image["config"].get("Labels") or {}
    return image["architecture"] == "amd64" and labels.get("entry") != "other"


def outcome(client: str, habit: Habit, layout: Path, folder: Path, certificate: Certificate) -> tuple[str, str]:
    """Run a client against a registry with a habit; return the outcome in words, and the client's output.

    Args:
        client: A key of `CLIENTS`.
        habit: The habit.
        layout: The small images.
        folder: An empty folder.
        certificate: The certificate for registries with TLS.
    """
    with odd_registry(habit, certificate=certificate) as registry:
        registry.put_layout(layout, "src/tiny")
        habit.images(registry)
        name = f"out/{client}"
        done = CLIENTS[client](Run(folder=folder, registry=registry, target=f"{registry.host}/{name}:1"))
        image = registry.image(name, "1")
        tagged, leaks = (name, "1") in registry.manifests, registry.leaks()
        endless = done.ok is None or registry.is_flooded
    if leaks:
        found = "sends the login away"
    elif endless:
        found = "does not end"
    elif habit.refused:
        found = "accepts it" if done.ok else REFUSES
    elif done.ok:
        found = WORKS if image is not None and _is_right(image) else "wrong image"
    else:
        found = "leaves a broken image" if tagged and image is None else "fails"
    return found, done.output
