"""Time two commands in turn, A B A B, as whole processes, and compare them pair by pair."""

from __future__ import annotations

import os
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Pair:
    """The seconds that each run of two commands took."""

    first: tuple[float, ...]
    second: tuple[float, ...]

    @property
    def ratio(self) -> float:
        """The median of first / second, pair by pair."""
        return statistics.median(a / b for a, b in zip(self.first, self.second, strict=True))

    @property
    def difference(self) -> float:
        """The median of first - second, pair by pair, in seconds."""
        return statistics.median(a - b for a, b in zip(self.first, self.second, strict=True))

    def __str__(self) -> str:
        """Return the medians, the ratio and the difference."""
        first, second = statistics.median(self.first), statistics.median(self.second)
        return f"{first:.3f} s / {second:.3f} s = {self.ratio:.2f}, {self.difference * 1000:+.0f} ms"


def seconds(argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> float:
    """Return how long a command takes.

    Raises:
        subprocess.CalledProcessError: It failed; a command that fails is not timed.
    """
    started = time.perf_counter()
    subprocess.run(argv, env={**os.environ, **(env or {})}, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    return time.perf_counter() - started


def compare(
    first: Sequence[str | Path],
    second: Sequence[str | Path],
    *,
    runs: int = 9,
    env: Mapping[str, str] | None = None,
) -> Pair:
    """Run both commands in turn *runs* times, after one that does not count."""
    for argv in (first, second):
        seconds(argv, env)
    pairs = [(seconds(first, env), seconds(second, env)) for _ in range(runs)]
    return Pair(first=tuple(a for a, _ in pairs), second=tuple(b for _, b in pairs))
