"""Time two commands in turn, A B A B, as whole processes, and compare them pair by pair."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs


@attrs.frozen(kw_only=True)
class Pair:
    """The seconds that each run of two commands took, and of a processor's time at least."""

    first: tuple[float, ...]
    second: tuple[float, ...]
    first_cpu: float
    second_cpu: float

    @property
    def ratio(self) -> float:
        """The median of first / second, pair by pair."""
        return statistics.median(a / b for a, b in zip(self.first, self.second, strict=True))

    @property
    def difference(self) -> float:
        """The median of first - second, pair by pair, in seconds."""
        return statistics.median(a - b for a, b in zip(self.first, self.second, strict=True))

    def __str__(self) -> str:
        """Return the medians, the ratio and the difference, and that of the processor's time."""
        first, second = statistics.median(self.first), statistics.median(self.second)
        cpu = (self.first_cpu - self.second_cpu) * 1000
        return (
            f"{first:.3f} s / {second:.3f} s = {self.ratio:.2f}, {self.difference * 1000:+.0f} ms ({cpu:+.0f} of CPU)"
        )


def seconds(argv: Sequence[str | Path], env: Mapping[str, str] | None = None) -> tuple[float, float]:
    """Return how long a command takes, and how much of a processor's time with the processes that it waits for.

    Raises:
        subprocess.CalledProcessError: It failed; a command that fails is not timed.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    # What an installation has written is read, and not compiled anew.
    own = {**os.environ, **(env or {}), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(argv, env=own, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return wall, after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime


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
    return Pair(
        first=tuple(a for (a, _), _ in pairs),
        second=tuple(b for _, (b, _) in pairs),
        first_cpu=min(cpu for (_, cpu), _ in pairs),
        second_cpu=min(cpu for _, (_, cpu) in pairs),
    )
