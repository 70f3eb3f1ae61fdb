"""Platforms of an image index: which entry fits a processor best, as containerd orders them.

https://github.com/containerd/platforms/blob/main/compare.go
"""

from __future__ import annotations

import re
from typing import Final

_BASELINE: Final = {"amd64": 100, "arm": 700, "arm64": 800}
"""The version that an architecture without variant means, a hundredfold: amd64/v1, arm/v7, arm64/v8."""

_VERSION: Final = re.compile(r"v?([0-9]{1,3})(?:\.([0-9]{1,2}))?", re.ASCII)


def distance(offered: str, wanted: str) -> int | None:
    """Return how far the platform *offered* is from *wanted*: 0 for the same, None if it does not run there.

    An older variant runs on a newer processor, the newest of them best. A newer variant is the last resort, and only
    if *wanted* names no variant.
    """
    (os, arch, variant), (wanted_os, wanted_arch, wanted_variant) = _parts(offered), _parts(wanted)
    if (os, arch) != (wanted_os, wanted_arch):
        return None
    if variant == wanted_variant:
        return 0
    version, limit = _version(arch, variant), _version(arch, wanted_variant)
    if version is None or limit is None:
        return None if wanted_variant else 1
    if version <= limit:
        return limit - version
    return None if wanted_variant else 10_000 + version - limit


def _parts(platform: str) -> tuple[str, str, str]:
    os, _, rest = platform.partition("/")
    arch, _, variant = rest.partition("/")
    return os, arch, variant


def _version(arch: str, variant: str) -> int | None:
    if not variant:
        return _BASELINE.get(arch)
    found = _VERSION.fullmatch(variant)
    if found is None:
        return None
    version = int(found[1]) * 100 + int(found[2] or 0)
    # Armv9.0 has what Armv8.5 has, Armv9.1 what Armv8.6 has.
    return version - 100 + 5 if arch == "arm64" and version >= 900 else version  # noqa: PLR2004
