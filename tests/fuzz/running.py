"""Mutate samples and run a parser on them, within limits of number and time."""

from __future__ import annotations

import random
import time
import traceback

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
