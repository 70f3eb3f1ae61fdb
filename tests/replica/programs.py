"""The programs that create the source images."""

import contextlib
import os
import shutil
import signal
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.replica.errors import ReplicaError

PACKAGES: Final = {"apt-get": "apt", "gcc": "gcc", "mmdebstrap": "mmdebstrap", "tar": "tar"}
TAIL: Final = 5


def require() -> None:
    """Raise if a program or root is missing, and name the Debian packages to install."""
    if missing := [program for program in PACKAGES if shutil.which(program) is None]:
        packages = " ".join(PACKAGES[program] for program in missing)
        raise ReplicaError(f"{', '.join(missing)} not found: install the Debian packages {packages}")
    if os.geteuid() != 0:
        raise ReplicaError("mmdebstrap needs root to create the source images: run as root")


def run(argv: Sequence[str], *, cwd: Path | None = None, env: Mapping[str, str] | None = None) -> str:
    """Run *argv* and return its stdout.

    When interrupted, it asks the program to stop and waits: mmdebstrap unmounts and removes its files.
    """
    process = subprocess.Popen(
        argv,
        cwd=cwd,
        env={**os.environ, **(env or {})},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        start_new_session=True,
    )
    try:
        output, _ = process.communicate()
    except BaseException:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)  # mmdebstrap itself would only wait for its children
        process.communicate()
        raise
    if process.returncode:
        last = " | ".join(output.splitlines()[-TAIL:])
        raise ReplicaError(f"{argv[0]} failed with {process.returncode}: {last}")
    return output
