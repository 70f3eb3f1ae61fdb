"""Each parser on some thousand mutated inputs: it reads them, or raises an error that it documents."""

from __future__ import annotations

import contextlib
import time

import pytest

from tests.fuzz.parsers import PARSERS, Parser
from tests.fuzz.running import growth, run


@pytest.mark.parametrize("name", PARSERS)
def test_nothing_but_documented_errors_escapes(name: str) -> None:
    outcome = run(PARSERS[name], cases=2000, seconds=60)
    assert outcome.failures == [], str(outcome)
    assert outcome.refused > 100 or not PARSERS[name].refuses
    assert outcome.read > 0


@pytest.mark.parametrize("name", PARSERS)
def test_the_samples_are_valid(name: str) -> None:
    for sample in PARSERS[name].samples:
        if not name.startswith("options"):
            PARSERS[name].parse(sample)


@pytest.mark.parametrize("name", PARSERS)
def test_the_time_grows_with_the_input_and_no_faster(name: str) -> None:
    assert growth(PARSERS[name]) == []


KEPT = {
    "an account without a number": ("accounts", b"me:x::8::/:\n"),
    "a loader configuration that includes itself again and again": (
        "loader configuration",
        b"include /etc/ld.so.conf.d/*.conf\n" * 100,
    ),
    "a deep list in COPY": ("fragments", b"COPY " + b"[" * 100_000),
    "a deep list in CMD": ("instructions", b"CMD " + b"[" * 100_000),
    "an instruction of many lines": ("fragments", b"RUN a" + b"\\\n" * 300_000 + b"b"),
    "an instruction of many options": ("fragments", b"COPY " + b"--a " * 200_000),
    "references in a quotation without end": ("instructions", b'ENV A="' + b"$A" * 5000),
    "references without end": ("instructions", b"ENV A=" + b"${A:-" * 20_000),
    "a value that doubles": ("instructions", b"ENV A=xx\n" + b"ENV A=$A$A\n" * 60),
    "a long word": ("instructions", b"ENV A=" + b"a" * 100_000),
    "many volumes": ("instructions", b"VOLUME /v\n" * 50_000),
    "many ranges of ports": ("instructions", b"EXPOSE 1-65535\n" * 1000),
}
"""Inputs over which a parser failed, or took time without end: a parser and its input."""


@pytest.mark.parametrize("name", KEPT)
def test_inputs_that_were_found(name: str) -> None:
    parser, content = KEPT[name]
    began = time.process_time()
    with contextlib.suppress(*PARSERS[parser].errors):
        PARSERS[parser].parse(content)
    assert time.process_time() - began < 20


def test_a_slow_parser_is_found() -> None:
    def slow(content: bytes) -> None:
        for start in range(0, len(content) if content[:1] == b"{" else 0, 4):
            content[start:].count(b"x")

    assert growth(Parser(parse=slow, samples=(b"",), units=()))
