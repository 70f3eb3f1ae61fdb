"""Mutate samples and run a parser on them, within limits of number and time."""

from __future__ import annotations

import contextlib
import random
import time
import traceback
from typing import Final

import attrs

from tests.fuzz.parsers import Parser

_TOKENS = (
    b"",
    b"\0",
    b"\xff",
    b"\x80\0\0\0\0\0\0\1",
    b"9" * 30,
    b"-1",
    b"nan",
    b"..",
    b"/",
    b":",
    b"@",
    b"\xed\xa0\x80",
    b"[" * 200,
)


@attrs.define(kw_only=True)
class Outcome:
    """The outcome of a run: counts, and the cases that raised another error."""

    read: int = 0
    refused: int = 0
    failures: list[tuple[bytes, str]] = attrs.field(factory=list)

    def __str__(self) -> str:
        text = f"{self.read} read, {self.refused} refused, {len(self.failures)} failed"
        return "\n".join([text, *(f"{case[:200]!r}\n{trace}" for case, trace in self.failures[:3])])


def mutated(sample: bytes, chance: random.Random) -> bytes:
    """Return *sample* with a few bytes changed, removed, doubled or replaced."""
    found = bytearray(sample)
    for _ in range(chance.choice((1, 1, 1, 2, 4, 8))):
        start = chance.randrange(len(found) + 1)
        length = chance.choice((0, 1, 1, 4, 16, 200))
        kind = chance.randrange(4)
        if kind == 0 and start < len(found):
            found[start] ^= 1 << chance.randrange(8)
        elif kind == 1:
            del found[start : start + length]
        elif kind == 2:
            found[start:start] = found[start : start + length]
        else:
            token = chance.choice(_TOKENS)
            found[start : start + chance.choice((0, len(token)))] = token
    return bytes(found)


UNITS: Final = tuple(
    text.encode()
    for text in (
        *("a", "0", " ", "\n", "\0", "/", ":", "@", ",", "=", '"', "'", "\\", "[", "{", "}", "#", "?", "&", ".", "-"),
        *("a/", "a=", "a,", '"",', '{"":', "[1],", "a:a@", "?a=", "\u00e9"),
    )
)
"""Parts of many languages."""

_REPEATED: Final = 1 << 14
_AT_ONCE: Final = 0.03
"""Seconds of the processor's time that no input of that length has to stay below."""

_MOST_GROWTH: Final = 3.0
_MEASUREMENTS: Final = 4


def _seconds(parser: Parser, content: bytes) -> float:
    """Return the time that the processor spends on *content*, in this process."""
    began = time.process_time()
    with contextlib.suppress(*parser.errors):
        parser.parse(content)
    return time.process_time() - began


def growth(parser: Parser) -> list[tuple[bytes, float]]:
    """Return the units whose repetition takes more than three times as long when it is twice as long.

    A unit is repeated in the middle and at the end of a sample. Times are those of the processor,
    so that other programs do not count; the smallest of some measurements is taken.
    """
    slow = []
    for unit in (*UNITS, *parser.units) if parser.is_linear else ():
        sample = parser.samples[0]
        for at in (len(sample) // 2, len(sample)):
            count = max(1, _REPEATED // len(unit))
            once, twice = (sample[:at] + unit * (count * times) + sample[at:] for times in (1, 2))
            if _seconds(parser, twice) <= _AT_ONCE:
                continue
            ratio = 1e9
            for _ in range(_MEASUREMENTS):
                ratio = min(ratio, _seconds(parser, twice) / max(_seconds(parser, once), _AT_ONCE / 10))
                if ratio <= _MOST_GROWTH:
                    break
            else:
                slow.append((unit, ratio))
    return slow


def run(parser: Parser, *, cases: int, seconds: float, seed: int = 0) -> Outcome:
    """Run *parser* on mutated samples until a limit is reached."""
    chance, outcome = random.Random(seed), Outcome()
    end = time.monotonic() + seconds
    for _ in range(cases):
        if time.monotonic() > end:
            break
        case = mutated(chance.choice(parser.samples), chance)
        try:
            parser.parse(case)
        except parser.errors:
            outcome.refused += 1
        except Exception:  # noqa: BLE001 - it is what is looked for
            outcome.failures.append((case, traceback.format_exc(limit=-3)))
        else:
            outcome.read += 1
    return outcome
