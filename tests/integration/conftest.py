"""Real engines and a real registry, in a network where nothing else can be reached."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import replica, services
from tests.conftest import REQUIRE
from tests.integration.labs import ENGINES, Lab, Sources
from tests.integration.offline import offline
from tests.services.containers import Containers
from tests.services.dockerd import Dockerd


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if "integration" in Path(item.path).parts:
            item.add_marker(pytest.mark.integration)


@contextlib.contextmanager
def needed(request: pytest.FixtureRequest, engine: str) -> Iterator[None]:
    """Skip when a program is missing, with its name; fail when the engine is required."""
    required = request.config.getoption(REQUIRE)
    try:
        yield
    except (services.MissingProgramError, replica.ReplicaError) as error:
        if engine in required or "all" in required:
            pytest.fail(f"{engine} is required: {error}")
        pytest.skip(f"{engine}: {error}")


@pytest.fixture(scope="session")
def made_replica(request: pytest.FixtureRequest) -> replica.Replica:
    """The source images, as an OCI layout."""
    with needed(request, "replica"):
        return replica.make()


@pytest.fixture(scope="session")
def isolated(made_replica: replica.Replica) -> Iterator[None]:
    """A network in which nothing but this machine can be reached, for all that starts from here on."""
    with offline():
        yield


@pytest.fixture(scope="session")
def sources(
    request: pytest.FixtureRequest,
    isolated: None,
    made_replica: replica.Replica,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sources]:
    """The source images in a registry."""
    with contextlib.ExitStack() as stack:
        with needed(request, "registry"):
            registry = stack.enter_context(services.registry(tmp_path_factory.mktemp("registry") / "registry"))
        yield Sources(host=registry.host, references=made_replica.push(registry.host))


@pytest.fixture(scope="session")
def containers(
    request: pytest.FixtureRequest, sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Containers]:
    """Settings for podman and buildah."""
    with contextlib.ExitStack() as stack:
        with needed(request, "podman"):
            for program in ("podman", "buildah", "runc"):
                services.programs.find(program)
            root = tmp_path_factory.mktemp("containers") / "root"
            made = stack.enter_context(services.containers(root, insecure=[sources.host]))
        yield made


@pytest.fixture(scope="session")
def old_docker(
    request: pytest.FixtureRequest, sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Dockerd]:
    """Debian's docker."""
    with contextlib.ExitStack() as stack:
        with needed(request, "docker"):
            root = tmp_path_factory.mktemp("dockerd") / "root"
            made = stack.enter_context(services.dockerd(root, insecure=[sources.host]))
        yield made


def make_lab(request: pytest.FixtureRequest, name: str, sources: Sources) -> Lab:
    """Return a lab, started if it was not yet."""
    if name in {"podman", "buildah"}:
        made: Containers = request.getfixturevalue("containers")
        return Lab(
            name=name, engine=name, env=made.env, runner="podman", runner_env=made.env, root=made.root, sources=sources
        )
    daemon: Dockerd = request.getfixturevalue("old_docker")
    env = {**daemon.env, "DOCKER_BUILDKIT": "0" if name == "docker-legacy" else "1"}
    return Lab(
        name=name, engine="docker", env=env, runner="docker", runner_env=daemon.env, root=daemon.root, sources=sources
    )


@pytest.fixture(scope="session", params=ENGINES)
def lab(request: pytest.FixtureRequest, sources: Sources) -> Lab:
    """Each engine in turn."""
    return make_lab(request, request.param, sources)
