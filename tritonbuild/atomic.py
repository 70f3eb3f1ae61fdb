"""Files that appear whole or not at all: they are written under another name, then replace the target."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def beside(target: Path) -> Iterator[Path]:
    """Yield the path of a file that does not exist yet, in the folder of *target*; it is removed afterwards."""
    temporary = target.with_name(f".{target.name}.{os.urandom(8).hex()}")
    try:
        yield temporary
    finally:
        temporary.unlink(missing_ok=True)


@contextlib.contextmanager
def replacing(target: Path) -> Iterator[Path]:
    """Yield the path of a file that does not exist yet, and put the file written there in place of *target*.

    It gets the mode of any new file. When the block fails, *target* stays as it was.
    """
    with beside(target) as temporary:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(0o666 & ~mask)
        temporary.replace(target)
