"""The user's folders: cache, configuration, data and state, at the paths of the XDG base directory specification.

https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

_NAME: Final = "tritonbuild"


def cache() -> Path:
    """Return the folder of files that can be recreated."""
    return _base("XDG_CACHE_HOME", ".cache") / _NAME


def config() -> Path:
    """Return the folder of the user's configuration."""
    return _base("XDG_CONFIG_HOME", ".config") / _NAME


def data() -> Path:
    """Return the folder of images for which the user names no target."""
    return _base("XDG_DATA_HOME", ".local/share") / _NAME


def state() -> Path:
    """Return the folder of logs."""
    return _base("XDG_STATE_HOME", ".local/state") / _NAME


def _base(variable: str, default: str) -> Path:
    """Return the base directory that *variable* names; a relative path there is ignored, as the specification says."""
    named = Path(os.environ.get(variable) or "")
    return named if named.is_absolute() else home() / default


def home() -> Path:
    """Return the user's home; for a user without one (any user id in a container), a folder for temporary files."""
    try:
        return Path.home()
    except RuntimeError:
        return Path(tempfile.gettempdir()) / f"{_NAME}-{os.getuid()}"
