"""Real programs for the integration tests: registries, engines, daemons.

Each is a context manager that keeps everything in the folder it is given (which must not exist), takes a port or
socket that is free, waits until the program answers, and leaves nothing behind: no process, no mount, no
packet-filter rule, no network link, no control group, no file. They need root on Linux. A program that is not on
this machine is a `MissingProgramError`.
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
from tests.services.processes import Process, a_day, descendants_left, left, marked, wait_for
from tests.services.registry import Registry, registry
from tests.services.serving import Server, load, serve

__all__ = [
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
    "serve",
    "users_of",
    "wait_for",
]
