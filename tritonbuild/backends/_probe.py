"""What the health probes of the engines share: ask a program, and say why it gave no good answer."""

from __future__ import annotations

import contextlib
import json
import re
import shutil
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from tritonbuild import flags, process
from tritonbuild.errors import UnhealthyEngineError, one_line
from tritonbuild.threads import in_background

TIMEOUT: Final = 8.0
"""Seconds a probe's command may take: a hung daemon hangs its client for ever, or for 10 to 20 seconds."""

LOW_SPACE: Final = 1 << 30
"""Bytes that must be free where an engine keeps its images; no engine's own check looks at that."""


def ask(
    argv: Sequence[str],
    *,
    hints: Mapping[str, str],
    install: str,
    env: Mapping[str, str] | None = None,
) -> process.Completed:
    """Run a probe's command and return what it printed.

    Args:
        argv: The command.
        hints: What to do, by a piece of text in the answer of a command that fails; the first that occurs counts.
        install: What to do when the program is not there.
        env: Added to the environment.

    Raises:
        UnhealthyEngineError: It is not there, failed, or gave no answer in time.
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
            f"{' '.join(argv[:2])} gave no answer within {TIMEOUT:g} s",
            hint="its daemon or storage hangs; restart it",
        )
    if not done.ok:
        silence = f"{' '.join(argv[:2])} ended with status {done.returncode} in silence"
        said = _plain(last_line(done.error) or last_line(done.output)) or silence
        hint = next((hint for text, hint in hints.items() if text in done.error), f"see what {' '.join(argv)} says")
        raise UnhealthyEngineError(said, hint=hint)
    return done


def at_once(*questions: Callable[[], process.Completed]) -> list[process.Completed]:
    """Ask several questions at the same time and return their answers.

    Raises:
        UnhealthyEngineError: One got no good answer; of several, the first one's error.
    """
    waits = [in_background(question, name="probe") for question in questions]
    return [wait(None) for wait in waits]


def require_version(found: str, least: str, *, program: str) -> None:
    """Refuse a program that is too old; a version without a number is let pass.

    Raises:
        UnhealthyEngineError: It is older than *least*.
    """
    numbers = flags.version_numbers(found)
    if numbers and numbers < flags.version_numbers(least):
        raise UnhealthyEngineError(f"{program} {found} is too old", hint=f"install {program} {least} or newer")


def require_space(folder: str, *, hint: str = "remove images that are no longer needed, or move its storage") -> None:
    """Refuse a storage folder whose file system is nearly full; one that is not to be seen from here is let pass.

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
    """Return the JSON object in a program's answer, which other lines may surround.

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
    """Return the last line of a program's answer that is not blank."""
    return next((line.strip() for line in reversed(answer.splitlines()) if line.strip()), "")


def _plain(line: str) -> str:
    """Return what a line of a log says: `time=... level=fatal msg="..."` and `Error: ...` without their dress."""
    if found := re.search(r'\bmsg=("(?:[^"\\]|\\.)*")', line):
        with contextlib.suppress(ValueError):
            line = str(json.loads(found[1]))
    return re.sub(r"^(?:error|fatal)(?:\[[0-9]+\])?: ", "", line, flags=re.IGNORECASE)
