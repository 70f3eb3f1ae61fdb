"""Settings that keep all files of podman and buildah in one folder of this machine."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.services import leftovers, programs
from tests.services.errors import MissingProgramError, ServiceError

# crun refuses the hybrid control groups of many machines. Ulimits: root without CAP_SYS_RESOURCE cannot raise
# them. Network of the host: podman's bridge and iptables chains would stay behind. Locks in files: those in shared
# memory stay behind too, and every podman of the machine shares them.
CONTAINERS: Final = """\
[containers]
default_ulimits = ["nofile=20000:20000", "nproc=32768:32768"]
netns = "host"

[engine]
cgroup_manager = "cgroupfs"
events_logfile_path = "{root}/events.log"
events_logger = "file"
image_copy_tmp_dir = "storage"
lock_type = "file"
runtime = "runc"
static_dir = "{root}/libpod"
tmp_dir = "{root}/libpod-run"
volume_path = "{root}/volumes"

[network]
network_config_dir = "{root}/networks"
"""
STORAGE: Final = """\
[storage]
driver = "overlay"
graphroot = "{root}/storage"
runroot = "{root}/storage-run"
"""
REGISTRY: Final = """
[[registry]]
location = {host}
insecure = true
"""
PODMAN_CGROUP: Final = "libpod_parent"
BUILDAH_CGROUPS: Final = "buildah-buildah"
"""Prefix of the control groups of podman's and buildah's RUN lines; an interrupted build leaves them."""
STOP_SECONDS: Final = 60


@attrs.frozen(kw_only=True)
class Containers:
    """Settings for podman and buildah; *env* selects them."""

    env: Mapping[str, str]
    root: Path


def _in_quotes(root: Path) -> str:
    """Return *root* escaped for a TOML string, without the quotes."""
    return json.dumps(str(root))[1:-1]


def _end_containers(env: Mapping[str, str]) -> None:
    with contextlib.suppress(MissingProgramError):
        podman = programs.find("podman")
        with contextlib.suppress(ServiceError):
            programs.run([podman, "rm", "--all", "--force", "--time", "0"], env=env, timeout=STOP_SECONDS)
    with contextlib.suppress(MissingProgramError):
        buildah = programs.find("buildah")
        with contextlib.suppress(ServiceError):
            programs.run([buildah, "rm", "--all"], env=env, timeout=STOP_SECONDS)


@contextlib.contextmanager
def containers(root: Path, *, insecure: Sequence[str] = ()) -> Iterator[Containers]:
    """Write settings for podman and buildah; at the end of the block, end their containers and delete their files.

    Args:
        root: The folder for settings, images and containers.
        insecure: The registries (``localhost:5000``) to use without TLS.
    """
    programs.need_root()
    (root / "tmp").mkdir(parents=True)
    quoted = _in_quotes(root)
    settings = {
        "CONTAINERS_CONF": ("containers.conf", CONTAINERS.format(root=quoted)),
        "CONTAINERS_STORAGE_CONF": ("storage.conf", STORAGE.format(root=quoted)),
        "CONTAINERS_REGISTRIES_CONF": (
            "registries.conf",
            "unqualified-search-registries = []\n"
            + "".join(REGISTRY.format(host=json.dumps(host)) for host in insecure),
        ),
        "REGISTRY_AUTH_FILE": ("auth.json", "{}"),
    }
    for name, text in settings.values():
        (root / name).write_text(text)
    env = {
        **{variable: str(root / name) for variable, (name, _) in settings.items()},
        "PATH": programs.search_path(),
        # buildah's temporary folders; an interrupted build leaves them.
        "TMPDIR": str(root / "tmp"),
    }
    others = leftovers.cgroups(BUILDAH_CGROUPS)
    try:
        yield Containers(env=env, root=root)
    finally:
        _end_containers(env)
        leftovers.clear(root)
        for name in (PODMAN_CGROUP, *(leftovers.cgroups(BUILDAH_CGROUPS) - others)):
            leftovers.clear_cgroups(name)
