"""TLS contexts for registries: the user's authorities and the `certs.d` folders of Podman and Docker.

https://docs.docker.com/engine/security/certificates/ and containers-certs.d(5).
"""

from __future__ import annotations

import os
import ssl
from collections.abc import Iterable, Mapping
from pathlib import Path

from tritonbuild import dirs
from tritonbuild.errors import InvalidInputError
from tritonbuild.oci.http.origins import WebOrigin


def certificate_folders(origin: WebOrigin, env: Mapping[str, str] | None = None) -> list[Path]:
    """Return the `certs.d` folders of a registry, in the order in which they are looked for."""
    env = os.environ if env is None else env
    home = Path(env["HOME"]) if env.get("HOME") else dirs.home()
    config = Path(env.get("XDG_CONFIG_HOME") or home / ".config")
    roots = (
        config / "containers/certs.d",
        config / "docker/certs.d",
        Path("/etc/containers/certs.d"),
        Path("/etc/docker/certs.d"),
    )
    return [root / name for root in roots for name in origin.names]


def tls_context(folders: Iterable[Path], *, ca_file: str = "", verify: bool = True) -> ssl.SSLContext:
    """Return a TLS context that trusts the system's certificates, those of *folders* and those of *ca_file*.

    The first of *folders* that exists counts, as with Podman: its `*.crt` files are authorities, each `*.cert` is a
    client's certificate with its key in the `*.key` file of the same name.

    Raises:
        InvalidInputError: A file holds no certificate, or not the key that belongs to it.
    """
    context = ssl.create_default_context()
    if not verify:
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    if ca_file:
        _trust(context, Path(ca_file))
    folder = next((one for one in folders if one.is_dir()), None)
    for path in sorted(folder.iterdir()) if folder else ():
        if path.suffix == ".crt":
            _trust(context, path)
        elif path.suffix == ".cert":
            _identify(context, path)
    return context


def _trust(context: ssl.SSLContext, path: Path) -> None:
    try:
        context.load_verify_locations(path)
    except OSError as error:
        raise InvalidInputError(
            f"{str(path)!r} holds no certificates: {error.strerror or error}", hint="name a PEM file"
        ) from error


def _identify(context: ssl.SSLContext, path: Path) -> None:
    key = path.with_suffix(".key")
    try:
        context.load_cert_chain(path, key)
    except OSError as error:
        raise InvalidInputError(
            f"{str(path)!r} and {str(key)!r} hold no client certificate and its key: {error.strerror or error}",
            hint="fix or remove the files",
        ) from error
