"""A registry (Docker's distribution), plain HTTP and without passwords."""

from __future__ import annotations

import contextlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import attrs

from tests.services import daemons, programs

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
def registry(root: Path, *, program: Path | None = None) -> Iterator[Registry]:
    """Run a registry (*program*, the system's by default) that keeps all in the folder *root* until the block ends."""
    program = program or programs.find("docker-registry")
    root.mkdir(parents=True)
    config, log, folder = root / "config.yml", root / "log", root / "blobs"
    config.write_text(CONFIG.format(folder=folder))
    # Its own choice of a port, read from the log, is free for certain; one chosen here may be gone by then.
    argv = [str(program), "serve", str(config)]
    env = {"OTEL_TRACES_EXPORTER": "none"}
    try:
        with daemons.daemon(argv, log=log, ready=lambda: bool(_port(log)), env=env) as process:
            yield Registry(host=f"localhost:{_port(log)}", process=process, folder=folder)
    finally:
        shutil.rmtree(root, ignore_errors=True)
