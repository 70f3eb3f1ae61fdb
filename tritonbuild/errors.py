"""Every error that tritonbuild raises.

::

    Exception
    └── TritonBuildError              1  something failed; the base of all
        ├── InvalidInputError         2  an input value cannot be used (also a ValueError)
        │   └── UnknownNameError      2  a name that is not among the known ones
        ├── UnhealthyEngineError      3  the engine cannot build: its health probe says why
        ├── BuildFailedError          4  the engine's build ended without an image
        │   └── BuildTimeoutError     4  ... since it exceeded its time limit
        └── VerificationError         5  the image fails its verification

The number is the command line's exit code. ``str(error)`` is one lower-case sentence that names the thing and
the value; ``error.hint`` says what to do next.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import ClassVar

from tritonbuild.masking import mask_text


def one_line(text: object) -> str:
    """Return *text* so that it stays on one line of a terminal: control characters are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in str(text))


def excerpt(text: str, *, width: int = 300) -> str:
    """Return *text*, or its beginning and its end if it is longer than *width* characters."""
    if len(text) <= width:
        return text
    head = width // 3
    return f"{text[:head]} ... {text[head + 5 - width :]}"


def reason_of(error: OSError) -> str:
    """Return the reason of an error of the system, with the file that it names."""
    return f"{error.strerror}: {error.filename}" if error.filename else str(error)


def origin_of(error: BaseException) -> str:
    """Return ` in MODULE, line LINE` for the function in which *error* was raised; empty if it was not raised."""
    trace = error.__traceback__
    while trace is not None and trace.tb_next is not None:
        trace = trace.tb_next
    return f" in {trace.tb_frame.f_globals.get('__name__', '?')}, line {trace.tb_lineno}" if trace else ""


class TritonBuildError(Exception):
    """Something failed. The base of all errors here."""

    exit_code: ClassVar[int] = 1

    def __init__(self, message: str, *, hint: str = "") -> None:
        self.message = mask_text(one_line(message))
        self.hint = mask_text(one_line(hint))
        super().__init__(self.message)


class InvalidInputError(TritonBuildError, ValueError):
    """An input value cannot be used."""

    exit_code = 2


class UnknownNameError(InvalidInputError):
    """A name is unknown; the hint suggests the most similar known name.

    Args:
        kind: The noun for the named thing: "Triton backend", "engine".
        name: The name as given.
        known: The names that exist.
        where: The scope of the known names, appended to the message: "in release 24.10".
        hint: The hint if no known name is similar; by default it lists all known names.
    """

    def __init__(self, kind: str, name: str, known: Iterable[str], *, where: str = "", hint: str = "") -> None:
        self.kind = kind
        self.name = name
        self.known = tuple(sorted(known))
        near = difflib.get_close_matches(name.lower(), self.known, n=1, cutoff=0.6)
        if near:
            hint = f"did you mean {near[0]!r}?"
        elif not hint:
            hint = f"known: {', '.join(self.known) or 'none'}"
        super().__init__(f"unknown {kind} {name!r}{where and ' ' + where}", hint=hint)


class UnhealthyEngineError(TritonBuildError):
    """The engine cannot build. Raise it from a custom engine's health probe to say why."""

    exit_code = 3

    def __init__(self, reason: str, *, engine: str = "", hint: str = "") -> None:
        self.engine = engine
        self.reason = mask_text(one_line(reason))
        super().__init__(f"engine {engine!r} is not healthy: {reason}" if engine else reason, hint=hint)


class BuildFailedError(TritonBuildError):
    """The engine's build ended without an image.

    Args:
        argv: The command, credentials masked.
        returncode: Its exit status; negative when a signal ended it.
        tail: The last lines of its output.
        log: The file that holds all of its output.
    """

    exit_code = 4

    def __init__(  # noqa: PLR0913 - each is a fact of the failed build
        self,
        message: str,
        *,
        argv: Sequence[str] = (),
        returncode: int | None = None,
        tail: Sequence[str] = (),
        log: Path | None = None,
        hint: str = "",
    ) -> None:
        self.argv = tuple(argv)
        self.returncode = returncode
        self.tail = tuple(tail)
        self.log = log
        super().__init__(message, hint=hint)


class BuildTimeoutError(BuildFailedError):
    """The build exceeded its time limit and was stopped."""


class VerificationError(TritonBuildError):
    """The image fails its verification."""

    exit_code = 5
