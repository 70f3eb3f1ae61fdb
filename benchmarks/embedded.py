"""The embedded engine against docker: the same composition, registry to registry.

    python -m benchmarks.embedded FOLDER [MEGABYTES] [--skip-docker]

docker's way is what people do today: pull both images, build, push. Each way starts with nothing, then does it again
with what it keeps, then takes one component more. Needs root, docker and a registry (see tests/services). Prints a
table and one line of JSON.
"""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, Final

from benchmarks import embedded_sources
from tests import services
from tests.replica.push import push
from tritonbuild import recipe
from tritonbuild.backends import embedded
from tritonbuild.catalog import BUILTIN
from tritonbuild.composition import Composition

FIRST: Final = ("big0", "big1", "big2", "identity")
NEXT: Final = (*FIRST, "big3")
CATALOG: Final = BUILTIN.extended([{"name": name} for name in embedded_sources.COMPONENTS])


def composition(host: str, names: Sequence[str]) -> Composition:
    """Return the composition of those components, out of the registry's images."""
    return Composition(backends=tuple(names), container_version="24.10", registry=f"{host}/nvidia", catalog=CATALOG)


def timed(label: str, work: Callable[[], object], results: dict[str, float]) -> None:
    """Do *work* and note how long it took."""
    started = time.monotonic()
    work()
    results[label] = round(time.monotonic() - started, 2)
    print(f"{label:40} {results[label]:8.2f} s   (load {os.getloadavg()[0]:.1f})", file=sys.stderr, flush=True)


def with_docker(folder: Path, host: str, results: dict[str, float]) -> None:
    """Time docker's way."""
    with services.dockerd(folder / "docker", insecure=[host]) as docker:
        env = {**os.environ, **docker.env, "DOCKER_BUILDKIT": "1"}

        def run(*words: str) -> None:
            subprocess.run(["docker", *words], env=env, check=True, capture_output=True)

        def build(names: Sequence[str], tag: str) -> None:
            wanted = composition(host, names)
            context = folder / "context"
            context.mkdir(exist_ok=True)
            text = folder / "Containerfile"
            text.write_text(recipe.containerfile(wanted))
            run("build", "--network=none", f"--file={text}", f"--tag={host}/docker/triton:{tag}", str(context))
            run("push", f"{host}/docker/triton:{tag}")

        def cold() -> None:
            for image in composition(host, FIRST).sources().values():
                run("pull", str(image))
            build(FIRST, "1")

        timed("docker: pull both, build, push", cold, results)
        timed("docker: the same again", lambda: build(FIRST, "2"), results)
        timed("docker: one component more", lambda: build(NEXT, "3"), results)


def with_embedded(folder: Path, host: str, results: dict[str, float]) -> dict[str, Any]:
    """Time the embedded engine; return what it moved."""
    moved: dict[str, Any] = {}

    def build(names: Sequence[str], tag: str, cache: Path) -> None:
        request, facts = folder / "request", folder / "facts"
        request.write_text(embedded.document(composition(host, names)))
        argv = [sys.executable, "-m", "tritonbuild.oci", f"--file={request}", f"--tag={host}/{tag}", "--push"]
        done = subprocess.run(
            [*argv, f"--cache-dir={cache}", f"--metadata-file={facts}"], check=True, capture_output=True, text=True
        )
        if os.environ.get("VERBOSE"):
            print(done.stderr, file=sys.stderr)
        moved[tag] = json.loads(facts.read_bytes())["tritonbuild.moved"]

    cache = folder / "cache"
    timed("embedded: empty cache", lambda: build(FIRST, "embedded/one:1", cache), results)
    timed("embedded: the same again", lambda: build(FIRST, "embedded/one:2", cache), results)
    timed("embedded: one component more", lambda: build(NEXT, "embedded/one:3", cache), results)
    for name in ("layers", "blobs"):
        shutil.rmtree(cache / name)
    timed("embedded: indexed, no layer written", lambda: build(FIRST, "embedded/two:1", cache), results)
    return moved


def main(argv: Sequence[str]) -> None:
    """Run all and print the figures."""
    folder = Path(argv[0])
    layout = embedded_sources.make(folder, megabytes=int(argv[1]) if len(argv) > 1 and argv[1].isdigit() else 370)
    work = folder / "work"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir()
    results: dict[str, float] = {}
    with services.registry(work / "registry") as registry:
        index = json.loads((layout / "index.json").read_bytes())
        names = {
            entry["annotations"]["org.opencontainers.image.ref.name"]: entry["digest"] for entry in index["manifests"]
        }
        push(layout, registry.host, {f"nvidia/{name}": digest for name, digest in names.items()})
        moved = with_embedded(work, registry.host, results)
        peak = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10
        if "--skip-docker" not in argv:
            with_docker(work, registry.host, results)
    shutil.rmtree(work)
    for mine, docker in (
        ("embedded: empty cache", "docker: pull both, build, push"),
        ("embedded: indexed, no layer written", "docker: pull both, build, push"),
        ("embedded: one component more", "docker: one component more"),
    ):
        if docker in results:
            print(f"{mine}: {results[docker] / results[mine]:.1f} times as fast as {docker}")
    print(json.dumps({"seconds": results, "moved": moved, "peak_mib": peak}))


if __name__ == "__main__":
    main(sys.argv[1:])
