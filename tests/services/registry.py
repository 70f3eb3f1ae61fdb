"""A registry (Docker's distribution): plain HTTP and without passwords, or with either."""

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
PASSWORDS: Final = """\
auth:
  htpasswd:
    realm: here
    path: {passwords}
"""
LISTENING: Final = re.compile(r"listening on 127\.0\.0\.1:(\d+)")


@attrs.frozen(kw_only=True)
class Registry:
    """A registry that runs. Its log, an access log too, tells which blobs were asked for, moved and mounted."""

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
    passwords: str = "",
    name: str = "localhost",
) -> Iterator[Registry]:
    """Run a registry that keeps everything in the folder *root* until the block ends.

    Args:
        root: The folder to make.
        program: The system's by default.
        tls: Its certificate, if it is to have TLS.
        passwords: Lines `USER:HASH` of bcrypt, if it is to ask for one.
        name: What it is called, which has to lead to this machine.
    """
    program = program or programs.find("docker-registry")
    root.mkdir(parents=True)
    config, log, folder = root / "config.yml", root / "log", root / "blobs"
    text = CONFIG.format(folder=folder)
    text += TLS.format(certificate=tls.certificate, key=tls.key) if tls else ""
    if passwords:
        (root / "passwords").write_text(passwords)
        text += PASSWORDS.format(passwords=root / "passwords")
    config.write_text(text)
    # Its own choice of a port, read from the log, is free for certain; one chosen here may be gone by then.
    argv = [str(program), "serve", str(config)]
    env = {"OTEL_TRACES_EXPORTER": "none"}
    try:
        with daemons.daemon(argv, log=log, ready=lambda: bool(_port(log)), env=env) as process:
            yield Registry(host=f"{name}:{_port(log)}", process=process, folder=folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)
