"""The settings that let podman and buildah work in one folder of this machine, and nowhere else."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.services import leftovers, programs
from tests.services.errors import MissingProgramError, ServiceError

# crun refuses the hybrid control groups of many machines. The ulimits: root without CAP_SYS_RESOURCE cannot raise
# its own. The host's network: podman's bridge and iptables chains would stay behind. Locks in files: those in
# shared memory stay behind too, and are the same for every podman of the machine.
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
"""What the control groups of podman's and buildah's RUN lines are called; they stay if the build is interrupted."""
STOP_SECONDS: Final = 60


@attrs.frozen(kw_only=True)
class Containers:
    """Settings for podman and buildah: *env* to start them with."""

    env: Mapping[str, str]
    root: Path


def _in_quotes(root: Path) -> str:
    """Return *root* as it is written between the quotes of a TOML string."""
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
    """Make settings for podman and buildah; when the block ends, end their containers and delete all they stored.

    Args:
        root: The folder for settings, images and containers.
        insecure: The registries (``localhost:5000``) to talk to without TLS.
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
        # buildah's working folders; an interrupted build leaves them.
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
