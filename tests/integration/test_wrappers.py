"""Engines as people run them: behind wrappers and other builders, elsewhere, over TLS, with other settings."""

from __future__ import annotations

import os
import shutil
import socket
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

import tritonbuild
from tests import services
from tests.integration.labs import Sources
from tests.services import Buildkitd, Containerd, Containers, Dockerd, programs
from tritonbuild import backends
from tritonbuild.engine import probe
from tritonbuild.errors import BuildFailedError, InvalidInputError, UnhealthyEngineError
from tritonbuild.run_build import BuildResult, Job, run


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> None:
    """Leave the registry of engines as it was."""
    monkeypatch.setattr(backends, "_registered", dict(backends._registered))


@pytest.fixture(scope="module")
def base(sources: Sources, tmp_path_factory: pytest.TempPathFactory) -> str:
    """A small image in the registry."""
    layout = services.busybox_layout(tmp_path_factory.mktemp("layout") / "layout")
    return services.push(layout, sources.host, "wrappers/base")


@pytest.fixture
def environment(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that sets the variables which lead to an engine."""

    def use(env: Any) -> None:
        for name, value in env.items():
            monkeypatch.setenv(name, value)

    return use


def build(engine: str, base: str, tag: str, *lines: str, **options: Any) -> BuildResult:
    text = "\n".join((f"FROM {base}", *lines, ""))
    return run(Job(engine=backends.get_backend(engine), document=text, tags=(tag,), timeout=300, options=options))


def wrapper(folder: Path, name: str, script: str) -> Path:
    """Write a program, say one that calls the real one."""
    folder.mkdir(exist_ok=True)
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return program


def is_oci_archive(path: Path) -> bool:
    with tarfile.open(path) as archive:
        return {"index.json", "oci-layout"} <= {name.removeprefix("./") for name in archive.getnames()}


# --- wrappers: a derived engine pushes and writes archives


def test_podman_under_another_name(
    containers: Containers, sources: Sources, base: str, environment: Any, tmp_path: Path
) -> None:
    environment(containers.env)
    docker = wrapper(tmp_path / "bin", "docker", f'exec {programs.find("podman")} "$@"')
    tritonbuild.register_backend("mine", like="podman", binary=str(docker))
    assert (probe(backends.get_backend("mine")).ok, probe(backends.get_backend("mine")).engine) == (True, "mine")
    tag = f"{sources.host}/wrappers/podman:1"
    result = build("mine", base, tag, push=True, output=f"type=oci,dest={tmp_path}/x", tls_verify=False)
    assert result.digest == services.digest(tag)
    assert is_oci_archive(tmp_path / "x")
    assert result.size


def test_nerdctl_behind_a_wrapper(
    containerd: Containerd, sources: Sources, base: str, environment: Any, tmp_path: Path
) -> None:
    environment(containerd.env)
    limactl = wrapper(tmp_path / "bin", "limactl", '[ "$1 $2" = "shell default" ] || exit 9; shift 2; exec "$@"')
    words = ["shell", "default", "nerdctl", "build"]
    tritonbuild.register_backend("lima", like="nerdctl", binary=str(limactl), build_cmd=words)
    tag = f"{sources.host}/wrappers/lima:1"
    result = build("lima", base, tag, push=True, output=f"type=oci,dest={tmp_path}/x")
    assert result.digest == services.digest(tag)
    assert is_oci_archive(tmp_path / "x")
    assert result.size


def test_a_probe_asks_through_the_wrapper(containerd: Containerd, environment: Any, tmp_path: Path) -> None:
    environment(containerd.env)
    limactl = wrapper(tmp_path / "bin", "limactl", "echo the machine is stopped >&2; exit 1")
    words = ["shell", "default", "nerdctl", "build"]
    tritonbuild.register_backend("lima", like="nerdctl", binary=str(limactl), build_cmd=words)
    health = probe(backends.get_backend("lima"))
    assert (health.ok, health.reason) == (False, "the machine is stopped")


def test_finch_has_its_own_buildkit(containerd: Containerd, base: str, environment: Any, tmp_path: Path) -> None:
    """No buildctl of this machine is asked for a BuildKit in another one."""
    environment({**containerd.env, "PATH": f"{tmp_path / 'bin'}{os.pathsep}/usr/bin{os.pathsep}/bin"})
    script = f'PATH="{containerd.env["PATH"]}" exec nerdctl "$@"'
    wrapper(tmp_path / "bin", "finch", script)
    tritonbuild.register_backend("finch", like="nerdctl")
    assert build("finch", base, "wrappers:finch", "RUN true").image_id


@pytest.mark.parametrize(
    ("name", "value"), [("push", True), ("output", "type=oci,dest=/x"), ("load", False), ("metadata_file", "/m")]
)
def test_a_callable_that_ignores_a_result_is_refused(name: str, value: object) -> None:
    tritonbuild.register_backend("mine", health=lambda: True, construct_build_args=lambda *, file, **_: [file])
    with pytest.raises(InvalidInputError, match=f"engine 'mine' ignores the option '{name}'"):
        build("mine", "a", "b", **{name: value})


# --- defaults give way


@pytest.mark.parametrize("engine", ["podman", "buildah"])
@pytest.mark.parametrize("by_variable", [False, True], ids=["option", "variable"])
def test_chroot_isolation(engine: str, by_variable: bool, containers: Containers, base: str, environment: Any) -> None:
    environment(containers.env)
    options = {} if by_variable else {"isolation": "chroot"}
    if by_variable:
        environment({"BUILDAH_ISOLATION": "chroot"})
    assert build(engine, base, "wrappers:chroot", "RUN echo a > /a", **options).image_id


def test_buildahs_pull_never(containers: Containers, base: str, environment: Any) -> None:
    environment(containers.env)
    programs.run(["buildah", "pull", base], env=containers.env)
    assert build("buildah", base, "wrappers:never", "RUN true", pull_never=True).image_id


# --- global options


def test_podman_with_another_storage(containers: Containers, base: str, environment: Any) -> None:
    environment(containers.env)
    folder = Path(tempfile.mkdtemp())  # podman takes 50 characters for its runroot
    options = {"root": folder / "root", "runroot": folder / "run", "storage_driver": "vfs"}
    result = build("podman", base, "wrappers:root", "RUN true", **options)
    assert result.size
    images = ["podman", f"--root={folder}/root", f"--runroot={folder}/run", "--storage-driver=vfs", "images", "-q"]
    assert result.image_id.removeprefix("sha256:")[:12] in programs.run(images, env=containers.env)
    assert result.image_id.removeprefix("sha256:")[:12] not in programs.run(["podman", "images"], env=containers.env)
    shutil.rmtree(folder)


def test_docker_at_a_host(old_docker: Dockerd, sources: Sources, base: str, environment: Any) -> None:
    env = dict(old_docker.env)
    host = env.pop("DOCKER_HOST")
    environment({**env, "DOCKER_HOST": "unix:///nowhere"})
    tag = f"{sources.host}/wrappers/docker:1"
    result = build("docker", base, tag, "RUN true", host=host, push=True)
    assert (result.digest, bool(result.size)) == (services.digest(tag), True)
    health = probe(backends.get_backend("docker"), {"host": "unix:///nowhere"})
    assert (health.ok, "unix:///nowhere" in health.reason) == (False, True)


def test_nerdctl_in_another_namespace(containerd: Containerd, sources: Sources, base: str, environment: Any) -> None:
    environment(containerd.env)
    tag = f"{sources.host}/wrappers/namespace:1"
    result = build("nerdctl", base, tag, "RUN true", namespace="another", push=True)
    assert (result.digest, bool(result.size)) == (services.digest(tag), True)
    images = ["nerdctl", "--namespace=another"]
    assert "wrappers/namespace" in programs.run([*images, "images"], env=containerd.env)
    programs.run([*images, "rmi", "--force", tag], env=containerd.env)


@pytest.fixture
def over_tls(sources: Sources, tmp_path: Path) -> Iterator[dict[str, object]]:
    """A BuildKit daemon that wants a client's certificate; the options that lead to it."""
    certificate = services.certificate(tmp_path / "tls", "DNS:buildkit.example", "IP:127.0.0.1")
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    with services.buildkitd(tmp_path / "b", insecure=[sources.host], tls=(port, certificate)):
        yield {
            "addr": f"tcp://127.0.0.1:{port}",
            "tlscacert": certificate.authority,
            "tlscert": certificate.certificate,
            "tlskey": certificate.key,
            "tlsservername": "buildkit.example",
            "wait": True,
        }


def test_buildctl_over_tls(
    buildkitd: Buildkitd, over_tls: dict[str, object], sources: Sources, base: str, environment: Any
) -> None:
    environment({"PATH": buildkitd.env["PATH"], "BUILDKIT_HOST": "unix:///nowhere"})
    assert probe(backends.get_backend("buildctl"), over_tls).ok
    tag = f"{sources.host}/wrappers/tls:1"
    result = build("buildctl", base, tag, "RUN true", push=True, **over_tls)
    assert result.digest == services.digest(tag)
    without = {name: value for name, value in over_tls.items() if name not in {"tlscert", "tlskey"}}
    assert not probe(backends.get_backend("buildctl"), without).ok


# --- other builders


@pytest.fixture
def remote(new_docker: Dockerd, buildkitd: Buildkitd) -> Iterator[str]:
    """A builder of buildx that is not docker's."""
    programs.run(
        ["docker", "buildx", "create", "--name=wrappers", "--driver=remote", buildkitd.address], env=new_docker.env
    )
    yield "wrappers"
    programs.run(["docker", "buildx", "rm", "wrappers"], env=new_docker.env)


def test_docker_loads_what_another_builder_builds(
    new_docker: Dockerd, remote: str, base: str, environment: Any
) -> None:
    environment({**new_docker.env, "BUILDX_BUILDER": remote})
    result = build("docker", base, "wrappers:remote", "RUN true")
    assert (
        result.image_id
        == programs.run(
            ["docker", "image", "inspect", "--format={{.Id}}", "wrappers:remote"], env=new_docker.env
        ).strip()
    )


def test_buildx_with_a_remote_builder_needs_no_docker(
    new_docker: Dockerd, remote: str, sources: Sources, base: str, environment: Any
) -> None:
    environment({**new_docker.env, "DOCKER_HOST": "unix:///nowhere", "BUILDX_BUILDER": remote})
    health = probe(backends.get_backend("buildx"))
    assert (health.ok, "load" in health.features) == (True, False)
    tag = f"{sources.host}/wrappers/buildx:1"
    assert build("buildx", base, tag, "RUN true", push=True).digest == services.digest(tag)
    with pytest.raises(InvalidInputError, match="engine 'buildx' cannot load the image"):
        build("buildx", base, tag, "RUN true")
    environment({"BUILDX_BUILDER": ""})
    with pytest.raises(UnhealthyEngineError, match="Cannot connect to the Docker daemon"):
        build("buildx", base, tag, "RUN true", push=True)
    assert build("buildx", base, tag, "RUN true", push=True, builder=remote).digest == services.digest(tag)


def test_a_builder_that_does_not_exist(new_docker: Dockerd, environment: Any) -> None:
    environment({**new_docker.env, "BUILDX_BUILDER": "nope"})
    health = probe(backends.get_backend("buildx"))
    assert (health.ok, health.reason) == (False, 'no builder "nope" found')


def test_a_remote_builder_that_is_down(new_docker: Dockerd, environment: Any) -> None:
    environment(new_docker.env)
    words = ["docker", "buildx"]
    programs.run([*words, "create", "--name=dead", "--driver=remote", "unix:///nowhere.sock"], env=new_docker.env)
    try:
        health = probe(backends.get_backend("buildx"), {"builder": "dead"})
    finally:
        programs.run([*words, "rm", "dead"], env=new_docker.env)
    assert (health.ok, health.reason) == (False, "the BuildKit daemon of the builder 'dead' does not answer")


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_the_cause_of_a_failure_is_not_cut_off(
    engine: str, containers: Containers, base: str, environment: Any
) -> None:
    """podman and buildah quote the whole instruction before the exit status."""
    environment(containers.env)
    script = " \\\n    && ".join(f": {number:0100}" for number in range(40))
    with pytest.raises(BuildFailedError) as caught:
        build(engine, base, "wrappers:fails", f"RUN {script} && echo >&2 no such thing && exit 7")
    *_, before, last = caught.value.tail
    assert before.endswith("no such thing")
    assert last.endswith("while running runtime: exit status 7")
    assert 'STEP "RUN : 00' in last
    assert len(last) < 200
