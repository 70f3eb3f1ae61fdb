"""The environment for a command that uses several services."""

from __future__ import annotations

import os
from collections.abc import Mapping


def merged(*environments: Mapping[str, str]) -> dict[str, str]:
    """Return *environments* merged: the first value of a variable wins; search paths are joined."""
    paths = [path for environment in environments for path in environment.get("PATH", "").split(os.pathsep) if path]
    # A service's special folders come first in its path; keep them before the folders that every path has.
    common = set(os.environ.get("PATH", "").split(os.pathsep))
    ordered = [*(path for path in paths if path not in common), *(path for path in paths if path in common)]
    whole: dict[str, str] = {}
    for environment in reversed(environments):
        whole |= environment
    return {**whole, "PATH": os.pathsep.join(dict.fromkeys(ordered))} if ordered else whole
