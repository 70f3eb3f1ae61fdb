"""The registry of engines, and the engines' probes and command lines on recording programs."""

from __future__ import annotations

import re
from collections.abc import Callable
from pathlib import Path

import pytest

import tritonbuild
from tritonbuild import backends
from tritonbuild.backends import docker
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import InvalidInputError, UnhealthyEngineError, UnknownNameError

FakeProgram = Callable[[str, str], Path]


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the registry as it was."""
    monkeypatch.setattr(backends, "_registered", dict(backends._registered))


def test_an_unknown_engine_is_a_value_error_with_the_nearest_name() -> None:
    with pytest.raises(ValueError, match="unknown engine 'podmn'") as caught:
        tritonbuild.get_backend("podmn")
    assert isinstance(caught.value, UnknownNameError)
    assert caught.value.hint == "did you mean 'podman'?"


def test_registering_and_taking_away() -> None:
    engine = tritonbuild.register_backend("lima", health=lambda: True, construct_build_args=lambda **_: [])
    assert tritonbuild.get_backend("lima") == engine
    assert (engine.binary, engine.build_cmd) == ("lima", ("build",))
    tritonbuild.unregister_backend("lima")
    with pytest.raises(UnknownNameError):
        tritonbuild.get_backend("lima")
    with pytest.raises(UnknownNameError):
        tritonbuild.unregister_backend("lima")


def test_taking_the_place_of_an_engine_and_giving_it_back() -> None:
    own = tritonbuild.get_backend("podman")
    with pytest.raises(InvalidInputError, match="engine 'podman' is registered already"):
        tritonbuild.register_backend("podman", health=lambda: True, construct_build_args=lambda **_: [])
    tritonbuild.register_backend(
        "podman", health=lambda: True, construct_build_args=lambda **_: [], binary="/x/podman", replace=True
    )
    assert tritonbuild.get_backend("podman").binary == "/x/podman"
    tritonbuild.unregister_backend("podman")
    assert tritonbuild.get_backend("podman") == own


def test_registering_for_a_while() -> None:
    own = tritonbuild.get_backend("podman")
    other = Engine(name="podman", binary="x", health=lambda: True, construct_build_args=lambda **_: [])
    with tritonbuild.registered(other):
        assert tritonbuild.get_backend("podman") is other
    assert tritonbuild.get_backend("podman") is own


@pytest.mark.parametrize("name", ["auto", "", "a b", "Upper", "-a", "a\nb", "../a"])
def test_names_an_engine_cannot_have(name: str) -> None:
    with pytest.raises(InvalidInputError):
        tritonbuild.register_backend(name, health=lambda: True, construct_build_args=lambda **_: [])


def test_what_is_no_callable_is_refused() -> None:
    with pytest.raises(InvalidInputError, match="health is of type bool"):
        tritonbuild.register_backend("x", health=True, construct_build_args=lambda **_: [])  # type: ignore[arg-type]
    with pytest.raises(InvalidInputError, match="build_cmd of engine 'x' is a str"):
        tritonbuild.register_backend("x", health=lambda: True, construct_build_args=lambda **_: [], build_cmd="a b")


def healthy(name: str, *, ok: bool) -> Engine:
    return Engine(
        name=name,
        binary=name,
        health=lambda: Health(ok=ok, engine=name, reason="" if ok else f"{name} is down"),
        construct_build_args=lambda **_: [],
    )


def test_auto_takes_the_first_healthy_one(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [healthy("a", ok=False), healthy("b", ok=True), healthy("c", ok=True)]
    monkeypatch.setattr(backends, "_registered", {engine.name: engine for engine in made})
    engine, health = backends.choose()
    assert (engine.name, health.ok) == ("b", True)


def test_auto_with_none_healthy_has_every_reason(monkeypatch: pytest.MonkeyPatch) -> None:
    made = [healthy("a", ok=False), healthy("b", ok=False)]
    monkeypatch.setattr(backends, "_registered", {engine.name: engine for engine in made})
    with pytest.raises(UnhealthyEngineError) as caught:
        backends.choose()
    assert str(caught.value) == "no engine is healthy (a: a is down; b: b is down)"


def test_docker_answers_with_its_daemons_version(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    answer = '{"Client":{"Version":"%s"},"Server":{"Components":[],"Version":"20.10.24"}}'
    fake_program("docker", f"echo WARNING >&2; echo '{answer % '20.10.24+dfsg1'}'")
    health = tritonbuild.probe("docker")
    assert (health.ok, health.version, health.env) == (True, "20.10.24", {"DOCKER_BUILDKIT": "1"})
    monkeypatch.setenv("DOCKER_BUILDKIT", "0")
    assert tritonbuild.probe("docker").env == {}


def test_a_new_docker_chooses_for_itself(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DOCKER_BUILDKIT", raising=False)
    fake_program("docker", """echo '{"Client":{"Version":"28.2.2"},"Server":{"Components":[],"Version":"28.2.2"}}'""")
    assert docker.health().env == {}


def test_podman_in_dockers_place_is_recognised(fake_program: FakeProgram) -> None:
    fake_program(
        "docker",
        """echo 'Emulate Docker CLI' >&2; echo '{"Client":{"Version":"4.3.1"},"Server":{"Version":"4.3.1"}}'""",
    )
    health = tritonbuild.probe("docker")
    assert (health.ok, health.reason, health.hint) == (False, "docker here is podman 4.3.1", "use --engine podman")


REASONS = [
    (
        "docker",
        "echo 'Cannot connect to the Docker daemon at unix:///x.' >&2; exit 1",
        "Cannot connect to the Docker daemon at unix:///x.",
    ),
    ("docker", "echo 'permission denied while trying' >&2; exit 1", "permission denied while trying"),
    ("docker", "echo surprise", "its answer is not JSON: surprise"),
    ("podman", "exit 125", "podman --log-level=debug ended with status 125 without a message"),
    ("buildah", "echo 'overlay: not supported' >&2; exit 125", "overlay: not supported"),
]


@pytest.mark.parametrize(("engine", "script", "reason"), REASONS)
def test_why_an_engine_is_not_healthy(engine: str, script: str, reason: str, fake_program: FakeProgram) -> None:
    fake_program(engine, script)
    health = tritonbuild.probe(engine)
    assert (health.ok, health.reason) == (False, reason)
    assert health.hint or "JSON" in reason


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_a_disk_that_is_nearly_full(
    engine: str, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    answer = (
        f"echo 'level=debug msg=\"Using graph root {tmp_path}\"' >&2; echo 5.0.0"
        if engine == "podman"
        else f"""echo '{{"store": {{"GraphRoot": "{tmp_path}"}}}}'"""
    )
    fake_program(engine, f'if [ "$1" = --version ]; then echo buildah version 1.28.2; exit; fi; {answer}')
    assert tritonbuild.health(engine)
    monkeypatch.setattr("tritonbuild.backends._probe.LOW_SPACE", 1 << 60)
    reason = tritonbuild.probe(engine).reason
    assert re.fullmatch(rf"the disk of its storage {tmp_path} is nearly full: \d+ MiB free", reason)
