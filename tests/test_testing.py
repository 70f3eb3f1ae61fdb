"""The conformance checks fail for an engine that ends with success without what was requested."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tritonbuild import backends, process, testing
from tritonbuild.engine import Engine, Health

FakeProgram = Callable[[str, str], Path]
ID = "sha256:" + "0b" * 32


def subject(engine: Engine) -> testing.Subject:
    return testing.Subject(engine=engine, base="a", registry="localhost:1/x")


@pytest.fixture
def careless(fake_program: FakeProgram) -> Engine:
    """An engine that ends with success whatever is requested."""
    fake_program("careless", "")

    def construct(*, file: str, context_path: str, **options: Any) -> list[str]:
        return [f"--file={file}", *(f"--{name}={value}" for name, value in options.items()), context_path]

    return Engine(
        name="careless",
        binary="careless",
        health=lambda: Health(ok=True, engine="careless"),
        construct_build_args=lambda **options: construct(**{k: v for k, v in options.items() if k != "iidfile"}),
    )


def test_a_push_that_does_not_arrive(careless: Engine) -> None:
    with pytest.raises(
        AssertionError, match=r"the build ended with success, but localhost:1/x/.* is not in the registry"
    ):
        testing.a_push_is_in_the_registry(subject(careless))


def test_an_archive_that_is_not_written(careless: Engine) -> None:
    with pytest.raises(AssertionError, match="the build ended with success, but without the archive"):
        testing.an_archive_is_written(subject(careless))


def test_a_refusal_conforms(careless: Engine) -> None:
    refusing = attrs.evolve(careless, construct_build_args=lambda *, file, context_path, **_: [file, context_path])
    testing.a_push_is_in_the_registry(subject(refusing))
    testing.an_archive_is_written(subject(refusing))


def test_an_interrupt_that_does_not_end_the_build(careless: Engine) -> None:
    with pytest.raises(AssertionError, match="the build went on after an interrupt"):
        testing.an_interrupt_leaves_nothing(subject(careless))


def test_a_command_without_the_global_options(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    """A probe that forgets them: its daemon is not the one that builds."""
    fake_program("podman", f'for t; do case $t in --iidfile=*) echo {ID} > "${{t#*=}}" ;; esac; done')
    podman = backends.get_backend("podman")

    def health(*, program: tuple[str, ...], **_: object) -> Health:
        process.capture([*program, "version"], timeout=30)
        return Health(ok=True, engine="podman", version="9.0")

    monkeypatch.setattr(backends, "_registered", dict(backends._registered))
    backends._registered["podman"] = attrs.evolve(podman, health=health)
    with pytest.raises(AssertionError, match=r"--log-level=error is missing in \['version'\]"):
        testing.global_options_reach_every_command(subject(backends.get_backend("podman")))
