"""Docker daemons, each with all its files in one folder, and the matching command line."""

from __future__ import annotations

import contextlib
import http
import http.client
import json
import shutil
import socket
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final, Literal

import attrs

from tests.services import daemons, leftovers, packages, programs
from tests.services.errors import MissingProgramError

Which = Literal["debian", "trixie", "sid"]
"""debian: the installed version (20.10 in Debian 12); otherwise the version of that suite."""

SYSTEM_CLIENT: Final = Path("/usr/bin/docker")
"""The client of Debian's dockerd; another one may come before it on ``PATH``."""

# No bridge and no packet filter, so that the machine's network stays as it is. RUN has the host's network or none.
SETTINGS: Final = (
    "--bridge=none",
    "--iptables=false",
    "--ip6tables=false",
    "--ip-forward=false",
    "--ip-masq=false",
    "--userland-proxy=false",
)


@attrs.frozen(kw_only=True)
class Dockerd:
    """A running docker daemon; *env* makes docker use it, with the matching docker first on ``PATH``."""

    env: Mapping[str, str]
    socket: Path
    bin_dir: Path
    pid: int
    root: Path
    log: Path


@attrs.frozen(kw_only=True)
class _Programs:
    client: Path
    daemon: Path
    folders: tuple[Path, ...] = ()
    settings: Mapping[str, str] = attrs.field(factory=dict)


class _UnixConnection(http.client.HTTPConnection):
    """HTTP over a unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__("localhost", timeout=5)
        self._path = path

    def connect(self) -> None:
        """Connect to the socket."""
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _is_ready(path: Path) -> bool:
    """Return whether the daemon answers; it listens earlier."""
    connection = _UnixConnection(path)
    try:
        connection.request("GET", "/_ping")
        return bool(connection.getresponse().status == http.HTTPStatus.OK)
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _programs(which: Which, root: Path) -> _Programs:
    if which != "debian":
        usr = packages.docker(which) / "usr"
        return _Programs(client=usr / "bin/docker", daemon=usr / "sbin/dockerd", folders=(usr / "bin",))
    if not SYSTEM_CLIENT.exists():
        program = str(SYSTEM_CLIENT)
        raise MissingProgramError(program, "apt-get install docker.io")
    # Without this, 20.10 writes a key to /etc/docker.
    key = {"deprecated-key-path": str(root / "key.json")}
    return _Programs(client=SYSTEM_CLIENT, daemon=programs.find("dockerd"), settings=key)


def client_folder(root: Path, client: Path, *, buildx: Path | None = None) -> dict[str, str]:
    """Create a folder with *client* as ``docker`` and one with docker's settings; return the variables for both."""
    bin_dir, settings = root / "bin", root / "config"
    plugins = settings / "cli-plugins"
    bin_dir.mkdir(parents=True)
    plugins.mkdir(parents=True)
    (bin_dir / "docker").symlink_to(client)
    if buildx is not None:
        (plugins / "docker-buildx").symlink_to(buildx)
    (settings / "config.json").write_text("{}")
    return {"DOCKER_CONFIG": str(settings), "PATH": programs.search_path(bin_dir)}


@contextlib.contextmanager
def dockerd(
    root: Path,
    *,
    which: Which = "debian",
    buildx: packages.Suite | None = None,
    insecure: Sequence[str] = (),
) -> Iterator[Dockerd]:
    """Run a docker daemon until the block ends, with all its files in the folder *root*.

    Args:
        root: The daemon's folder.
        which: The daemon and its client.
        buildx: The suite of the client's buildx plug-in; none by default.
        insecure: Registries to use without TLS, besides those of this machine, which docker always trusts.
    """
    programs.need_root()
    programs.find("runc")
    chosen = _programs(which, root)
    plugin = packages.buildx(buildx) if buildx else None
    daemons.socket_path(root / "run/containerd/containerd-debug.sock")
    address, log = root / "docker.sock", root / "log"
    group = leftovers.cgroup_name("docker")
    root.mkdir(parents=True)
    (root / "tmp").mkdir()
    (root / "daemon.json").write_text(json.dumps({"insecure-registries": [*insecure], **chosen.settings}))
    argv = [
        str(chosen.daemon),
        f"--cgroup-parent=/{group}",
        f"--config-file={root / 'daemon.json'}",
        f"--data-root={root / 'images'}",
        f"--exec-root={root / 'run'}",
        f"--host=unix://{address}",
        f"--pidfile={root / 'pid'}",
        *SETTINGS,
    ]
    env = client_folder(root, chosen.client, buildx=plugin)
    daemon_env = {"PATH": programs.search_path(*chosen.folders), "TMPDIR": str(root / "tmp")}
    try:
        with daemons.daemon(
            argv, log=log, ready=lambda: _is_ready(address), env=daemon_env, private_run=True
        ) as process:
            yield Dockerd(
                env={**env, "DOCKER_HOST": f"unix://{address}"},
                socket=address,
                bin_dir=root / "bin",
                pid=process.pid,
                root=root,
                log=log,
            )
    finally:
        leftovers.clear_cgroups(group)
        shutil.rmtree(root, ignore_errors=True)
