"""The process table, and the processes of a marked command in it."""

from __future__ import annotations

import contextlib
import os
import secrets
import signal
import subprocess
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs


@attrs.frozen(kw_only=True)
class Process:
    """One row of the process table."""

    pid: int
    parent: int
    argv: tuple[str, ...]


def _read(entry: Path) -> Process | None:
    try:
        argv = tuple((entry / "cmdline").read_bytes().decode(errors="replace").split("\0")[:-1])
        # The program's name, in brackets, may contain blanks and brackets.
        state, parent = (entry / "stat").read_text(errors="replace").rpartition(")")[2].split()[:2]
    except OSError:  # It ended meanwhile.
        return None
    if state in "ZX":
        return None
    return Process(pid=int(entry.name), parent=int(parent), argv=argv)


def table() -> tuple[Process, ...]:
    """Return all processes, also those in other PID namespaces, without zombies."""
    rows = (_read(entry) for entry in Path("/proc").iterdir() if entry.name.isdigit())
    return tuple(row for row in rows if row is not None)


def ancestors() -> frozenset[int]:
    """Return the IDs of this process and of its ancestors."""
    parents = {row.pid: row.parent for row in table()}
    pid, found = os.getpid(), set[int]()
    while pid and pid not in found:
        found.add(pid)
        pid = parents.get(pid, 0)
    return frozenset(found)


def marked(marker: str) -> tuple[Process, ...]:
    """Return the processes with *marker* in their command line, except this one and its ancestors."""
    ours = ancestors()
    return tuple(row for row in table() if row.pid not in ours and any(marker in word for word in row.argv))


def descendants(pid: int) -> tuple[Process, ...]:
    """Return the descendants of *pid*."""
    rows, found = table(), {pid}
    while more := {row.pid for row in rows if row.parent in found} - found:
        found |= more
    return tuple(row for row in rows if row.pid in found - {pid})


INTERRUPTS: Final[Mapping[str, tuple[signal.Signals, tuple[signal.Signals, ...]]]] = {
    "SIGINT": (signal.SIGINT, ()),
    "SIGTERM": (signal.SIGTERM, ()),
    "SIGHUP": (signal.SIGHUP, ()),
    "SIGTERM in a background job": (signal.SIGTERM, (signal.SIGINT,)),
    "SIGHUP in a background job": (signal.SIGHUP, (signal.SIGINT,)),
}
"""The signals that end a build, and the signals that it ignores when it starts."""


def with_default_signals(argv: Sequence[str | Path], *, ignored: Sequence[signal.Signals] = ()) -> list[str]:
    """Return *argv* with GNU env before it, which resets the action of every signal and ignores those in *ignored*.

    A process inherits ignored signals: the background jobs of a shell, and all that they start, ignore SIGINT.
    """
    options = [f"--ignore-signal={number.name.removeprefix('SIG')}" for number in ignored]
    return ["env", "--default-signal", *options, *map(str, argv)]


@contextlib.contextmanager
def running(
    argv: Sequence[str | Path], *, ignored: Sequence[signal.Signals] = (), **keywords: Any
) -> Iterator[subprocess.Popen[str]]:
    """Run *argv* with the default action of every signal until the block ends, and kill it if it has not ended then.

    Args:
        argv: The command.
        ignored: Signals that it ignores from its start.
        keywords: Other parameters of `subprocess.Popen`; without them both streams are pipes.
    """
    streams = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
    process = subprocess.Popen(with_default_signals(argv, ignored=ignored), text=True, **{**streams, **keywords})
    try:
        yield process
    finally:
        if process.poll() is None:
            for row in descendants(process.pid):
                with contextlib.suppress(ProcessLookupError):
                    os.kill(row.pid, signal.SIGKILL)
            process.kill()
            process.wait(30)
        for stream in (process.stdin, process.stdout, process.stderr):
            if stream is not None:
                stream.close()


def a_day() -> str:
    """Return about a day in seconds, spelled uniquely: for ``RUN sleep``, `wait_for` and `left`."""
    return f"{86000 + secrets.randbelow(999)}.{secrets.randbelow(1 << 40)}"


def wait_for(marker: str, *, timeout: float = 30) -> tuple[Process, ...]:
    """Wait until a process has *marker* in its command line; return such processes, or none after *timeout* seconds."""
    deadline = time.monotonic() + timeout
    while not (rows := marked(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return rows


def left(marker: str, *, timeout: float = 10) -> tuple[Process, ...]:
    """Wait until no process has *marker* in its command line; return those that still have it after *timeout* seconds.

    To prove that an interrupt ends a build's processes, ``RUN sleep`` for `a_day`, `wait_for` it, interrupt, and
    assert that nothing is left.
    """
    deadline = time.monotonic() + timeout
    while (rows := marked(marker)) and time.monotonic() < deadline:
        time.sleep(0.05)
    return rows


def descendants_left(before: frozenset[int], *, timeout: float = 10) -> tuple[Process, ...]:
    """Wait until this process's descendants are those in *before*; return the others after *timeout* seconds.

    A daemon that detached itself is no longer a descendant; for daemons, use `left` with a marker.
    """
    deadline = time.monotonic() + timeout
    while (
        rows := tuple(row for row in descendants(os.getpid()) if row.pid not in before)
    ) and time.monotonic() < deadline:
        time.sleep(0.05)
    return rows
