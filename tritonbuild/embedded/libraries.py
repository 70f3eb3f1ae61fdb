"""Names of shared libraries: the base's and the driver's."""

from __future__ import annotations

import fnmatch
import posixpath
from collections.abc import Iterable
from typing import Final

OF_THE_BASE: Final = tuple(
    f"{name}*"
    for name in (
        "ld-linux",
        "libc.so.",
        "libm.so.",
        "libdl.so.",
        "libpthread.so.",
        "librt.so.",
        "libresolv.so.",
        "libutil.so.",
    )
)
"""Libraries that are always the base's, if it has a C library: those of the C library."""

C_LIBRARY: Final = "libc.so.6"

OF_THE_DRIVER: Final = ("libcuda.so*", "libcudadebugger.so*", "libnvidia-*", "libnvcuvid.so*", "libnvoptix.so*")
"""Libraries of the GPU's driver, which the host provides."""


def matches(name: str, patterns: Iterable[str]) -> bool:
    """Return whether the name of a library matches one of the shell patterns."""
    return any(fnmatch.fnmatchcase(name, pattern) for pattern in patterns)


def is_library(path: str) -> bool:
    """Return whether a file is named like a shared library."""
    name = posixpath.basename(path)
    return name.endswith(".so") or ".so." in name
