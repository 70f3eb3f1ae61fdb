"""The nerdctl engine: `nerdctl build`.

Its flags: https://github.com/containerd/nerdctl/blob/main/docs/command-reference.md#whale-nerdctl-build. The rows
marked global are flags of nerdctl itself; cobra takes them after `build` too, where they stand like any other.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve

from tritonbuild import flags

OPTIONS: Final[flags.Table] = {
    "add_host": flags.hosts,
    "address": flags.scalar,  # global
    "allow": flags.repeated,
    "attest": flags.fields,
    "build_arg": flags.pairs,
    "build_context": flags.named,
    "buildkit_host": flags.scalar,
    "cache_from": flags.fields,
    "cache_to": flags.fields,
    "cgroup_manager": flags.scalar,  # global
    "cni_netconfpath": flags.path,  # global
    "cni_path": flags.path,  # global
    "data_root": flags.path,  # global
    "debug": flags.switch,  # global
    "debug_full": flags.switch,  # global
    "file": flags.path,
    "host": flags.scalar,  # global, another name of address
    "hosts_dir": flags.quoted(flags.paths),  # global; a list to pflag, which splits it at commas
    "iidfile": flags.path,
    "insecure_registry": flags.switch,  # global
    # Images on IPFS are now named `localhost:5050/ipfs/CID` (docs/ipfs.md); 2.0 is known to lack the flag.
    "ipfs": evolve(flags.switch, until="2.0"),
    "label": flags.pairs,
    "namespace": flags.scalar,  # global
    "network": flags.scalar,
    "no_cache": flags.switch,
    "output": flags.single(flags.fields),
    "platform": flags.repeated,
    "progress": flags.single(flags.choice("auto", "plain", "quiet", "rawjson", "tty")),
    "provenance": flags.single(flags.attestation),
    "pull": flags.switch,
    "quiet": flags.switch,
    "rm": flags.switch,
    "sbom": flags.single(flags.attestation),
    "secret": flags.fields,
    "snapshotter": flags.scalar,  # global
    "source_policy_file": flags.path,
    "ssh": flags.repeated,
    "storage_driver": flags.scalar,  # global, another name of snapshotter
    "tag": flags.repeated,
    "target": flags.scalar,
}
