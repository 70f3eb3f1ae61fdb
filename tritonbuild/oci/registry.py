"""Registries to read images from and write them to."""

from __future__ import annotations

import threading
from collections.abc import Iterator

import attrs

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.registries_conf import RegistryRule, config_files, read_rules
from tritonbuild.oci.repository import RegistryRepository
from tritonbuild.oci.transport import Transport
from tritonbuild.reference import Reference


class Registries:
    """The registries of a build, each with connections that stay open.

    Args:
        settings: The user's settings.
        rules: The rules of `registries.conf`; those of this machine by default.
    """

    def __init__(self, settings: TransportSettings, rules: tuple[RegistryRule, ...] | None = None) -> None:
        self.rules = read_rules(config_files()) if rules is None else rules
        insecure = settings.insecure.union(*(rule.insecure for rule in self.rules))
        self.settings = attrs.evolve(settings, insecure=insecure)
        self._transports: dict[str, Transport] = {}
        self._lock = threading.Lock()

    def transport(self, host: str) -> Transport:
        """Return the connection to a host."""
        with self._lock:
            if host not in self._transports:
                self._transports[host] = Transport(host, self.settings)
            return self._transports[host]

    def origin(self, reference: Reference) -> RepositoryOrigin:
        """Return the repository of *reference* to read from, its mirrors first."""
        name = f"{reference.registry}/{reference.repository}"
        names = [f"{mirror}/{reference.repository}" for mirror in self.settings.mirrors.get(reference.registry, ())]
        rule = next((one for one in self.rules if one.matches(name)), None)
        if rule is not None and rule.blocked:
            raise InvalidInputError(f"registries.conf blocks {name}", hint="use another image, or change the file")
        names += rule.names(name, by_digest=bool(reference.digest)) if rule is not None else [name]
        parts = [one.partition("/") for one in names]
        repositories = [RegistryRepository(self.transport(host), path) for host, _, path in parts]
        return RepositoryOrigin(reference, tuple(repositories))

    def target(self, reference: Reference) -> RegistryRepository:
        """Return the repository of *reference* to write to."""
        return RegistryRepository(self.transport(reference.registry), reference.repository)


class RepositoryOrigin:
    """A repository to read from, with its mirrors.

    Args:
        reference: The image that the user named.
        repositories: Repositories to ask, in order.
    """

    def __init__(self, reference: Reference, repositories: tuple[RegistryRepository, ...]) -> None:
        self.reference = reference
        self.repositories = repositories
        self.name = reference.name

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """Return a manifest from the first repository that has it."""
        for mirror in self.repositories[:-1]:
            try:
                return mirror.manifest(wanted)
            except TritonBuildError as error:  # noqa: PERF203 - a mirror or two
                self._report(mirror, error)
        return self.repositories[-1].manifest(wanted)

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield bytes of *blob* from the first repository that has it."""
        for mirror in self.repositories[:-1]:
            try:
                for chunk in mirror.read(blob, start, stop):
                    start += len(chunk)
                    yield chunk
            except TritonBuildError as error:
                self._report(mirror, error)
                continue
            return
        yield from self.repositories[-1].read(blob, start, stop)

    def _report(self, mirror: RegistryRepository, error: TritonBuildError) -> None:
        mirror.connection.settings.report(f"{error}; the next registry is asked")
