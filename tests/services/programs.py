"""Programs of this machine: find one, run one to its end."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Final

from tests.services.errors import MissingProgramError, ServiceError

SBIN: Final = "/usr/sbin:/sbin"
"""Debian's folders of dockerd, iptables and runc, which are not on every user's ``PATH``."""


def search_path(*first: Path) -> str:
    """Return a ``PATH`` of the folders *first*, this process's ``PATH``, and ``sbin``."""
    return os.pathsep.join([*map(str, first), os.environ.get("PATH", os.defpath), SBIN])


def find(program: str, *, hint: str = "") -> Path:
    """Return the path of *program*.

    Raises:
        MissingProgramError: It is not on the search path.
    """
    found = shutil.which(program, path=search_path())
    if found is None:
        raise MissingProgramError(program, hint)
    return Path(found)


def need_root() -> None:
    """Raise unless this process may mount and make namespaces.

    Raises:
        MissingProgramError: It does not run as root.
    """
    if os.geteuid() != 0:
        program = "root"
        raise MissingProgramError(program, "the services make namespaces and mounts")


def run(
    argv: Sequence[str | Path],
    *,
    env: Mapping[str, str] | None = None,
    timeout: float = 120,
    stdin: str | None = None,
    cwd: Path | None = None,
) -> str:
    """Run *argv* with *env* added to this process's environment and return its stdout.

    Raises:
        ServiceError: It failed, or ran longer than *timeout* seconds; the message has its output.
    """
    words = [str(word) for word in argv]
    try:
        done = subprocess.run(
            words,
            env={**os.environ, **(env or {})},
            capture_output=True,
            text=True,
            errors="replace",
            input=stdin if stdin is not None else "",
            timeout=timeout,
            check=False,
            cwd=cwd,
        )
    except subprocess.TimeoutExpired as error:
        message = f"{' '.join(words)} took longer than {timeout:g} s"
        raise ServiceError(message) from error
    if done.returncode:
        message = f"{' '.join(words)} ended with {done.returncode}\n{done.stdout}{done.stderr}"
        raise ServiceError(message)
    return done.stdout


def find_in(env: Mapping[str, str], program: str) -> str:
    """Return the path of *program* for a child that is started with *env*.

    Raises:
        MissingProgramError: It is not on that child's search path.
    """
    found = shutil.which(program, path=env.get("PATH", search_path()))
    if found is None:
        raise MissingProgramError(program)
    return found
