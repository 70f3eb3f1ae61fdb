"""The buildctl engine: `buildctl build`, BuildKit's own client.

Its flags: https://github.com/moby/buildkit/blob/master/docs/reference/buildctl.md. What other clients have flags for
and buildctl has not goes to the Dockerfile frontend as `--opt`; the names are those of BuildKit's
frontend/dockerui/config.go. As only the last `--opt` of a name counts, lists are joined in one.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags, process
from tritonbuild.backends import _translation
from tritonbuild.backends._probe import ask, at_once, require_version
from tritonbuild.backends._translation import Output, cannot
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import UnhealthyEngineError
from tritonbuild.masking import csv_items, csv_line

NAME: Final = "buildctl"

OLDEST: Final = "0.11"
"""The first whose daemon tells its version and whose client asks for it (`debug info`, moby/buildkit#2725). What a
build of ours needs is older: `--metadata-file` came with 0.9.
"""

_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _attest(value: object) -> list[str]:
    # `attest:TYPE=` and then the other fields.
    texts = []
    for line in flags.fields.texts(value):
        given = dict(item.partition("=")[::2] for item in csv_items(line))
        kind = given.pop("type", "")
        disabled = given.pop("disabled", "false")
        if kind not in {"provenance", "sbom"} or disabled not in {"true", "false"}:
            raise ValueError("its type is not provenance or sbom, or disabled not true or false")
        if disabled == "false":  # BuildKit attests nothing unless asked
            texts.append(f"{kind}={csv_line(f'{k}={v}' for k, v in given.items())}")
    return texts


def _attestation(value: object) -> list[str]:
    texts = flags.attestation.texts(value)
    return [] if texts == ["false"] else ["" if t == "true" else t for t in texts]


def _build_context(value: object) -> list[str]:
    # A folder needs two flags: one that gives BuildKit access, one that names it.
    texts = []
    for pair in flags.named.texts(value):
        name, _, place = pair.partition("=")
        if "://" in place or place.startswith(("git@", "input:", "target:")):
            texts.append(f"opt=context:{name}={place}")
        else:
            local = f"_{name}" if name in {"context", "dockerfile"} else name
            texts += [f"local={local}={flags.absolute(place)}", f"opt=context:{name}=local:{local}"]
    return texts


def _bytes(value: object) -> list[str]:
    size = re.fullmatch(r"(-?[0-9]+)([kmgt]?)(?:i?b)?", flags.text(value).lower())
    if not size:
        raise ValueError
    return [str(int(size[1]) * _UNITS[size[2]])]


def _hosts(value: object) -> list[str]:
    return [f"{host}={ip}" for host, _, ip in (h.partition(":") for h in flags.hosts.texts(value))]


def _label(value: object) -> list[str]:
    return [text if "=" in text else f"{text}=" for text in flags.pairs.texts(value)]


def _locals(value: object) -> list[str]:
    pairs = (pair.partition("=") for pair in flags.named.texts(value))
    return [f"{name}={flags.absolute(place)}" for name, _, place in pairs]


def _network(value: object) -> list[str]:
    return ["sandbox" if name == "default" else name for name in _NETWORKS.texts(value)]


def _opt(value: object) -> list[str]:
    # {"build-arg": ("A=1", "B=2")} -> build-arg:A=1, build-arg:B=2
    if not isinstance(value, Mapping):
        return flags.named.texts(value)
    texts = []
    for name in sorted(value):
        if isinstance(value[name], tuple | list):
            texts += [f"{flags.key(name)}:{pair}" for pair in flags.named.texts(value[name])]
        else:
            texts += flags.pairs.texts({name: "" if value[name] is None else value[name]})
    return texts


def _pull(value: object) -> list[str]:
    return ["default" if text == "false" else "pull" for text in flags.switch.texts(value)]


_NETWORKS: Final = flags.choice("default", "host", "none", "sandbox")
_ATTESTED: Final = evolve(flags.attestation, texts=_attestation)
_SIZE: Final = flags.Kind(expects="bytes as a whole number, or text like '64m'", texts=_bytes)

OPTIONS: Final[flags.Table] = {
    "add_host": evolve(flags.joined(evolve(flags.hosts, texts=_hosts)), flag="--opt=add-hosts="),
    "allow": flags.repeated,
    "attest": evolve(flags.fields, texts=_attest, flag="--opt=attest:"),
    "build_arg": evolve(flags.named, flag="--opt=build-arg:"),
    "build_context": evolve(flags.named, texts=_build_context, flag="--"),
    "cache_from": evolve(flags.fields, flag="--import-cache"),
    "cache_to": evolve(flags.fields, flag="--export-cache"),
    "cgroup_parent": evolve(flags.cgroup, flag="--opt=cgroup-parent="),
    # The frontend of BuildKit 0.32 is known to know the limits of CPU and memory; older ones ignore them.
    "cpu_period": evolve(flags.integer, flag="--opt=cpuperiod=", since="0.32"),
    "cpu_quota": evolve(flags.integer, flag="--opt=cpuquota=", since="0.32"),
    "cpu_shares": evolve(flags.integer, flag="--opt=cpushares=", since="0.32"),
    "cpuset_cpus": evolve(flags.scalar, flag="--opt=cpusetcpus=", since="0.32"),
    "cpuset_mems": evolve(flags.scalar, flag="--opt=cpusetmems=", since="0.32"),
    "debug_json_cache_metrics": flags.scalar,
    "export_cache": flags.fields,
    "frontend": flags.single(flags.repeated),
    "import_cache": flags.fields,
    "label": evolve(flags.pairs, texts=_label, flag="--opt=label:"),
    "local": evolve(flags.named, expects="'NAME=FOLDER', a tuple of these, or a dict", texts=_locals),
    "memory": evolve(_SIZE, flag="--opt=memory=", since="0.32"),
    "memory_swap": evolve(_SIZE, flag="--opt=memswap=", since="0.32"),
    "metadata_file": flags.path,
    "network": evolve(_NETWORKS, texts=_network, flag="--opt=force-network-mode="),
    "no_cache": flags.switch,
    "no_cache_filter": evolve(flags.joined(flags.repeated), flag="--opt=no-cache="),
    "oci_layout": evolve(flags.named, expects="'ID=FOLDER', a tuple of these, or a dict", texts=_locals),
    "opt": evolve(flags.named, expects="'K=V', a tuple of these, or a dict of texts and tuples", texts=_opt),
    "output": flags.fields,
    "platform": evolve(flags.joined(flags.repeated), flag="--opt=platform="),
    "progress": flags.single(flags.choice("auto", "plain", "quiet", "rawjson", "tty")),
    "provenance": flags.single(evolve(_ATTESTED, flag="--opt=attest:provenance=")),
    "proxy_network": flags.switch,
    "pull": evolve(flags.switch, texts=_pull, flag="--opt=image-resolve-mode="),
    "ref_file": flags.path,
    "registry_auth_tlscontext": flags.fields,
    "sbom": flags.single(evolve(_ATTESTED, flag="--opt=attest:sbom=")),
    "secret": flags.fields,
    "shm_size": evolve(_SIZE, flag="--opt=shm-size="),
    "source_policy_file": flags.path,
    "ssh": flags.repeated,
    "target": evolve(flags.single(flags.repeated), flag="--opt=target="),
    "trace": flags.path,
    "ulimit": evolve(flags.joined(flags.limits), flag="--opt=ulimit="),
}

_HINTS: Final = {
    "permission denied": "run as root, or as a member of the group that owns BuildKit's socket",
    "no such file": "start buildkitd, or point BUILDKIT_HOST at one that runs",
    "onnection refused": "start buildkitd, or point BUILDKIT_HOST at one that runs",
    "Unimplemented": f"install BuildKit {OLDEST} or newer",
    "No help topic": f"install BuildKit {OLDEST} or newer",
}
_INSTALL: Final = "install BuildKit's buildctl and start its buildkitd"
_IMAGES: Final = frozenset({"docker", "image", "oci"})
_LEVELS: Final = ("index", "index-descriptor", "manifest", "manifest-descriptor")


def ask_daemon(address: str = "") -> process.Completed:
    """Ask the daemon for its version, which answers only when it serves; at *address*, or where BUILDKIT_HOST says."""
    env = {"BUILDKIT_HOST": address} if address else {}
    return ask(["buildctl", "debug", "info"], hints=_HINTS, install=_INSTALL, env=env)


def daemon_version(answer: process.Completed) -> str:
    """Return the version in the daemon's answer."""
    found = re.search(r"^BuildKit:\s+\S+\s+v?(\S+)", answer.output, re.MULTILINE)
    version = found[1] if found else ""
    require_version(version, OLDEST, program="BuildKit")
    return version


def health() -> Health:
    """Ask the daemon for its version and for its workers: without one it builds nothing."""
    answer, workers = at_once(ask_daemon, lambda: ask(["buildctl", "debug", "workers"], hints=_HINTS, install=_INSTALL))
    if len(workers.output.split("\n", 1)[-1].strip()) == 0:
        raise UnhealthyEngineError("buildkitd has no worker", hint="see its log: runc or containerd may be missing")
    features = frozenset({"buildkit", "multi-platform", "push"})
    return Health(ok=True, engine=NAME, version=daemon_version(answer), features=features)


def construct_build_args(
    *, context_path: str = ".", file: str | os.PathLike[str] | None = None, **options: Any
) -> list[str]:
    """Return the tokens that follow `buildctl build`.

    Raises:
        InvalidInputError: Nothing says where the result goes: BuildKit would leave it in its cache.
    """
    given = flags.canonical(options)
    _translation.validate(given, "annotation", "iidfile", "load", "push", "quiet", "tag", engine=NAME)
    if given.get("load"):
        raise cannot("load", engine=NAME)
    results = _outputs(given)
    if not results:
        raise _translation.nowhere(engine=NAME)
    for name in ("annotation", "iidfile", "load", "output", "push", "tag"):
        given.pop(name, None)
    if given.pop("quiet", False):
        given["progress"] = "quiet"
    if given.get("network") == "host":  # an entitlement, which buildx asks for by itself too
        given["allow"] = tuple(dict.fromkeys((*flags.each(given.get("allow") or ()), "network.host")))
    if "build_arg" in given:
        given["build_arg"] = _from_environment(given["build_arg"])
    if "cache_from" in given:
        lines = (_cache(text) for one in flags.each(given["cache_from"]) for text in flags.fields.texts(one))
        _translation.validate(given, "cache_from", engine=NAME)
        given["cache_from"] = tuple(lines)
    given.setdefault("frontend", "dockerfile.v0")
    places = {"context": flags.absolute(os.fspath(context_path))}
    if file is not None:
        place = Path(flags.absolute(os.fspath(file)))
        places["dockerfile"] = str(place.parent)
        given["opt"] = (f"filename={place.name}", *_opt(given.get("opt") or ()))
    given["local"] = (*(f"{name}={folder}" for name, folder in places.items()), *_locals(given.get("local") or ()))
    return [*flags.render(OPTIONS, given, engine=NAME), *(f"--output={result}" for result in results)]


def _outputs(given: Mapping[str, Any]) -> list[str]:
    """Return the exporters: those of `output`, and one that pushes; each names the image and annotates it."""
    places = list(_translation.outputs(given.get("output"), engine=NAME))
    for number, place in enumerate(places):
        if place.type == "registry":
            places[number] = Output(type="image", fields={**place.fields, "push": "true"})
        elif place.type != "image" and not place.dest:
            raise cannot("load" if place.type == "docker" else f"output type={place.type} without dest", engine=NAME)
    if given.get("push") and not any(place.fields.get("push") == "true" for place in places):
        places.append(Output(type="image", fields={"push": "true"}))
    annotations = dict(_annotation(text) for text in flags.pairs.texts(given.get("annotation") or ()))
    if annotations and not any(place.type in _IMAGES for place in places):
        raise cannot("annotation of an output that is no image", engine=NAME)
    names = ",".join(_translation.tags(given))
    texts = []
    for place in places:
        more = {"name": names} if names and "name" not in place.fields and place.type in _IMAGES else {}
        texts.append(place.text(**more, **(annotations if place.type in _IMAGES else {})))
    return texts


def _annotation(text: str) -> tuple[str, str]:
    """Return an annotation as an exporter's field; it may begin with its level, as with docker: `index:KEY=VALUE`."""
    key, _, value = text.partition("=")
    level, colon, rest = key.partition(":")
    return (f"annotation-{level}.{rest}" if colon and level in _LEVELS else f"annotation.{key}"), value


def _from_environment(value: object) -> tuple[str, ...]:
    """Return build arguments, a key alone with its value from the environment; without one it is not given."""
    _translation.validate({"build_arg": value}, "build_arg", engine=NAME)
    texts = flags.pairs.texts(value)
    known = {text: f"{text}={os.environ[text]}" for text in texts if text in os.environ}
    return tuple(known.get(text, text) for text in texts if "=" in text or text in known)


def _cache(text: str) -> str:
    return text if "=" in text else f"type=registry,ref={text}"


def follow_up(image_id: str, *, scratch: Path, **options: Any) -> Iterator[list[str]]:
    """Write the iidfile, which buildctl has no flag for; no command remains."""
    del scratch
    if iidfile := options.get("iidfile"):
        Path(iidfile).write_text(image_id, encoding="ascii")
    yield from ()


_translation.able(
    *(NAME, "annotation", "cache_from", "cache_from other than type=registry,ref=IMAGE", "cache_to", "load=False"),
    *("metadata_file", "output type=docker", "output type=oci", "progress=rawjson", "progress=tty", "push"),
    *("several outputs of type local or tar", "several platforms"),
)

ENGINE: Final = Engine(
    name=NAME,
    binary="buildctl",
    health=health,
    construct_build_args=construct_build_args,
    options=_translation.table(OPTIONS),
    follow_up=follow_up,
    result_options=("metadata_file",),
    makes_image=lambda options: _translation.has_image(options, engine=NAME),
)
