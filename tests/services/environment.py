"""One environment out of several services'."""

from __future__ import annotations

import os
from collections.abc import Mapping


def merged(*environments: Mapping[str, str]) -> dict[str, str]:
    """Return all *environments* in one: of a variable in several the first counts; the search paths are joined."""
    paths = [path for environment in environments for path in environment.get("PATH", "").split(os.pathsep) if path]
    # What is special to a service comes first in its path: keep the first ones' before the later ones' commons.
    common = set(os.environ.get("PATH", "").split(os.pathsep))
    ordered = [*(path for path in paths if path not in common), *(path for path in paths if path in common)]
    whole: dict[str, str] = {}
    for environment in reversed(environments):
        whole |= environment
    return {**whole, "PATH": os.pathsep.join(dict.fromkeys(ordered))} if ordered else whole
