"""Parameters of a wrong type: every public function names the parameter, whatever it is given."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import attrs
import pytest

import tritonbuild
from tritonbuild.errors import InvalidInputError

WRONG: tuple[Any, ...] = (
    *(None, True, 0, 3, -1.5, float("nan"), b"x", bytearray(b"x"), "text", "", 1j),
    *([], [1], [None], ["a", 1], [["a"]], (b"x",), {1}, {}, {"a": 1}, {1: "a"}, {"a": None}),
    *(object(), object, len, iter(()), range(2), ValueError("x"), ...),
)

MAPPINGS = {"images", "environment", "files", "labels", "options", "env"}
LISTS = {
    *("backends", "repoagents", "caches", "features", "pip", "requirements", "apt", "models", "entrypoint"),
    *("exclude_libraries", "gpu_arch", "exempt_libraries", "image_tag", "build_cmd"),
}
PATHS = {"requirements", "models", "fragment", "fragment_context", "work_dir", "output_path"}
FUNCTIONS = {"health", "construct_build_args", "on_start", "on_note"}
SWITCHES = {"enable_gpu", "measure", "enable_buildkit", "replace", "buildkit_support"}
OPTIONAL = {
    *("composition", "container_version", "base", "platform", "user", "fragment", "image_tag", "features", "options"),
    "fragment_context",
    *("timeout", "echo", "on_start", "on_note", "work_dir", "output_path", "binary", "build_cmd", "env", "like"),
    *("health", "construct_build_args"),
}
NOT_FOR_COMPOSITION = {"features"}


def is_wrong(name: str, value: Any, *, field: bool) -> bool:  # noqa: PLR0911 - one for each kind of parameter
    """Whether *value* has a type that the parameter never takes."""
    if value is None:
        return name not in OPTIONAL or (field and name in NOT_FOR_COMPOSITION)
    if name in SWITCHES:
        return not isinstance(value, bool)
    if name in FUNCTIONS:
        return not callable(value)
    if name in {"timeout", "echo"}:
        kinds = (int, float) if name == "timeout" else int
        return isinstance(value, bool) or not isinstance(value, kinds)
    if name in MAPPINGS:
        if not isinstance(value, dict):
            return True
        return any(not isinstance(key, str) for key in value) or (
            name != "options" and any(not isinstance(one, str) for one in value.values())
        )
    if name in LISTS:
        if isinstance(value, str):
            return False
        if not isinstance(value, (list, tuple, set, range)):
            return True
        return any(not isinstance(one, str) for one in value)
    return not isinstance(value, str)


def calls() -> Iterator[tuple[str, Callable[..., Any], dict[str, Any], str, bool]]:
    """Yield functions with valid keywords, and each of their parameters."""
    composed = {"backends": ["python"], "container_version": "24.10"}
    fields = [field.name for field in attrs.fields(tritonbuild.Composition) if field.init]
    run = ["composition", "features", "options", "echo"]
    for name, function, valid, own in (
        ("Composition", tritonbuild.Composition, composed, ()),
        ("get_containerfile", tritonbuild.get_containerfile, composed, ("output_path", "enable_buildkit", *run[:2])),
        ("plan", tritonbuild.plan, composed, ("backend", *run)),
        (
            "build",
            tritonbuild.build,
            {**composed, "backend": "none"},
            ("backend", "image_tag", *run, "timeout", "on_start", "on_note", "work_dir", "measure"),
        ),
    ):
        yield from ((name, function, valid, parameter, True) for parameter in fields if parameter not in own)
        yield from ((name, function, valid, parameter, False) for parameter in own)
    for name in ("health", "probe", "get_backend", "unregister_backend"):
        yield name, getattr(tritonbuild, name), {}, "backend", False
    registration = {"backend": "mine", "health": lambda: True, "construct_build_args": lambda **_: []}
    for parameter in (*registration, "binary", "build_cmd", "env", "like", "replace"):
        yield "register_backend", tritonbuild.register_backend, registration, parameter, False


CALLS = list(calls())


@pytest.mark.parametrize(
    ("function", "valid", "parameter", "field"), [row[1:] for row in CALLS], ids=[f"{row[0]}-{row[3]}" for row in CALLS]
)
def test_a_wrong_type_is_an_error_that_names_the_parameter(
    function: Callable[..., Any],
    valid: dict[str, Any],
    parameter: str,
    field: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("tritonbuild.backends._registered", {"docker": None})
    for value in WRONG:
        if not is_wrong(parameter, value, field=field):
            continue
        with pytest.raises(InvalidInputError) as caught:
            function(**{**valid, parameter: value})
        assert parameter in str(caught.value), f"{value!r}: {caught.value}"


def test_values_of_the_right_type_are_converted_as_before() -> None:
    composition = tritonbuild.Composition(backends="python", container_version=None, platform=None, user=None)
    assert (composition.backends, composition.platform, composition.user) == (("python",), "", "")
