"""The nerdctl engine: `nerdctl build`.

Its flags: https://github.com/containerd/nerdctl/blob/main/docs/command-reference.md#whale-nerdctl-build. The rows
marked global are flags of nerdctl itself (`GLOBAL_OPTIONS`); cobra takes them after `build` too.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags, process
from tritonbuild.atomic import replacing
from tritonbuild.backends import _options, buildctl
from tritonbuild.backends._options import cannot
from tritonbuild.backends._probe import ask, at_once, json_object, last_line, require_version
from tritonbuild.engine import Engine, Health

NAME: Final = "nerdctl"

OLDEST: Final = "2.0"
"""The first with `--pull`, which every build of ours says (containerd/nerdctl#3074; 1.7.7 has no such flag)."""

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

GLOBAL_OPTIONS: Final[flags.Table] = {
    name: OPTIONS[name]
    for name in (
        *("address", "cgroup_manager", "cni_netconfpath", "cni_path", "data_root", "debug", "debug_full", "host"),
        *("hosts_dir", "insecure_registry", "namespace", "snapshotter", "storage_driver"),
    )
}
"""The options of nerdctl itself, which its other commands need as well."""


def health(*, program: Sequence[str] = (NAME,), engine: str = NAME, **options: Any) -> Health:
    """Ask containerd for its state and, at the same time, BuildKit for its own: nerdctl reports only the first."""
    nerdctl = _options.program(program, GLOBAL_OPTIONS, options, engine=engine)
    state, builder, version_line = at_once(
        lambda: ask(
            [*nerdctl, "info", "--format", "{{json .}}"],
            hints={
                "permission denied": "run as root, or set up a rootless containerd: containerd-rootless-setuptool.sh",
                "cannot access containerd": "start containerd, or point CONTAINERD_ADDRESS at another one",
                "rootless containerd not running": "start it: containerd-rootless-setuptool.sh install",
                "onnection refused": "start containerd, or point CONTAINERD_ADDRESS at another one",
            },
            install=f"install {program[0]}, or choose another engine: tritonbuild engines lists the healthy ones",
        ),
        lambda: _ask_buildkit(program, options),
        lambda: ask([*program, "--version"], hints={}, install=""),
    )
    json_object(state.output)
    features = {"buildkit", "load", "multi-platform", "push"}
    if builder is not None:
        buildctl.daemon_version(builder)
        features.add("heredocs")
    version = last_line(version_line.output).rpartition(" ")[2].removeprefix("v")
    if program[-1] == NAME:  # another program has versions of its own
        require_version(version, OLDEST, program=NAME)
    return Health(
        ok=True,
        engine=engine,
        version=version,
        features=frozenset(features),
    )


def _ask_buildkit(program: Sequence[str], options: Mapping[str, Any]) -> process.Completed | None:
    """Ask BuildKit for its version, through a wrapper if there is one; None for another program, which hides it."""
    if program[-1] != NAME:
        return None
    wrapper = program[:-1]
    return buildctl.ask_daemon([*wrapper, buildctl.NAME], "" if wrapper else _buildkit_address(options))


def _buildkit_address(options: Mapping[str, Any]) -> str:
    """Return BuildKit's address as nerdctl finds it: option, BUILDKIT_HOST, the namespace's socket, the default one."""
    if address := options.get("buildkit_host") or os.environ.get("BUILDKIT_HOST"):
        return str(address)
    run = Path(os.environ.get("XDG_RUNTIME_DIR", "/run") if os.geteuid() else "/run")
    namespace = options.get("namespace") or os.environ.get("CONTAINERD_NAMESPACE", "default")
    sockets = [run / folder / "buildkitd.sock" for folder in (f"buildkit-{namespace}", "buildkit-default", "buildkit")]
    return f"unix://{next((socket for socket in sockets if socket.exists()), sockets[-1])}"


def construct_build_args(*, engine: str = NAME, context_path: str = ".", **options: Any) -> list[str]:
    """Return the tokens that follow `nerdctl build`."""
    _, given = _options.stored(flags.canonical(options), engine=engine)
    for name in ("annotation", "metadata_file"):
        if name in given:
            raise cannot(name, engine=engine)
    return [*flags.render(OPTIONS, given, engine=engine), os.fspath(context_path)]


def follow_up(
    image_id: str, *, scratch: Path, engine: str = NAME, context_path: str = ".", **options: Any
) -> Iterator[list[str]]:
    """Yield the commands that write the image's files, save it, and push it; write its id to the iidfile."""
    del scratch
    build_options = {name: value for name, value in options.items() if name not in GLOBAL_OPTIONS}
    destination, given = _options.stored(flags.canonical(build_options), engine=engine)
    tags = _options.tags(given)
    platforms = flags.render(OPTIONS, {"platform": given.get("platform")}, engine=engine)
    if given.get("iidfile"):
        Path(given["iidfile"]).write_text(image_id, encoding="ascii")
    for output in destination.outputs:
        if output.is_archive:  # the saved file is an OCI archive and a docker archive at once
            with replacing(Path(output.dest)) as target:
                yield ["save", *platforms, f"--output={target}", *tags]
        else:
            tokens = construct_build_args(engine=engine, context_path=context_path, **_options.again(given))
            yield ["build", f"--output={output.text()}", *tokens]
    for tag in tags if destination.push else ():
        yield ["push", *platforms, *(["--quiet"] if given.get("quiet") else []), tag]


ENGINE: Final = Engine(
    name=NAME,
    binary="nerdctl",
    health=health,
    files=partial(_options.files, engine=NAME),
    construct_build_args=construct_build_args,
    capabilities=_options.BUILDKIT_CLIENT | {"load"},
    options=_options.table(OPTIONS),
    global_options=GLOBAL_OPTIONS,
    follow_up=follow_up,
    id_query=("image", "inspect", "--format", "{{.Id}}"),
    size_query=("image", "inspect", "--format", "{{.Size}}"),
    config_query=("image", "inspect", "--format", "{{json .Config}}"),
)
