"""The command of a build: its Containerfile on disk, the options that every build has, and the engine's tokens."""

from __future__ import annotations

import errno
import inspect
import os
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tritonbuild import engine as engines
from tritonbuild.atomic import replacing
from tritonbuild.engine import Engine
from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.threads import NoAnswerError, in_background

CONTAINERFILE_NAME: Final = "Dockerfile.compose"
"""The name of the Containerfile in a folder, as with compose.py."""

_INPUTS: Final = {
    "file": "use work_dir to keep the Containerfile, and fragment to add instructions",
    "context_path": "the build context holds the files that the composition adds",
}
"""Options that tritonbuild sets: with `bentoml.container` they name inputs, which must not be overwritten."""

_RESULTS: Final = ("load", "metadata_file", "output", "platform", "push")
"""The options that ask for a result, or for another one: if a custom engine ignored one, the result would be lost."""


def write_containerfile(text: str, target: Path) -> Path:
    """Write a Containerfile to *target*, a file or a folder, whole or not at all; return the file's path."""
    path = target / CONTAINERFILE_NAME if target.is_dir() else target
    if path.exists() and not path.is_file():
        # A pipe or a device, say /dev/stdout, is written to: root could put a file in its place.
        path.write_text(text, encoding="utf-8")
        return path
    try:
        with replacing(path) as new:
            new.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.errno in {errno.EDQUOT, errno.EIO, errno.ENOSPC}:  # no fault of the path
            raise
        raise InvalidInputError(
            f"cannot write {str(path)!r}: {error.strerror}", hint="name a writable folder"
        ) from error
    return path


def defaults(
    engine: Engine, *, scratch: Path, work_dir: str | os.PathLike[str] | None, options: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the options that tritonbuild sets for every build.

    Raises:
        InvalidInputError: The work folder does not exist, or *options* has one that only tritonbuild sets.
    """
    for name, hint in _INPUTS.items():
        if name in options:
            raise InvalidInputError(f"option {name!r} is set by tritonbuild", hint=hint)
    folder = scratch if work_dir is None else Path(work_dir).absolute()
    if not folder.is_dir():
        raise InvalidInputError(
            f"work folder {str(work_dir)!r} does not exist", hint="create it, or name another folder"
        )
    return {
        "file": str(folder / CONTAINERFILE_NAME),
        "context_path": str(scratch / "context"),
        **{name: str(scratch / name) for name in (engine.result_options if engine.makes_image(options) else ())},
        "pull": True,
    }


def accepted(engine: Engine, values: Mapping[str, Any], options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the default options among *values* that go with the engine and with the *options* of the user.

    A custom callable gets those that it has parameters for.

    Raises:
        InvalidInputError: The callable has no parameter for the platform.
    """
    if engine.options:
        return dict(engine.default_options(values, options))
    try:
        parameters = inspect.signature(engine.construct_build_args).parameters
    except (TypeError, ValueError):
        return dict(values)
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return dict(values)
    if "platform" in values and "platform" not in parameters:
        raise InvalidInputError(
            f"engine {engine.name!r} accepts no platform", hint="add the parameter platform to construct_build_args"
        )
    return {name: value for name, value in values.items() if name in {*parameters, *_INPUTS}}


def command(engine: Engine, options: Mapping[str, Any]) -> list[str]:
    """Return the whole command of a build.

    Raises:
        InvalidInputError: An option is unknown, or its value is not accepted.
        TritonBuildError: The callable of a custom engine failed, hangs, or returned anything but tokens.
    """
    try:
        tokens = _tokens(engine, options) if engine.options else _tokens_in_time(engine, options)
    except TritonBuildError:
        raise
    except Exception as error:
        raise _broken(engine, f"raised {type(error).__name__}: {error}") from error
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise _broken(engine, f"returned {tokens!r}, not a list of str")
    return engine.command((*engine.build_cmd, *tokens), options)


def require_effect(engine: Engine, options: Mapping[str, Any], given: Mapping[str, Any]) -> None:
    """Refuse an option of a custom engine that asks for a result and changes nothing in the command.

    Args:
        engine: The engine.
        options: All options of the build.
        given: The options of the user.

    Raises:
        InvalidInputError: The engine ignores an option, so that its result would be lost.
    """
    if engine.options:
        return
    for name in _RESULTS:
        value = given.get(name)
        if value is None or value is (name == "load"):  # load=True and push=False ask for nothing
            continue
        if command(engine, {k: v for k, v in options.items() if k != name}) == command(engine, options):
            raise InvalidInputError(
                f"engine {engine.name!r} ignores the option {name!r}: its command is the same without it",
                hint="register it with like='ENGINE', or let its construct_build_args take the option",
            )


def _tokens(engine: Engine, options: Mapping[str, Any]) -> object:
    tokens = engine.construct_build_args(**engine.build_options(options))
    return tokens if isinstance(tokens, (str, bytes)) else list(tokens)


def _tokens_in_time(engine: Engine, options: Mapping[str, Any]) -> object:
    """Return the tokens of a custom callable; one that hangs is left to a daemon thread."""
    answer = in_background(lambda: _tokens(engine, options), name=f"command-{engine.name}")
    try:
        return answer(engines.PROBE_TIMEOUT)
    except NoAnswerError:
        raise _broken(engine, f"gave no answer within {engines.PROBE_TIMEOUT:g} s") from None


def _broken(engine: Engine, problem: str) -> TritonBuildError:
    return TritonBuildError(
        f"construct_build_args of engine {engine.name!r} {problem}", hint="fix the callable that was registered"
    )
