"""Run the parsers on mutated inputs: `python -m tests.fuzz [--cases=NUMBER] [--seconds=LIMIT] [PARSER...]`."""

from __future__ import annotations

import argparse
import sys

from tests.fuzz.parsers import PARSERS
from tests.fuzz.running import growth, run


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.fuzz", description=__doc__)
    parser.add_argument("--cases", type=int, default=100_000, help="cases of each parser")
    parser.add_argument("--seconds", type=float, default=3600, help="time limit of each parser")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("parsers", nargs="*", metavar="PARSER", help=f"one of {', '.join(PARSERS)}")
    given = parser.parse_args()
    failed = 0
    for name in given.parsers or PARSERS:
        outcome = run(PARSERS[name], cases=given.cases, seconds=given.seconds, seed=given.seed)
        print(f"{name}: {outcome}", flush=True)
        slow = growth(PARSERS[name])
        for unit, ratio in slow:
            print(f"{name}: {unit!r} repeated twice as often takes {ratio:.1f} times as long", flush=True)
        failed += bool(outcome.failures or slow)
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
