"""The command line: parse arguments, call the library, show results on stdout and everything else on stderr."""

from __future__ import annotations

import contextlib
import gc
import os
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

from tritonbuild.cli import arguments, output
from tritonbuild.errors import BuildFailedError, TritonBuildError, excerpt, one_line, origin_of, reason_of
from tritonbuild.masking import mask_text

INTERRUPTED: Final = 130


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; the only function that turns errors into messages and exit codes."""
    gc.disable()  # the process ends before it has much to collect, and collections take a tenth of its start
    code = run(sys.argv[1:] if argv is None else argv)
    gc.freeze()  # nothing to collect at the interpreter's end
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    signal.signal(signal.SIGTERM, _interrupt)
    if signal.getsignal(signal.SIGHUP) != signal.SIG_IGN:  # as it is under nohup
        signal.signal(signal.SIGHUP, _interrupt)
    try:
        return _run(argv)
    except KeyboardInterrupt:
        return _interrupted()
    except BrokenPipeError:  # the reader of the output has ended
        _silence()
        return 1


def _run(argv: Sequence[str]) -> int:  # noqa: PLR0911 - one for each kind of error
    try:
        from tritonbuild.cli.app import app  # noqa: PLC0415 - typer and most of the package

        words = arguments.normalized(argv)
        answer = app(args=words, obj=words, prog_name="tritonbuild", standalone_mode=False)
    except TritonBuildError as error:
        return _show(error)
    except BrokenPipeError:
        raise
    except OSError as error:
        return _show(TritonBuildError(reason_of(error)))
    except SystemExit as error:
        return _show(TritonBuildError(f"a plug-in or library ended the program with {error.code!r}"))
    except Exception as error:  # noqa: BLE001 - the last catch: a traceback helps no user
        # typer's own errors, whose classes differ with its version (with click, with a copy of it, with neither).
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            output.note(one_line(error.format_message()))
            command = getattr(getattr(error, "ctx", None), "command_path", "tritonbuild")
            output.note(f"{command} --help lists the options and commands", label="hint")
            return int(error.exit_code)
        if type(error).__name__ == "Abort":
            return _interrupted()
        return _show(_unexpected(error))
    # typer turns an interrupt into this code, into Abort, or leaves it, by its version
    return _interrupted() if answer == INTERRUPTED else answer if isinstance(answer, int) else 0


def _unexpected(error: Exception) -> TritonBuildError:
    """Return the error for a defect; it names the function in which *error* was raised."""
    return TritonBuildError(
        f"unexpected {type(error).__name__}{origin_of(error)}: {error}",
        hint="this is a defect of tritonbuild; please report it",
    )


def _interrupted() -> int:
    output.note("interrupted")
    return INTERRUPTED


def _silence() -> None:
    """Give the interpreter a stdout and a stderr that it can flush at its end."""
    with contextlib.suppress(OSError, ValueError):
        null = os.open(os.devnull, os.O_WRONLY)
        os.dup2(null, 1)
        os.dup2(null, 2)


def _show(error: TritonBuildError) -> int:
    if isinstance(error, BuildFailedError):
        for line in error.tail:
            output.line(f"  | {excerpt(mask_text(one_line(line)))}")
    output.note(error.message)
    if error.hint:
        output.note(error.hint, label="hint")
    if isinstance(error, BuildFailedError) and error.log:
        output.note(str(error.log), label="log")
    return error.exit_code


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
