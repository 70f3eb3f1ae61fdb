"""Time two commands in turn, as whole processes, and compare them pair by pair."""

from __future__ import annotations

import os
import resource
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TypeAlias

import attrs

Argv: TypeAlias = Sequence[str | Path]


@attrs.frozen(kw_only=True)
class Cost:
    """The seconds that one run took, and the CPU seconds of its processes."""

    wall: float
    cpu: float


@attrs.frozen(kw_only=True)
class Pair:
    """The costs of two commands, run by run."""

    first: tuple[Cost, ...]
    second: tuple[Cost, ...]

    def __str__(self) -> str:
        """Return the medians, and the medians of ratio and difference over the pairs."""
        wall = _comparison([one.wall for one in self.first], [one.wall for one in self.second])
        cpu = _comparison([one.cpu for one in self.first], [one.cpu for one in self.second])
        return f"{wall}; CPU {cpu}"


def _comparison(first: Sequence[float], second: Sequence[float]) -> str:
    ratio = statistics.median(a / b for a, b in zip(first, second, strict=True))
    difference = statistics.median(a - b for a, b in zip(first, second, strict=True)) * 1000
    medians = f"{statistics.median(first):.3f} s / {statistics.median(second):.3f} s"
    return f"{medians} = {ratio:.2f} ({difference:+.0f} ms)"


def cost(argv: Argv, env: Mapping[str, str] | None = None) -> Cost:
    """Run a command and return its cost, with the processes that it waits for.

    Raises:
        subprocess.CalledProcessError: The command failed; its cost would mean nothing.
    """
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    started = time.perf_counter()
    # Compiled files are written by the run that does not count, and read by the others, as in an installation.
    environment = {**os.environ, **(env or {}), "PYTHONDONTWRITEBYTECODE": ""}
    subprocess.run(argv, env=environment, check=True, capture_output=True, stdin=subprocess.DEVNULL)
    wall = time.perf_counter() - started
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return Cost(wall=wall, cpu=after.ru_utime - before.ru_utime + after.ru_stime - before.ru_stime)


def compare(first: Argv, second: Argv, *, runs: int = 9, env: Mapping[str, str] | None = None) -> Pair:
    """Run both commands in turn *runs* times, after one run of each that does not count."""
    for argv in (first, second):
        cost(argv, env)
    return alternate(lambda _: cost(first, env), lambda _: cost(second, env), runs=runs)


def alternate(first: Callable[[int], Cost], second: Callable[[int], Cost], *, runs: int) -> Pair:
    """Call both with the number of the run, each first in every other run, so that neither gets the warmer machine."""
    costs: list[tuple[Cost, Cost]] = []
    for number in range(runs):
        if number % 2:
            later = second(number)
            costs.append((first(number), later))
        else:
            costs.append((first(number), second(number)))
    return Pair(first=tuple(a for a, _ in costs), second=tuple(b for _, b in costs))
