"""Waiting for registries: pauses between tries, and reports of requests in which no byte moves."""

from __future__ import annotations

import contextlib
import random
import threading
import time
from collections.abc import Callable, Iterator
from typing import Final

import urllib3
from urllib3.exceptions import InvalidHeader

FIRST_DELAY: Final = 0.5
_LONGEST_DELAY: Final = 60.0


def longer(delay: float) -> float:
    """Return the pause after one of *delay* seconds."""
    return min(_LONGEST_DELAY, max(delay, 0.25) * (1.5 + random.random()))  # noqa: S311 - not for secrets


def retry_after(text: str) -> float:
    """Return the seconds that a `Retry-After` header asks for, a minute at most; 0 if it cannot be read."""
    with contextlib.suppress(InvalidHeader, ValueError, OverflowError):
        return min(_LONGEST_DELAY, urllib3.Retry().parse_retry_after(text))
    return 0.0


class Wait:
    """A request in progress.

    Args:
        action: The request, for reports.
    """

    def __init__(self, action: str) -> None:
        self.action = action
        self.since = time.monotonic()
        self.reported = self.since
        self.paused = False

    def progress(self) -> None:
        """Note that a byte moved."""
        self.since = self.reported = time.monotonic()
        self.paused = False

    def pause(self) -> None:
        """Note that the request waits for this program, not for the registry."""
        self.paused = True


class Waits:
    """All requests to a registry that are in progress; one thread reports those in which no byte moves.

    Args:
        host: The registry, for reports.
        patience: Seconds without a byte after which a wait is reported, again and again.
        report: Takes a line of progress.
    """

    def __init__(self, host: str, *, patience: float, report: Callable[[str], None]) -> None:
        self._host = host
        self._patience = patience
        self._report = report
        self._waits: set[Wait] = set()
        self._lock = threading.Lock()
        self._thread: threading.Thread | None = None

    @contextlib.contextmanager
    def waiting(self, action: str) -> Iterator[Wait]:
        """Yield the wait for a request that ends with the block."""
        wait = Wait(action)
        with self._lock:
            self._waits.add(wait)
            if self._thread is None:
                self._thread = threading.Thread(target=self._watch, name="waits", daemon=True)
                self._thread.start()
        try:
            yield wait
        finally:
            with self._lock:
                self._waits.discard(wait)

    def _watch(self) -> None:
        while True:
            time.sleep(self._patience / 4)
            now = time.monotonic()
            with self._lock:
                if not self._waits:
                    self._thread = None
                    return
                overdue = [one for one in self._waits if not one.paused and now - one.reported >= self._patience]
            for wait in overdue:
                wait.reported = now
                self._report(f"waiting for {self._host}: no byte for {now - wait.since:.0f} s ({wait.action})")
