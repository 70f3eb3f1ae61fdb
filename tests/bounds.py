"""A time limit for everything that a test does."""

from __future__ import annotations

import contextlib
import signal
from collections.abc import Iterator
from types import FrameType
from typing import NoReturn

import pytest

LONGEST = 1800.0
"""Seconds for the setup, the call or the teardown of one test; a setup may build the source images of a session."""

_AGAIN = 30.0
"""Seconds for the cleanup of a test that was stopped; then the cleanup is stopped too."""


@contextlib.contextmanager
def bounded(seconds: float = LONGEST) -> Iterator[None]:
    """Fail the test if the block takes longer than *seconds*, whatever it waits for: a process, a thread, a socket."""

    def stop(_number: int, _frame: FrameType | None) -> NoReturn:
        pytest.fail(f"it took longer than {seconds:g} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds, _AGAIN)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
