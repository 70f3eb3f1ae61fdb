"""A registry (Docker's distribution), optionally with TLS and passwords."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from tests.services import daemons, programs
from tests.services.certificates import Certificate

CONFIG: Final = """\
version: 0.1
log:
  level: info
  accesslog:
    disabled: false
storage:
  filesystem:
    rootdirectory: {folder}
  delete:
    enabled: true
http:
  addr: 127.0.0.1:0
"""
TLS: Final = """\
  tls:
    certificate: {certificate}
    key: {key}
"""
CLIENTS: Final = """\
    clientcas:
      - {authority}
"""
PASSWORDS: Final = """\
auth:
  htpasswd:
    realm: here
    path: {passwords}
"""
LISTENING: Final = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


@attrs.frozen(kw_only=True)
class Registry:
    """A running registry. Its log includes the access log, which shows the blobs that were requested and mounted."""

    host: str
    process: daemons.Daemon
    folder: Path


def _port(log: Path) -> str:
    found = LISTENING.search(log.read_text(errors="replace"))
    return found.group(1) if found else ""


@contextlib.contextmanager
def registry(
    root: Path,
    *,
    program: Path | None = None,
    tls: Certificate | None = None,
    clients: Certificate | None = None,
    passwords: str = "",
    name: str = "localhost",
) -> Iterator[Registry]:
    """Run a registry until the block ends, with all its files in the folder *root*.

    Args:
        root: The folder to create.
        program: The registry's program; the system's by default.
        tls: Its certificate; plain HTTP by default.
        clients: A certificate of the authority whose certificates clients must have; needs *tls*.
        passwords: Lines `USER:HASH` of bcrypt; no login by default.
        name: Its host name, which must resolve to this machine.
    """
    program = program or programs.find("docker-registry")
    root.mkdir(parents=True)
    config, log, folder = root / "config.yml", root / "log", root / "blobs"
    text = CONFIG.format(folder=folder)
    text += TLS.format(certificate=tls.certificate, key=tls.key) if tls else ""
    text += CLIENTS.format(authority=clients.authority) if clients else ""
    if passwords:
        (root / "passwords").write_text(passwords)
        text += PASSWORDS.format(passwords=root / "passwords")
    config.write_text(text)
    # The port that the registry chooses, read from its log, is free; a port chosen here may be taken by then.
    argv = [str(program), "serve", str(config)]
    env = {"OTEL_TRACES_EXPORTER": "none"}
    try:
        with daemons.daemon(argv, log=log, ready=lambda: bool(_port(log)), env=env) as process:
            yield Registry(host=f"{name}:{_port(log)}", process=process, folder=folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)
