"""The command line: parse, call the library, show. Results go to stdout, everything else to stderr."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Sequence
from types import FrameType
from typing import Final, NoReturn

from tritonbuild.cli import arguments
from tritonbuild.errors import BuildFailedError, TritonBuildError, one_line

INTERRUPTED: Final = 130
_WIDEST: Final = 300
"""Characters of a line of a failed build's output; podman repeats a whole RUN in one. The log has them all."""


def main(argv: Sequence[str] | None = None) -> NoReturn:
    """Run the command line and exit; the one place that turns errors into messages and exit codes."""
    gc.disable()  # it ends before it has much to collect, and spends a tenth of its start on looking
    code = run(sys.argv[1:] if argv is None else argv)
    gc.freeze()  # nor does the interpreter have to look at its end
    sys.exit(code)


def run(argv: Sequence[str]) -> int:
    """Run the command line and return its exit code."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, _interrupt)
    try:
        from tritonbuild.cli.app import app  # noqa: PLC0415 - typer and most of what is here

        answer = app(args=arguments.normalized(argv), prog_name="tritonbuild", standalone_mode=False)
    except TritonBuildError as error:
        return _show(error)
    except KeyboardInterrupt:
        answer = INTERRUPTED
    except BrokenPipeError:  # whoever read the output is gone
        sys.stderr.close()
        return 1
    except OSError as error:
        return _show(TritonBuildError(f"{error.strerror}: {error.filename}" if error.filename else str(error)))
    except Exception as error:
        # typer's own errors, whose classes differ with its version (with click, with a copy of it, with neither).
        if hasattr(error, "format_message") and hasattr(error, "exit_code"):
            say(one_line(error.format_message()))
            hint = getattr(getattr(error, "ctx", None), "command_path", "tritonbuild")
            say(f"{hint} --help shows what there is", label="hint")
            return int(error.exit_code)
        if type(error).__name__ != "Abort":
            raise
        answer = INTERRUPTED
    if answer == INTERRUPTED:  # typer turns an interrupt into this code, into Abort, or leaves it, by its version
        say("interrupted")
    return answer if isinstance(answer, int) else 0


def say(text: str, *, label: str = "tritonbuild") -> None:
    """Write a line for the user to stderr."""
    print(f"{label}: {text}", file=sys.stderr, flush=True)  # noqa: T201 - the command line speaks here


def _show(error: TritonBuildError) -> int:
    if isinstance(error, BuildFailedError):
        for line in error.tail:
            text = one_line(line)
            shown = text if len(text) <= _WIDEST else f"{text[:_WIDEST]}..."
            print(f"  | {shown}", file=sys.stderr)  # noqa: T201
    say(error.message)
    if error.hint:
        say(error.hint, label="hint")
    if isinstance(error, BuildFailedError) and error.log:
        say(str(error.log), label="log")
    return error.exit_code


def _interrupt(_number: int, _frame: FrameType | None) -> NoReturn:
    raise KeyboardInterrupt
