"""The buildx engine: `docker buildx build`.

Its flags: https://docs.docker.com/reference/cli/docker/buildx/build/.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags
from tritonbuild.backends import _options, docker
from tritonbuild.backends._options import Output
from tritonbuild.backends._probe import ask, at_once, require_version
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import UnhealthyEngineError

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


def health() -> Health:
    """Ask docker, whose state tells the plug-in's version too; `docker buildx inspect` succeeds without a daemon.

    What a builder elsewhere keeps is not looked at: the image itself goes to docker unless it is told otherwise.
    """
    _, state = docker.ask_daemon()
    found = docker.plugin(state, NAME)
    if found is None:
        raise UnhealthyEngineError(
            "docker has no plug-in buildx", hint="install docker-buildx-plugin, or docker-buildx"
        )
    version = str(found.get("Version", "")).removeprefix("v")
    if not version:
        raise UnhealthyEngineError("docker's plug-in buildx does not start", hint="see what docker buildx version says")
    require_version(version, "0.8", program="docker's plug-in buildx")  # the first with --metadata-file and --network
    features = frozenset({"buildkit", "load", "multi-platform", "push"})
    return Health(ok=True, engine=NAME, version=version, features=features)


def construct_build_args(*, context_path: str = ".", saved: Sequence[Output] = (), **options: Any) -> list[str]:
    """Return the tokens that follow `docker buildx build`.

    The result goes to docker unless it is told to go elsewhere: with some builders it would be left in their cache.
    *saved* is what `adapt` leaves to `follow_up`.

    Raises:
        InvalidInputError: The result is to go nowhere.
    """
    del saved
    given = flags.canonical(options)
    _options.outputs(given.get("output"), engine=NAME)
    if not given.get("push") and "output" not in given:
        if given.get("load") is False:
            raise _options.nowhere(engine=NAME)
        given["load"] = given.get("load", True)
    return [*flags.render(OPTIONS, given, engine=NAME), os.fspath(context_path)]


def adapt(health: Health, **options: Any) -> dict[str, Any] | None:
    """Leave archives to docker where the builder is docker's own and cannot write them."""
    del health
    places = _options.outputs(options.get("output"), engine=NAME)
    saved = tuple(place for place in places if place.is_archive and not place.fields)
    if not saved or options.get("load") is False or _writes_archives(options.get("builder")):
        return None
    rest = tuple(place.text() for place in places if place not in saved)
    return {**options, "load": True, "output": rest or None, "saved": saved}


def _writes_archives(builder: str | None) -> bool:
    """Whether the builder can write archives: docker's own can where docker keeps images in containerd's storage."""
    name = [] if builder is None else [builder]
    shown, store = at_once(
        lambda: ask(["docker", "buildx", "inspect", *name], hints=docker.HINTS, install=docker.INSTALL),
        lambda: ask(["docker", "info", "--format", "{{json .DriverStatus}}"], hints=docker.HINTS, install=""),
    )
    own = re.search(r"^Driver:\s+docker\s*$", shown.output, re.MULTILINE)
    return own is None or "io.containerd.snapshotter" in store.output


def follow_up(image_id: str, *, scratch: Path, saved: Sequence[Output] = (), **options: Any) -> Iterator[list[str]]:
    """Yield the commands that save the image where the builder cannot."""
    del image_id, scratch
    yield from docker.saves(saved, _options.tags(options))


ENGINE: Final = Engine(
    name=NAME,
    binary="docker",
    build_cmd=("buildx", "build"),
    health=health,
    construct_build_args=construct_build_args,
    capabilities=frozenset(
        {
            "annotation",
            "cache_from",
            "cache_from other than type=registry,ref=IMAGE",
            "cache_to",
            "load",
            "load=False",
            "metadata_file",
            "output",
            "output type=docker",
            "output type=oci",
            "progress=rawjson",
            "progress=tty",
            "push",
            "several outputs of type local or tar",
            "several platforms",
        }
    ),
    options=_options.table(OPTIONS),
    adapt=adapt,
    follow_up=follow_up,
    result_options=("metadata_file",),
    makes_image=lambda options: _options.has_image(options, engine=NAME),
    size_query=("image", "inspect", "--format", "{{.Size}}"),
    config_query=("image", "inspect", "--format", "{{json .Config}}"),
)
