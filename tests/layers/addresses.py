"""Compress units again and again, on several threads and at ever other addresses; fail where a result differs.

Usage: MALLOC_MMAP_THRESHOLD_=32768 MALLOC_MMAP_MAX_=10000000 python -m tests.layers.addresses COUNT

With these settings of glibc's allocator each compressor gets pages of its own, and its address is used only once:
when it is freed, memory that nothing writes to takes its pages.
"""

from __future__ import annotations

import random
import sys
import zlib
from concurrent.futures import ThreadPoolExecutor

from isal import isal_zlib

from tritonbuild.layers.writing import deflated

THREADS = 4


def units() -> list[bytes]:
    """Return units in which a match with one of the first three positions is found late, and a few large ones."""
    found = []
    for seed in range(60):
        chance = random.Random(seed)

        def text(size: int, chance: random.Random = chance) -> bytes:
            return bytes(chance.choices(b"abcdefghijklmnopqrstuvwxyz", k=size))

        start = text(chance.randrange(4, 40))
        again = b"".join(start[at : at + 4] + text(9) for at in range(3))
        found.append(start + text(chance.randrange(20, 200)) + again + text(1000))
    for size in (0, 1, 31, 32, 33, 40, 70_000, 300_000):
        words = [random.Random(word).randbytes(word % 13 + 1) for word in range(900)]
        chance = random.Random(size)
        found.append(b"".join(chance.choice(words) for _ in range(size))[:size])
    return found


def work(thread: int, count: int) -> tuple[int, int, int]:
    """Return how many compressions there were, how many addresses, and how many results that differ."""
    chance = random.Random(thread)
    known = [(unit, deflated(unit)) for unit in units()]
    for unit, result in known:
        if zlib.decompressobj(-15).decompress(result) != unit:
            return 0, 0, 1
    size = sys.getsizeof(isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)) - sys.getsizeof(b"")
    kept, addresses, wrong = [], set(), 0
    for number in range(count):
        unit, result = known[chance.randrange(60) if number % 50 else chance.randrange(len(known))]
        wrong += deflated(unit) != result
        probe = isal_zlib.compressobj(1, isal_zlib.DEFLATED, -15)
        addresses.add(id(probe) >> 16)
        del probe
        kept.append(bytes(size))
    return count, len(addresses), wrong


if __name__ == "__main__":
    with ThreadPoolExecutor(THREADS) as pool:
        done = [pool.submit(work, thread, int(sys.argv[1]) // THREADS) for thread in range(THREADS)]
        print(*(sum(column) for column in zip(*(one.result() for one in done), strict=True)))
