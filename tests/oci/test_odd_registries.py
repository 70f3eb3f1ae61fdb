"""Odd registries: messages, bounds and waits. Each habit that has to end well is in `tests.lab.habits`."""

from __future__ import annotations

import contextlib
import json
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.lab.habits import BEARER, answered, changed, guarded, is_a, packed
from tests.lab.odd import Answer, Habit, OddRegistry, Request, error, odd_registry
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tritonbuild.oci.descriptors import Descriptor, digest_of
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.push import Push
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.repository import RegistryRepository
from tritonbuild.oci.transport import UnavailableError
from tritonbuild.reference import parse_reference

CONTENT = bytes(range(256)) * 4096
BLOB = Descriptor(media_type="", digest=digest_of(CONTENT), size=len(CONTENT))
MANIFEST = b'{"schemaVersion": 2}'


def repository(host: str, folder: Path, name: str = "out/x", **settings: Any) -> RegistryRepository:
    login = folder / "auth.json"
    login.write_text(json.dumps({"auths": {host: {"username": "me", "password": "secret"}}}))
    options = {"credential_files": (login,), "tries": 2, **settings}
    return Registries(TransportSettings(**options)).target(parse_reference(f"{host}/{name}:1"))


@contextlib.contextmanager
def odd(habit: Habit | None = None) -> Iterator[OddRegistry]:
    """Run a registry that has a blob and a manifest."""
    with odd_registry(habit or Habit()) as registry:
        registry.put_blob("src/x", CONTENT)
        registry.put_manifest("src/x", "1", "application/vnd.oci.image.manifest.v1+json", MANIFEST)
        yield registry


def test_a_content_encoding_is_undone(tmp_path: Path) -> None:
    with odd(Habit(after=changed(is_a("blobs", "GET"), packed))) as registry:
        source = repository(registry.host, tmp_path, "src/x")
        assert b"".join(source.read(BLOB, 0, BLOB.size)) == CONTENT
        assert b"".join(source.read(BLOB, 1000, 5000)) == CONTENT[1000:5000]


ENDLESS = {"a manifest": (200, "it has more than"), "an error body": (404, "404 Not Found")}


@pytest.mark.parametrize("name", ENDLESS)
def test_bodies_without_end(name: str, tmp_path: Path) -> None:
    status, message = ENDLESS[name]
    endless = answered(is_a("manifests"), Answer(status=status, endless="body"))
    with odd(Habit(before=endless)) as registry, pytest.raises(Exception, match=message):
        repository(registry.host, tmp_path, "src/x").manifest("1")


TOKENS = [b"[]", b'{"token": 5}', b'{"token": ""}', b"{}", b"<html>", b"[" * 100_000, b'{"token": "a\\r\\nb"}']


@pytest.mark.parametrize("answer", TOKENS, ids=range(len(TOKENS)))
def test_damaged_tokens(answer: bytes, tmp_path: Path) -> None:
    habit = Habit(before=guarded(BEARER, service=lambda _request: Answer(body=answer)))
    with odd(habit) as registry:
        expected = f"the answer of the token service {registry.host} is damaged"
        with pytest.raises(UnavailableError, match=expected):
            repository(registry.host, tmp_path, "src/x").manifest("1")


def test_a_wait_is_reported(tmp_path: Path) -> None:
    released = threading.Event()

    def slow(_registry: OddRegistry, request: Request) -> None:
        if request.kind == "manifests":
            released.wait(60)

    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        released.set()

    with odd(Habit(before=slow)) as registry:
        repository(registry.host, tmp_path, "src/x", patience=0.2, report=report).manifest("1")
        assert lines[0].startswith(f"waiting for {registry.host}: no byte for ")
        assert lines[0].endswith(f"(fetch the manifest src/x:1 from {registry.host})")


def test_a_refused_connection_is_reported_and_soon_final(tmp_path: Path) -> None:
    lines: list[str] = []
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"cannot begin an upload to localhost:1/out/x: .*refused"):
        Push(repository("localhost:1", tmp_path, tries=6, report=lines.append)).check()
    assert time.monotonic() - started < 20
    assert len(lines) == 2
    assert all("trying again in" in line for line in lines)


def test_a_registry_that_is_source_and_target_and_locks_itself(tmp_path: Path) -> None:
    with odd(Habit(locks=True)) as registry:
        source = repository(registry.host, tmp_path, "src/x")
        push = Push(repository(registry.host, tmp_path))
        moved: list[int] = []

        def store() -> None:
            reference = parse_reference(f"{registry.host}/src/x:1")
            moved.append(push.store(BLOB, lambda: source.read(BLOB, 0, BLOB.size), source=reference))

        thread = threading.Thread(target=store, daemon=True)
        thread.start()
        thread.join(30)
        assert moved == [BLOB.size]


def test_a_target_that_refuses_uploads_ends_the_build_before_the_sources_are_read(bench: Bench) -> None:
    with odd(Habit(before=answered(is_a("uploads", "POST"), error(403, "DENIED", "DENIED")))) as registry:
        request = tiny.request("nosuch.invalid/full:1", "nosuch.invalid/base:1", "a")
        done = bench.run(request, f"--tag={registry.host}/out/x:1", "--push")
    assert done.code == 1
    first, hint = done.err.splitlines()
    assert first == f"error: cannot begin an upload to {registry.host}/out/x: 403 Forbidden: DENIED"
    assert hint == f"hint: log in with `podman login {registry.host}` or `docker login {registry.host}`"


@pytest.mark.parametrize("challenges", [(), (BEARER,)], ids=["public", "private"])
def test_a_missing_helper_does_not_end_the_build_of_a_public_image(challenges: tuple[str, ...], tmp_path: Path) -> None:
    login = tmp_path / "config.json"
    login.write_text('{"credsStore": "nosuch"}')
    with odd(Habit(before=guarded(*challenges)) if challenges else None) as registry:
        source = repository(registry.host, tmp_path, "src/x", credential_files=(login,))
        if not challenges:
            assert source.manifest("1")[1] == MANIFEST
            return
        with pytest.raises(UnavailableError, match=r"cannot fetch the manifest src/x:1 from .* refuses: 401") as caught:
            source.manifest("1")
    expected = "the credential helper docker-credential-nosuch is not installed; log in with "
    assert caught.value.hint.startswith(expected)
