"""Health probes: run a program's query, and derive from a failure the reason and a hint."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tritonbuild import flags, process
from tritonbuild.errors import UnhealthyEngineError, one_line
from tritonbuild.masking import mask
from tritonbuild.threads import in_background

TIMEOUT: Final = 8.0
"""Time limit of a probe's command in seconds: a hung daemon blocks its client for ever, or for 10 to 20 seconds."""

LOW_SPACE: Final = 1 << 30
"""Bytes that must be free in an engine's storage; no engine checks that itself."""

_ERROR: Final = re.compile(r"^(?:error|fatal)\b|\blevel=(?:error|fatal|panic)\b", re.IGNORECASE)
_DEBUG: Final = re.compile(r"\blevel=(?:trace|debug|info)\b|^(?:debug|info)\[", re.IGNORECASE)


def ask(
    argv: Sequence[str],
    *,
    hints: Mapping[str, str],
    install: str,
    env: Mapping[str, str] | None = None,
) -> process.Completed:
    """Run a probe's command and return its output.

    Args:
        argv: The command.
        hints: Hints by a part of the output of a command that fails; the first that occurs counts.
        install: The hint for a program that is not installed.
        env: Environment variables to add.

    Raises:
        UnhealthyEngineError: The program is not installed, failed, or gave no answer in time.
    """
    binary = argv[0]
    if shutil.which(binary) is None:
        raise UnhealthyEngineError(f"{binary} is not installed", hint=install)
    try:
        done = process.capture(argv, timeout=TIMEOUT, env=env)
    except OSError as error:
        raise UnhealthyEngineError(f"{binary} cannot be started: {error.strerror}", hint=install) from error
    if done.timed_out:
        raise UnhealthyEngineError(
            f"{' '.join(mask(argv[:2]))} gave no answer within {TIMEOUT:g} s",
            hint="its daemon or storage hangs; restart it",
        )
    if not done.ok:
        shown = mask(argv)
        reason = cause(done.error) or cause(done.output)
        hint = next((hint for text, hint in hints.items() if text in done.error), f"see {' '.join(shown)}")
        raise UnhealthyEngineError(
            reason or f"{' '.join(shown[:2])} ended with status {done.returncode} without a message", hint=hint
        )
    return done


def at_once(*questions: Callable[[], Any]) -> list[Any]:
    """Run several commands at the same time and return their output.

    Raises:
        UnhealthyEngineError: One of them failed; of several, the first.
    """
    waits = [in_background(question, name="probe") for question in questions]
    return [wait(None) for wait in waits]


def require_version(found: str, least: str, *, program: str) -> None:
    """Refuse a program that is too old; a version without a number passes.

    Raises:
        UnhealthyEngineError: It is older than *least*.
    """
    numbers = flags.version_numbers(found)
    if numbers and numbers < flags.version_numbers(least):
        raise UnhealthyEngineError(f"{program} {found} is too old", hint=f"install {program} {least} or newer")


def require_space(folder: str, *, hint: str = "remove images that are no longer needed, or move its storage") -> None:
    """Refuse a storage folder whose file system is nearly full; a folder that cannot be accessed passes.

    Raises:
        UnhealthyEngineError: Less than 1 GiB is free.
    """
    try:
        free = shutil.disk_usage(folder).free
    except OSError:
        return
    if free < LOW_SPACE:
        raise UnhealthyEngineError(
            f"the disk of its storage {folder} is nearly full: {free >> 20} MiB free",
            hint=hint,
        )


def json_object(answer: str) -> dict[str, Any]:
    """Parse the JSON object in the output of a program; other lines may surround it.

    Raises:
        UnhealthyEngineError: There is none.
    """
    start, end = answer.find("{"), answer.rfind("}")
    try:
        document = json.loads(answer[start : end + 1])
    except ValueError:
        document = None
    if not isinstance(document, dict):
        raise UnhealthyEngineError(f"its answer is not JSON: {one_line(answer[:80].strip())}")
    return document


def last_line(answer: str) -> str:
    """Return the last line of a program's output that is not blank."""
    return next((line.strip() for line in reversed(answer.splitlines()) if line.strip()), "")


def cause(output: str) -> str:
    """Return the cause of a failure from the output of a program, its last error message; else its last line.

    podman 5 and newer print debug messages after the error.
    """
    lines = [line.strip() for line in output.splitlines() if line.strip()]
    errors = [line for line in lines if _ERROR.search(line)]
    others = [line for line in lines if not _DEBUG.search(line)]
    return _plain((errors or others or lines or [""])[-1])


def _plain(line: str) -> str:
    """Return the message of a log line: of `time=... level=fatal msg="..."` and of `Error: ...`."""
    if found := re.search(r'\bmsg=("(?:[^"\\]|\\.)*")', line):
        with contextlib.suppress(ValueError):
            line = str(json.loads(found[1]))
    return re.sub(r"^(?:error|fatal)(?:\[[0-9]+\])?: ", "", line, flags=re.IGNORECASE)
