"""The docker engine: plain `docker build`, with the legacy builder or with BuildKit.

Its flags: https://docs.docker.com/reference/cli/docker/build-legacy/. Where docker has the buildx plug-in, `docker
build` is `docker buildx build`, which hides the legacy builder's flags and ignores them with a warning.
"""

from __future__ import annotations

import os
from typing import Any, Final

from tritonbuild import flags
from tritonbuild.backends.probing import ask, json_object
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import UnhealthyEngineError

NAME: Final = "docker"

OPTIONS: Final[flags.Table] = {
    "add_host": flags.hosts,
    "build_arg": flags.pairs,
    "cache_from": flags.fields,
    "cgroup_parent": flags.cgroup,
    "compress": flags.switch,
    "cpu_period": flags.integer,
    "cpu_quota": flags.integer,
    "cpu_shares": flags.integer,
    "cpuset_cpus": flags.scalar,
    "cpuset_mems": flags.scalar,
    "disable_content_trust": flags.switch,
    "file": flags.path,
    "force_rm": flags.switch,
    "iidfile": flags.path,
    "isolation": flags.choice("default", "process", "hyperv"),
    "label": flags.pairs,
    "memory": flags.scalar,
    "memory_swap": flags.scalar,
    "network": flags.scalar,
    "no_cache": flags.switch,
    "output": flags.fields,  # BuildKit only, as are progress, secret and ssh
    "platform": flags.joined(flags.repeated),  # of several flags, all but the last would be dropped
    "progress": flags.choice("auto", "none", "plain", "quiet", "rawjson", "tty"),
    "pull": flags.switch,
    "quiet": flags.switch,
    "rm": flags.switch,
    "secret": flags.fields,
    "security_opt": flags.repeated,
    "shm_size": flags.scalar,
    "ssh": flags.repeated,
    "tag": flags.repeated,
    "target": flags.single(flags.repeated),
    "ulimit": flags.limits,
}


def health() -> Health:
    """Ask the daemon for its version, which answers only when it serves; the client alone builds nothing."""
    answer = ask(
        ["docker", "version", "--format", "{{json .}}"],
        timeout=8,
        hints={
            "permission denied": "run as a member of the group docker, or as root",
            "Cannot connect": "start the daemon (systemctl start docker), or point DOCKER_HOST at one that runs",
            "unknown flag": "install docker 17.06 or newer",
        },
        install="install docker, or choose another engine: tritonbuild engines shows which can build",
    )
    document = json_object(answer.output)
    server = document.get("Server") or {}
    version = str(server.get("Version", ""))
    if "Components" not in server:  # podman's answer under docker's name has versions only
        raise UnhealthyEngineError(f"docker here is podman {version}", hint="use --engine podman")
    client = str((document.get("Client") or {}).get("Version", ""))
    # BuildKit came into the client with 18.09, and became what it does by default, through buildx, with 23.0.
    ask_for_it = (18, 9) <= flags.version_numbers(client) < (23,) and "DOCKER_BUILDKIT" not in os.environ
    return Health(ok=True, engine=NAME, version=version, env={"DOCKER_BUILDKIT": "1"} if ask_for_it else {})


def construct_build_args(*, context_path: str = ".", **options: Any) -> list[str]:
    """Return the tokens that follow `docker build`."""
    return [*flags.render(OPTIONS, options, engine=NAME), os.fspath(context_path)]


ENGINE: Final = Engine(
    name=NAME,
    binary="docker",
    health=health,
    construct_build_args=construct_build_args,
    options=OPTIONS,
    size_query=("image", "inspect", "--format", "{{.Size}}"),
)
