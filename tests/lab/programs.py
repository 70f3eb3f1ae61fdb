"""Registries and clients that are built from Go modules: go-containerregistry's, distribution 3, crane and umoci."""

from __future__ import annotations

import contextlib
import hashlib
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from tests.services import cache as caches
from tests.services import daemons, programs, tools

MODULES: Final = Path(__file__).parent
LISTENING: Final = re.compile(r"serving on port (\d+)")


def built(module: str) -> Path:
    """Return the folder with the programs of the Go module *module*.

    The first call compiles them: crane and umoci take half a minute each on two processors, distribution some minutes.

    Raises:
        MissingProgramError: They are not in the cache, and no Go compiler was found.
        ServiceError: They do not compile.
    """
    folder = MODULES / module
    fingerprint = hashlib.sha256((folder / "go.mod").read_bytes() + (folder / "go.sum").read_bytes()).hexdigest()[:16]

    def compile_(target: Path) -> None:
        argv: list[str | Path] = [
            tools.go(),
            "install",
            "-mod=readonly",
            "-trimpath",
            "-buildvcs=false",
            "-ldflags=-s -w",
            "tool",
        ]
        env = {"CGO_ENABLED": "0", "GOBIN": str(target), "GOFLAGS": ""}
        programs.run(argv, env=env, timeout=tools.TIMEOUT, cwd=folder)

    return caches.made(caches.cache_folder() / f"{module}-{fingerprint}", compile_)


def _port(log: Path) -> str:
    found = LISTENING.search(log.read_text(errors="replace"))
    return found.group(1) if found else ""


@contextlib.contextmanager
def locking_registry(root: Path) -> Iterator[str]:
    """Yield the host of go-containerregistry's registry, which holds a lock while it reads an upload."""
    root.mkdir(parents=True)
    log = root / "log"
    argv: list[str | Path] = [built("crane") / "crane", "registry", "serve", "--address=localhost:0", f"--disk={root}"]
    try:
        with daemons.daemon(argv, log=log, ready=lambda: bool(_port(log))):
            yield f"localhost:{_port(log)}"
    finally:
        shutil.rmtree(root, ignore_errors=True)
