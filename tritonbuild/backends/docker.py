"""The docker engine: `docker build`, with the legacy builder or with BuildKit.

Its flags: https://docs.docker.com/reference/cli/docker/build-legacy/. If docker has the plug-in buildx, `docker build`
is `docker buildx build`, which hides the legacy builder's flags and ignores them with a warning.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags, process
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

GLOBAL_OPTIONS: Final[flags.Table] = {
    "config": flags.path,
    "context": flags.scalar,
    "debug": flags.switch,
    "host": flags.scalar,
    "log_level": flags.choice("debug", "info", "warn", "error", "fatal"),
    "tls": flags.switch,
    "tlscacert": flags.path,
    "tlscert": flags.path,
    "tlskey": flags.path,
    "tlsverify": flags.switch,
}
"""The options of docker itself: https://docs.docker.com/reference/cli/docker/#options."""

HINTS: Final = {
    "permission denied": "run as a member of the group docker, or as root",
    "Cannot connect": "start the daemon (systemctl start docker), or point DOCKER_HOST at another one",
    "onnection refused": "start the daemon (systemctl start docker), or point DOCKER_HOST at another one",
    "unknown flag": "install docker 17.09 or newer",
    "context": "see docker context ls",
}
INSTALL: Final = "install docker, or choose another engine: tritonbuild engines lists the healthy ones"
CONTAINERD_STORE: Final = "io.containerd.snapshotter"
"""The driver type of docker's image store in containerd, which has other ids and sizes than the classic one."""

HEREDOCS_SINCE: Final = (23,)
"""The first daemon whose BuildKit has heredocs: 20.10 has BuildKit 0.8, and 23.0 has 0.10."""

_BUILDKIT_ONLY: Final = ("output", "progress", "secret", "ssh")
_LEGACY_ONLY: Final = (
    *("cpu_period", "cpu_quota", "cpu_shares", "cpuset_cpus", "cpuset_mems"),
    *("isolation", "memory", "memory_swap", "security_opt"),
)
_NOT_BEFORE_BUILDX: Final = ("cgroup_parent", "shm_size", "ulimit")


def ask_version(docker: Sequence[str]) -> process.Completed:
    """Ask for the versions of client and daemon, which docker prints only if the daemon serves.

    Args:
        docker: The program with its global flags.

    Raises:
        UnhealthyEngineError: The daemon does not serve.
    """
    return ask([*docker, "version", "--format", "{{json .}}"], hints=HINTS, install=INSTALL)


def ask_state(docker: Sequence[str]) -> process.Completed:
    """Ask for the state of client and daemon."""
    return ask([*docker, "info", "--format", "{{json .}}"], hints=HINTS, install=INSTALL)


def check_daemon(versions: Mapping[str, Any], state: Mapping[str, Any], options: Mapping[str, Any]) -> None:
    """Check the answers of `ask_version` and `ask_state`.

    Raises:
        UnhealthyEngineError: The daemon is podman, or its storage is on this machine and nearly full.
    """
    server, client = versions.get("Server") or {}, versions.get("Client") or {}
    if "Components" not in server:  # podman, if installed as docker, reports versions only
        raise UnhealthyEngineError(f"docker here is podman {server.get('Version', '')}", hint="use --engine podman")
    if _is_local(str(client.get("Context", "")), options):
        require_space(str(state.get("DockerRootDir", "")))


def plugin(state: Mapping[str, Any], name: str) -> dict[str, Any] | None:
    """Return the entry of a plug-in in `docker info`; None if it is not installed."""
    plugins = (state.get("ClientInfo") or {}).get("Plugins") or []
    return next((plugin for plugin in plugins if plugin.get("Name") == name), None)


def health(*, program: Sequence[str] = (NAME,), engine: str = NAME, **options: Any) -> Health:
    """Ask the daemon for its version and its state."""
    docker = _options.program(program, GLOBAL_OPTIONS, options, engine=engine)
    answers = at_once(lambda: ask_version(docker), lambda: ask_state(docker))
    document, state = (json_object(answer.output) for answer in answers)
    check_daemon(document, state, options)
    version, client = (str((document.get(side) or {}).get("Version", "")) for side in ("Server", "Client"))
    require_version(version, "17.09", program=NAME)  # the first with COPY --chown
    require_version(client, "17.09", program="docker's client")
    buildx = plugin(state, "buildx") is not None
    env, buildkit = _builder(flags.version_numbers(client), buildx=buildx)
    features = {"load", "push"}
    if buildkit:
        features.add("buildkit")
        if flags.version_numbers(version) >= HEREDOCS_SINCE:
            features.add("heredocs")
        if buildx and _client_is_buildx(docker, flags.version_numbers(client)):
            features.add("buildx")
    if CONTAINERD_STORE in str(state.get("DriverStatus")):
        features.add("containerd-store")
    return Health(ok=True, engine=engine, version=version, client=client, env=env, features=frozenset(features))


def _is_local(context: str, options: Mapping[str, Any]) -> bool:
    """Return whether the daemon is on this machine, so that its folders can be examined."""
    host = options.get("host") or ("" if options.get("context") else os.environ.get("DOCKER_HOST", ""))
    return str(host).startswith("unix://") if host else context in {"", "default"}


def _builder(client: tuple[int, ...], *, buildx: bool) -> tuple[dict[str, str], bool]:
    """Return the environment variables that a build needs, and whether BuildKit is its builder."""
    asked = os.environ.get("DOCKER_BUILDKIT", "")
    wanted = asked.lower() not in {"0", "f", "false"}
    if client < (18, 9):
        return {}, False
    # BuildKit came into the client with 18.09, and became the default, through buildx, with 23.0.
    if client < (23,):
        return ({} if asked else {"DOCKER_BUILDKIT": "1"}), wanted
    if asked and wanted and not buildx:
        raise UnhealthyEngineError(
            f"DOCKER_BUILDKIT={asked} requires BuildKit, and docker's plug-in buildx is not installed",
            hint="install docker-buildx, or unset DOCKER_BUILDKIT",
        )
    return {}, wanted and buildx


def _client_is_buildx(docker: Sequence[str], client: tuple[int, ...]) -> bool:
    """Return whether `docker build` is `docker buildx build`: by default since 23.0, before by `docker buildx install`.

    It may then use a builder that leaves the result in its cache unless it gets `--load`.
    """
    if client >= (23,):
        return True
    return "--load" in ask([*docker, "build", "--help"], hints=HINTS, install=INSTALL).output


def adapt(health: Health, *, engine: str = NAME, **options: Any) -> dict[str, Any] | None:
    """Refuse the options of the other builder, which docker would ignore; load the image if buildx builds."""
    given = flags.canonical(options)
    client = flags.version_numbers(health.client)
    if "buildkit" in health.features:
        names = (*_LEGACY_ONLY, *(_NOT_BEFORE_BUILDX if client < (23,) else ()))
        needs, hint = "the builder without BuildKit", "set DOCKER_BUILDKIT=0, or leave the option out"
    else:
        names = (*_BUILDKIT_ONLY, *(("platform",) if client < (23,) else ()))
        needs, hint = "BuildKit", "unset DOCKER_BUILDKIT, and install docker-buildx for docker 23 or newer"
    if all(output.is_archive for output in _options.stored(given, engine=engine)[0].outputs):
        given.pop("output", None)  # saved after the build
    for name in names:
        if name in given and given[name] is not False:
            raise InvalidInputError(f"option {name!r} of engine {engine!r} needs {needs}", hint=hint)
    return {**options, "loads": True} if "buildx" in health.features else None


def construct_build_args(
    *, engine: str = NAME, context_path: str = ".", loads: bool = False, **options: Any
) -> list[str]:
    """Return the tokens that follow `docker build`; *loads* is set by `adapt` if buildx builds."""
    _, given = _options.stored(flags.canonical(options), engine=engine)
    for name in ("annotation", "cache_to", "metadata_file"):
        if name in given:
            raise cannot(name, engine=engine)
    if "cache_from" in given:
        _options.validate(given, "cache_from", engine=engine)
        given["cache_from"] = tuple(_image(one, engine=engine) for one in flags.each(given["cache_from"]))
    load = ["--load"] if loads else []
    return [*load, *flags.render(OPTIONS, given, engine=engine), os.fspath(context_path)]


def _image(cache: object, *, engine: str) -> str:
    """Return the image of a cache of type `registry`, the only type that docker has; docker takes its name alone."""
    (text,) = flags.fields.texts(cache)
    if "=" not in text:
        return text
    fields = dict(item.partition("=")[::2] for item in csv_items(text))
    if fields.get("type") != "registry" or set(fields) != {"type", "ref"}:
        raise cannot("cache_from other than type=registry,ref=IMAGE", engine=engine)
    return fields["ref"]


def follow_up(
    image_id: str, *, scratch: Path, engine: str = NAME, context_path: str = ".", **options: Any
) -> Iterator[list[str]]:
    """Yield the commands that write the image's files, save it, and push it."""
    del image_id, scratch  # push and save take the image's names, and no file gets the digest
    options.pop("loads", None)
    destination, given = _options.stored(flags.canonical(options), engine=engine)
    tags = _options.tags(given)
    yield from saves([output for output in destination.outputs if output.is_archive], tags)
    for output in destination.outputs:
        if not output.is_archive:
            tokens = construct_build_args(engine=engine, context_path=context_path, **_options.again(given))
            yield ["build", f"--output={output.text()}", *tokens]
    for tag in tags if destination.push else ():
        yield ["push", *(["--quiet"] if given.get("quiet") else []), tag]


def saves(outputs: Sequence[Output], tags: Sequence[str]) -> Iterator[list[str]]:
    """Yield the commands that save an image; a docker archive becomes an OCI archive if that is requested."""
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
    files=partial(_options.files, engine=NAME),
    construct_build_args=construct_build_args,
    capabilities=_options.BUILDKIT | {"load"},
    options=_options.table({**GLOBAL_OPTIONS, **OPTIONS}),
    global_options=GLOBAL_OPTIONS,
    adapt=adapt,
    follow_up=follow_up,
    size_query=("image", "inspect", "--format", "{{.Size}}"),
    config_query=("image", "inspect", "--format", "{{json .Config}}"),
    digest_query=("image", "inspect", "--format", "{{range .RepoDigests}}{{println .}}{{end}}"),
)
