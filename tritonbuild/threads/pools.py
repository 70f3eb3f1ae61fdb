"""Pools of threads: decompressors and hashes release the interpreter lock, so that threads use all cores.

This module is apart from the package because a command line that builds with an engine needs no pool, and importing
`concurrent.futures` takes longer than all else that it imports here.
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
    """Yield a pool of threads; what has not begun when something fails does not begin any more."""
    threads = ThreadPoolExecutor(max(1, size))
    try:
        yield threads
    except BaseException:
        threads.shutdown(wait=True, cancel_futures=True)
        raise
    threads.shutdown(wait=True)


def results(pending: Sequence[Future[T]]) -> list[T]:
    """Return results once all are there; what one of them raises is raised at once."""
    done, _ = wait(pending, return_when=FIRST_EXCEPTION)
    for one in pending:
        if one in done:
            one.result()
    return [one.result() for one in pending]
