"""Temporary folders of a build, removed with all that an engine left in them."""

from __future__ import annotations

import contextlib
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from tritonbuild import dirs, process
from tritonbuild.engine import Engine


@contextlib.contextmanager
def private() -> Iterator[Path]:
    """Yield a private temporary folder and remove it afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tritonbuild-", dir=dirs.temporary()))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@contextlib.contextmanager
def temporary(engine: Engine) -> Iterator[Mapping[str, str]]:
    """Yield TMPDIR for an engine that leaves temporary files, a private folder that is removed afterwards."""
    parent = os.environ.get("TMPDIR") or engine.temporary
    if not engine.temporary or not os.access(parent, os.W_OK):
        yield {}
        return
    folder = tempfile.mkdtemp(prefix="tritonbuild-", dir=parent)
    try:
        yield {"TMPDIR": folder}
    finally:
        for mount in reversed(_mounts_under(folder)):
            process.capture(["umount", "--lazy", mount], timeout=30)
        shutil.rmtree(folder, ignore_errors=True)


def _mounts_under(folder: str) -> list[str]:
    """Return the mount points in a folder, the outer before the inner."""
    try:
        lines = Path("/proc/self/mountinfo").read_text(errors="replace").splitlines()
    except OSError:
        return []
    return [path for line in lines if (path := line.split(" ")[4]).startswith(f"{folder}/")]
