"""Real programs for the integration tests: registries, engines, daemons.

Each service is a context manager. It keeps all its files in one folder (which must not exist yet), takes a free port or
socket, waits until the program answers, and leaves nothing behind: no process, mount, packet-filter rule, network link,
control group or file. Services need root on Linux. A missing program raises `MissingProgramError`.
"""

from __future__ import annotations

from tests.services.buildkitd import Buildkitd, buildkitd
from tests.services.certificates import Certificate, certificate
from tests.services.chaos import hung_registry, hung_socket, refused_registry, refused_socket
from tests.services.containerd import Containerd, containerd
from tests.services.containers import Containers, containers
from tests.services.dockerd import Dockerd, Which, dockerd
from tests.services.environment import merged
from tests.services.errors import MissingProgramError, ServiceError
from tests.services.images import busybox_layout, digest, docker_archive, push
from tests.services.leftovers import Machine, changes, machine, mounts_under, users_of
from tests.services.processes import (
    INTERRUPTS,
    Process,
    a_day,
    descendants_left,
    left,
    marked,
    running,
    wait_for,
    with_default_signals,
)
from tests.services.registry import Registry, registry
from tests.services.serving import Server, load, serve

__all__ = [
    "INTERRUPTS",
    "Buildkitd",
    "Certificate",
    "Containerd",
    "Containers",
    "Dockerd",
    "Machine",
    "MissingProgramError",
    "Process",
    "Registry",
    "Server",
    "ServiceError",
    "Which",
    "a_day",
    "buildkitd",
    "busybox_layout",
    "certificate",
    "changes",
    "containerd",
    "containers",
    "descendants_left",
    "digest",
    "docker_archive",
    "dockerd",
    "hung_registry",
    "hung_socket",
    "left",
    "load",
    "machine",
    "marked",
    "merged",
    "mounts_under",
    "push",
    "refused_registry",
    "refused_socket",
    "registry",
    "running",
    "serve",
    "users_of",
    "wait_for",
    "with_default_signals",
]
