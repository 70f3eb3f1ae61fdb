"""The only module that starts processes: run a command to its end, or capture the output of a short one.

Each command starts in a new session. When it must end early (an interrupt, a time-out), its whole process tree gets
SIGTERM, then SIGKILL, including processes that left the session (`tree.py`).
"""

from __future__ import annotations

import atexit
import contextlib
import errno
import fcntl
import os
import selectors
import signal
import subprocess
import termios
import time
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tritonbuild.masking import OutputMask
from tritonbuild.process.tree import TERM_GRACE, Member, descendants, signal_group, stop_tree

__all__ = ["TERM_GRACE", "Completed", "Member", "capture", "descendants", "environment", "run", "stop_tree"]

_LOOK_EVERY: Final = 1.0
"""Seconds between two looks at a command's descendants, which cannot be found any more if the command is killed."""

_TAIL_LINES: Final = 20
_CHUNK: Final = 1 << 16
_captured: Final[set[subprocess.Popen[str]]] = set()
"""The commands that `capture` is running."""


@attrs.frozen(kw_only=True)
class Completed:
    """A process that ended.

    Attributes:
        returncode: Its exit status; negative when a signal ended it.
        output: Its stdout (`capture`), or the last lines of both streams (`run`).
        error: Its stderr (`capture`).
        timed_out: Whether it was stopped because it took too long.
    """

    returncode: int
    output: str
    error: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended with success, and was not stopped."""
        return self.returncode == 0 and not self.timed_out


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with *extra* added."""
    return {**os.environ, **extra}


def capture(argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> Completed:
    """Run a short command and return its output; it ends no later than this program.

    Args:
        argv: The command.
        timeout: Seconds after which it is stopped and `timed_out` is set.
        env: Environment variables to add.

    Raises:
        OSError: It cannot be started.
    """
    with subprocess.Popen(
        argv,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=environment(env or {}),
        start_new_session=True,
        text=True,
        errors="replace",
    ) as process:
        _captured.add(process)
        try:
            output, error = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            stop_tree(process, grace=0.5)
            return Completed(returncode=process.returncode, output="", timed_out=True)
        except BaseException:
            stop_tree(process)
            raise
        finally:
            _captured.discard(process)
    return Completed(returncode=process.returncode, output=output, error=error)


@atexit.register
def _stop_captured() -> None:
    """End the commands that threads still wait for: the interpreter does not wait for health probes when it ends."""
    for process in tuple(_captured):
        signal_group(process.pid, signal.SIGKILL)


def run(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    echo: int | None = None,
) -> Completed:
    """Run a command to its end and append its whole output to a file, with credentials masked.

    Args:
        argv: The command.
        log: The file for both streams, in the order they were written.
        env: Environment variables to add.
        timeout: Seconds after which its process tree is stopped.
        echo: A file descriptor that gets the output as it arrives. If it is a terminal, the command writes to a new
            pseudo-terminal, so that it shows its progress as usual.

    Raises:
        OSError: It cannot be started, or the log cannot be written; its process tree is stopped.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    tree: list[Member] = []
    with log.open("ab") as file:
        reader, writer = _channel(echo)
        try:
            try:
                process = subprocess.Popen(
                    argv,
                    stdin=subprocess.DEVNULL,
                    stdout=writer,
                    stderr=writer,
                    env=environment(env or {}),
                    start_new_session=True,
                )
            finally:
                os.close(writer)
            try:
                finished = _pump(process, reader, deadline, _sink(file.fileno(), echo, tail), tree)
            except BaseException:
                stop_tree(process)
                raise
            if not finished:
                stop_tree(process)
        finally:
            os.close(reader)
    if finished and process.returncode < 0:  # killed from outside: it could not end its descendants
        stop_tree(process, tree)
    return Completed(returncode=process.wait(), output="\n".join(tail), timed_out=not finished)


def _channel(echo: int | None) -> tuple[int, int]:
    """Return both ends of a channel for output: a pseudo-terminal if *echo* is a terminal, else a pipe."""
    if echo is None or not os.isatty(echo):
        return os.pipe()
    reader, writer = os.openpty()
    with contextlib.suppress(OSError):
        fcntl.ioctl(writer, termios.TIOCSWINSZ, fcntl.ioctl(echo, termios.TIOCGWINSZ, b"\0" * 8))
    return reader, writer


def _sink(log: int, echo: int | None, tail: deque[str]) -> Callable[[bytes], None]:
    """Return a function that passes output on to the log, the echo and the last lines."""
    rest = b""
    echoes = [] if echo is None else [echo]
    shown = OutputMask()

    def take(piece: bytes) -> None:
        nonlocal rest
        chunk = shown.mask(piece)
        _write_all(log, chunk)
        if echoes:
            try:
                _write_all(echoes[0], chunk)
            except OSError:
                echoes.clear()  # its reader is gone; the build goes on
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if not piece and rest:
            lines, rest = [*lines, rest], b""
        rest = rest[-_CHUNK:]
        tail.extend(text for line in lines if (text := line.decode(errors="replace").rstrip()))

    return take


def _write_all(descriptor: int, chunk: bytes) -> None:
    view = memoryview(chunk)
    while view:
        view = view[os.write(descriptor, view) :]


def _pump(
    process: subprocess.Popen[bytes],
    reader: int,
    deadline: float | None,
    take: Callable[[bytes], None],
    tree: list[Member],
) -> bool:
    """Pass on the output of *process* until it has ended; return False if the deadline came first.

    The end of the process counts, not the end of its output: a daemon it started may keep the pipe open for ever.
    *tree* is updated regularly to hold its descendants.
    """
    look = time.monotonic() + _LOOK_EVERY
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        open_ = True
        while True:
            ended = process.poll() is not None
            if not ended and time.monotonic() > look:
                tree[:] = descendants(process.pid) or tree
                look = time.monotonic() + _LOOK_EVERY
            if deadline is not None and not ended and time.monotonic() > deadline:
                take(b"")
                return False
            # Once it has ended, the rest of the channel is read without waiting.
            ready = selector.select(0 if ended else 0.05) if open_ else []
            if ready:
                chunk = _read(reader)
                if chunk:
                    take(chunk)
                    continue
                open_ = False
            if ended:
                take(b"")
                return True
            if not open_:
                with contextlib.suppress(subprocess.TimeoutExpired):
                    process.wait(0.05)


def _read(reader: int) -> bytes:
    try:
        return os.read(reader, _CHUNK)
    except OSError as error:
        if error.errno == errno.EIO:  # a pseudo-terminal whose other end is closed
            return b""
        raise
