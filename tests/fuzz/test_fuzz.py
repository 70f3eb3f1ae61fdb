"""Each parser on some thousand mutated inputs: it reads them, or raises an error that it documents."""

from __future__ import annotations

import pytest

from tests.fuzz.parsers import PARSERS
from tests.fuzz.running import run


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_documented_errors_escapes(name: str) -> None:
    outcome = run(PARSERS[name], cases=2000, seconds=60)
    assert outcome.failures == [], str(outcome)
    assert outcome.refused > 100
