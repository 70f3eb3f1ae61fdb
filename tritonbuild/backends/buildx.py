"""The buildx engine: `docker buildx build`.

Its flags: https://docs.docker.com/reference/cli/docker/buildx/build/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags, process
from tritonbuild.backends import _options, buildctl, docker
from tritonbuild.backends._options import Output
from tritonbuild.backends._probe import ask, at_once, json_object, require_version
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import InvalidInputError, UnhealthyEngineError

NAME: Final = "buildx"

OPTIONS: Final[flags.Table] = {
    "add_host": flags.hosts,
    "allow": flags.repeated,
    "annotation": flags.pairs,
    "attest": flags.fields,
    "build_arg": flags.pairs,
    "build_context": flags.named,
    "builder": flags.scalar,
    "cache_from": flags.fields,
    "cache_to": flags.fields,
    "call": evolve(flags.scalar, since="0.15"),
    "cgroup_parent": flags.cgroup,
    "check": evolve(flags.switch, since="0.15"),
    "debug": evolve(flags.switch, since="0.17"),
    "file": flags.path,
    "iidfile": flags.path,
    "label": flags.pairs,
    "load": flags.switch,
    "metadata_file": flags.path,
    "network": flags.scalar,
    "no_cache": flags.switch,
    "no_cache_filter": flags.fields,
    "output": flags.fields,
    "platform": flags.repeated,
    "progress": flags.choice("auto", "none", "plain", "quiet", "rawjson", "tty"),
    "provenance": flags.single(flags.attestation),  # the flag wants its value: a bare one would take the next token
    "pull": flags.switch,
    "push": flags.switch,
    "quiet": flags.switch,
    "sbom": flags.single(flags.attestation),
    "secret": flags.fields,
    "shm_size": flags.scalar,
    "ssh": flags.repeated,
    "tag": flags.repeated,
    "target": flags.scalar,
    "ulimit": flags.limits,
}


_GLOBAL_OPTIONS: Final = {name: kind for name, kind in docker.GLOBAL_OPTIONS.items() if name not in OPTIONS}


def health(*, program: Sequence[str] = (docker.NAME,), engine: str = NAME, **options: Any) -> Health:
    """Ask the builder of the build for its state, and docker if the builder runs in it.

    A remote builder needs no docker daemon, unless the image is loaded into docker.
    """
    client = _options.program(program, docker.GLOBAL_OPTIONS, options, engine=engine)
    info, inspected, daemon = at_once(
        lambda: _attempt(lambda: docker.ask_state(client)),
        lambda: _attempt(lambda: _inspect(client, options)),
        lambda: _attempt(lambda: docker.ask_version(client)),
    )
    if isinstance(inspected, UnhealthyEngineError):
        if not isinstance(info, UnhealthyEngineError):
            _version(json_object(info.output))
        raise daemon if isinstance(daemon, UnhealthyEngineError) else inspected
    if isinstance(info, UnhealthyEngineError):  # no daemon: the client alone knows its plug-ins
        words = [*client, "info", "--format", "{{json .ClientInfo}}"]
        state = {"ClientInfo": json_object(ask(words, hints=docker.HINTS, install=docker.INSTALL).output)}
    else:
        state = json_object(info.output)
    driver = _field("Driver", inspected.output)
    if driver in _IN_DOCKER:
        if isinstance(daemon, UnhealthyEngineError):
            raise daemon
        docker.check_daemon(json_object(daemon.output), state, options)
    elif error := _field("Error", inspected.output):
        raise UnhealthyEngineError(error, hint="see docker buildx inspect")
    elif driver == "remote" and "running" not in re.findall(r"^Status:\s+(\S+)", inspected.output, re.MULTILINE):
        name = _field("Name", inspected.output)
        raise UnhealthyEngineError(
            f"the BuildKit daemon of the builder {name!r} does not answer", hint=f"see docker buildx inspect {name}"
        )
    found = _features(driver, inspected.output, state)
    return Health(ok=True, engine=engine, version=_version(state), features=found)


def _features(driver: str, inspected: str, state: Mapping[str, Any]) -> frozenset[str]:
    """Return the features of the builder, and of docker's daemon if it serves."""
    found = {
        "heredocs": _has_heredocs(driver, inspected, state),
        "load": driver in _IN_DOCKER or state.get("ServerVersion"),
        "containerd-store": docker.CONTAINERD_STORE in str(state.get("DriverStatus")),
    }
    return frozenset({"buildkit", "multi-platform", "push", *(name for name, has in found.items() if has)})


def _has_heredocs(driver: str, inspected: str, state: Mapping[str, Any]) -> bool:
    """Return whether the builder knows heredocs: docker's own by docker's version, others by that of their BuildKit."""
    if driver in {"", "docker"}:
        return flags.version_numbers(str(state.get("ServerVersion", ""))) >= docker.HEREDOCS_SINCE
    found = re.search(r"^BuildKit(?: version)?:\s+v?(\d\S*)", inspected, re.MULTILINE | re.IGNORECASE)
    return found is not None and flags.version_numbers(found[1]) >= buildctl.HEREDOCS_SINCE


def _attempt(call: Callable[[], process.Completed]) -> process.Completed | UnhealthyEngineError:
    try:
        return call()
    except UnhealthyEngineError as error:
        return error


_IN_DOCKER: Final = frozenset({"", "docker", "docker-container"})
"""The drivers of builders that run in docker; the empty one is of docker's own builder if its daemon is down."""


def _inspect(client: Sequence[str], options: Mapping[str, Any]) -> process.Completed:
    """Ask for the state of the builder that will be used: the option's, that of BUILDX_BUILDER, or the current one."""
    named = [str(options["builder"])] if options.get("builder") else []
    hints = {"no builder": "see docker buildx ls", **docker.HINTS}
    return ask([*client, "buildx", "inspect", *named], hints=hints, install=docker.INSTALL)


def _field(name: str, inspected: str) -> str:
    """Return the first value of a field in the output of `docker buildx inspect`; empty if it has none."""
    found = re.search(rf"^{name}:[ \t]*(.*?)[ \t]*$", inspected, re.MULTILINE)
    return found[1] if found else ""


def _version(state: Mapping[str, Any]) -> str:
    """Return the version of the plug-in from the output of `docker info`."""
    found = docker.plugin(state, NAME)
    if found is None:
        raise UnhealthyEngineError(
            "docker has no plug-in buildx", hint="install docker-buildx-plugin, or docker-buildx"
        )
    version = str(found.get("Version", "")).removeprefix("v")
    if not version:
        raise UnhealthyEngineError("docker's plug-in buildx does not start", hint="see docker buildx version")
    require_version(version, "0.8", program="docker's plug-in buildx")  # the first with --metadata-file and --network
    return version


def construct_build_args(
    *, engine: str = NAME, context_path: str = ".", saved: Sequence[Output] = (), **options: Any
) -> list[str]:
    """Return the tokens that follow `docker buildx build`.

    Without another destination the result is loaded into docker: some builders would leave it in their cache.
    *saved* are the archives that `adapt` leaves to `follow_up`.

    Raises:
        InvalidInputError: The result has no destination.
    """
    del saved
    given = flags.canonical(options)
    _options.outputs(given.get("output"), engine=engine)
    if _loads(given):
        given["load"] = True
    elif not given.get("push") and "output" not in given:
        raise _options.nowhere(engine=engine)
    return [*flags.render(OPTIONS, given, engine=engine), os.fspath(context_path)]


def _loads(given: Mapping[str, Any]) -> bool:
    """Return whether the image is loaded into docker."""
    elsewhere = bool(given.get("push")) or given.get("output") is not None
    load = given.get("load")
    return not elsewhere if load is None else load is True


def adapt(
    health: Health, *, program: Sequence[str] = (docker.NAME,), engine: str = NAME, **options: Any
) -> dict[str, Any] | None:
    """Leave archives to docker if the builder is docker's own and cannot write them."""
    if "load" not in health.features and _loads(options):
        raise InvalidInputError(
            f"engine {engine!r} cannot load the image: docker's daemon does not serve",
            hint="give push=True or output='type=oci,dest=FILE', or start docker",
        )
    outputs = _options.outputs(options.get("output"), engine=engine)
    saved = tuple(output for output in outputs if output.is_archive and not output.fields)
    if not saved or options.get("load") is False:
        return None
    if "containerd-store" in health.features or not _is_dockers_own(program, engine, options):
        return None
    rest = tuple(output.text() for output in outputs if output not in saved)
    return {**options, "load": True, "output": rest or None, "saved": saved}


def _is_dockers_own(program: Sequence[str], engine: str, options: Mapping[str, Any]) -> bool:
    """Return whether the builder is docker's own, which writes archives only with images in containerd's store."""
    client = _options.program(program, docker.GLOBAL_OPTIONS, options, engine=engine)
    return _field("Driver", _inspect(client, options).output) == "docker"


def follow_up(
    image_id: str, *, scratch: Path, engine: str = NAME, saved: Sequence[Output] = (), **options: Any
) -> Iterator[list[str]]:
    """Yield the commands that save the image if the builder cannot."""
    del image_id, scratch, engine
    yield from docker.saves(saved, _options.tags(options))


ENGINE: Final = Engine(
    name=NAME,
    binary="docker",
    build_cmd=("buildx", "build"),
    health=health,
    files=partial(_options.files, engine=NAME),
    construct_build_args=construct_build_args,
    capabilities=_options.BUILDKIT_CLIENT | {"annotation", "load", "load=False", "metadata_file", "output"},
    options=_options.table({**docker.GLOBAL_OPTIONS, **OPTIONS}),
    global_options=_GLOBAL_OPTIONS,
    adapt=adapt,
    follow_up=follow_up,
    result_options=("metadata_file",),
    makes_image=lambda options: _options.has_image(options, engine=NAME),
    size_query=("image", "inspect", "--format", "{{.Size}}"),
    config_query=("image", "inspect", "--format", "{{json .Config}}"),
)
