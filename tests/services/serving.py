"""The server of a built image, run in a container."""

from __future__ import annotations

import contextlib
import http
import http.client
import re
import secrets
import time
import urllib.request
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import attrs

from tests.services import daemons, programs
from tests.services.errors import ServiceError

Runner = Literal["docker", "nerdctl", "podman"]

LOADED: Final = re.compile(r"^Loaded image(?: ID|\(s\))?: *(\S+)$", re.MULTILINE)
MODELS: Final = "/models"


@attrs.frozen(kw_only=True)
class Server:
    """A server that runs in a container."""

    url: str
    container: str
    runner: Runner
    env: Mapping[str, str]

    def logs(self) -> str:
        """Return the server's output, of stdout and stderr."""
        return _logs(self.env, self.runner, self.container)

    def get(self, path: str, *, timeout: float = 10) -> bytes:
        """Return the answer to ``GET`` *path*.

        Raises:
            OSError: The server does not answer, or answers with an error.
        """
        with urllib.request.urlopen(self.url + path, timeout=timeout) as answer:
            content = answer.read()
        assert isinstance(content, bytes)
        return content


def load(env: Mapping[str, str], runner: Runner, archive: Path) -> str:
    """Load an image from *archive* into the runner's store; return its name, or its ID if it has none.

    podman and nerdctl accept docker and OCI archives; docker (20.10, 26 and 28 with its own store) accepts only docker
    archives, which `tests.services.images.docker_archive` writes.

    Raises:
        ServiceError: The image cannot be loaded.
    """
    printed = programs.run([_program(env, runner), "load", "--input", archive], env=env, timeout=600)
    found = LOADED.search(printed)
    if found is None:
        message = f"{runner} load printed no loaded image: {printed!r}"
        raise ServiceError(message)
    return found[1]


def _program(env: Mapping[str, str], runner: Runner) -> str:
    return programs.find_in(env, runner)


def _logs(env: Mapping[str, str], runner: Runner, container: str) -> str:
    # sh merges both streams: the runners print the container's stderr on stderr.
    words = ["sh", "-c", '"$@" 2>&1', "sh", _program(env, runner), "logs", container]
    with contextlib.suppress(ServiceError):
        return programs.run(words, env=env)
    return "(no log)"


def _running(env: Mapping[str, str], runner: Runner, container: str) -> bool:
    words = [_program(env, runner), "container", "inspect", "--format", "{{.State.Running}}", container]
    with contextlib.suppress(ServiceError):
        return programs.run(words, env=env).strip() == "true"
    return False


def _is_ready(url: str) -> bool:
    try:
        with urllib.request.urlopen(f"{url}/v2/health/ready", timeout=5) as answer:
            return bool(answer.status == http.HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False


def _wait(server: Server, timeout: float) -> None:
    deadline, looks = time.monotonic() + timeout, 0
    while not _is_ready(server.url):
        looks += 1
        ended = looks % 10 == 0 and not _running(server.env, server.runner, server.container)
        if ended or time.monotonic() > deadline:
            what = "ended" if ended else f"is not ready after {timeout:g} s"
            message = f"the server in the container {what}:\n{server.logs()}"
            raise ServiceError(message)
        time.sleep(0.1)


def _end(env: Mapping[str, str], runner: Runner, container: str) -> None:
    program = _program(env, runner)
    with contextlib.suppress(ServiceError):
        programs.run([program, "stop", "--time", "5", container], env=env, timeout=60)
    with contextlib.suppress(ServiceError):
        programs.run([program, "rm", "--force", container], env=env, timeout=60)


@contextlib.contextmanager
def serve(
    env: Mapping[str, str],
    runner: Runner,
    image: str,
    models: Path,
    *,
    program: Sequence[str] = ("tritonserver",),
    arguments: Sequence[str] = (),
    options: Sequence[str] = (),
    timeout: float = 120,
) -> Iterator[Server]:
    """Run ``tritonserver`` of *image* on the host's network until the block ends, and wait until it is ready.

    Args:
        env: The environment that makes the runner use the engine.
        runner: The program that runs containers.
        image: The image, which must be in the runner's store.
        models: The model repository.
        program: The words that start the server; none if it is the image's entry point.
        arguments: Further arguments of the server.
        options: Further arguments of the runner ("--user=1000").
        timeout: Seconds until it must be ready.

    Raises:
        ServiceError: It ended or did not become ready; the message has its output.
    """
    port, name = daemons.free_port(), f"tritonbuild-{secrets.token_hex(4)}"
    words = [
        _program(env, runner),
        "run",
        "--detach",
        f"--name={name}",
        "--network=host",
        "--pull=never",
        f"--volume={models.resolve()}:{MODELS}:ro",
        *options,
        image,
        *program,
        f"--model-repository={MODELS}",
        "--http-address=127.0.0.1",
        f"--http-port={port}",
        "--allow-grpc=false",
        "--allow-metrics=false",
        *arguments,
    ]
    try:
        programs.run(words, env=env, timeout=timeout)
        server = Server(url=f"http://127.0.0.1:{port}", container=name, runner=runner, env=env)
        _wait(server, timeout)
        yield server
    finally:
        _end(env, runner, name)
