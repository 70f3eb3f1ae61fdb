"""The only place that starts processes: run one to its end, or capture the output of a short one.

Every process gets a session of its own. When it must end early (an interrupt, a time-out), its whole tree is asked to
(SIGTERM), then made to (SIGKILL), including processes that left the session: podman and buildah run a build's
RUN steps under a supervisor of their own, and nerdctl ends without its buildctl.
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
from typing import Any, Final

import attrs

TERM_GRACE: Final = 8.0
"""Seconds between asking a process tree to end and making it end."""

_LOOK_EVERY: Final = 1.0
"""Seconds after which a command's descendants are looked at, in case somebody kills it."""

_TAIL_LINES: Final = 20
_CHUNK: Final = 1 << 16
_captured: Final[set[subprocess.Popen[str]]] = set()
"""What `capture` runs just now."""


@attrs.frozen(kw_only=True)
class Completed:
    """A process that ended.

    Attributes:
        returncode: Its exit status; negative when a signal ended it.
        output: What it printed to stdout (`capture`), or the last lines of both streams (`run`).
        error: What it printed to stderr (`capture`).
        timed_out: Whether it was stopped since it took too long.
    """

    returncode: int
    output: str
    error: str = ""
    timed_out: bool = False

    @property
    def ok(self) -> bool:
        """Whether it ended by itself and with success."""
        return self.returncode == 0 and not self.timed_out


def environment(extra: Mapping[str, str]) -> dict[str, str]:
    """Return this process's environment with *extra* added."""
    return {**os.environ, **extra}


def capture(argv: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None) -> Completed:
    """Run a short command and return what it printed; where this program ends first, so does the command.

    Args:
        argv: The command.
        timeout: Seconds it may take; then it is stopped and `timed_out` is set.
        env: Added to the environment.

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
    """End the commands that threads still wait for: the interpreter does not wait for the probes of engines."""
    for process in tuple(_captured):
        _signal_group(process.pid, signal.SIGKILL)


def run(
    argv: Sequence[str],
    *,
    log: Path,
    env: Mapping[str, str] | None = None,
    timeout: float | None = None,
    echo: int | None = None,
) -> Completed:
    """Run a command to its end, its whole output appended to a file.

    Args:
        argv: The command.
        log: The file that gets all it prints, both streams in the order they were written.
        env: Added to the environment.
        timeout: Seconds it may take; then its process tree is stopped.
        echo: A file descriptor that gets the output as it comes. When it is a terminal, the command gets a
            terminal of its own, so that it shows its progress as it would there.

    Raises:
        OSError: It cannot be started, or the log cannot be written; its process tree is stopped.
    """
    deadline = None if timeout is None else time.monotonic() + timeout
    tail: deque[str] = deque(maxlen=_TAIL_LINES)
    tree: list[_Member] = []
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
    if finished and process.returncode < 0:  # killed by somebody else: it could not end what it had started
        stop_tree(process, tree)
    return Completed(returncode=process.wait(), output="\n".join(tail), timed_out=not finished)


def stop_tree(
    process: subprocess.Popen[bytes] | subprocess.Popen[str],
    known: Sequence[_Member] = (),
    *,
    grace: float = TERM_GRACE,
) -> None:
    """End *process* and every process that descends from it: SIGTERM, then after *grace* seconds SIGKILL.

    Those *known* to have descended from it are ended too: of one that is gone, nothing tells its descendants.
    """
    tree = [*known, *_descendants(process.pid)]
    # The innermost first: podman told first is gone before what it started has ended the RUN step.
    for member in reversed(tree):
        member.signal(signal.SIGTERM)
    _signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt):  # asked twice: no more waiting
        _wait(process, tree, grace)
    # Those started since: a client may have begun another step before it saw the signal.
    late = [child for pid in (process.pid, *(member.pid for member in tree)) for child in _descendants(pid)]
    for member in (*tree, *late):
        member.signal(signal.SIGKILL)
    _signal_group(process.pid, signal.SIGKILL)
    _wait(process, [*tree, *late], grace)


@attrs.frozen
class _Member:
    """A process of a tree: a `psutil.Process`, which knows it from a later one of the same id."""

    found: Any

    @property
    def pid(self) -> int:
        return int(self.found.pid)

    def signal(self, number: int) -> None:
        with contextlib.suppress(Exception):  # it has ended, which is what was wanted
            self.found.send_signal(number)

    def runs(self) -> bool:
        try:
            return bool(self.found.is_running() and self.found.status() != "zombie")
        except Exception:  # noqa: BLE001 - psutil's errors, all of which say that it is gone or out of reach
            return False


def _descendants(pid: int) -> list[_Member]:
    import psutil  # noqa: PLC0415 - slow to import, and needed only when something has to end early

    try:
        return [_Member(found) for found in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _wait(process: subprocess.Popen[bytes] | subprocess.Popen[str], others: Sequence[_Member], timeout: float) -> None:
    """Wait until *process* and *others* have ended, at most *timeout* seconds.

    Popen alone waits for its process: psutil would take its exit status away.
    """
    deadline = time.monotonic() + timeout
    while process.poll() is None or any(other.runs() for other in others):
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def _signal_group(pid: int, number: int) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)


def _channel(echo: int | None) -> tuple[int, int]:
    """Return the two ends through which a command's output comes: a terminal where *echo* is one, else a pipe."""
    if echo is None or not os.isatty(echo):
        return os.pipe()
    reader, writer = os.openpty()
    with contextlib.suppress(OSError):
        fcntl.ioctl(writer, termios.TIOCSWINSZ, fcntl.ioctl(echo, termios.TIOCGWINSZ, b"\0" * 8))
    return reader, writer


def _sink(log: int, echo: int | None, tail: deque[str]) -> Callable[[bytes], None]:
    """Return a function that takes output as it comes, to the log, the echo and the last lines."""
    rest = b""
    echoes = [] if echo is None else [echo]

    def take(chunk: bytes) -> None:
        nonlocal rest
        _write_all(log, chunk)
        if echoes:
            try:
                _write_all(echoes[0], chunk)
            except OSError:
                echoes.clear()  # whoever read it is gone; the build goes on
        *lines, rest = (rest + chunk).replace(b"\r\n", b"\n").split(b"\n")
        if not chunk and rest:
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
    tree: list[_Member],
) -> bool:
    """Pass on what *process* prints until it has ended; return False when the deadline came first.

    The end is the process's, not the output's: a daemon it started may hold the other end of the pipe for ever.
    Now and then *tree* is made to hold what descends from it.
    """
    look = time.monotonic() + _LOOK_EVERY
    with selectors.DefaultSelector() as selector:
        selector.register(reader, selectors.EVENT_READ)
        open_ = True
        while True:
            ended = process.poll() is not None
            if not ended and time.monotonic() > look:
                tree[:] = _descendants(process.pid) or tree
                look = time.monotonic() + _LOOK_EVERY
            if deadline is not None and not ended and time.monotonic() > deadline:
                take(b"")
                return False
            # Once it has ended, what is left in the channel is read without waiting.
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
        if error.errno == errno.EIO:  # how a terminal says that nobody holds its other end
            return b""
        raise
