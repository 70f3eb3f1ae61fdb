"""The embedded engine against docker: the same composition, registry to registry.

    python -m benchmarks.embedded FOLDER [MEGABYTES] [--skip-docker]

With docker, both images are pulled, then the result is built and pushed. Each engine starts with empty storage,
repeats the build with its caches, then builds with one component more, three times (the median counts). The registry
hashes its input on the same cores, so the time to only read and upload the bytes of the last new layer is measured
too. Besides wall time, the table has the CPU time of all processes, daemon and registry included, which is more
reliable on a shared machine. Needs root, docker and a registry (see tests/services). Prints a table and one line of
JSON.
"""

from __future__ import annotations

import contextlib
import json
import os
import resource
import shutil
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from http import HTTPStatus
from pathlib import Path
from typing import Any, Final, TypeAlias

import psutil
import urllib3

from benchmarks import embedded_sources
from tests import services
from tests.replica import oci
from tests.replica.push import push
from tests.services import packages
from tritonbuild import recipe
from tritonbuild.backends import embedded
from tritonbuild.catalog import BUILTIN
from tritonbuild.composition import Composition

FIRST: Final = ("big0", "big1", "big2", "identity")
MORE: Final = ("big3", "big4", "big5")
"""The components that the next selections add, one more each time."""

CATALOG: Final = BUILTIN.extended([{"name": name} for name in embedded_sources.COMPONENTS])


def composition(host: str, names: Sequence[str]) -> Composition:
    """Return the composition of these components, from the registry's images."""
    return Composition(backends=tuple(names), container_version="24.10", registry=f"{host}/nvidia", catalog=CATALOG)


Results: TypeAlias = dict[str, tuple[float, float]]
"""Step -> wall seconds, CPU seconds."""


def processors() -> float:
    """Return the CPU seconds of all descendants of this process, ended ones included."""
    ended = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = ended.ru_utime + ended.ru_stime
    for one in psutil.Process().children(recursive=True):
        with contextlib.suppress(psutil.Error):
            times = one.cpu_times()
            seconds += times.user + times.system + times.children_user + times.children_system
    return seconds


def timed(label: str, work: Callable[[], object], results: Results) -> None:
    """Run *work* and record its time in *results*."""
    started, before = time.monotonic(), processors()
    work()
    passed, used = (round(one, 2) for one in (time.monotonic() - started, processors() - before))
    results[label] = passed, used
    load = os.getloadavg()[0]
    print(f"{label:45} {passed:8.2f} s {used:8.2f} s   (load {load:.1f})", file=sys.stderr, flush=True)


def selections(engine: str, build: Callable[[Sequence[str], str], object], results: Results) -> None:
    """Time builds with one component more, several times."""
    each: Results = {}
    for number in range(1, len(MORE) + 1):
        names = (*FIRST, *MORE[:number])
        timed(f"{engine}: one component more, {names[-1]}", lambda names=names: build(names, names[-1]), each)  # type: ignore[misc]
    passed, used = (statistics.median(times) for times in zip(*each.values(), strict=True))
    results[f"{engine}: one component more"] = passed, used


def move(url: str, digest: str, scratch: Path) -> None:
    """Read a blob and upload it unchanged to another repository."""
    http = urllib3.PoolManager()
    with scratch.open("wb") as out, http.request("GET", f"{url}/blobs/{digest}", preload_content=False) as response:
        shutil.copyfileobj(response, out, 1 << 20)
    location = http.request("POST", f"{url}-copy/blobs/uploads/").headers["Location"]
    with scratch.open("rb") as file:
        assert http.request("PUT", f"{location}&digest={digest}", body=file).status == HTTPStatus.CREATED
    scratch.unlink()


def with_docker(folder: Path, host: str, results: Results) -> None:
    """Time docker."""
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
        selections("docker", build, results)


def with_embedded(folder: Path, host: str, results: Results) -> dict[str, Any]:
    """Time the embedded engine; return the bytes that it moved, by tag."""
    moved: dict[str, Any] = {}

    def build(names: Sequence[str], tag: str, cache: Path) -> None:
        request, facts = folder / "request", folder / "facts"
        request.write_text(embedded.document(composition(host, names)))
        argv = [sys.executable, "-m", "tritonbuild.embedded", f"--file={request}", f"--tag={host}/{tag}", "--push"]
        done = subprocess.run(
            [*argv, f"--cache-dir={cache}", f"--metadata-file={facts}"], check=True, capture_output=True, text=True
        )
        if os.environ.get("VERBOSE"):
            print(done.stderr, file=sys.stderr)
        moved[tag] = json.loads(facts.read_bytes())["tritonbuild.moved"]

    cache = folder / "cache"
    timed("embedded: empty cache", lambda: build(FIRST, "embedded/one:1", cache), results)
    timed("embedded: the same again", lambda: build(FIRST, "embedded/one:2", cache), results)
    selections("embedded", lambda names, tag: build(names, f"embedded/one:{tag}", cache), results)
    url = f"http://{host}/v2/embedded/one"
    manifest = urllib3.request("GET", f"{url}/manifests/{MORE[-1]}", headers={"Accept": oci.MANIFEST_TYPE}).data
    largest = max(json.loads(manifest)["layers"], key=lambda layer: layer["size"])
    timed("the bytes of that layer, read and uploaded", lambda: move(url, largest["digest"], folder / "blob"), results)
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
    results: Results = {}
    with services.registry(work / "registry", program=packages.registry("trixie")) as registry:
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
            passed, used = (theirs / own for theirs, own in zip(results[docker], results[mine], strict=True))
            print(f"{mine}: {passed:.1f} times as fast as {docker}, {used:.1f} times by the processors")
    print(json.dumps({"seconds": results, "moved": moved, "peak_mib": peak}))


if __name__ == "__main__":
    main(sys.argv[1:])
