"""Pools of threads: decompressors and hashes release the interpreter lock, so that threads use all cores.

This is a separate module because a command line that builds with an engine needs no pool, and `concurrent.futures`
takes longer to import than everything else that it needs of this package.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from typing import Final, TypeVar

T = TypeVar("T")

CORES: Final = max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))


@contextlib.contextmanager
def pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a thread pool; if the body fails, calls that have not begun are canceled."""
    threads = ThreadPoolExecutor(max(1, size))
    try:
        yield threads
    except BaseException:
        threads.shutdown(wait=True, cancel_futures=True)
        raise
    threads.shutdown(wait=True)


def results(pending: Sequence[Future[T]]) -> list[T]:
    """Return the results when all calls are complete; raise an error as soon as one call raises it."""
    done, _ = wait(pending, return_when=FIRST_EXCEPTION)
    for one in pending:
        if one in done:
            one.result()
    return [one.result() for one in pending]
