"""Why an engine is not healthy: on programs that say what the real ones say, and on sockets that do not answer."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

import tritonbuild
from tests.services import ServiceError, hung_socket, refused_socket, tools
from tritonbuild.backends import _probe, docker, nerdctl

FakeProgram = Callable[[str, str], Path]

ENGINES: Final = ("docker", "podman", "buildah", "nerdctl", "buildx", "buildctl")


@pytest.fixture(autouse=True)
def environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for variable in ("BUILDKIT_HOST", "DOCKER_BUILDKIT", "DOCKER_CONTEXT", "DOCKER_HOST"):
        monkeypatch.delenv(variable, raising=False)


BUILDX: Final = '[{"Name":"buildx","Version":"v0.29.1"}]'


def dockers(version: str = "28.1.0", *, plugins: str = BUILDX, root: str = "/") -> str:
    """A docker that is well."""
    server = (
        f'{{"Client":{{"Version":"{version}","Context":"default"}},"Server":{{"Components":[],"Version":"28.2.0"}}}}'
    )
    info = f'{{"ServerVersion":"28.2.0","DockerRootDir":"{root}","ClientInfo":{{"Plugins":{plugins}}}}}'
    builder = "Name: default\\nDriver: docker\\n"
    return f"case $1 in version) echo '{server}' ;; info) echo '{info}' ;; buildx) printf '{builder}' ;; esac"


WELL: Final = {
    "docker": [("docker", dockers())],
    "buildx": [("docker", dockers())],
    "podman": [("podman", "echo 5.8.0")],
    "buildah": [("buildah", 'case $1 in info) echo "{}" ;; *) echo buildah version 1.43.2 \\(x\\) ;; esac')],
    "nerdctl": [
        ("nerdctl", 'case $1 in info) echo "{}" ;; *) echo nerdctl version 2.3.5 ;; esac'),
        ("buildctl", "echo 'BuildKit: github.com/moby/buildkit v0.32.2 '"),
    ],
    "buildctl": [
        (
            "buildctl",
            "case $2 in info) echo 'BuildKit: github.com/moby/buildkit v0.32.2' ;; *) printf 'ID\\nx amd64\\n' ;; esac",
        )
    ],
}
VERSIONS: Final = {
    "docker": ("28.2.0", ["buildkit", "buildx", "heredocs", "load", "push"]),
    "buildx": ("0.29.1", ["buildkit", "heredocs", "load", "multi-platform", "push"]),
    "podman": ("5.8.0", ["buildkit", "heredocs", "load", "push"]),
    "buildah": ("1.43.2", ["buildkit", "heredocs", "load", "push"]),
    "nerdctl": ("2.3.5", ["buildkit", "heredocs", "load", "multi-platform", "push"]),
    "buildctl": ("0.32.2", ["buildkit", "heredocs", "multi-platform", "push"]),
}


@pytest.mark.parametrize("engine", ENGINES)
def test_a_healthy_engine(engine: str, fake_program: FakeProgram) -> None:
    for program, script in WELL[engine]:
        fake_program(program, script)
    health = tritonbuild.probe(engine)
    assert (health.ok, health.reason, health.hint) == (True, "", "")
    assert (health.version, sorted(health.features)) == VERSIONS[engine]


@pytest.mark.parametrize("engine", [engine for engine in ENGINES if engine != "podman"])
def test_the_commands_of_a_probe_go_on_at_once(engine: str, fake_program: FakeProgram) -> None:
    for program, script in WELL[engine]:
        fake_program(program, f"sleep 0.6; {script}")
    started = time.monotonic()
    assert tritonbuild.health(engine)
    assert time.monotonic() - started < 1.1


REASONS: Final = [
    (
        "docker",
        "docker",
        "echo 'Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?' >&2; exit 1",
        "Cannot connect to the Docker daemon at unix:///x. Is the docker daemon running?",
        "start the daemon (systemctl start docker), or point DOCKER_HOST at another one",
    ),
    (
        "docker",
        "docker",
        "echo 'permission denied while trying to connect to the docker API' >&2; exit 1",
        "permission denied while trying to connect to the docker API",
        "run as a member of the group docker, or as root",
    ),
    (
        "docker",
        "docker",
        dockers("1.13.1"),
        "docker's client 1.13.1 is too old",
        "install docker's client 17.09 or newer",
    ),
    (
        "buildx",
        "docker",
        dockers(plugins='[{"Name":"compose","Version":"v2.1.0"}]'),
        "docker has no plug-in buildx",
        "install docker-buildx-plugin, or docker-buildx",
    ),
    (
        "buildx",
        "docker",
        dockers(plugins="null"),
        "docker has no plug-in buildx",
        "install docker-buildx-plugin, or docker-buildx",
    ),
    (
        "buildx",
        "docker",
        dockers(plugins='[{"Name":"buildx","Err":{}}]'),
        "docker's plug-in buildx does not start",
        "see docker buildx version",
    ),
    (
        "buildx",
        "docker",
        dockers(plugins='[{"Name":"buildx","Version":"v0.5.1"}]'),
        "docker's plug-in buildx 0.5.1 is too old",
        "install docker's plug-in buildx 0.8 or newer",
    ),
    (
        "buildx",
        "docker",
        """echo '{"Client":{"Version":"4.3.1"},"Server":{"Version":"4.3.1"}}'""",
        "docker here is podman 4.3.1",
        "use --engine podman",
    ),
    (
        "podman",
        "podman",
        'echo "Error: mkdir /x: permission denied" >&2; exit 125',
        "mkdir /x: permission denied",
        "check the owner of its storage: podman info",
    ),
    (
        "podman",
        "podman",
        'echo \'time="2026" level=error msg="\\"overlay\\" is not supported over overlayfs"\' >&2; exit 125',
        '"overlay" is not supported over overlayfs',
        "its storage does not work on this file system: set driver in storage.conf",
    ),
    ("podman", "podman", "echo 3.4.4", "podman 3.4.4 is too old", "install podman 4.0 or newer"),
    (
        "buildah",
        "buildah",
        'case $1 in info) echo "Error: failed to open storage" >&2; exit 125 ;; *) echo buildah version 1.28.2 ;; esac',
        "failed to open storage",
        "check storage.conf, or create the storage again: buildah info",
    ),
    (
        "buildah",
        "buildah",
        'case $1 in info) echo "{}" ;; *) echo buildah version 1.23.1 ;; esac',
        "buildah 1.23.1 is too old",
        "install buildah 1.24 or newer",
    ),
    (
        "nerdctl",
        "nerdctl",
        'case $1 in info) echo "{}" ;; *) echo nerdctl version 1.7.7 ;; esac',
        "nerdctl 1.7.7 is too old",
        "install nerdctl 2.0 or newer",
    ),
    (
        "buildctl",
        "buildctl",
        "echo \"No help topic for 'info'\" >&2; exit 3",
        "No help topic for 'info'",
        "install BuildKit 0.11 or newer",
    ),
    (
        "nerdctl",
        "nerdctl",
        'echo \'time="x" level=fatal msg="cannot access containerd socket \\"/x\\": no such file"\' >&2; exit 1',
        'cannot access containerd socket "/x": no such file',
        "start containerd, or point CONTAINERD_ADDRESS at another one",
    ),
    (
        "nerdctl",
        "buildctl",
        "echo 'error: failed to call info: Unavailable: dial unix /x: connect: no such file or directory' >&2; exit 1",
        "failed to call info: Unavailable: dial unix /x: connect: no such file or directory",
        "start buildkitd, or point BUILDKIT_HOST at another one",
    ),
    (
        "buildctl",
        "buildctl",
        "echo 'error: dial unix /x: connect: permission denied' >&2; exit 1",
        "dial unix /x: connect: permission denied",
        "run as root, or as a member of the group that owns BuildKit's socket",
    ),
    (
        "buildctl",
        "buildctl",
        "case $2 in info) echo 'BuildKit: github.com/moby/buildkit v0.32.2' ;; *) echo ID PLATFORMS ;; esac",
        "buildkitd has no worker",
        "see its log: runc or containerd may be missing",
    ),
    (
        "buildctl",
        "buildctl",
        "case $2 in info) echo 'BuildKit: github.com/moby/buildkit v0.10.6' ;; *) printf 'ID\\nx\\n' ;; esac",
        "BuildKit 0.10.6 is too old",
        "install BuildKit 0.11 or newer",
    ),
]


@pytest.mark.parametrize(
    ("engine", "program", "script", "reason", "hint"), REASONS, ids=[f"{r[0]}-{n}" for n, r in enumerate(REASONS)]
)
def test_reason_and_hint(  # noqa: PLR0917 - pytest passes them by name
    engine: str, program: str, script: str, reason: str, hint: str, fake_program: FakeProgram
) -> None:
    for name, well in WELL[engine]:
        fake_program(name, well)
    fake_program(program, script)
    health = tritonbuild.probe(engine)
    assert (health.ok, health.reason, health.hint) == (False, reason, hint)


@pytest.mark.parametrize("engine", ENGINES)
def test_not_installed(engine: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    program = "docker" if engine == "buildx" else engine
    health = tritonbuild.probe(engine)
    assert (health.ok, health.reason) == (False, f"{program} is not installed")
    assert health.hint.startswith("install ")


def test_nerdctl_without_buildctl(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_program("nerdctl", WELL["nerdctl"][0][1])
    monkeypatch.setenv("PATH", str(tmp_path / "bin"))
    (tmp_path / "bin" / "sh").symlink_to(shutil.which("sh", path="/bin:/usr/bin") or "/bin/sh")
    health = tritonbuild.probe("nerdctl")
    assert (health.reason, health.hint) == (
        "buildctl is not installed",
        "install BuildKit's buildctl and start its buildkitd",
    )


@pytest.mark.parametrize("engine", ["buildx", "docker"])
def test_dockers_disk_is_looked_at_where_it_is_here(
    engine: str, fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    fake_program("docker", dockers(root=str(tmp_path)))
    monkeypatch.setattr(_probe, "LOW_SPACE", 1 << 60)
    health = tritonbuild.probe(engine)
    assert health.reason.startswith(f"the disk of its storage {tmp_path} is nearly full: ")
    assert health.hint == "remove images that are no longer needed, or move its storage"
    monkeypatch.setenv("DOCKER_HOST", "tcp://elsewhere:2375")
    assert tritonbuild.health(engine)


@pytest.mark.parametrize(
    ("client", "plugins", "asked", "buildkit", "env"),
    [
        ("17.12.0", "[]", None, False, {}),
        ("20.10.24", "[]", None, True, {"DOCKER_BUILDKIT": "1"}),
        ("20.10.24", "[]", "0", False, {}),
        ("28.1.0", "[]", None, False, {}),
        ("28.1.0", "null", "0", False, {}),
        ("28.1.0", '[{"Name":"buildx"}]', None, True, {}),
        ("28.1.0", '[{"Name":"buildx"}]', "0", False, {}),
    ],
)
def test_which_builder_docker_uses(  # noqa: PLR0917 - pytest passes them by name
    client: str,
    plugins: str,
    asked: str | None,
    buildkit: bool,
    env: dict[str, str],
    fake_program: FakeProgram,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    if asked:
        monkeypatch.setenv("DOCKER_BUILDKIT", asked)
    fake_program("docker", dockers(client, plugins=plugins))
    health = docker.health()
    assert (health.client, "buildkit" in health.features, health.env) == (client, buildkit, env)


def test_buildkit_is_asked_for_and_its_plugin_is_missing(
    fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("DOCKER_BUILDKIT", "1")
    fake_program("docker", dockers(plugins="[]"))
    health = tritonbuild.probe("docker")
    assert health.reason == "DOCKER_BUILDKIT=1 requires BuildKit, and docker's plug-in buildx is not installed"
    assert health.hint == "install docker-buildx, or unset DOCKER_BUILDKIT"


def test_where_nerdctl_looks_for_buildkit(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, fake_program: FakeProgram
) -> None:
    (tmp_path / "buildkit-default").mkdir()
    (tmp_path / "buildkit-default" / "buildkitd.sock").touch()
    monkeypatch.setattr("os.geteuid", lambda: 1000)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    assert nerdctl._buildkit_address({}) == f"unix://{tmp_path}/buildkit-default/buildkitd.sock"
    monkeypatch.setenv("CONTAINERD_NAMESPACE", "mine")
    (tmp_path / "buildkit-mine").mkdir()
    (tmp_path / "buildkit-mine" / "buildkitd.sock").touch()
    assert nerdctl._buildkit_address({}) == f"unix://{tmp_path}/buildkit-mine/buildkitd.sock"
    monkeypatch.setenv("BUILDKIT_HOST", "tcp://there:1")
    assert nerdctl._buildkit_address({}) == "tcp://there:1"


# --- real clients, on sockets that are not well

CLIENTS: Final = [
    ("docker", "docker", "DOCKER_HOST"),
    ("buildx", "docker", "DOCKER_HOST"),
    ("buildctl", "buildctl", "BUILDKIT_HOST"),
]


def needs(program: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Put the real client on PATH, or skip."""
    if program == "buildctl":
        try:
            folder = tools.build()
        except ServiceError as error:
            pytest.skip(str(error))
        monkeypatch.setenv("PATH", f"{folder}:/usr/bin:/bin")
    elif shutil.which(program) is None:
        pytest.skip(f"{program} is not installed")


@pytest.mark.parametrize(("engine", "program", "variable"), CLIENTS, ids=[c[0] for c in CLIENTS])
def test_a_socket_that_nobody_listens_on(
    engine: str, program: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs(program, monkeypatch)
    with refused_socket(tmp_path) as socket:
        monkeypatch.setenv(variable, f"unix://{socket}")
        health = tritonbuild.probe(engine)
    assert not health.ok
    assert str(socket) in health.reason
    assert health.hint.startswith("start ")
    assert health.seconds < 5


@pytest.mark.parametrize(("engine", "program", "variable"), CLIENTS, ids=[c[0] for c in CLIENTS])
def test_a_socket_that_never_answers(
    engine: str, program: str, variable: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    needs(program, monkeypatch)
    monkeypatch.setattr(_probe, "TIMEOUT", 0.7)
    with hung_socket(tmp_path) as socket:
        monkeypatch.setenv(variable, f"unix://{socket}")
        health = tritonbuild.probe(engine)
    word = "version" if program == "docker" else "debug"
    assert health.reason == f"{program} {word} gave no answer within 0.7 s"
    assert health.hint == "its daemon or storage hangs; restart it"
    assert health.seconds < 4


def test_json_of_a_probe_is_read_among_other_lines() -> None:
    assert _probe.json_object("warning\n" + json.dumps({"a": {"b": 1}}) + "\nmore") == {"a": {"b": 1}}
