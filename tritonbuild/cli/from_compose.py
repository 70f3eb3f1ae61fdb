"""The command line of NVIDIA's compose.py, converted to that of tritonbuild."""

from __future__ import annotations

import argparse
import shlex
from collections.abc import Sequence
from typing import Final, NoReturn

from tritonbuild.cli import arguments
from tritonbuild.errors import InvalidInputError

_REPEATED: Final = ("backend", "repoagent", "cache", "image")
_VALUES: Final = ("container-version", "output-name", "work-dir")
_SWITCHES: Final = ("skip-pull", "dry-run", "quiet", "verbose")


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(f"compose.py: {message}", hint="give the arguments of compose.py after --")


def converted(argv: Sequence[str]) -> str:
    """Return the command of tritonbuild, in shell syntax, that composes the image of `compose.py ARGV`.

    Raises:
        InvalidInputError: compose.py has no such option, or the value is malformed.
    """
    words = list(argv)
    if words[:1] and words[0].rpartition("/")[2] in {"python", "python3"}:
        del words[0]
    if words[:1] and words[0].rpartition("/")[2] == "compose.py":
        del words[0]
    given = vars(_parser().parse_args(arguments.normalized(words)))
    result = ["tritonbuild", "--runtime", "install"]
    if not given["enable_gpu"]:
        result.append("--no-enable-gpu")
    for name in (*_REPEATED, *_VALUES):
        value = given[name.replace("-", "_")]
        for one in [value] if isinstance(value, str) else value or ():
            result += [f"--{name}", one]
    result += [f"--{name}" for name in _SWITCHES if given[name.replace("-", "_")]]
    return shlex.join(result)


def _parser() -> argparse.ArgumentParser:
    """Return a parser of compose.py's options; like compose.py, it takes unambiguous abbreviations of them."""
    parser = _Parser(prog="compose.py", add_help=False)
    for name in _REPEATED:
        parser.add_argument(f"--{name}", action="append", default=[])
    for name in _VALUES:
        parser.add_argument(f"--{name}")
    for name in _SWITCHES:
        short = [f"-{name[0]}"] if name in {"quiet", "verbose"} else []
        parser.add_argument(f"--{name}", *short, action="store_true")
    parser.add_argument("--enable-gpu", action=argparse.BooleanOptionalAction, default=True)
    return parser
