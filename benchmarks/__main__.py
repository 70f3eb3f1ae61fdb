"""The overhead of tritonbuild over the engines: start, probes, cached builds.

Needs podman, buildah, docker and a registry on this machine.
"""

from __future__ import annotations

import compileall
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable, Mapping
from pathlib import Path

import tritonbuild
from benchmarks.pairs import Pair, compare
from tests import replica, services
from tests.services import programs

PYTHON = sys.executable
TRITONBUILD = (PYTHON, "-m", "tritonbuild")


def show(title: str, pair: Pair) -> None:
    """Print a figure."""
    print(f"{title:<52} {pair}", flush=True)


def main() -> None:
    """Print the figures."""
    compileall.compile_dir(Path(tritonbuild.__file__).parent, quiet=1)  # as in an installation
    show("tritonbuild --version / import typer", compare([*TRITONBUILD, "--version"], [PYTHON, "-c", "import typer"]))
    with tempfile.TemporaryDirectory(prefix="tritonbuild-bench-") as folder:
        dry = ["--backend", "python", "--dry-run", "--work-dir", folder]
        show("tritonbuild --dry-run / import typer", compare([*TRITONBUILD, *dry], [PYTHON, "-c", "import typer"]))
    render = [*TRITONBUILD, "render", "--quiet", "--backend", "pytorch", "--no-enable-gpu", "--runtime", "install"]
    show("tritonbuild render / import typer", compare(render, [PYTHON, "-c", "import typer"]))
    probes()
    made = replica.make()
    with tempfile.TemporaryDirectory(prefix="tritonbuild-bench-", dir="/var/tmp") as folder:
        root = Path(folder)
        with (
            services.registry(root / "registry") as registry,
            services.containers(root / "containers", insecure=[registry.host]) as containers,
            services.dockerd(root / "docker", insecure=[registry.host]) as docker,
        ):
            made.push(registry.host)
            cached_builds(root, registry.host, {**docker.env, "DOCKER_BUILDKIT": "1"}, ("docker",))
            cached_builds(root, registry.host, containers.env, ("podman", "buildah"))


def probes() -> None:
    """Print the time of `tritonbuild engines` beyond its start and its slowest probe."""
    rows = []
    for _ in range(5):
        started = time.perf_counter()
        done = subprocess.run([*TRITONBUILD, "engines", "--json"], capture_output=True, check=True)
        seconds = time.perf_counter() - started
        slowest = max(record["seconds"] for record in json.loads(done.stdout))
        started = time.perf_counter()
        subprocess.run([*TRITONBUILD, "--version"], capture_output=True, check=True)
        rows.append(seconds - (time.perf_counter() - started) - slowest)
    print(f"{'tritonbuild engines, beyond start and slowest probe':<52} {sorted(rows)[2] * 1000:+.0f} ms", flush=True)


def cached_builds(root: Path, host: str, env: Mapping[str, str], engines: Iterable[str]) -> None:
    """Compare a fully cached build with the same command by hand."""
    options = ["--backend", "python", "--container-version", "24.10", "--registry", f"{host}/nvidia", "--skip-pull"]
    compose = [*TRITONBUILD, *options, "--quiet", "--work-dir", str(root)]
    (root / "context").mkdir(exist_ok=True)
    for engine in engines:
        layers = ["--layers"] if engine == "buildah" else []
        by_hand = [
            programs.find_in(env, engine),
            "build",
            *layers,
            "--network=none",
            "--pull=false",
            f"--iidfile={root}/iid",
        ]
        by_hand += [f"--file={root}/Dockerfile.compose", "--tag=tritonserver", str(root / "context")]
        pair = compare([*compose, "--engine", engine], by_hand, env=env)
        show(f"a cached build through tritonbuild / {engine} by hand", pair)


if __name__ == "__main__":
    main()
