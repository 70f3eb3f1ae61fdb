"""The engines that no distribution packages, built from the Go module in ``tests/tools``."""

from __future__ import annotations

import hashlib
import os
import shutil
from pathlib import Path
from typing import Final

from tests.services import cache as caches
from tests.services import programs
from tests.services.errors import MissingProgramError

MODULE: Final = Path(__file__).resolve().parent.parent / "tools"
BUILDKIT: Final = "github.com/moby/buildkit"
NERDCTL: Final = "github.com/containerd/nerdctl/v2"
TIMEOUT: Final = 3600
GO_FOLDER: Final = Path("/usr/local/go/bin")
"""The usual folder of Go's official archives, which is seldom on ``PATH``."""


def go() -> Path:
    found = shutil.which("go", path=programs.search_path() + os.pathsep + str(GO_FOLDER))
    if found is None:
        program = "go"
        raise MissingProgramError(program, "1.26.3 or newer, from go.dev")
    return Path(found)


def _fingerprint() -> str:
    files = sorted(path for path in MODULE.rglob("*") if path.name in {"go.mod", "go.sum"} or path.suffix == ".go")
    return hashlib.sha256(b"\0".join(path.read_bytes() for path in files)).hexdigest()[:16]


def _compile(folder: Path) -> None:
    compiler = go()

    def version(module: str) -> str:
        return programs.run([compiler, "list", "-m", "-f", "{{.Version}}", module], cwd=MODULE).strip()

    # Their build scripts set these versions; built as dependencies, the programs would not know them.
    stamps = f"-X {BUILDKIT}/version.Version={version(BUILDKIT)} -X {NERDCTL}/pkg/version.Version={version(NERDCTL)}"
    flags = ["-mod=readonly", "-trimpath", "-buildvcs=false", f"-ldflags=-s -w {stamps}"]
    env = {"CGO_ENABLED": "0", "GOBIN": str(folder), "GOFLAGS": ""}
    programs.run([compiler, "install", *flags, "tool"], env=env, timeout=TIMEOUT, cwd=MODULE)


def build(cache: Path | None = None) -> Path:
    """Return the folder with ``buildctl``, ``buildkitd`` and ``nerdctl``.

    The first call compiles them, 2.5 minutes on two processors; later ones find them in *cache*, by the versions
    and checksums of all their modules.

    Raises:
        MissingProgramError: They are not in the cache, and no Go compiler was found.
        ServiceError: They do not compile.
    """
    return caches.made((cache or caches.cache_folder()) / f"go-{_fingerprint()}", _compile)
