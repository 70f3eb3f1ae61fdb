"""Real engines and a real registry, in a network where nothing else can be reached."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Final, TypeVar

import attrs
import pytest

from tests import replica, services
from tests.conftest import REQUIRE
from tests.integration.labs import BY_HAND, EMBEDDED, ENGINES, Lab, Sources
from tests.integration.offline import offline
from tests.services import packages, programs, tools
from tests.services.packages import Suite

T = TypeVar("T")
NEW: Final[Suite] = "sid"
NEW_CONTAINERD: Final[Suite] = "trixie"


def _is_integration(item: pytest.Item) -> bool:
    return Path(__file__).parent in Path(item.path).parents


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark these tests, and have them last: from the first of them on there is no network."""
    for item in items:
        if _is_integration(item):
            item.add_marker(pytest.mark.integration)
    items.sort(key=_is_integration)


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


def fetch(request: pytest.FixtureRequest) -> None:
    """Fetch what cannot be fetched any more once there is no network; what cannot be had is found missing later."""
    for engine, get in (
        ("buildx", lambda: (packages.docker(NEW), packages.buildx(NEW))),
        ("nerdctl", lambda: packages.docker(NEW_CONTAINERD)),
        ("buildctl", tools.build),
    ):
        required = request.config.getoption(REQUIRE)
        try:
            get()
        except services.ServiceError:
            if engine in required or "all" in required:
                raise


@pytest.fixture(scope="session")
def isolated(request: pytest.FixtureRequest, made_replica: replica.Replica) -> Iterator[int]:
    """A network in which nothing but this machine can be reached, for all that starts from here on.

    What it yields is the network before, for `offline.joined`.
    """
    fetch(request)
    with offline() as before:
        yield before


@pytest.fixture(scope="session")
def sources(
    request: pytest.FixtureRequest,
    isolated: int,
    made_replica: replica.Replica,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Sources]:
    """The source images in a registry."""
    with contextlib.ExitStack() as stack:
        with needed(request, "registry"):
            registry = stack.enter_context(services.registry(tmp_path_factory.mktemp("registry") / "registry"))
        yield Sources(host=registry.host, references=made_replica.push(registry.host))


@contextlib.contextmanager
def service(request: pytest.FixtureRequest, engine: str, start: AbstractContextManager[T]) -> Iterator[T]:
    """Start a service, or skip."""
    with contextlib.ExitStack() as stack:
        with needed(request, engine):
            made = stack.enter_context(start)
        yield made


@pytest.fixture(scope="session")
def containers(
    request: pytest.FixtureRequest, sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[services.Containers]:
    """Settings for podman and buildah."""
    with needed(request, "podman"):
        for program in ("podman", "buildah", "runc"):
            programs.find(program)
    root = tmp_path_factory.mktemp("containers") / "root"
    with service(request, "podman", services.containers(root, insecure=[sources.host])) as made:
        yield made


@pytest.fixture(scope="session")
def old_docker(
    request: pytest.FixtureRequest, sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[services.Dockerd]:
    """Debian's docker, 20.10."""
    root = tmp_path_factory.mktemp("dockerd") / "root"
    with service(request, "docker", services.dockerd(root, insecure=[sources.host])) as made:
        yield made


@pytest.fixture(scope="session")
def new_docker(
    request: pytest.FixtureRequest, sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[services.Dockerd]:
    """The newest docker there is, with buildx."""
    root = tmp_path_factory.mktemp("dockerd-new") / "root"
    start = services.dockerd(root, which=NEW, buildx=NEW, insecure=[sources.host])
    with service(request, "buildx", start) as made:
        yield made


@pytest.fixture(scope="session")
def buildkitd(
    request: pytest.FixtureRequest, sources: Sources, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[services.Buildkitd]:
    """A BuildKit daemon."""
    root = tmp_path_factory.mktemp("buildkitd") / "root"
    with service(request, "buildctl", services.buildkitd(root, insecure=[sources.host])) as made:
        yield made


@pytest.fixture(scope="session")
def containerd(
    request: pytest.FixtureRequest, buildkitd: services.Buildkitd, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[services.Containerd]:
    """containerd with nerdctl; not Debian 12's, with which nerdctl can neither load nor tag."""
    root = tmp_path_factory.mktemp("containerd") / "root"
    with service(request, "nerdctl", services.containerd(root, buildkit=buildkitd, which=NEW_CONTAINERD)) as made:
        yield made


def make_lab(request: pytest.FixtureRequest, name: str, sources: Sources) -> Lab:
    """Return a lab, started if it was not yet."""
    fixture = {
        "docker": "old_docker",
        "docker-legacy": "old_docker",
        "buildx": "new_docker",
        "nerdctl": "containerd",
        "buildctl": "buildkitd",
    }.get(name, "containers")
    env: Mapping[str, str] = request.getfixturevalue(fixture).env
    lab = Lab(
        name=name,
        engine=name.removesuffix("-legacy"),
        env=env,
        runner="podman" if fixture in {"containers", "buildkitd"} else "docker",
        runner_env=env,
        sources=sources,
        by_hand=BY_HAND.get(name, ()),
    )
    if name == EMBEDDED:
        cache = request.getfixturevalue("tmp_path_factory").mktemp("embedded")
        return attrs.evolve(lab, env={**env, "XDG_CACHE_HOME": str(cache)}, options=(f"--opt=load={lab.runner}",))
    if fixture == "old_docker":
        return attrs.evolve(lab, env={**env, "DOCKER_BUILDKIT": "0" if name == "docker-legacy" else "1"})
    if fixture == "containerd":
        return attrs.evolve(lab, runner="nerdctl")
    if fixture == "buildkitd":
        archives = request.getfixturevalue("tmp_path_factory").mktemp("archives")
        return attrs.evolve(lab, runner_env=request.getfixturevalue("containers").env, archives=archives)
    return lab


@pytest.fixture(scope="session", params=ENGINES)
def lab(request: pytest.FixtureRequest, sources: Sources) -> Lab:
    """Each engine in turn."""
    return make_lab(request, request.param, sources)


@pytest.fixture(scope="session")
def broken_full(containers: services.Containers, sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A full image in the registry that lacks a library which one of its components needs."""
    tag = f"{sources.host}/nvidia/tritonserver:broken"
    changed(containers, sources.references["full"], f"rm {DEEP} {DEEP}.*", tag, tmp_path_factory.mktemp("broken"))
    return tag


@pytest.fixture(scope="session")
def hollow_min(containers: services.Containers, sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A min image in the registry that has an empty file where full has a library."""
    tag = f"{sources.host}/nvidia/tritonserver:hollow-min"
    changed(containers, sources.references["min"], f"touch {DEEP}", tag, tmp_path_factory.mktemp("hollow"))
    return tag


DEEP = "/usr/lib/x86_64-linux-gnu/libacme_deep.so.2"
"""A library of full that the identity backend needs, through another library."""


def changed(containers: services.Containers, image: str, command: str, tag: str, folder: Path) -> None:
    """Run *command* in *image*, and push the result as *tag*."""
    (folder / "Containerfile").write_text(f"FROM {image}\nRUN {command}\n")
    programs.run(["buildah", "build", "--network=none", f"--tag={tag}", folder], env=containers.env, timeout=600)
    programs.run(["buildah", "push", tag], env=containers.env, timeout=600)
