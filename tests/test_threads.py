"""Calls in the background: their results, their errors, and the wait for them."""

from __future__ import annotations

import subprocess
import sys
import threading

import pytest

from tritonbuild.threads import NoAnswerError, in_background


def test_a_call_in_the_background_returns_its_result() -> None:
    assert in_background(lambda: threading.current_thread().name, name="mine")(10) == "mine"


@pytest.mark.parametrize("error", [ValueError("what"), SystemExit(3)], ids=repr)
def test_the_error_of_a_call_is_raised_in_the_thread_that_waits(error: BaseException) -> None:
    def fail() -> None:
        raise error

    with pytest.raises(type(error)) as caught:
        in_background(fail, name="mine")(None)
    assert caught.value is error


def test_a_call_that_goes_on_gives_no_answer() -> None:
    end = threading.Event()
    wait = in_background(lambda: end.wait(60), name="mine")
    with pytest.raises(NoAnswerError, match=r"mine gave no answer within 0\.01 s"):
        wait(0.01)
    end.set()


def test_a_build_with_an_engine_loads_no_pools() -> None:
    program = "import sys, tritonbuild.run_build; sys.exit('concurrent.futures' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], timeout=60, check=False).returncode == 0
