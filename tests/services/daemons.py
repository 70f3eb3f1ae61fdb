"""Daemons in private namespaces: start one, wait until it answers, stop it with all its processes.

A daemon runs in private mount and PID namespaces: its mounts and processes are invisible outside and end with it,
even if it is killed. It is killed when this process ends for any reason. The thread that starts a daemon must live as
long as the daemon.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.services import programs
from tests.services.errors import ServiceError

NAMESPACES: Final = ("setpriv", "--pdeathsig=KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child")
PRIVATE_RUN: Final = ("sh", "-c", 'mount -t tmpfs -o mode=755 tmpfs /run && exec "$@"', "sh")
STOP_SECONDS: Final = 15
SOCKET_PATH_LIMIT: Final = 104


@attrs.frozen(kw_only=True)
class Daemon:
    """A running daemon."""

    pid: int
    log: Path


def last_lines(log: Path, count: int = 20) -> str:
    """Return the last *count* lines of *log*."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-count:]) if log.exists() else ""


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free at the moment."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    assert isinstance(port, int)
    return port


def socket_path(path: Path) -> Path:
    """Return *path* if it is a valid socket name.

    Raises:
        ServiceError: The name is longer than the kernel allows.
    """
    if len(str(path)) > SOCKET_PATH_LIMIT:
        message = f"{path} is too long for a socket: give the service a shorter root"
        raise ServiceError(message)
    return path


def answers(path: Path) -> bool:
    """Return whether the unix socket *path* accepts connections."""
    with socket.socket(socket.AF_UNIX) as probe:
        return probe.connect_ex(str(path)) == 0


def _child(pid: int) -> int:
    """Return the ID, in this namespace, of the first process in the PID namespace of *pid*; 0 if none exists yet."""
    try:
        return int(Path(f"/proc/{pid}/task/{pid}/children").read_text().split()[0])
    except (OSError, IndexError):
        return 0


def _stop(outer: subprocess.Popen[bytes]) -> None:
    inner = _child(outer.pid)
    if outer.poll() is None and inner:
        with contextlib.suppress(ProcessLookupError):
            os.kill(inner, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            outer.wait(STOP_SECONDS)
    if outer.poll() is None:
        outer.kill()
    outer.wait(STOP_SECONDS)
    # The kernel kills the rest of a namespace a moment after its first process.
    deadline = time.monotonic() + STOP_SECONDS
    while inner and Path(f"/proc/{inner}").exists() and time.monotonic() < deadline:
        time.sleep(0.01)


@contextlib.contextmanager
def daemon(
    argv: Sequence[str | Path],
    *,
    log: Path,
    ready: Callable[[], bool],
    env: Mapping[str, str] | None = None,
    private_run: bool = False,
    timeout: float = 30,
) -> Iterator[Daemon]:
    """Run the daemon *argv* until the block ends.

    Args:
        argv: The daemon and its arguments.
        log: The file for its output.
        ready: Return whether the daemon answers.
        env: Variables to add to this process's environment.
        private_run: Whether it gets an empty ``/run``, for files whose path cannot be configured.
        timeout: Seconds until it must be ready.

    Raises:
        ServiceError: It ended or did not become ready; with the last lines of its log.
    """
    programs.need_root()
    words = [*NAMESPACES, "--mount-proc", *(PRIVATE_RUN if private_run else ()), *map(str, argv)]
    with log.open("wb") as output:
        outer = subprocess.Popen(
            words,
            env={**os.environ, **(env or {})},
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    try:
        deadline = time.monotonic() + timeout
        while not ready():
            if outer.poll() is not None or time.monotonic() > deadline:
                what = "is not ready" if outer.poll() is None else f"ended with {outer.returncode}"
                message = f"{argv[0]} {what} after {timeout:g} s at most:\n{last_lines(log)}"
                raise ServiceError(message)
            time.sleep(0.02)
        yield Daemon(pid=_child(outer.pid), log=log)
    finally:
        _stop(outer)
