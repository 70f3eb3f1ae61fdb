"""The loader's cache and search, against this machine's own ldconfig and ldd."""

from __future__ import annotations

import contextlib
import os
import shutil
import stat
import subprocess
from pathlib import Path

import pytest

from tests.oci.test_layers import Memory
from tritonbuild.oci import elf, ldcache
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.oci.layerindex import Columns, Entry, LayerIndex
from tritonbuild.oci.loader import Loader
from tritonbuild.oci.reading import Layer
from tritonbuild.oci.view import View

ROOTS = ("etc/ld.so.conf", "etc/ld.so.conf.d", "lib", "lib64", "usr/lib", "usr/local/lib", "usr/bin")
MACHINES = {"x86_64": 62, "aarch64": 183}

pytestmark = pytest.mark.skipif(
    shutil.which("ldconfig", path="/sbin:/usr/sbin") is None or os.uname().machine not in MACHINES,
    reason="takes glibc's ldconfig",
)


def _kind(mode: int) -> str:
    return "5" if stat.S_ISDIR(mode) else "2" if stat.S_ISLNK(mode) else "0"


def this_machine() -> View:
    """Return the files of this machine, as far as its loader looks at them."""
    columns, elves, contents = Columns(), {}, {}

    def add(path: Path) -> None:
        facts = path.lstat()
        kind = _kind(facts.st_mode)
        entry = Entry(
            path=str(path)[1:],
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
        if (Path("/") / root).exists() or (Path("/") / root).is_symlink():
            add(Path("/") / root)
    index = LayerIndex(
        digest="",
        blob_size=0,
        size=0,
        compression="",
        grains=b"",
        points=(),
        paths=columns.paths,
        kinds="".join(columns.kinds),
        targets=columns.targets,
        numbers=columns.numbers,
        elves=elves,
        attributes={},
        contents=contents,
    )
    return View([Layer(blob=Descriptor(media_type="", digest="", size=0), origin=Memory(b""), index=index)])


@pytest.fixture(scope="module")
def machine() -> View:
    return this_machine()


def printed(cache: Path) -> list[str]:
    argv = ["/sbin/ldconfig", "-p", "-C", str(cache)]
    lines = subprocess.run(argv, capture_output=True, text=True, check=True).stdout.splitlines()
    return [line for line in lines if line.startswith("\t") and "hwcap" not in line]


def test_the_cache_is_ldconfigs(machine: View, tmp_path: Path) -> None:
    number = MACHINES[os.uname().machine]
    (tmp_path / "mine").write_bytes(ldcache.render(ldcache.libraries(machine, number)))
    subprocess.run(["/sbin/ldconfig", "-X", "-C", str(tmp_path / "real")], check=True, capture_output=True)
    assert printed(tmp_path / "mine") == printed(tmp_path / "real")


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
    found = ldcache._compare(one, other)
    assert (found > 0) - (found < 0) == sign
