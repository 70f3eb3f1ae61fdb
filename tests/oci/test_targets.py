"""Layouts and archives as targets: damaged blobs, leftovers of killed builds, folders that disappear."""

from __future__ import annotations

import fcntl
import hashlib
import shutil
import signal
import subprocess
import sys
import tarfile
import time
from pathlib import Path

import pytest

from tests import services
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import descriptors
from tritonbuild.oci.archives import ArchiveTarget
from tritonbuild.oci.descriptors import Descriptor, digest_of
from tritonbuild.oci.layouts import LayoutTarget
from tritonbuild.oci.targets import Image

CONTENT = b"the content of a layer"
BLOB = Descriptor(media_type=descriptors.LAYER, digest=digest_of(CONTENT), size=len(CONTENT))
CONFIG = Descriptor(media_type=descriptors.CONFIG, digest=digest_of(b"{}"), size=2)
IMAGE = Image(
    manifest=CONFIG,
    manifest_content=b"{}",
    config=CONFIG,
    config_content=b"{}",
    base_layers=(BLOB,),
    new_layers=(),
)
LEFT = ".0123456789abcdef"


def store(target: LayoutTarget) -> int:
    return target.store(BLOB, lambda: iter([CONTENT]))


def test_a_damaged_blob_is_replaced(tmp_path: Path) -> None:
    target = LayoutTarget(tmp_path / "l")
    assert (store(target), store(target)) == (len(CONTENT), 0)
    path = target.path(BLOB.digest)
    path.write_bytes(CONTENT.replace(b"a", b"b"))
    assert store(target) == len(CONTENT)
    assert hashlib.sha256(path.read_bytes()).hexdigest() == path.name


@pytest.mark.parametrize("folder", ["", "blobs/sha256", "blobs/sha512"])
def test_files_that_a_killed_build_left_are_removed(folder: str, tmp_path: Path) -> None:
    left = tmp_path / "l" / folder / LEFT
    left.parent.mkdir(parents=True)
    (tmp_path / "l" / "blobs").mkdir(exist_ok=True)
    left.write_text("half")
    time.sleep(1.1)
    with left.open() as held:
        fcntl.flock(held, fcntl.LOCK_EX)
        LayoutTarget(tmp_path / "l")
        assert left.exists()
    LayoutTarget(tmp_path / "l")
    assert not left.exists()


def test_folders_that_a_killed_build_left_are_removed(tmp_path: Path) -> None:
    left = tmp_path / f".x.tar{LEFT}"
    (left / "blobs").mkdir(parents=True)
    other = tmp_path / f".y.tar{LEFT}"
    other.mkdir()
    time.sleep(1.1)
    target = ArchiveTarget(tmp_path / "x.tar")
    assert (left.exists(), other.exists()) == (False, True)
    target.close()
    assert [path.name for path in tmp_path.iterdir()] == [other.name]


def test_a_layout_that_is_deleted_meanwhile(tmp_path: Path) -> None:
    target = LayoutTarget(tmp_path / "l")
    store(target)
    shutil.rmtree(tmp_path / "l")
    with pytest.raises(TritonBuildError, match=r"cannot write to .*l': No such file or directory"):
        store(target)
    with pytest.raises(TritonBuildError, match=r"the layer sha256:[0-9a-f]{12} is gone from"):
        target.publish(IMAGE, ["a:1"])
    assert not (tmp_path / "l").exists()
    target = LayoutTarget(tmp_path / "l")
    with pytest.raises(TritonBuildError, match="is gone from"):
        target.publish(IMAGE, ["a:1"])


def test_an_archive(tmp_path: Path) -> None:
    target = ArchiveTarget(tmp_path / "x.tar")
    target.store(BLOB, lambda: iter([CONTENT]))
    target.publish(IMAGE, ["a:1"])
    target.close()
    assert [path.name for path in tmp_path.iterdir()] == ["x.tar"]
    with tarfile.open(tmp_path / "x.tar") as archive:
        blobs = [f"blobs/{blob.digest.replace(':', '/')}" for blob in (BLOB, CONFIG)]
        assert archive.getnames() == ["manifest.json", *sorted(blobs), "index.json", "oci-layout"]


def hanging(bench: Bench, host: str) -> list[str]:
    request = tiny.request(f"{host}/src/{tiny.FULL}", f"{host}/src/{tiny.BASE}", "a")
    return bench.argv(request, f"--output=type=docker-archive,dest={bench.folder / 'out.tar'}")


def wait_for_scratch(folder: Path) -> None:
    end = time.monotonic() + 60
    while not [*folder.glob(".out.tar.*")]:
        assert time.monotonic() < end
        time.sleep(0.05)


@pytest.mark.integration
@pytest.mark.parametrize(("number", "ignored"), services.INTERRUPTS.values(), ids=services.INTERRUPTS)
def test_an_interrupt_in_a_slow_read_leaves_nothing(
    bench: Bench, number: signal.Signals, ignored: tuple[signal.Signals, ...]
) -> None:
    with services.hung_registry() as host, services.running(hanging(bench, host), ignored=ignored) as process:
        wait_for_scratch(bench.folder)
        process.send_signal(number)
        output, error = process.communicate(timeout=30)
        assert (process.returncode, output) == (130, ""), error
        assert "Traceback" not in error
    assert [*bench.folder.glob(".out.tar.*")] == []


@pytest.mark.integration
def test_the_engine_ends_when_its_parent_is_killed(bench: Bench) -> None:
    starter = "import subprocess, sys; print(subprocess.Popen(sys.argv[1:]).pid, flush=True); sys.stdin.read()"
    with services.hung_registry() as host:
        argv = [sys.executable, "-c", starter, *hanging(bench, host)]
        with services.running(argv, stdin=subprocess.PIPE, stderr=subprocess.DEVNULL) as parent:
            assert parent.stdout is not None
            pid = int(parent.stdout.readline())
            wait_for_scratch(bench.folder)
            parent.kill()
            parent.wait(30)
        end = time.monotonic() + 60
        while alive(pid):
            assert time.monotonic() < end
            time.sleep(0.1)
    assert [*bench.folder.glob(".out.tar.*")] == []


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state != "Z"
