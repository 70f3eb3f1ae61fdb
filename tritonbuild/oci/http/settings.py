"""Settings of the connections to registries."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Final

import attrs

TRIES: Final = 6
PATIENCE: Final = 10.0


def _ignore(_line: str) -> None:
    """Report nothing."""


@attrs.frozen(kw_only=True)
class TransportSettings:
    """Settings of the connections to registries.

    Attributes:
        insecure: Hosts that may be without TLS, or have certificates that are not verified; loopback hosts always may.
        mirrors: Host -> mirrors that are asked first when something is read from it.
        credential_files: Files with logins; Podman's and Docker's files by default.
        ca_file: Certificates to trust besides the system's.
        tries: Tries of a request before it fails.
        patience: Seconds without a byte after which the wait is reported, and a streamed upload is given up.
        report: Takes a line of progress.
    """

    insecure: frozenset[str] = frozenset()
    mirrors: Mapping[str, tuple[str, ...]] = attrs.field(factory=dict)
    credential_files: tuple[Path, ...] | None = None
    ca_file: str = ""
    tries: int = TRIES
    patience: float = PATIENCE
    report: Callable[[str], None] = _ignore
