"""Errors: one line, a hint, an exit code; the tree is as its docstring draws it."""

from __future__ import annotations

import inspect
import re

import pytest

from tritonbuild import errors


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    drawn = re.findall(r"^ *(?:│ *)*[├└]── (\w+) +(\d)", errors.__doc__ or "", re.MULTILINE)
    built = [
        (name, str(value.exit_code))
        for name, value in vars(errors).items()
        if inspect.isclass(value) and issubclass(value, errors.TritonBuildError)
    ]
    assert sorted(drawn) == sorted(built)


def test_a_message_stays_on_one_line() -> None:
    error = errors.TritonBuildError("a\nb\x1b[31m", hint="c\rd")
    assert (str(error), error.hint) == ("a\\nb\\x1b[31m", "c\\rd")


@pytest.mark.parametrize(
    ("name", "hint"),
    [("podmn", "did you mean 'podman'?"), ("Podman", "did you mean 'podman'?"), ("xyz", "known: buildah, podman")],
)
def test_an_unknown_name_has_the_nearest_as_hint(name: str, hint: str) -> None:
    error = errors.UnknownNameError("engine", name, ["podman", "buildah"])
    assert (str(error), error.hint) == (f"unknown engine {name!r}", hint)
    assert isinstance(error, ValueError)


def test_unhealthy_says_which_engine() -> None:
    error = errors.UnhealthyEngineError("it is down", engine="mine", hint="start it")
    assert (str(error), error.reason, error.exit_code) == ("engine 'mine' is not healthy: it is down", "it is down", 3)
