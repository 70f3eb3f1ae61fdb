"""The buildctl engine: `buildctl build`, BuildKit's own client.

Its flags: https://github.com/moby/buildkit/blob/master/docs/reference/buildctl.md. Options for which other clients have
flags, and buildctl has none, go to the Dockerfile frontend as `--opt` (`_frontend.py`). Only the last `--opt` of a name
counts, so lists are joined.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags, process
from tritonbuild.backends import _frontend, _options
from tritonbuild.backends._options import Output, cannot
from tritonbuild.backends._probe import ask, at_once, require_version
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import UnhealthyEngineError

NAME: Final = "buildctl"

OLDEST: Final = "0.11"
"""The first whose daemon reports its version and whose client asks for it (`debug info`, moby/buildkit#2725). The flags
of our builds are older: `--metadata-file` came with 0.9.
"""

OPTIONS: Final[flags.Table] = {
    "add_host": evolve(_frontend.hosts, flag="--opt=add-hosts="),
    "allow": flags.repeated,
    "attest": evolve(_frontend.attest, flag="--opt=attest:"),
    "build_arg": evolve(flags.named, flag="--opt=build-arg:"),
    "build_context": _frontend.build_context,
    "cache_from": evolve(flags.fields, flag="--import-cache"),
    "cache_to": evolve(flags.fields, flag="--export-cache"),
    "cgroup_parent": evolve(flags.cgroup, flag="--opt=cgroup-parent="),
    # The limits of CPU and memory were found in the frontend of BuildKit 0.32; older ones ignore them.
    "cpu_period": evolve(flags.integer, flag="--opt=cpuperiod=", since="0.32"),
    "cpu_quota": evolve(flags.integer, flag="--opt=cpuquota=", since="0.32"),
    "cpu_shares": evolve(flags.integer, flag="--opt=cpushares=", since="0.32"),
    "cpuset_cpus": evolve(flags.scalar, flag="--opt=cpusetcpus=", since="0.32"),
    "cpuset_mems": evolve(flags.scalar, flag="--opt=cpusetmems=", since="0.32"),
    "debug_json_cache_metrics": flags.scalar,
    "export_cache": flags.fields,
    "frontend": flags.single(flags.repeated),
    "import_cache": flags.fields,
    "label": evolve(_frontend.label, flag="--opt=label:"),
    "local": _frontend.folders,
    "memory": evolve(_frontend.size, flag="--opt=memory=", since="0.32"),
    "memory_swap": evolve(_frontend.size, flag="--opt=memswap=", since="0.32"),
    "metadata_file": flags.path,
    "network": _frontend.network,
    "no_cache": flags.switch,
    "no_cache_filter": evolve(flags.joined(flags.repeated), flag="--opt=no-cache="),
    "oci_layout": evolve(_frontend.folders, expects="'ID=FOLDER', a tuple of these, or a dict"),
    "opt": _frontend.opt,
    "output": flags.fields,
    "platform": evolve(flags.joined(flags.repeated), flag="--opt=platform="),
    "progress": flags.single(flags.choice("auto", "plain", "quiet", "rawjson", "tty")),
    "provenance": evolve(_frontend.attestation, flag="--opt=attest:provenance="),
    "proxy_network": flags.switch,
    "pull": _frontend.pull,
    "ref_file": flags.path,
    "registry_auth_tlscontext": flags.fields,
    "sbom": evolve(_frontend.attestation, flag="--opt=attest:sbom="),
    "secret": flags.fields,
    "shm_size": evolve(_frontend.size, flag="--opt=shm-size="),
    "source_policy_file": flags.path,
    "ssh": flags.repeated,
    "target": evolve(flags.single(flags.repeated), flag="--opt=target="),
    "trace": flags.path,
    "ulimit": evolve(flags.joined(flags.limits), flag="--opt=ulimit="),
}

GLOBAL_OPTIONS: Final[flags.Table] = {
    "addr": flags.scalar,
    "debug": flags.switch,
    "log_format": flags.choice("json", "text"),
    "timeout": flags.integer,
    "tlscacert": flags.path,
    "tlscert": flags.path,
    "tlsdir": flags.path,
    "tlskey": flags.path,
    "tlsservername": flags.scalar,
    "wait": flags.switch,
}
"""The options of buildctl itself, which lead to the daemon."""

HEREDOCS_SINCE: Final = (0, 10)
"""The first BuildKit with heredocs in its built-in Dockerfile frontend, so every one that is accepted here has them."""

_HINTS: Final = {
    "permission denied": "run as root, or as a member of the group that owns BuildKit's socket",
    "certificate": "give the options tlscacert, tlscert and tlskey, or tlsdir",
    "no such file": "start buildkitd, or point BUILDKIT_HOST at another one",
    "onnection refused": "start buildkitd, or point BUILDKIT_HOST at another one",
    "Unimplemented": f"install BuildKit {OLDEST} or newer",
    "No help topic": f"install BuildKit {OLDEST} or newer",
}
_INSTALL: Final = "install BuildKit's buildctl and start its buildkitd"
_IMAGES: Final = frozenset({"docker", "image", "oci"})
_LEVELS: Final = ("index", "index-descriptor", "manifest", "manifest-descriptor")


def ask_daemon(buildctl: Sequence[str], address: str = "") -> process.Completed:
    """Ask the daemon for its version, which answers only if it serves.

    Args:
        buildctl: The program with its global flags.
        address: The daemon's address; that of BUILDKIT_HOST, or the default one, if empty.
    """
    env = {"BUILDKIT_HOST": address} if address else {}
    return ask([*buildctl, "debug", "info"], hints=_HINTS, install=_INSTALL, env=env)


def daemon_version(answer: process.Completed) -> str:
    """Parse the version in the daemon's answer.

    Raises:
        UnhealthyEngineError: It is too old.
    """
    found = re.search(r"^BuildKit:\s+\S+\s+v?(\S+)", answer.output, re.MULTILINE)
    version = found[1] if found else ""
    require_version(version, OLDEST, program="BuildKit")
    return version


def health(*, program: Sequence[str] = (NAME,), engine: str = NAME, **options: Any) -> Health:
    """Ask the daemon for its version and for its workers, without which it cannot build."""
    buildctl = _options.program(program, GLOBAL_OPTIONS, options, engine=engine)
    answer, workers = at_once(
        lambda: ask_daemon(buildctl),
        lambda: ask([*buildctl, "debug", "workers"], hints=_HINTS, install=_INSTALL),
    )
    if len(workers.output.split("\n", 1)[-1].strip()) == 0:
        raise UnhealthyEngineError("buildkitd has no worker", hint="see its log: runc or containerd may be missing")
    features = frozenset({"buildkit", "heredocs", "multi-platform", "push"})
    return Health(ok=True, engine=engine, version=daemon_version(answer), features=features)


def construct_build_args(
    *, engine: str = NAME, context_path: str = ".", file: str | os.PathLike[str] | None = None, **options: Any
) -> list[str]:
    """Return the tokens that follow `buildctl build`.

    Raises:
        InvalidInputError: The result has no destination: BuildKit would leave it in its cache.
    """
    given = flags.canonical(options)
    _options.validate(given, "annotation", "iidfile", "load", "push", "quiet", "tag", engine=engine)
    if given.get("load"):
        raise cannot("load", engine=engine)
    results = _outputs(given, engine=engine)
    if not results:
        raise _options.nowhere(engine=engine)
    for name in ("annotation", "iidfile", "load", "output", "push", "tag"):
        given.pop(name, None)
    if given.pop("quiet", False):
        given["progress"] = "quiet"
    if given.get("network") == "host":  # an entitlement, which buildx requests by itself too
        given["allow"] = tuple(dict.fromkeys((*flags.each(given.get("allow") or ()), "network.host")))
    if "build_arg" in given:
        given["build_arg"] = _from_environment(given["build_arg"], engine=engine)
    if "cache_from" in given:
        _options.validate(given, "cache_from", engine=engine)
        lines = (_cache(text) for one in flags.each(given["cache_from"]) for text in flags.fields.texts(one))
        given["cache_from"] = tuple(lines)
    given.setdefault("frontend", "dockerfile.v0")
    folders = {"context": flags.absolute(os.fspath(context_path))}
    if file is not None:
        path = Path(flags.absolute(os.fspath(file)))
        folders["dockerfile"] = str(path.parent)
        given["opt"] = (f"filename={path.name}", *_frontend.opt.texts(given.get("opt") or ()))
    given["local"] = (
        *(f"{name}={folder}" for name, folder in folders.items()),
        *_frontend.folders.texts(given.get("local") or ()),
    )
    return [*flags.render(OPTIONS, given, engine=engine), *(f"--output={result}" for result in results)]


def _outputs(given: Mapping[str, Any], *, engine: str) -> list[str]:
    """Return the exporters: those of `output`, and one that pushes; each has the image's names and annotations."""
    exporters = list(_options.outputs(given.get("output"), engine=engine))
    for number, exporter in enumerate(exporters):
        if exporter.type == "registry":
            exporters[number] = Output(type="image", fields={**exporter.fields, "push": "true"})
        elif exporter.type != "image" and not exporter.dest:
            raise cannot(
                "load" if exporter.type == "docker" else f"output type={exporter.type} without dest", engine=engine
            )
    if given.get("push") and not any(exporter.fields.get("push") == "true" for exporter in exporters):
        exporters.append(Output(type="image", fields={"push": "true"}))
    annotations = dict(_annotation(text) for text in flags.pairs.texts(given.get("annotation") or ()))
    if annotations and not any(exporter.type in _IMAGES for exporter in exporters):
        raise cannot("annotation of an output that is no image", engine=engine)
    names = ",".join(_options.tags(given))
    texts = []
    for exporter in exporters:
        more = {"name": names} if names and "name" not in exporter.fields and exporter.type in _IMAGES else {}
        texts.append(exporter.text(**more, **(annotations if exporter.type in _IMAGES else {})))
    return texts


def _annotation(text: str) -> tuple[str, str]:
    """Return an annotation as an exporter's field; its level may precede it, as for docker: `index:KEY=VALUE`."""
    key, _, value = text.partition("=")
    level, colon, rest = key.partition(":")
    return (f"annotation-{level}.{rest}" if colon and level in _LEVELS else f"annotation.{key}"), value


def _from_environment(value: object, *, engine: str) -> tuple[str, ...]:
    """Return build arguments; a key alone gets its value from the environment, and is left out if it has none there."""
    _options.validate({"build_arg": value}, "build_arg", engine=engine)
    texts = flags.pairs.texts(value)
    known = {text: f"{text}={os.environ[text]}" for text in texts if text in os.environ}
    return tuple(known.get(text, text) for text in texts if "=" in text or text in known)


def _cache(text: str) -> str:
    return text if "=" in text else f"type=registry,ref={text}"


def follow_up(image_id: str, *, scratch: Path, engine: str = NAME, **options: Any) -> Iterator[list[str]]:
    """Write the iidfile, for which buildctl has no flag; no command remains."""
    del scratch, engine
    if iidfile := options.get("iidfile"):
        Path(iidfile).write_text(image_id, encoding="ascii")
    yield from ()


ENGINE: Final = Engine(
    name=NAME,
    binary="buildctl",
    health=health,
    files=partial(_options.files, engine=NAME),
    construct_build_args=construct_build_args,
    capabilities=_options.BUILDKIT_CLIENT | {"annotation", "load=False", "metadata_file"},
    options=_options.table({**GLOBAL_OPTIONS, **OPTIONS}),
    global_options=GLOBAL_OPTIONS,
    follow_up=follow_up,
    result_options=("metadata_file",),
    makes_image=lambda options: _options.has_image(options, engine=NAME),
)
