"""Process trees: find the descendants of a process, and end all of them.

The members of a tree include processes that left the session of the first: podman and buildah run a build's RUN steps
under a supervisor of their own, and nerdctl ends without its buildctl.
"""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Sequence
from typing import Any, Final, Protocol

import attrs

TERM_GRACE: Final = 8.0
"""Seconds between SIGTERM to a process tree and SIGKILL to what is left of it."""


class Child(Protocol):
    """A child process of this one: a `Popen`."""

    @property
    def pid(self) -> int:
        """Its id."""

    def poll(self) -> int | None:
        """Return its exit status once it has ended."""


def stop_tree(
    process: Child,
    known: Sequence[Member] = (),
    *,
    grace: float = TERM_GRACE,
) -> None:
    """End *process* and every process that descends from it: SIGTERM, then after *grace* seconds SIGKILL.

    Args:
        process: The root of the tree.
        known: Processes seen to descend from it, which end too: once *process* has ended, its descendants cannot be
            found any more.
        grace: Seconds between the two signals.
    """
    tree = [*known, *descendants(process.pid)]
    # The innermost first: podman, if signaled first, ends before its children have ended the RUN step.
    for member in reversed(tree):
        member.signal(signal.SIGTERM)
    signal_group(process.pid, signal.SIGTERM)
    with contextlib.suppress(KeyboardInterrupt):  # a second interrupt: wait no longer
        _wait(process, tree, grace)
    # Processes started since: a client may have begun another step before it saw the signal.
    late = [child for pid in (process.pid, *(member.pid for member in tree)) for child in descendants(pid)]
    for member in (*tree, *late):
        member.signal(signal.SIGKILL)
    signal_group(process.pid, signal.SIGKILL)
    _wait(process, [*tree, *late], grace)


@attrs.frozen
class Member:
    """A process of a tree. Its `psutil.Process` distinguishes it from a later process with the same id."""

    found: Any

    @property
    def pid(self) -> int:
        """The process id."""
        return int(self.found.pid)

    def signal(self, number: int) -> None:
        """Send a signal, unless the process has ended."""
        with contextlib.suppress(Exception):  # it has ended, or belongs to another user
            self.found.send_signal(number)

    def runs(self) -> bool:
        """Return whether the process has not ended yet."""
        try:
            return bool(self.found.is_running() and self.found.status() != "zombie")
        except Exception:  # noqa: BLE001 - psutil's errors: the process is gone or out of reach
            return False


def descendants(pid: int) -> list[Member]:
    """Return the processes that descend from one, parents before their children; none if it has ended."""
    import psutil  # noqa: PLC0415 - slow to import, and needed only when something has to end early

    try:
        return [Member(found) for found in psutil.Process(pid).children(recursive=True)]
    except psutil.Error:
        return []


def _wait(process: Child, others: Sequence[Member], timeout: float) -> None:
    """Wait until *process* and *others* have ended, at most *timeout* seconds.

    *process* is polled through its Popen: psutil would reap it, and its exit status would be lost.
    """
    deadline = time.monotonic() + timeout
    while process.poll() is None or any(other.runs() for other in others):
        if time.monotonic() > deadline:
            return
        time.sleep(0.01)


def signal_group(pid: int, number: int) -> None:
    """Send a signal to a process group, unless all its processes have ended."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(pid, number)
