"""The services of the integration tests: each starts, works and leaves nothing behind."""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import pytest

from tests import services
from tests.services import cache, daemons, leftovers, packages, processes, programs, tools
from tests.services.serving import Runner

if not sys.platform.startswith("linux"):
    pytest.skip("the services need Linux", allow_module_level=True)

REQUIRED = frozenset(os.environ.get("TRITONBUILD_REQUIRE_ENGINES", "").replace(",", " ").split())
"""The engines that must not be missing."""

IMAGE_ID = re.compile(r"sha256:[0-9a-f]{64}")
HOST_LINKS = Path("/proc/net/dev").read_text().count(":")
LINKS = {"none": 1, "host": HOST_LINKS}
"""The number of network links that a RUN line sees with ``--network``."""


@contextlib.contextmanager
def available(engine: str) -> Iterator[None]:
    """Skip the test if the engine is missing and not required."""
    try:
        yield
    except services.MissingProgramError as error:
        if REQUIRED & {engine, "all"}:
            raise
        pytest.skip(str(error))


def untouched(before: services.Machine, root: Path) -> list[str]:
    """Return the differences from *before*, and uses of *root*, after a moment for processes that are about to end."""
    deadline = time.monotonic() + 5
    while True:
        found = [*services.changes(before, services.machine()), *services.mounts_under(root)]
        found += [repr(process) for process in services.users_of(root)]
        if not found or time.monotonic() > deadline:
            return found
        time.sleep(0.1)


@pytest.fixture
def root() -> Iterator[Path]:
    """A folder with a name short enough for sockets, which nothing uses at the end of the test."""
    before, folder = services.machine(), Path(tempfile.mkdtemp(prefix="tb-"))
    try:
        yield folder
        assert untouched(before, folder) == []
    finally:
        leftovers.clear(folder)


@pytest.fixture
def marker() -> str:
    """Seconds for sleep that occur in no other command line."""
    return services.a_day()


@pytest.fixture
def registry(root: Path) -> Iterator[services.Registry]:
    """A registry."""
    with available("registry"), services.registry(root / "registry") as started:
        yield started


@pytest.fixture
def base(registry: services.Registry, root: Path) -> str:
    """A base image in the registry, with a server."""
    return services.push(services.busybox_layout(root / "layout", server=True), registry.host, "base")


def context(root: Path, base: str, run: str) -> Path:
    """Create a build context with a Containerfile of two lines."""
    folder = root / "context"
    folder.mkdir(exist_ok=True)
    (folder / "Containerfile").write_text(f"FROM {base}\nRUN {run}\n")
    return folder


def sees_links(root: Path, base: str, network: str) -> Path:
    """Create a build context that can be built only on *network*."""
    return context(root, base, f"test $(grep -c : /proc/net/dev) = {LINKS[network]}")


def build(argv: Sequence[str], env: Mapping[str, str], folder: Path) -> str:
    """Run a build command and return the image ID that it writes."""
    id_file = folder.parent / "id"
    id_file.unlink(missing_ok=True)
    words = [*argv, f"--iidfile={id_file}", f"--file={folder / 'Containerfile'}", str(folder)]
    programs.run([programs.find_in(env, words[0]), *words[1:]], env=env)
    return id_file.read_text()


def assert_run_succeeds(argv: Sequence[str], env: Mapping[str, str]) -> None:
    """Check that the command line can use an image."""
    assert programs.run([programs.find_in(env, argv[0]), *argv[1:]], env=env)


# registry


def test_registry_gives_back_what_it_is_given(registry: services.Registry, root: Path, base: str) -> None:
    name, _, digest = base.partition("@")

    programs.run(["skopeo", "copy", "--src-tls-verify=false", f"docker://{base}", f"oci:{root / 'pulled'}:latest"])

    assert services.digest(f"{name}:latest") == digest
    assert (root / "pulled/blobs/sha256" / digest.removeprefix("sha256:")).is_file()
    assert registry.host.startswith("localhost:")


def test_registry_log_tells_what_was_asked_for(registry: services.Registry, base: str) -> None:
    assert "PUT /v2/base/manifests/latest" in registry.process.log.read_text()
    assert base


def test_equal_layouts_have_equal_digests(root: Path) -> None:
    first, second = (services.busybox_layout(root / name, server=True) for name in ("a", "b"))

    assert (first / "index.json").read_bytes() == (second / "index.json").read_bytes()


# engines


@pytest.mark.parametrize("network", LINKS)
@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_containers(engine: str, network: str, root: Path, registry: services.Registry, base: str) -> None:
    folder = sees_links(root, base, network)
    with available(engine), services.containers(root / "containers", insecure=[registry.host]) as containers:
        programs.find(engine)
        image = build([engine, "build", "--pull=missing", f"--network={network}"], containers.env, folder)

        assert IMAGE_ID.fullmatch(image)
        assert_run_succeeds([engine, "inspect", "--type=image", image], containers.env)

    assert not (root / "containers").exists()


@pytest.mark.parametrize("network", LINKS)
@pytest.mark.parametrize("buildkit", ["0", "1"], ids=["legacy", "buildkit"])
@pytest.mark.parametrize("which", ["debian", "trixie", "sid"])
def test_dockerd(which: services.Which, buildkit: str, network: str, root: Path, base: str) -> None:
    folder = sees_links(root, base, network)
    plugin = None if which == "debian" else which
    with available("docker"), services.dockerd(root / "docker", which=which, buildx=plugin) as docker:
        env = {**docker.env, "DOCKER_BUILDKIT": buildkit}
        image = build(["docker", "build", f"--network={network}"], env, folder)

        assert IMAGE_ID.fullmatch(image)
        assert_run_succeeds(["docker", "image", "inspect", image], env)

    assert not (root / "docker").exists()


@pytest.mark.parametrize("which", ["debian", "trixie", "sid"])
def test_each_docker_client_is_as_old_as_its_daemon(which: services.Which, root: Path) -> None:
    with available("docker"), services.dockerd(root / "docker", which=which) as docker:
        versions = ["docker", "version", "--format", "{{.Client.Version}} {{.Server.Version}}"]
        client, server = programs.run([programs.find_in(docker.env, "docker"), *versions[1:]], env=docker.env).split()

    assert client == server


@pytest.mark.parametrize("network", LINKS)
@pytest.mark.parametrize("plugin", ["trixie", "sid"])
@pytest.mark.parametrize("which", ["debian", "sid"])
def test_buildx(which: services.Which, plugin: packages.Suite, network: str, root: Path, base: str) -> None:
    folder = sees_links(root, base, network)
    with available("buildx"), services.dockerd(root / "docker", which=which, buildx=plugin) as docker:
        image = build(["docker", "buildx", "build", "--load", f"--network={network}"], docker.env, folder)

        assert IMAGE_ID.fullmatch(image)
        assert_run_succeeds(["docker", "image", "inspect", image], docker.env)


@pytest.mark.parametrize("plugin", ["trixie", "sid"])
def test_buildx_remote(plugin: packages.Suite, root: Path, registry: services.Registry, base: str) -> None:
    folder = sees_links(root, base, "none")
    with (
        available("buildx"),
        services.buildkitd(root / "buildkit", insecure=[registry.host]) as buildkit,
        services.dockerd(root / "docker", buildx=plugin) as docker,
    ):
        client = programs.find_in(docker.env, "docker")
        words = [client, "buildx", "create", "--driver=remote", "--name=far", buildkit.address]
        programs.run(words, env=docker.env)
        far = ["docker", "buildx", "build", "--builder=far", "--network=none", "--load", "--tag=made"]
        build(far, docker.env, folder)

        assert_run_succeeds(["docker", "image", "inspect", "made"], docker.env)


@pytest.mark.parametrize("network", LINKS)
def test_buildctl(network: str, root: Path, registry: services.Registry, base: str) -> None:
    folder = sees_links(root, base, network)
    archive = root / "made.tar"
    with available("buildctl"), services.buildkitd(root / "buildkit", insecure=[registry.host]) as buildkit:
        argv = [
            programs.find_in(buildkit.env, "buildctl"),
            "build",
            "--frontend=dockerfile.v0",
            f"--local=context={folder}",
            f"--local=dockerfile={folder}",
            "--opt=filename=Containerfile",
            f"--opt=force-network-mode={network}",
            *(["--allow=network.host"] if network == "host" else []),
            f"--output=type=docker,name=made,dest={archive}",
            f"--metadata-file={root / 'metadata.json'}",
        ]
        programs.run(argv, env=buildkit.env)

    assert '"containerimage.config.digest"' in (root / "metadata.json").read_text()
    assert programs.run(["skopeo", "inspect", "--config", f"docker-archive:{archive}"])
    assert not (root / "buildkit").exists()


@pytest.mark.parametrize("network", LINKS)
@pytest.mark.parametrize("which", ["debian", "trixie", "sid"])
def test_nerdctl(which: services.Which, network: str, root: Path, registry: services.Registry, base: str) -> None:
    folder = sees_links(root, base, network)
    with (
        available("nerdctl"),
        services.buildkitd(root / "buildkit", insecure=[registry.host]) as buildkit,
        services.containerd(root / "containerd", buildkit=buildkit, which=which) as containerd,
    ):
        build(["nerdctl", "build", f"--network={network}", "--tag=made"], containerd.env, folder)

        assert_run_succeeds(["nerdctl", "image", "inspect", "made"], containerd.env)

    assert not (root / "containerd").exists()


# serving


@contextlib.contextmanager
def runner_environment(runner: Runner, root: Path) -> Iterator[Mapping[str, str]]:
    """Start the services that the runner needs."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(available(runner))
        if runner == "podman":
            yield stack.enter_context(services.containers(root / "containers")).env
        elif runner == "docker":
            yield stack.enter_context(services.dockerd(root / "docker")).env
        else:
            buildkit = stack.enter_context(services.buildkitd(root / "buildkit"))
            yield stack.enter_context(services.containerd(root / "containerd", buildkit=buildkit, which="trixie")).env


@pytest.fixture
def archive(root: Path) -> Path:
    """A docker archive of an image with a server."""
    layout = services.busybox_layout(root / "layout", server=True)
    return services.docker_archive(f"oci:{layout}:latest", root / "image.tar", "made/here:1")


@pytest.fixture
def models(root: Path) -> Path:
    """A model repository without models."""
    folder = root / "models"
    folder.mkdir()
    return folder


@pytest.mark.parametrize("runner", ["docker", "nerdctl", "podman"])
def test_serve(runner: Runner, root: Path, archive: Path, models: Path) -> None:
    with runner_environment(runner, root) as env:
        image = services.load(env, runner, archive)
        with services.serve(env, runner, image, models) as server:
            assert server.get("/v2/health/ready") == b""
            assert "stand-in server on port" in server.logs()
            port = int(server.url.rpartition(":")[2])

        with pytest.raises(ConnectionRefusedError), socket.create_connection(("127.0.0.1", port)):
            pass


@pytest.mark.parametrize("runner", ["docker", "nerdctl", "podman"])
def test_serve_tells_why_the_server_ended(runner: Runner, root: Path, archive: Path, models: Path) -> None:
    with runner_environment(runner, root) as env:
        image = services.load(env, runner, archive)
        options = ["--entrypoint=/bin/sh", "--env=ENV=/dev/null"]
        with (
            pytest.raises(services.ServiceError, match=r"(?s)the server in the container ended:.*tritonserver"),
            services.serve(env, runner, image, models, options=options),
        ):
            pass


def test_serve_does_not_wait_for_ever(root: Path, archive: Path, models: Path) -> None:
    with runner_environment("podman", root) as env:
        image = services.load(env, "podman", archive)
        arguments = ["--http-port=1"]  # The last one counts: it serves where nobody asks.
        with (
            pytest.raises(services.ServiceError, match=r"is not ready after 1 s"),
            services.serve(env, "podman", image, models, arguments=arguments, timeout=1),
        ):
            pass


# interrupts


def start(argv: Sequence[str], env: Mapping[str, str]) -> subprocess.Popen[bytes]:
    """Start a build in a session of its own."""
    words = services.with_default_signals([programs.find_in(env, argv[0]), *argv[1:]])
    return subprocess.Popen(
        words,
        env={**os.environ, **env},
        start_new_session=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_an_interrupted_build_leaves_no_process(
    engine: str, root: Path, registry: services.Registry, base: str, marker: str
) -> None:
    # SIGHUP: on SIGINT and SIGTERM podman 4.3 ends before its child has ended what RUN started.
    folder = context(root, base, f"sleep {marker}")
    with available(engine), services.containers(root / "containers", insecure=[registry.host]) as containers:
        argv = [engine, "build", "--network=none", f"--file={folder / 'Containerfile'}", str(folder)]
        client = start(argv, containers.env)
        assert services.wait_for(marker)

        os.killpg(client.pid, signal.SIGHUP)
        client.wait(20)

        assert services.left(marker) == ()


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_what_a_killed_build_leaves_is_cleared_away(
    engine: str, root: Path, registry: services.Registry, base: str, marker: str
) -> None:
    folder = context(root, base, f"sleep {marker}")
    with available(engine), services.containers(root / "containers", insecure=[registry.host]) as containers:
        argv = [engine, "build", "--network=none", f"--file={folder / 'Containerfile'}", str(folder)]
        client = start(argv, containers.env)
        assert services.wait_for(marker)
        os.killpg(client.pid, signal.SIGKILL)
        client.wait(20)

    assert services.left(marker, timeout=1) == ()


def test_a_daemon_ends_with_a_harness_that_is_killed(root: Path) -> None:
    with available("docker"):
        programs.find("dockerd")
    script = f"""
        import pathlib, time
        from tests import services
        with services.dockerd(pathlib.Path({str(root / "docker")!r})):
            print("ready", flush=True)
            time.sleep(600)
    """
    harness = subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(script)], stdout=subprocess.PIPE, cwd=Path(__file__).parent.parent
    )
    assert harness.stdout is not None
    with harness.stdout as output:
        assert output.readline() == b"ready\n"
    daemon = str(root / "docker")
    assert services.marked(daemon)

    harness.kill()
    harness.wait(30)

    assert services.left(daemon) == ()
    for name in leftovers.cgroups(leftovers.cgroup_prefix(harness.pid)):
        leftovers.clear_cgroups(name)


def test_descendants_left_names_the_others(marker: str) -> None:
    before = frozenset(row.pid for row in processes.descendants(os.getpid()))
    child = subprocess.Popen(["sleep", marker])
    try:
        assert services.wait_for(marker)  # until then its command line is empty
        assert [row.argv for row in services.descendants_left(before, timeout=0)] == [("sleep", marker)]
        assert [row.pid for row in services.marked(marker)] == [child.pid]
    finally:
        child.kill()
        child.wait(30)
    assert services.descendants_left(before, timeout=0) == ()
    assert services.left(marker, timeout=0) == ()


# daemons that are not well


def test_hung_socket_takes_connections_and_is_silent(root: Path) -> None:
    with services.hung_socket(root) as path, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        client.sendall(b"GET /_ping HTTP/1.0\r\n\r\n")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
    assert not path.exists()


def test_refused_socket_is_there_and_refuses(root: Path) -> None:
    with services.refused_socket(root) as path, socket.socket(socket.AF_UNIX) as client:
        assert path.is_socket()
        with pytest.raises(ConnectionRefusedError):
            client.connect(str(path))
    assert not path.exists()


def test_hung_registry_takes_connections_and_is_silent() -> None:
    with services.hung_registry() as host:
        port = int(host.removeprefix("localhost:"))
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.settimeout(0.2)
            with pytest.raises(TimeoutError):
                client.recv(1)


def test_refused_registry_refuses() -> None:
    with services.refused_registry() as host:
        port = int(host.removeprefix("localhost:"))
        with pytest.raises(ConnectionRefusedError):
            socket.create_connection(("127.0.0.1", port))


# the harness itself


def test_a_daemon_that_ends_at_once_tells_its_log(root: Path) -> None:
    with (
        available("namespaces"),
        pytest.raises(services.ServiceError, match=r"(?s)sh ended with 3 .*no such thing"),
        daemons.daemon(["sh", "-c", "echo no such thing; exit 3"], log=root / "log", ready=lambda: False),
    ):
        pass


def test_a_daemon_that_never_answers_is_ended(root: Path, marker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "STOP_SECONDS", 0.5)
    with (
        available("namespaces"),
        pytest.raises(services.ServiceError, match=r"sleep is not ready"),
        daemons.daemon(["sleep", marker], log=root / "log", ready=lambda: False, timeout=0.3),
    ):
        pass
    assert services.left(marker, timeout=0) == ()


def test_a_daemon_deaf_to_sigterm_is_ended(root: Path, marker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(daemons, "STOP_SECONDS", 0.2)
    with available("namespaces"), daemons.daemon(["sleep", marker], log=root / "log", ready=lambda: True):
        assert services.wait_for(marker)
    assert services.left(marker, timeout=0) == ()


def test_a_socket_in_too_deep_a_folder_is_an_error(root: Path) -> None:
    deep = root / ("d" * 80)
    with (
        available("docker"),
        pytest.raises(services.ServiceError, match="is too long for a socket"),
        services.dockerd(deep),
    ):
        pass
    assert not deep.exists()


def test_a_missing_program_is_named() -> None:
    with pytest.raises(services.MissingProgramError) as caught:
        programs.find("no-such-program", hint="apt-get install it")
    assert str(caught.value) == "'no-such-program' is not on this machine: apt-get install it"


def test_a_failed_command_tells_all_it_printed() -> None:
    with pytest.raises(services.ServiceError) as caught:
        programs.run(["sh", "-c", "echo out; echo err >&2; exit 7"])
    assert str(caught.value) == "sh -c echo out; echo err >&2; exit 7 ended with 7\nout\nerr\n"


def test_a_command_that_hangs_is_an_error() -> None:
    with pytest.raises(services.ServiceError, match=r"sleep 60 took longer than 0\.1 s"):
        programs.run(["sleep", "60"], timeout=0.1)


def test_merged_environments_keep_special_folders_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/usr/bin:/bin")

    merged = services.merged(
        {"A": "1", "PATH": "/x/bin:/usr/bin:/bin"}, {"A": "2", "B": "3", "PATH": "/y/bin:/usr/bin"}
    )

    assert merged == {"A": "1", "B": "3", "PATH": "/x/bin:/y/bin:/usr/bin:/bin"}


def test_what_is_slow_is_made_once(tmp_path: Path) -> None:
    made: list[Path] = []

    def make(folder: Path) -> None:
        time.sleep(0.1)
        (folder / "file").write_text("whole")
        made.append(folder)

    threads = [threading.Thread(target=cache.made, args=(tmp_path / "thing", make)) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)

    assert len(made) == 1
    assert sorted(path.name for path in tmp_path.iterdir()) == [".thing.lock", "thing"]
    assert (tmp_path / "thing/file").read_text() == "whole"


def test_what_cannot_be_made_leaves_nothing(tmp_path: Path) -> None:
    def make(folder: Path) -> None:
        (folder / "half").touch()
        raise OSError("no space")

    with pytest.raises(OSError, match="no space"):
        cache.made(tmp_path / "thing", make)
    assert [path.name for path in tmp_path.iterdir()] == [".thing.lock"]


def test_built_tools_know_their_versions() -> None:
    with available("buildctl"):
        folder = tools.build()

    assert programs.run([folder / "buildctl", "--version"]).split()[2] == "v0.32.2"
    assert programs.run([folder / "buildkitd", "--version"]).split()[2] == "v0.32.2"
    assert programs.run([folder / "nerdctl", "--version"]).split()[2] == "2.3.5"


def test_changes_are_told_in_words() -> None:
    nothing = frozenset[str]()
    before = services.Machine(cgroups=nothing, links=frozenset({"lo"}), packet_filter="", forwarding="0")
    after = services.Machine(cgroups=nothing, links=frozenset({"docker0", "lo"}), packet_filter="", forwarding="1")

    assert services.changes(before, after) == ("links: docker0", "forwarding: '1' was '0'")


def test_clear_ends_what_uses_the_folder(tmp_path: Path) -> None:
    folder = tmp_path / "used"
    folder.mkdir()
    child = subprocess.Popen(["sleep", "86395"], cwd=folder)
    shutil.copy("/bin/true", folder)

    leftovers.clear(folder)

    assert child.wait(5) == -signal.SIGKILL
    assert not folder.exists()
