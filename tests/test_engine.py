"""Probes: whatever a health callable does, the answer is a Health that says it."""

from __future__ import annotations

import time
from collections.abc import Callable

import attrs
import pytest

from tritonbuild.engine import Engine, Health, probe, start_probe
from tritonbuild.errors import UnhealthyEngineError


def engine(health: Callable[[], object]) -> Engine:
    return Engine(name="mine", binary="mine", health=health, construct_build_args=lambda **_: [])  # type: ignore[arg-type]


def raises(error: BaseException) -> Callable[[], object]:
    def health() -> object:
        raise error

    return health


@pytest.mark.parametrize(
    ("health", "answer"),
    [
        (lambda: True, Health(ok=True, engine="mine")),
        (lambda: False, Health(ok=False, engine="mine", reason="its health probe returned False")),
        (lambda: Health(ok=True, engine="mine", version="1"), Health(ok=True, engine="mine", version="1")),
        (
            raises(UnhealthyEngineError("no disk", hint="buy one")),
            Health(ok=False, engine="mine", reason="no disk", hint="buy one"),
        ),
        (
            raises(ZeroDivisionError("what\nelse")),
            Health(
                ok=False,
                engine="mine",
                reason="its health probe raised ZeroDivisionError: what\\nelse",
                hint="fix the health callable of its registration",
            ),
        ),
        (
            lambda: "yes",
            Health(
                ok=False,
                engine="mine",
                reason="its health probe returned a value of type str, not a bool",
                hint="fix the health callable of its registration",
            ),
        ),
    ],
    ids=["true", "false", "health", "unhealthy", "broken", "wrong type"],
)
def test_what_a_health_callable_does_is_said(health: Callable[[], object], answer: Health) -> None:
    found = probe(engine(health))
    assert attrs.evolve(found, seconds=0.0) == answer
    assert found.seconds > 0


def test_a_health_callable_that_hangs_is_given_up() -> None:
    started = time.monotonic()
    answer = probe(engine(lambda: time.sleep(5)), timeout=0.1)
    assert time.monotonic() - started < 4
    assert (answer.ok, answer.reason) == (False, "its health probe gave no answer within 0.1 s")


def test_probes_go_on_at_once() -> None:
    def slow() -> bool:
        time.sleep(0.5)
        return True

    started = time.monotonic()
    waits = [start_probe(engine(slow)) for _ in range(8)]
    assert all(wait().ok for wait in waits)
    assert time.monotonic() - started < 3
