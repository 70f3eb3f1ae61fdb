"""Builds that are killed, interrupted, cut off, starved or disturbed: the same invariants hold after each of them.

Every build pushes to a registry and writes a layout and an archive. Its sources come from a mirror, so that the name of
the base and with it the digest is the same whatever port the registry has.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import attrs
import pytest

from tests import services
from tests.lab.habits import After, Before, answered, answered_once_each, changed, cut_in_half_once, is_a, lost
from tests.lab.odd import Answer, Habit, OddRegistry, Request, error, odd_registry
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import indexfile
from tritonbuild.oci.archives import open_origin
from tritonbuild.oci.descriptors import whole
from tritonbuild.oci.documents import descriptor, parse
from tritonbuild.oci.files import open_files

pytestmark = pytest.mark.integration

POINTS = 20
SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LONGEST = 60
INTERRUPTED = 130
SOURCES = "sources.invalid"


@attrs.frozen(kw_only=True)
class Ended:
    """A build that ended: its exit status, its output on stderr."""

    code: int
    err: str


@attrs.frozen(kw_only=True)
class Scene:
    """A build with its registry, cache, targets and temporary folder."""

    bench: Bench
    registry: OddRegistry
    folder: Path

    @property
    def layout(self) -> Path:
        return self.folder / "targets" / "layout"

    def start(self, name: str = "x") -> subprocess.Popen[str]:
        options = [
            f"--mirror={SOURCES}={self.registry.host}",
            f"--tag={self.registry.host}/out/{name}:1",
            "--push",
            f"--output=type=oci-layout,dest={self.layout}",
            f"--output=type=docker-archive,dest={self.folder / 'targets' / name}.tar",
            "--retry=3",
        ]
        request = tiny.request(f"{SOURCES}/src/tiny:full", f"{SOURCES}/src/tiny:base", "a", "b")
        temporary = self.folder / "tmp"
        temporary.mkdir(exist_ok=True)
        return subprocess.Popen(
            services.with_default_signals(self.bench.argv(request, *options)),
            env={**os.environ, "TMPDIR": str(temporary)},
            stdout=subprocess.DEVNULL,
            stderr=subprocess.PIPE,
            text=True,
        )

    def end(self, process: subprocess.Popen[str]) -> Ended:
        try:
            _, err = process.communicate(timeout=LONGEST)
        finally:
            process.kill()
        assert "Traceback" not in err, err
        return Ended(code=process.returncode, err=err)

    def run(self) -> Ended:
        return self.end(self.start())

    def disturbed(self, moment: int, act: Callable[[subprocess.Popen[str]], None]) -> Ended:
        """Run a build, and act on it while its request *moment* is in progress."""
        started, process = threading.Event(), None

        def before(registry: OddRegistry, _request: Request) -> Answer | None:
            registry.counts["all"] += 1
            if registry.counts["all"] == moment:
                assert started.wait(LONGEST)
                assert process is not None
                act(process)
            return None

        self.registry.habit = Habit(before=before)
        process = self.start()
        started.set()
        ended = self.end(process)
        self.registry.habit = Habit()
        return ended


@contextlib.contextmanager
def scene(folder: Path, layout: Path) -> Iterator[Scene]:
    with odd_registry(Habit()) as registry:
        registry.put_layout(layout, "src/tiny")
        (folder / "bench").mkdir()
        (folder / "targets").mkdir()
        yield Scene(bench=Bench(folder=folder / "bench", layout=layout), registry=registry, folder=folder)


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.make(tmp_path_factory.mktemp("small") / "layout", size=300_000)


@pytest.fixture
def build(tmp_path: Path, small: Path) -> Iterator[Scene]:
    with scene(tmp_path, small) as found:
        yield found


@attrs.frozen(kw_only=True)
class Undisturbed:
    """The digest of a build without faults, and the number of its requests."""

    digest: str
    requests: int


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory, small: Path) -> Undisturbed:
    with scene(tmp_path_factory.mktemp("good"), small) as found:
        ended = found.run()
        assert ended.code == 0, ended.err
        (digest,) = pushed(found.registry)
        return Undisturbed(digest=digest, requests=len(found.registry.requests))


# --- the invariants ---


def pushed(registry: OddRegistry) -> set[str]:
    """Return the digests of the images that have a tag; each is complete."""
    found = set()
    for repository, tag in [*registry.manifests]:
        if repository.startswith("out/") and not tag.startswith("sha256:"):
            assert registry.image(repository, tag) is not None, f"{repository}:{tag} is broken"
            found.add(f"sha256:{hashlib.sha256(registry.manifests[repository, tag][1]).hexdigest()}")
    return found


def stored(path: Path, index: bytes) -> set[str]:
    """Return the digests of the images in the index of a layout or archive; each has all its blobs, undamaged."""
    origin, found = open_origin(open_files(path)), set()
    for entry in parse(index, str(path)).objects("manifests"):
        manifest = descriptor(entry)
        content = whole(origin.read(manifest, 0, manifest.size), manifest, what="the manifest")
        document = parse(content, "the manifest")
        for one in (document.object("config"), *document.objects("layers")):
            blob = descriptor(one)
            whole(origin.read(blob, 0, blob.size), blob, what=f"the blob {blob.digest}")
        found.add(manifest.digest)
    return found


def assert_nothing_is_left(build: Scene) -> None:
    assert [*(build.folder / "tmp").iterdir()] == []
    for folder in (build.bench.cache / "new", build.folder / "targets", build.layout, build.layout / "blobs/sha256"):
        names = {path.name for path in folder.iterdir()} if folder.is_dir() else set()
        assert {name for name in names if folder.name == "new" or name.startswith(".")} == set()
    assert {path.name for path in build.folder.iterdir()} <= {"bench", "targets", "tmp"}


def assert_the_cache_verifies(cache: Path) -> None:
    for path in (cache / "indexes").glob("*"):
        assert indexfile.from_bytes(path.read_bytes(), what=path.name).digest == path.name.replace("-", ":", 1)
    for path in (cache / "blobs").glob("*"):
        assert path.name == f"sha256-{hashlib.sha256(path.read_bytes()).hexdigest()}"
    for path in (cache / "layers").glob("*"):
        digest, _, record = path.read_bytes().partition(b"\n")
        assert hashlib.sha256(record).hexdigest().encode() == digest
        assert (cache / "blobs" / json.loads(record)["digest"].replace(":", "-")).exists()


def assert_invariants(build: Scene, good: Undisturbed, *, killed: bool = False, cache_verifies: bool = True) -> None:
    """No tag on a broken image, nothing left, the cache verifies, and the next run gives the same image.

    Args:
        build: The build that was disturbed.
        good: The build without faults.
        killed: Whether the process could not clean up; the next run does.
        cache_verifies: Whether nobody has damaged the cache; the next run heals it.
    """
    index = build.layout / "index.json"
    assert pushed(build.registry) <= {good.digest}
    if index.exists():
        assert stored(build.layout, index.read_bytes()) == {good.digest}
    for archive in (build.folder / "targets").glob("*.tar"):
        files = open_files(archive)
        assert stored(archive, b"".join(files.read("index.json", 0, files.size("index.json") or 0))) == {good.digest}
    if not killed:
        assert_nothing_is_left(build)
    if cache_verifies:
        assert_the_cache_verifies(build.bench.cache)
    if killed:
        time.sleep(1.1)  # a file that is younger may be one that a build has not locked yet
    again = build.run()
    assert again.code == 0, again.err
    assert pushed(build.registry) == stored(build.layout, index.read_bytes()) == {good.digest}
    assert_nothing_is_left(build)
    assert_the_cache_verifies(build.bench.cache)


# --- the faults ---


@pytest.mark.parametrize("point", range(POINTS))
def test_killed(point: int, build: Scene, good: Undisturbed) -> None:
    moment = 1 + (good.requests - 1) * point // (POINTS - 1)
    ended = build.disturbed(moment, lambda process: process.kill())
    # The number of requests varies a little, so that the last may be one too many.
    assert ended.code == -signal.SIGKILL or (point == POINTS - 1 and ended.code == 0), ended.err
    assert_invariants(build, good, killed=True)


@pytest.mark.parametrize("number", SIGNALS, ids=lambda number: number.name)
@pytest.mark.parametrize("part", ["first", "middle", "late"])
def test_interrupted(part: str, number: signal.Signals, build: Scene, good: Undisturbed) -> None:
    moment = {"first": 1, "middle": good.requests // 2, "late": good.requests - 3}[part]

    def interrupt(process: subprocess.Popen[str]) -> None:
        process.send_signal(number)
        if part != "middle":  # the registry does not answer any more
            process.wait(LONGEST)

    ended = build.disturbed(moment, interrupt)
    assert ended.code == INTERRUPTED, ended.err
    assert_invariants(build, good)


def slow(_registry: OddRegistry, _request: Request) -> Answer | None:
    time.sleep(0.1)
    return None


NO_ANSWER = Answer(status=0)
CONNECTIONS: dict[str, tuple[Before | After, bool]] = {
    "slow": (slow, True),
    "no answer to the first requests": (answered_once_each(is_a("blobs", "GET"), NO_ANSWER), True),
    "no answer to uploads at first": (answered_once_each(is_a("uploads", "PUT"), NO_ANSWER), True),
    "blobs break off": (changed(is_a("blobs", "GET"), cut_in_half_once), True),
    "an upload is lost": (lost, True),
    "blobs are never answered": (answered(is_a("blobs", "GET"), NO_ANSWER), False),
    "uploads are never answered": (answered(is_a("uploads", "PUT"), NO_ANSWER), False),
    "the new manifest is never answered": (answered(is_a("manifests", "PUT"), NO_ANSWER), False),
    "the new manifest is refused": (answered(is_a("manifests", "PUT"), error(403)), False),
}


@pytest.mark.parametrize("name", CONNECTIONS)
def test_connections(name: str, build: Scene, good: Undisturbed) -> None:
    act, survives = CONNECTIONS[name]
    after = name == "blobs break off"
    build.registry.habit = Habit(after=act) if after else Habit(before=act)  # type: ignore[arg-type]  # by the name
    ended = build.run()
    build.registry.habit = Habit()
    assert ended.code == (0 if survives else 1), ended.err
    assert_invariants(build, good)


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("full", ["cache", "targets"])
def test_a_full_disk(full: str, build: Scene, good: Undisturbed) -> None:
    folder = {"cache": build.bench.cache, "targets": build.folder / "targets"}[full]
    folder.mkdir(exist_ok=True)
    folder.chmod(0o700)
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400k,mode=700", "tmpfs", folder], check=True)
    try:
        ended = build.run()
        assert (ended.code, "no space is left in" in ended.err) == (1, True), ended.err
        assert pushed(build.registry) <= {good.digest}
        assert_nothing_is_left(build)
        assert_the_cache_verifies(build.bench.cache)
    finally:
        subprocess.run(["umount", folder], check=True)
    assert_invariants(build, good)


DAMAGE: dict[str, Callable[[bytes], bytes]] = {
    "altered": lambda content: content[: len(content) // 2] + b"\xff\0" + content[len(content) // 2 + 2 :],
    "truncated": lambda content: content[: len(content) // 2],
    "emptied": lambda _content: b"",
}


@pytest.mark.parametrize("how", DAMAGE)
@pytest.mark.parametrize("part", ["indexes", "blobs", "layers", "target"])
def test_damage(part: str, how: str, build: Scene, good: Undisturbed) -> None:
    assert build.run().code == 0
    build.registry.manifests = {key: value for key, value in build.registry.manifests.items() if "out/x" not in key[0]}
    build.registry.links = {link for link in build.registry.links if "out/x" not in link[0]}
    folder = build.layout / "blobs" / "sha256" if part == "target" else build.bench.cache / part
    damaged = [*folder.iterdir()]
    assert damaged
    for path in damaged:
        path.write_bytes(DAMAGE[how](path.read_bytes()))
    if part == "target":
        with pytest.raises(TritonBuildError):
            stored(build.layout, (build.layout / "index.json").read_bytes())
        (build.layout / "index.json").unlink()
    assert_invariants(build, good, cache_verifies=part == "target")


def test_five_builds_at_once(build: Scene, good: Undisturbed) -> None:
    """They share the cache and the layout, and the registry locks itself while it reads a body."""
    build.registry.habit = Habit(locks=True)
    running = [build.start(f"x{number}") for number in range(5)]
    ended = [build.end(process) for process in running]
    build.registry.habit = Habit()
    assert [one.code for one in ended] == [0] * 5, ended
    assert {repository for repository, _ in build.registry.manifests} == {"src/tiny", *(f"out/x{n}" for n in range(5))}
    assert len(json.loads((build.layout / "index.json").read_bytes())["manifests"]) == 5
    assert_invariants(build, good)


def test_a_blob_of_another_size_is_no_image(build: Scene) -> None:
    """The check of the invariants itself fails over a broken image."""
    assert build.run().code == 0
    manifest = json.loads(build.registry.manifests["out/x", "1"][1])
    digest = manifest["layers"][-1]["digest"]
    build.registry.links.discard(("out/x", digest))
    with pytest.raises(AssertionError, match=r"out/x:1 is broken"):
        pushed(build.registry)
    (build.layout / "blobs" / digest.replace(":", "/")).write_bytes(b"")
    with pytest.raises(TritonBuildError):
        stored(build.layout, (build.layout / "index.json").read_bytes())
