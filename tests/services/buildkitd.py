"""A BuildKit daemon with runc as its worker, and buildctl."""

from __future__ import annotations

import contextlib
import json
import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.services import daemons, leftovers, programs, tools
from tests.services.certificates import Certificate
from tests.services.errors import ServiceError

# With --network=host, nerdctl requests security.insecure too, although it needs only the network.
CONFIG: Final = """\
root = {root}
insecure-entitlements = ["network.host", "security.insecure"]

[grpc]
address = [{address}]
{tls}
[cdi]
disabled = true

[worker.oci]
enabled = true
binary = "runc"
defaultCgroupParent = {group}
networkMode = "host"
snapshotter = "overlayfs"

[worker.containerd]
enabled = false
"""
TLS: Final = """
[grpc.tls]
cert = "{certificate}"
key = "{key}"
ca = "{authority}"
"""
REGISTRY: Final = """
[registry.{host}]
http = true
"""


@attrs.frozen(kw_only=True)
class Buildkitd:
    """A running BuildKit daemon; *env* makes buildctl and nerdctl use it."""

    env: Mapping[str, str]
    address: str
    bin_dir: Path
    pid: int
    log: Path


@contextlib.contextmanager
def buildkitd(
    root: Path, *, insecure: Sequence[str] = (), tls: tuple[int, Certificate] | None = None
) -> Iterator[Buildkitd]:
    """Run a BuildKit daemon until the block ends, with all its files in the folder *root*.

    Its builds may use the host's network: ``--allow network.host --opt force-network-mode=host``.

    Args:
        root: The daemon's folder.
        insecure: The registries (``localhost:5000``) to use without TLS.
        tls: A TCP port for clients with a certificate of the same authority, and the daemon's certificate.
    """
    programs.need_root()
    programs.find("runc")
    bin_dir = tools.build()
    socket, log = daemons.socket_path(root / "buildkitd.sock"), root / "log"
    address = f"unix://{socket}"
    group = leftovers.cgroup_name("buildkit")
    (root / "tmp").mkdir(parents=True)
    config = root / "buildkitd.toml"
    addresses = json.dumps(address) + (f', "tcp://127.0.0.1:{tls[0]}"' if tls else "")
    config.write_text(
        CONFIG.format(
            root=json.dumps(str(root / "state")),
            address=addresses,
            tls=TLS.format(**attrs.asdict(tls[1])) if tls else "",
            group=json.dumps(f"/{group}"),
        )
        + "".join(REGISTRY.format(host=json.dumps(host)) for host in insecure)
    )
    env = {"BUILDKIT_HOST": address, "PATH": programs.search_path(bin_dir)}

    def ready() -> bool:
        # The socket exists before the worker does.
        with contextlib.suppress(ServiceError):
            return daemons.answers(socket) and bool(programs.run([bin_dir / "buildctl", "debug", "workers"], env=env))
        return False

    daemon_env = {"PATH": programs.search_path(), "TMPDIR": str(root / "tmp")}
    argv = [str(bin_dir / "buildkitd"), f"--config={config}"]
    try:
        with daemons.daemon(argv, log=log, ready=ready, env=daemon_env, private_run=True) as process:
            yield Buildkitd(env=env, address=address, bin_dir=bin_dir, pid=process.pid, log=log)
    finally:
        leftovers.clear_cgroups(group)
        shutil.rmtree(root, ignore_errors=True)
