"""The buildctl engine: `buildctl build`, BuildKit's own client.

Its flags: https://github.com/moby/buildkit/blob/master/docs/reference/buildctl.md. What other clients have flags for
and buildctl has not goes to the Dockerfile frontend as `--opt`; the names are those of BuildKit's
frontend/dockerui/config.go. As only the last `--opt` of a name counts, lists are joined in one.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import evolve

from tritonbuild import flags

_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


def _attest(value: object) -> list[str]:
    # `attest:TYPE=` and then the other fields.
    texts = []
    for line in flags.fields.texts(value):
        given = dict(item.partition("=")[::2] for item in flags.csv_items(line))
        kind = given.pop("type", "")
        disabled = given.pop("disabled", "false")
        if kind not in {"provenance", "sbom"} or disabled not in {"true", "false"}:
            raise ValueError("its type is not provenance or sbom, or disabled not true or false")
        if disabled == "false":  # BuildKit attests nothing unless asked
            texts.append(f"{kind}={flags.csv_line(f'{k}={v}' for k, v in given.items())}")
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
