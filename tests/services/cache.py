"""A cache of folders that are slow to create: each is created once, completely, by one process."""

from __future__ import annotations

import fcntl
import os
import tempfile
from collections.abc import Callable
from pathlib import Path


def cache_folder() -> Path:
    """Return the cache's folder: it holds programs built from source, and unpacked packages."""
    base = os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache"
    return Path(base) / "tritonbuild-tools"


def made(folder: Path, make: Callable[[Path], None]) -> Path:
    """Return *folder*; if it does not exist, let *make* fill an empty folder and rename that to it.

    A second process waits for the first instead of doing the same work.
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
