"""The user's folders: cache, configuration, data, state and temporary files.

They are at the paths of the XDG base directory specification. Where the user names none and the usual one cannot be
written to, as on a read-only root file system, another takes its place: one writable folder is enough for a build.

https://specifications.freedesktop.org/basedir-spec/latest/
"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Final

from tritonbuild.errors import TritonBuildError

_NAME: Final = "tritonbuild"

HINT: Final = "mount a writable folder at /tmp (in Kubernetes an emptyDir), or name one with TMPDIR"
"""The hint for a system without a writable folder."""


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


def temporary() -> Path:
    """Return the folder for temporary files: TMPDIR, /tmp or another usual one, else the folder of another purpose.

    Raises:
        TritonBuildError: No folder can be written to.
    """
    try:
        return Path(tempfile.gettempdir())
    except FileNotFoundError as error:
        for variable, default in _DEFAULTS.items():
            folder = _named(variable, default)
            if folder is not None and is_writable(folder):
                folder.mkdir(parents=True, exist_ok=True)
                os.environ["TMPDIR"] = str(folder)  # for all that asks tempfile, also in processes that are started
                return folder
        raise TritonBuildError("no folder for temporary files can be written to", hint=HINT) from error


def is_writable(folder: Path) -> bool:
    """Return whether *folder* exists or can be created, and files can be created in it."""
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    return existing.is_dir() and os.access(existing, os.W_OK | os.X_OK, effective_ids=True)


_DEFAULTS: Final = {"XDG_CACHE_HOME": ".cache", "XDG_STATE_HOME": ".local/state", "XDG_DATA_HOME": ".local/share"}
"""The folders that can be written to, below the user's home if their variable is not set."""


def _base(variable: str, default: str) -> Path:
    """Return the base directory that *variable* names; a relative path there is ignored, as the specification says."""
    if named := _given(variable):
        return named
    folder = home() / default
    return folder if variable not in _DEFAULTS or is_writable(folder) else _substitute() / default


def _given(variable: str) -> Path | None:
    named = Path(os.environ.get(variable) or "")
    return named if named.is_absolute() else None


def _named(variable: str, default: str) -> Path | None:
    if named := _given(variable):
        return named
    try:
        return Path.home() / default
    except RuntimeError:
        return None


def home() -> Path:
    """Return the user's home; for a user without one (any user id in a container), a folder for temporary files."""
    try:
        return Path.home()
    except RuntimeError:
        return _substitute()


def _substitute() -> Path:
    """Return the folder that takes the place of the home: one of the user's among the temporary files."""
    return temporary() / f"{_NAME}-{os.getuid()}"
