"""Values of the Dockerfile frontend's options, as `buildctl build` takes them in `--opt`, `--local` and the like.

The names are those of BuildKit's frontend/dockerui/config.go.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from attrs import evolve

from tritonbuild import flags
from tritonbuild.masking import csv_items, csv_line

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
        name, _, source = pair.partition("=")
        if "://" in source or source.startswith(("git@", "input:", "target:")):
            texts.append(f"opt=context:{name}={source}")
        else:
            local = f"_{name}" if name in {"context", "dockerfile"} else name
            texts += [f"local={local}={flags.absolute(source)}", f"opt=context:{name}=local:{local}"]
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


def _folders(value: object) -> list[str]:
    pairs = (pair.partition("=") for pair in flags.named.texts(value))
    return [f"{name}={flags.absolute(folder)}" for name, _, folder in pairs]


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
attest: Final = evolve(flags.fields, texts=_attest)
attestation: Final = flags.single(evolve(flags.attestation, texts=_attestation))
build_context: Final = evolve(flags.named, texts=_build_context, flag="--")
folders: Final = evolve(flags.named, expects="'NAME=FOLDER', a tuple of these, or a dict", texts=_folders)
hosts: Final = flags.joined(evolve(flags.hosts, texts=_hosts))
label: Final = evolve(flags.pairs, texts=_label)
network: Final = evolve(_NETWORKS, texts=_network, flag="--opt=force-network-mode=")
opt: Final = evolve(flags.named, expects="'K=V', a tuple of these, or a dict of texts and tuples", texts=_opt)
pull: Final = evolve(flags.switch, texts=_pull, flag="--opt=image-resolve-mode=")
size: Final = flags.Kind(expects="bytes as a whole number, or text like '64m'", texts=_bytes)
