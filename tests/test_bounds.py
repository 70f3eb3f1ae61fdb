"""The time limit of tests ends every kind of wait."""

from __future__ import annotations

import signal
import socket
import subprocess
import threading
from collections.abc import Callable

import pytest

from tests import services
from tests.bounds import bounded


def process() -> None:
    with subprocess.Popen(["sleep", services.a_day()]) as child:
        try:
            child.wait()
        finally:
            child.kill()


def thread() -> None:
    ended = threading.Event()
    waiting = threading.Thread(target=ended.wait, daemon=True)
    waiting.start()
    try:
        waiting.join()
    finally:
        ended.set()


def connection() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        listener.accept()


@pytest.mark.parametrize("wait", [process, thread, connection])
def test_a_wait_without_end_fails(wait: Callable[[], None]) -> None:
    before = signal.getsignal(signal.SIGALRM)
    with pytest.raises(pytest.fail.Exception, match=r"^it took longer than 0\.2 s$"), bounded(0.2):
        wait()
    assert signal.getsignal(signal.SIGALRM) == before


def test_a_process_that_a_test_leaves_is_killed_with_its_children() -> None:
    day = services.a_day()
    with services.running(["sh", "-c", f"trap '' TERM INT; sleep {day} & wait"]):
        assert services.wait_for(day)
    assert services.left(day) == ()


@pytest.mark.parametrize("ignored", [(), (signal.SIGINT,)], ids=["default", "ignored"])
def test_the_signals_of_a_process_do_not_depend_on_those_of_its_parent(ignored: tuple[signal.Signals, ...]) -> None:
    program = "import signal; print(signal.getsignal(signal.SIGINT) == signal.SIG_IGN)"
    with services.running(["python3", "-c", program], ignored=ignored) as found:
        assert found.communicate(timeout=30)[0] == f"{bool(ignored)}\n"
