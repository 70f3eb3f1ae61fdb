"""Folders that are slow to make, made once: whole or not at all, by one process at a time."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Return the folder for what is slow to get: programs built from source, unpacked packages."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritonbuild-tools"


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return *folder*; if it is not there, let *make* fill an empty one and put that there.

    A second process waits for the first instead of making the same.
    """
    folder.parent.mkdir(parents=True, exist_ok=True)
    with (folder.parent / f".{folder.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not folder.is_dir():
            with tempfile.TemporaryDirectory(prefix=f".{folder.name}-", dir=folder.parent) as parent:
                draft = Path(parent) / folder.name
                draft.mkdir()
                make(draft)
                draft.rename(folder)
    return folder
