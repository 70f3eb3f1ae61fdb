"""The loader's cache and search, against this machine's own ldconfig and ldd."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.layers.test_layers import Memory
from tritonbuild.layers import elf
from tritonbuild.layers.entry import Entry
from tritonbuild.layers.layerindex import Columns
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.rootfs import ldcache
from tritonbuild.rootfs.loader import Loader
from tritonbuild.rootfs.view import View

ROOTS = ("etc/ld.so.conf", "etc/ld.so.conf.d", "lib", "lib64", "opt/more", "usr/lib", "usr/local/lib", "usr/bin")
MACHINES = {"x86_64": 62, "aarch64": 183}

pytestmark = pytest.mark.skipif(
    shutil.which("ldconfig", path="/sbin:/usr/sbin") is None or os.uname().machine not in MACHINES,
    reason="takes glibc's ldconfig",
)


def _kind(mode: int) -> str:
    return "5" if stat.S_ISDIR(mode) else "2" if stat.S_ISLNK(mode) else "0"


def files_of(top: Path) -> View:
    """Return the files in *top*, as far as its loader looks at them."""
    columns, elves, contents = Columns(), {}, {}

    def add(path: Path) -> None:
        facts = path.lstat()
        kind = _kind(facts.st_mode)
        entry = Entry(
            path=str(path.relative_to(top)),
            kind=kind,
            mode=0,
            uid=0,
            gid=0,
            mtime=0,
            size=facts.st_size if kind == "0" else 0,
            offset=0,
            target=str(path.readlink()) if kind == "2" else "",
        )
        place = columns.add(entry)
        if kind == "5":
            for child in sorted(path.iterdir()):
                add(child)
        elif kind == "0" and stat.S_ISREG(facts.st_mode) and os.access(path, os.R_OK):
            with path.open("rb") as file:
                if entry.path.startswith("etc/"):
                    contents[entry.path] = file.read()
                    return

                def read(start: int, length: int) -> bytes:
                    file.seek(start)
                    piece = file.read(length)
                    if len(piece) < length:
                        raise elf.BrokenError
                    return piece

                with contextlib.suppress(elf.BrokenError):
                    elves[place] = elf.parse(read)

    for root in ROOTS:
        if (top / root).exists() or (top / root).is_symlink():
            add(top / root)
    index = columns.index(elves=elves, contents=contents)
    return View([Layer(blob=Descriptor(media_type="", digest="", size=0), origin=Memory(b""), index=index)])


@pytest.fixture(scope="module")
def machine() -> View:
    return files_of(Path("/"))


def written(view: View, real: bytes) -> bytes:
    """Return the cache of *view*, with the last words of the real one, which say which ldconfig wrote it."""
    generator = real[real.rindex(b"ldconfig (") :].decode()
    return ldcache.render(ldcache.libraries(view, MACHINES[os.uname().machine]), generator=generator)


def test_the_cache_is_ldconfigs(machine: View, tmp_path: Path) -> None:
    subprocess.run(["/sbin/ldconfig", "-X", "-C", str(tmp_path / "real")], check=True, capture_output=True)
    real = (tmp_path / "real").read_bytes()
    assert written(machine, real) == real


@pytest.fixture
def libraries(tmp_path: Path) -> Path:
    """The files of a small machine, with libraries for particular processors."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no compiler")
    top = tmp_path / "top"
    folder = f"usr/lib/{ldcache.MULTIARCH[MACHINES[os.uname().machine]]}"
    names = {
        f"{folder}/glibc-hwcaps/x86-64-v3": ("libfoo.so.1", "libbar.so.2"),
        f"{folder}/glibc-hwcaps/x86-64-v2": ("libfoo.so.1", "libfoo.so.10", "libonly.so.1"),
        f"{folder}/glibc-hwcaps/.hidden": ("libhidden.so.1",),
        folder: ("libfoo.so.1", "libbar.so.2", "libfoo.so.10", "lib1.so"),
        "opt/more": ("libfoo.so.1", "libmore.so.3"),
        "opt/more/glibc-hwcaps/x86-64-v2": ("libfoo.so.1", "libmore.so.3"),
    }
    built = tmp_path / "built"
    built.mkdir()
    for name in {name for found in names.values() for name in found}:
        subprocess.run(
            ["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", "-o", built / name, "-xc", "/dev/null"], check=True
        )
    for place, found in names.items():
        (top / place).mkdir(parents=True, exist_ok=True)
        for name in found:
            shutil.copy(built / name, top / place / f"{name}.0")
            (top / place / name).symlink_to(f"{name}.0")
    (top / "lib").symlink_to("usr/lib")
    (top / "etc").mkdir()
    (top / "etc/ld.so.conf").write_text("/opt/more\n")
    return top


def test_libraries_for_particular_processors(libraries: Path) -> None:
    subprocess.run(["/sbin/ldconfig", "-X", "-r", libraries], check=True, capture_output=True)
    real = (libraries / "etc/ld.so.cache").read_bytes()
    view = files_of(libraries)
    assert written(view, real) == real
    found = {line.hwcaps for line in ldcache.libraries(view, MACHINES[os.uname().machine])}
    assert found == {"", "x86-64-v2", "x86-64-v3"}


def test_a_search_takes_the_baseline(libraries: Path) -> None:
    loader = Loader(files_of(libraries), machine=MACHINES[os.uname().machine])
    assert loader.cache["libmore.so.3", 0x0303] == "/opt/more/libmore.so.3"
    assert ("libonly.so.1", 0x0303) not in loader.cache


@pytest.mark.parametrize("program", ["usr/bin/env", "usr/bin/tar", "usr/bin/apt-get", "usr/bin/gdb", "usr/bin/curl"])
def test_the_search_is_the_loaders(program: str, machine: View) -> None:
    real = machine.resolve(program)
    if real is None or machine.elf(real) is None:
        pytest.skip(f"there is no {program}")
    answer = subprocess.run(
        ["ldd", f"/{real}"], capture_output=True, text=True, check=True, env={"PATH": "/usr/bin:/bin"}
    )
    wanted = {}
    for line in answer.stdout.splitlines():
        name, arrow, rest = line.strip().partition(" => ")
        if arrow:
            wanted[name] = machine.resolve(rest.split(" (")[0])
    closure = Loader(machine, machine=MACHINES[os.uname().machine]).closure(real)
    found = {name: machine.resolve(path) for name, path in closure.found.items() if not name.startswith("ld-linux")}
    assert found == wanted
    assert closure.missing == ()


@pytest.mark.parametrize(
    ("one", "other", "sign"),
    [("libc.so.6", "libc.so.10", -1), ("liba.so", "liba.so", 0), ("libb.so", "liba.so", 1), ("lib1.so", "liba.so", 1)],
)
def test_names_are_compared_as_the_loader_does(one: str, other: str, sign: int) -> None:
    first, second = ldcache._order(one), ldcache._order(other)
    assert (first > second) - (first < second) == sign
