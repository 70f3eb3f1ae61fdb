"""Leftovers of services on the machine: find and remove them."""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final

import attrs

from tests.services import processes

CGROUPS: Final = Path("/sys/fs/cgroup")


@attrs.frozen(kw_only=True)
class Machine:
    """The state of the machine that container programs change; of control groups only those of this process."""

    cgroups: frozenset[str]
    links: frozenset[str]
    packet_filter: str
    forwarding: str


def cgroup_prefix(pid: int) -> str:
    """Return the prefix of all control groups of the services that the process *pid* starts."""
    return f"tritonbuild-{pid}-"


def cgroup_name(service: str) -> str:
    """Return a new name for the control group of *service*, so that it can be recognized and removed."""
    return f"{cgroup_prefix(os.getpid())}{service}-{secrets.token_hex(4)}"


def mounts_under(root: Path) -> tuple[str, ...]:
    """Return the mount points in the folder *root*, the innermost first."""
    prefix = f"{root.resolve()}/"
    lines = Path("/proc/self/mountinfo").read_text().splitlines()
    points = (line.split()[4].replace("\\040", " ") for line in lines)
    return tuple(sorted((point for point in points if point.startswith(prefix)), reverse=True))


def _packet_filter() -> str:
    program = shutil.which("iptables-save", path="/usr/sbin:/sbin")
    if program is None:
        return ""
    lines = subprocess.run([program], capture_output=True, text=True, check=False).stdout.splitlines()
    return "\n".join(line.partition(" [")[0] for line in lines if not line.startswith("#"))


def cgroups(prefix: str) -> frozenset[str]:
    """Return the names, without their controllers, of the top control groups that start with *prefix*."""
    return frozenset(group.name for group in (*CGROUPS.glob(f"*/{prefix}*"), *CGROUPS.glob(f"{prefix}*")))


def machine() -> Machine:
    """Return the state of the machine."""
    return Machine(
        cgroups=cgroups(cgroup_prefix(os.getpid())),
        links=frozenset(link.name for link in Path("/sys/class/net").iterdir()),
        packet_filter=_packet_filter(),
        forwarding=Path("/proc/sys/net/ipv4/ip_forward").read_text().strip(),
    )


def changes(before: Machine, after: Machine) -> tuple[str, ...]:
    """Return descriptions of the differences between *before* and *after*."""
    found = [
        f"{name}: {item}"
        for name in ("cgroups", "links")
        for item in sorted(getattr(after, name) - getattr(before, name))
    ]
    found += [
        f"{name}: {new!r} was {old!r}"
        for name in ("packet_filter", "forwarding")
        if (old := getattr(before, name)) != (new := getattr(after, name))
    ]
    return tuple(found)


def _stands_in(pid: int, root: str) -> bool:
    """Return whether the process's working folder, its root or the file system mounted there is in *root*."""
    process = Path(f"/proc/{pid}")
    with contextlib.suppress(OSError):
        if any(f"{(process / name).readlink()}/".startswith(f"{root}/") for name in ("cwd", "root")):
            return True
        # A container's root is an overlay of folders in *root*.
        mounts = (process / "mountinfo").read_text(errors="replace").splitlines()
        return any(f"={root}/" in line for line in mounts if line.split()[4] == "/")
    return False


def users_of(root: Path) -> tuple[processes.Process, ...]:
    """Return the processes that have the folder *root* in their command line, run in it or use images in it."""
    prefix, ours = str(root.resolve()), processes.ancestors()
    return tuple(
        row
        for row in processes.table()
        if row.pid not in ours and (any(prefix in word for word in row.argv) or _stands_in(row.pid, prefix))
    )


def clear_cgroups(name: str) -> None:
    """Remove the control groups *name*, one per controller, and those inside them; a group in use stays."""
    for top in (CGROUPS, *CGROUPS.iterdir()):
        group = top / name
        if not group.is_dir():
            continue
        for folder, _, _ in os.walk(group, topdown=False):
            with contextlib.suppress(OSError):
                Path(folder).rmdir()


def clear(root: Path) -> None:
    """End the processes that use the folder *root*, unmount all mounts in it and remove it."""
    deadline = time.monotonic() + 10
    while (rows := users_of(root)) and time.monotonic() < deadline:
        for row in rows:
            with contextlib.suppress(ProcessLookupError):
                os.kill(row.pid, signal.SIGKILL)
        time.sleep(0.05)
    for point in mounts_under(root):
        subprocess.run(["umount", "--lazy", point], check=False, capture_output=True)
    shutil.rmtree(root, ignore_errors=True)
