"""The docker engine: plain `docker build`, with the legacy builder or with BuildKit.

Its flags: https://docs.docker.com/reference/cli/docker/build-legacy/. Where docker has the buildx plug-in, `docker
build` is `docker buildx build`, which hides the legacy builder's flags and ignores them with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags
from tritonbuild.atomic import beside, replacing
from tritonbuild.backends import _options
from tritonbuild.backends._options import Output, cannot
from tritonbuild.backends._probe import ask, at_once, json_object, require_space, require_version
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import InvalidInputError, UnhealthyEngineError
from tritonbuild.masking import csv_items

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
    "output": evolve(flags.fields, since="19.03"),  # BuildKit only, as are progress, secret and ssh
    "platform": flags.joined(flags.repeated),  # of several flags, all but the last would be dropped
    "progress": evolve(flags.choice("auto", "none", "plain", "quiet", "rawjson", "tty"), since="18.09"),
    "pull": flags.switch,
    "quiet": flags.switch,
    "rm": flags.switch,
    "secret": evolve(flags.fields, since="18.09"),
    "security_opt": flags.repeated,
    "shm_size": flags.scalar,
    "ssh": evolve(flags.repeated, since="18.09"),
    "tag": flags.repeated,
    "target": flags.single(flags.repeated),
    "ulimit": flags.limits,
}

HINTS: Final = {
    "permission denied": "run as a member of the group docker, or as root",
    "Cannot connect": "start the daemon (systemctl start docker), or point DOCKER_HOST at one that runs",
    "onnection refused": "start the daemon (systemctl start docker), or point DOCKER_HOST at one that runs",
    "unknown flag": "install docker 17.09 or newer",
    "context": "see docker context ls",
}
INSTALL: Final = "install docker, or choose another engine: tritonbuild engines shows which can build"

_BUILDKIT_ONLY: Final = ("output", "progress", "secret", "ssh")
_LEGACY_ONLY: Final = (
    *("cpu_period", "cpu_quota", "cpu_shares", "cpuset_cpus", "cpuset_mems"),
    *("isolation", "memory", "memory_swap", "security_opt"),
)
_NOT_BEFORE_BUILDX: Final = ("cgroup_parent", "shm_size", "ulimit")


def ask_daemon() -> tuple[dict[str, Any], dict[str, Any]]:
    """Return what client and daemon say of themselves, and what they say of the daemon's state and their plug-ins.

    `docker version` answers only when the daemon serves; the client alone builds nothing.

    Raises:
        UnhealthyEngineError: It does not serve, is podman, or its storage is on this machine and nearly full.
    """
    answer, state = at_once(
        lambda: ask(["docker", "version", "--format", "{{json .}}"], hints=HINTS, install=INSTALL),
        lambda: ask(["docker", "info", "--format", "{{json .}}"], hints=HINTS, install=INSTALL),
    )
    document, found = json_object(answer.output), json_object(state.output)
    server, client = document.get("Server") or {}, document.get("Client") or {}
    if "Components" not in server:  # podman's answer under docker's name has versions only
        raise UnhealthyEngineError(f"docker here is podman {server.get('Version', '')}", hint="use --engine podman")
    if is_local(str(client.get("Context", ""))):
        require_space(str(found.get("DockerRootDir", "")))
    return document, found


def plugin(state: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return what the client says of one of its plug-ins; None where it has none of that name."""
    plugins = (state.get("ClientInfo") or {}).get("Plugins") or []
    return next((plugin for plugin in plugins if plugin.get("Name") == name), None)


def health() -> Health:
    """Ask the daemon for its version and its state."""
    document, state = ask_daemon()
    version, own = (str((document.get(side) or {}).get("Version", "")) for side in ("Server", "Client"))
    require_version(version, "17.09", program=NAME)  # the first with COPY --chown
    require_version(own, "17.09", program="docker's client")
    env, buildkit = _builder(flags.version_numbers(own), buildx=plugin(state, "buildx") is not None)
    features = {"load", "push", *(["buildkit"] if buildkit else [])}
    return Health(ok=True, engine=NAME, version=version, client=own, env=env, features=frozenset(features))


def is_local(context: str) -> bool:
    """Whether the daemon is on this machine, so that its folders can be looked at."""
    host = os.environ.get("DOCKER_HOST", "")
    return host.startswith("unix://") if host else context in {"", "default"}


def _builder(client: tuple[int, ...], *, buildx: bool) -> tuple[dict[str, str], bool]:
    """Return what the environment has to hold, and whether BuildKit builds."""
    asked = os.environ.get("DOCKER_BUILDKIT", "")
    wanted = asked.lower() not in {"0", "f", "false"}
    if client < (18, 9):
        return {}, False
    # BuildKit came into the client with 18.09, and became what it does by default, through buildx, with 23.0.
    if client < (23,):
        return ({} if asked else {"DOCKER_BUILDKIT": "1"}), wanted
    if asked and wanted and not buildx:
        raise UnhealthyEngineError(
            f"DOCKER_BUILDKIT={asked} asks docker for BuildKit, and its plug-in buildx is missing",
            hint="install docker-buildx, or unset DOCKER_BUILDKIT",
        )
    return {}, wanted and buildx


def adapt(health: Health, **options: Any) -> None:
    """Refuse the options of the builder that is not the one that builds: docker ignores them, or most of them."""
    given = flags.canonical(options)
    client = flags.version_numbers(health.client)
    if "buildkit" in health.features:
        names = (*_LEGACY_ONLY, *(_NOT_BEFORE_BUILDX if client < (23,) else ()))
        needs, hint = "the builder without BuildKit", "set DOCKER_BUILDKIT=0, or leave the option out"
    else:
        names = (*_BUILDKIT_ONLY, *(("platform",) if client < (23,) else ()))
        needs, hint = "BuildKit", "unset DOCKER_BUILDKIT, and install docker-buildx where docker is 23 or newer"
    if all(output.is_archive for output in _options.stored(given, engine=NAME)[0].outputs):
        given.pop("output", None)  # saved when the image is built
    for name in names:
        if name in given and given[name] is not False:
            raise InvalidInputError(f"option {name!r} of engine {NAME!r} needs {needs}", hint=hint)


def construct_build_args(*, context_path: str = ".", **options: Any) -> list[str]:
    """Return the tokens that follow `docker build`."""
    _, given = _options.stored(flags.canonical(options), engine=NAME)
    for name in ("annotation", "cache_to", "metadata_file"):
        if name in given:
            raise cannot(name, engine=NAME)
    if "cache_from" in given:
        _options.validate(given, "cache_from", engine=NAME)
        given["cache_from"] = tuple(_image(one) for one in flags.each(given["cache_from"]))
    return [*flags.render(OPTIONS, given, engine=NAME), os.fspath(context_path)]


def _image(cache: object) -> str:
    """Return the image that a cache of type `registry` names; docker has no other, and takes the name alone."""
    (text,) = flags.fields.texts(cache)
    if "=" not in text:
        return text
    fields = dict(item.partition("=")[::2] for item in csv_items(text))
    if fields.get("type") != "registry" or set(fields) != {"type", "ref"}:
        raise cannot("cache_from other than type=registry,ref=IMAGE", engine=NAME)
    return fields["ref"]


def follow_up(image_id: str, *, scratch: Path, context_path: str = ".", **options: Any) -> Iterator[list[str]]:
    """Yield the commands that write the image's files, save it, and push it."""
    del image_id, scratch  # push and save know an image by its names, and no file gets the digest
    destination, given = _options.stored(flags.canonical(options), engine=NAME)
    tags = _options.tags(given)
    yield from saves([output for output in destination.outputs if output.is_archive], tags)
    for output in destination.outputs:
        if not output.is_archive:
            tokens = construct_build_args(context_path=context_path, **_options.again(given))
            yield ["build", f"--output={output.text()}", *tokens]
    for tag in tags if destination.push else ():
        yield ["push", *(["--quiet"] if given.get("quiet") else []), tag]


def saves(outputs: Sequence[Output], tags: Sequence[str]) -> Iterator[list[str]]:
    """Yield the commands that save an image, and make OCI archives of what was saved where they are asked for."""
    # A name without a tag would save every image of that name.
    named = [tag if ":" in tag.rpartition("/")[2] else f"{tag}:latest" for tag in tags]
    for output in outputs:
        with replacing(Path(output.dest)) as target:
            if output.type == "docker":
                yield ["save", f"--output={target}", *named]
                continue
            with beside(Path(output.dest)) as saved:
                yield ["save", f"--output={saved}", *named]
                _to_layout(saved, target, tags)


def _to_layout(saved: Path, target: Path, tags: Sequence[str]) -> None:
    from tritonbuild.oci import archives  # noqa: PLC0415 - slow to load, and needed for this only

    archives.to_layout(saved, target, tags)


ENGINE: Final = Engine(
    name=NAME,
    binary="docker",
    health=health,
    construct_build_args=construct_build_args,
    capabilities=frozenset(
        {
            "cache_from",
            "load",
            "output type=docker",
            "output type=oci",
            "progress=rawjson",
            "progress=tty",
            "push",
            "several outputs of type local or tar",
        }
    ),
    options=_options.table(OPTIONS),
    adapt=adapt,
    follow_up=follow_up,
    size_query=("image", "inspect", "--format", "{{.Size}}"),
    config_query=("image", "inspect", "--format", "{{json .Config}}"),
    digest_query=("image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}"),
)
