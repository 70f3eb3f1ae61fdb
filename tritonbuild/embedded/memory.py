"""How the C library deals with freed memory."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_PARAMETERS: Final = {
    "M_ARENA_MAX": (-8, 1),
    "M_MMAP_THRESHOLD": (-3, 32 << 20),
    "M_TRIM_THRESHOLD": (-1, 64 << 20),
}
"""Name -> its number in malloc.h, the value that it gets."""


def keep_freed() -> None:
    """Have freed memory kept for what is allocated next, by whichever thread, where the C library is glibc.

    A layer passes in pieces of up to a megabyte, each allocated and freed. Left to itself, glibc gives most of them
    back to the kernel, which clears the next one page by page; and each thread keeps what it freed for itself.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for number, value in _PARAMETERS.values():
            mallopt(number, value)
