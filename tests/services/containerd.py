"""A containerd daemon, and nerdctl's settings for it."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.services import daemons, leftovers, packages, programs, tools
from tests.services.buildkitd import Buildkitd
from tests.services.dockerd import Which
from tests.services.errors import ServiceError

# Without a path, the plug-in "opt" creates /opt/containerd.
CONFIG: Final = """\
version = 2
root = "{root}/images"
state = "{root}/run"
disabled_plugins = ["io.containerd.grpc.v1.cri"]

[grpc]
address = "{root}/containerd.sock"

[plugins."io.containerd.internal.v1.opt"]
path = "{root}/opt"
"""
NERDCTL: Final = """\
address = "unix://{root}/containerd.sock"
cgroup_manager = "cgroupfs"
cni_netconfpath = "{root}/networks"
cni_path = "{root}/network-programs"
data_root = "{root}/nerdctl"
hosts_dir = ["{root}/hosts"]
insecure_registry = true
namespace = "{namespace}"
"""


@attrs.frozen(kw_only=True)
class Containerd:
    """A running containerd; *env* makes nerdctl use it and its BuildKit daemon."""

    env: Mapping[str, str]
    address: str
    namespace: str
    bin_dir: Path
    pid: int
    log: Path


def _end_containers(env: Mapping[str, str], nerdctl: Path) -> None:
    with contextlib.suppress(ServiceError):
        if ids := programs.run([nerdctl, "ps", "--all", "--quiet"], env=env).split():
            programs.run([nerdctl, "rm", "--force", *ids], env=env)


@contextlib.contextmanager
def containerd(root: Path, *, buildkit: Buildkitd, which: Which = "debian") -> Iterator[Containerd]:
    """Run a containerd until the block ends, with all its files in the folder *root*.

    Args:
        root: The daemon's folder.
        buildkit: The daemon that ``nerdctl build`` uses.
        which: The suite of containerd: 1.6 (nerdctl can build and run, but not load, tag or push), 1.7 or 2.1.
    """
    programs.need_root()
    programs.find("runc")
    bin_dir = tools.build()
    programs_dir = () if which == "debian" else (packages.docker(which) / "usr/bin",)
    program = programs_dir[0] / "containerd" if programs_dir else programs.find("containerd")
    socket, log = daemons.socket_path(root / "containerd.sock"), root / "log"
    # nerdctl names the control group of its containers after their namespace.
    namespace = leftovers.cgroup_name("nerdctl")
    (root / "tmp").mkdir(parents=True)
    in_quotes = json.dumps(str(root))[1:-1]
    (root / "config.toml").write_text(CONFIG.format(root=in_quotes))
    (root / "nerdctl.toml").write_text(NERDCTL.format(root=in_quotes, namespace=namespace))
    env = {
        "BUILDKIT_HOST": buildkit.address,
        "DOCKER_CONFIG": str(root / "docker"),
        "NERDCTL_TOML": str(root / "nerdctl.toml"),
        "PATH": programs.search_path(bin_dir),
        # An interrupted build leaves files there.
        "TMPDIR": str(root / "tmp"),
    }
    daemon_env = {"PATH": programs.search_path(bin_dir, *programs_dir), "TMPDIR": str(root / "tmp")}
    argv = [str(program), f"--config={root / 'config.toml'}"]
    try:
        with daemons.daemon(
            argv, log=log, ready=lambda: daemons.answers(socket), env=daemon_env, private_run=True
        ) as process:
            try:
                yield Containerd(
                    env=env,
                    address=f"unix://{socket}",
                    namespace=namespace,
                    bin_dir=bin_dir,
                    pid=process.pid,
                    log=log,
                )
            finally:
                _end_containers(env, bin_dir / "nerdctl")
    finally:
        leftovers.clear(root)
        leftovers.clear_cgroups(namespace)
