"""The buildx engine: `docker buildx build`.

Its flags: https://docs.docker.com/reference/cli/docker/buildx/build/.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from tritonbuild import flags

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
