"""The scripts of a build on scratch: the full image's programs compose and check a tree that has none."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path

import attrs
import pytest

from tests.corpus.chroot import Build, plant, run
from tests.corpus.outcome import Tree
from tests.tiny.elves import Compiler

LIBRARIES = "usr/lib/x86_64-linux-gnu"
LOADER = "/lib64/ld-linux-x86-64.so.2"
COMPONENT = "opt/tritonserver/backends/a"


@attrs.frozen(kw_only=True)
class OnScratch:
    """A full image in a folder, from which an image on scratch is composed."""

    full: Path

    @property
    def composed(self) -> Path:
        """The folder with the files of the composed image."""
        return self.full / "tritonbuild/root"

    def compose(self, *arguments: str) -> None:
        """Run the scripts up to the check."""
        for script, words in (("scratch.sh", ()), ("base.sh", ("accounts",))):
            done = run(self.full, script, *words, env={})
            assert done.returncode == 0, done.stderr
        listed = self.full / "tritonbuild"
        shutil.copytree(listed, self.full / "base", symlinks=True)
        shutil.rmtree(listed)
        listed.mkdir()
        (self.full / "base").rename(listed / "base")
        files = [f"file={LOADER}", "file=/etc/ld.so.conf", "file=/bin/sh"]
        done = run(self.full, "runtime.sh", "backends/a", *files, *arguments, env={})
        assert done.returncode == 0, done.stderr
        for source in (listed / "base/accounts", listed / "runtime"):
            subprocess.run(["cp", "-a", f"{source}/.", self.composed], check=True)
        subprocess.run(["cp", "-a", self.full / "opt", self.composed], check=True)

    def check(self, path: str = "", more: Sequence[str] = ()) -> tuple[int, list[str]]:
        """Run the check; return its exit code and its messages."""
        done = run(self.full, "check.sh", "root=/tritonbuild/root", f"path={path}", *more, env={})
        return done.returncode, [line.removeprefix("tritonbuild: ") for line in done.stderr.splitlines()]


@pytest.fixture
def on_scratch(build: Build, compiler: Compiler) -> OnScratch:
    compiler("libdep.so.1")
    compiler("libdeep.so.2")
    tree: Tree = {
        "opt/tritonserver/bin/tritonserver": Path("/bin/true").read_bytes(),
        "opt/tritonserver/lib/libtritonserver.so": compiler("libtritonserver.so"),
        f"{COMPONENT}/libtriton_a.so": compiler("a.so", "libdep.so.1"),
        f"{COMPONENT}/a\nb.so": compiler("b.so", "libdeep.so.2"),
        f"{LIBRARIES}/libdep.so.1": (compiler.folder / "libdep.so.1").read_bytes(),
        "srv/deep/libdeep.so.2": (compiler.folder / "libdeep.so.2").read_bytes(),
        "etc/ld.so.conf.d/deep.conf": b"/srv/deep\n",
        "home/triton-server/.profile": b"",
    }
    root = build.root("full")
    plant(root, tree)
    for folder, mode in (("root", 0o700), ("tmp", 0o1777), ("var/tmp", 0o1777)):
        (root / folder).mkdir(parents=True, exist_ok=True)
        (root / folder).chmod(mode)
    subprocess.run(["ldconfig", "-r", str(root)], check=True)
    return OnScratch(full=root)


def test_a_root_file_system_without_a_base(on_scratch: OnScratch) -> None:
    on_scratch.compose()
    assert on_scratch.check() == (0, [])
    root = on_scratch.composed
    assert {path.name: str(path.readlink()) for path in root.iterdir() if path.is_symlink()} == {
        name: f"usr/{name}" for name in ("bin", "lib", "lib64", "sbin")
    }
    modes = {name: (root / name).stat().st_mode & 0o7777 for name in ("root", "tmp", "var/tmp")}
    assert modes == {"root": 0o700, "tmp": 0o1777, "var/tmp": 0o1777}
    accounts = (root / "etc/passwd").read_text().splitlines()
    assert accounts == [
        "root:x:0:0:root:/root:/bin/sh",
        "triton-server:x:1000:1000::/home/triton-server:/bin/bash",
    ]
    assert [*(root / "home/triton-server").iterdir()] == []
    assert (root / LIBRARIES / "libc.so.6").exists()
    assert not (root / "usr/bin/awk").exists()
    done = subprocess.run(["chroot", root, "/bin/sh", "-c", "echo $((6 * 7))"], capture_output=True, check=True)
    assert done.stdout == b"42\n"


def test_the_loaders_cache_is_that_of_the_composed_image(on_scratch: OnScratch) -> None:
    on_scratch.compose()
    on_scratch.check()
    words = ["ldconfig", "-p", "-C", str(on_scratch.full / "tritonbuild/checked/etc/ld.so.cache")]
    shown = subprocess.run(words, capture_output=True, text=True, check=True).stdout
    assert "=> /srv/deep/libdeep.so.2" in shown
    assert f"=> /lib/{Path(LIBRARIES).name}/libdep.so.1" in shown or f"=> /{LIBRARIES}/libdep.so.1" in shown
    assert "libpcre" not in shown  # a library of grep, which only full has


def test_missing_libraries_are_found_from_outside(on_scratch: OnScratch) -> None:
    """Full has them; the composed image does not."""
    on_scratch.compose("exclude=libdep*", "exclude=libdeep*")
    lines = [
        f"/{COMPONENT}/a\x01b.so needs libdeep.so.2, which the composed image does not have",
        f"/{COMPONENT}/libtriton_a.so needs libdep.so.1, which the composed image does not have",
    ]
    assert on_scratch.check() == (1, lines)
    assert on_scratch.check(more=["exempt=libd*"]) == (0, [])


def test_the_library_path_is_that_of_the_composed_image(on_scratch: OnScratch) -> None:
    on_scratch.compose("exclude=libdeep*")
    (on_scratch.composed / "srv/mine").mkdir(parents=True)
    shutil.copy(on_scratch.full / "srv/deep/libdeep.so.2", on_scratch.composed / "srv/mine")
    assert on_scratch.check(path="/srv/mine:/srv/other") == (0, [])
    assert on_scratch.check(path="/srv/deep")[0] == 1


def test_a_loader_that_does_not_run(on_scratch: OnScratch) -> None:
    on_scratch.compose()
    (on_scratch.composed / LIBRARIES / "libc.so.6").unlink()
    (on_scratch.composed / LOADER.strip("/")).unlink()
    reason = "the loader of the composed image does not run, so that its libraries cannot be checked"
    assert on_scratch.check() == (1, [reason])
