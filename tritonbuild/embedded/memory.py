"""The parameters of glibc's memory allocator for a process that streams layers."""

from __future__ import annotations

import contextlib
import ctypes
from typing import Final

_PARAMETERS: Final = {
    "M_ARENA_MAX": (-8, 1),
    "M_MMAP_THRESHOLD": (-3, 32 << 20),
    "M_TRIM_THRESHOLD": (-1, 64 << 20),
}
"""Name -> its number in malloc.h, and its value."""


def keep_freed() -> None:
    """Set glibc to keep freed memory for the next allocation of any thread; do nothing with another C library.

    Layers pass in pieces of up to a megabyte, each allocated and freed. By default glibc returns most of them to the
    kernel, which clears the next piece page by page, and each thread keeps its freed memory for itself.
    """
    with contextlib.suppress(OSError, AttributeError):
        mallopt = ctypes.CDLL(None).mallopt
        for number, value in _PARAMETERS.values():
            mallopt(number, value)
