"""Wheels unpacked for the interpreter of an image: what fits, what is missing, and the same bytes always."""

from __future__ import annotations

import base64
import hashlib
import os
import shutil
import subprocess
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.replica import layers, oci
from tests.replica.layers import Tree, file, symlink
from tests.tiny import images as tiny
from tests.tiny.bench import Bench, Outcome
from tritonbuild.embedded.request import RequestedComponent
from tritonbuild.wellknown import SERVER

PACKAGES = "usr/local/lib/python3.11/dist-packages"
LIBRARIES = "usr/lib/x86_64-linux-gnu"
STUB = f"{tiny.SERVER_FOLDER}/backends/python/triton_python_backend_stub"


def wheel(
    folder: Path,
    name: str,
    *,
    version: str = "1.0",
    tag: str = "py3-none-any",
    requires: tuple[str, ...] = (),
    python: str = "",
    contents: Mapping[str, bytes] | None = None,
) -> Path:
    """Write a wheel with a module, a program of its own, and more."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{name}-{version}-{tag}.whl"
    info = f"{name}-{version}.dist-info"
    metadata = [f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n"]
    metadata += [f"Requires-Python: {python}\n"] if python else []
    metadata += [f"Requires-Dist: {text}\n" for text in requires]
    files = {
        f"{name}/__init__.py": b"VALUE = 3\n",
        **(contents or {}),
        f"{info}/METADATA": "".join(metadata).encode(),
        f"{info}/WHEEL": f"Wheel-Version: 1.0\nGenerator: x\nRoot-Is-Purelib: true\nTag: {tag}\n".encode(),
        f"{info}/entry_points.txt": f"[console_scripts]\n{name} = {name}:main\n".encode(),
    }
    sums = {one: base64.urlsafe_b64encode(hashlib.sha256(content).digest()) for one, content in files.items()}
    lines = [f"{one},sha256={sums[one].decode().rstrip('=')},{len(content)}\n" for one, content in files.items()]
    record = "".join(lines) + f"{info}/RECORD,,\n"
    with zipfile.ZipFile(path, "w") as out:
        for one, content in {**files, f"{info}/RECORD": record.encode()}.items():
            out.writestr(zipfile.ZipInfo(one), content)
    return path


@pytest.fixture(scope="module")
def elves(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    """A C library of glibc 2.31, an interpreter's library, a stub, an extension module, and what that needs."""
    if shutil.which("gcc") is None or os.uname().machine != "x86_64":
        pytest.skip("there is no compiler for x86-64")
    folder = tmp_path_factory.mktemp("elves")
    (folder / "map").write_text("GLIBC_2.2.5 { };\nGLIBC_2.31 { f; };\n")
    (folder / "f.c").write_text("int f(void) { return 1; }\n")

    def make(name: str, *words: str, needed: tuple[str, ...] = ()) -> bytes:
        argv = ["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", "-Wl,--no-as-needed", *words]
        argv += [*(str(folder / one) for one in needed), "-o", str(folder / name)]
        subprocess.run(argv, check=True)
        return (folder / name).read_bytes()

    empty = ("-xc", "/dev/null", "-xnone")
    return {
        "libc.so.6": make("libc.so.6", str(folder / "f.c"), f"-Wl,--version-script={folder / 'map'}"),
        "libpython3.11.so.1.0": make("libpython3.11.so.1.0", *empty),
        "libfast.so.4": make("libfast.so.4", *empty),
        "stub": make("stub", *empty, needed=("libpython3.11.so.1.0", "libc.so.6")),
        "sh": make("sh", *empty, needed=("libc.so.6",)),
        "fast": make("fast.so", *empty, needed=("libfast.so.4",)),
    }


@pytest.fixture
def place(elves: dict[str, bytes], tmp_path: Path) -> str:
    """A full image with a python backend, its interpreter and two packages, on a base with a C library."""
    folder = tmp_path / "layout"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    base: Tree = {
        **tiny.base_tree(),
        "lib": symlink("usr/lib"),
        "usr/bin/sh": file(elves["sh"], 0o755),
        f"{LIBRARIES}/libc.so.6": file(elves["libc.so.6"], 0o755),
    }
    full: Tree = {
        **tiny.server_tree(),
        STUB: file(elves["stub"], 0o755),
        f"{LIBRARIES}/libpython3.11.so.1.0": file(elves["libpython3.11.so.1.0"]),
        f"{LIBRARIES}/libfast.so.4": file(elves["libfast.so.4"]),
        "usr/bin/python3.11": file(elves["sh"], 0o755),
        "usr/bin/python3": symlink("python3.11"),
        "usr/lib/python3.11/os.py": file(b"# the standard library\n"),
        "usr/lib/python3/dist-packages/numpy-1.24.2.egg-info/PKG-INFO": file(b"Name: numpy\n"),
        f"{PACKAGES}/old-2.0.dist-info/METADATA": file(b"Name: old\n"),
        PACKAGES: layers.directory(0o2775),
    }
    below = layers.write_layer(layers.with_parents(base), blobs, "base")
    above = layers.write_layer(layers.with_parents(full), blobs, "server")
    env = {"PATH": "/usr/bin:/bin"}
    images = {tiny.BASE: [below], tiny.FULL: [below, above]}
    oci.write_index(folder, {name: oci.ImageConfig(layers=found, env=env) for name, found in images.items()})
    return f"oci:{folder}"


def run(bench: Bench, place: str, out: Path, *wheels: Path, options: tuple[str, ...] = (), **keywords: Any) -> Outcome:
    context = out.with_name(f"{out.name}-context")
    (context / "wheels").mkdir(parents=True)
    for path in wheels:
        shutil.copy(path, context / "wheels")
    request = attrs.evolve(
        tiny.request(f"{place}:{tiny.FULL}", f"{place}:{tiny.BASE}"),
        components=[RequestedComponent(title="backend python", folder=f"{SERVER}/backends/python")],
        wheels=[f"wheels/{path.name}" for path in wheels],
    )
    return bench.run(request, f"--context={context}", f"--output=type=oci-layout,dest={out}", *options, **keywords)


def members(layout: Path, digest: str) -> dict[str, dict[str, tarfile.TarInfo]]:
    """Return what is in the new layers, by their titles."""
    manifest = oci.read_json(layout, digest)
    history = oci.read_json(layout, manifest["config"]["digest"])["history"]
    found = {}
    for layer, said in zip(manifest["layers"], history, strict=True):
        with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as tar:
            found[said["created_by"].removeprefix("tritonbuild: ")] = {one.name: one for one in tar}
    return found


def test_what_is_in_the_image(bench: Bench, place: str, elves: dict[str, bytes], tmp_path: Path) -> None:
    name = "fast/fast.cpython-311-x86_64-linux-gnu.so"
    fast = wheel(
        tmp_path / "w",
        "fast",
        tag="cp311-cp311-manylinux_2_17_x86_64",
        requires=("numpy<2,>=1.20", "Pure_Package; python_version >= '3.8'", "nosuch; sys_platform == 'win32'"),
        contents={name: elves["fast"]},
    )
    done = run(bench, place, tmp_path / "out", fast, wheel(tmp_path / "w", "pure_package"))
    assert done.code == 0, done.err
    found = members(tmp_path / "out", done.digest)
    own = {path.removeprefix(f"{PACKAGES}/"): one for path, one in found["Python packages"].items() if one.isreg()}
    assert {name, "fast/__init__.py", "pure_package/__init__.py", "fast-1.0.dist-info/RECORD"} <= own.keys()
    assert {(one.uid, one.gid, one.mode) for one in own.values()} == {(0, 0, 0o644)}
    # As with other engines: programs of packages do not come along, and what an extension module needs does.
    assert not [path for path in found["Python packages"] if path.startswith("usr/local/bin")]
    assert f"{LIBRARIES}/libfast.so.4" in found["runtime of backend python"]
    assert found["runtime of backend python"][PACKAGES].mode == 0o2775


def test_the_bill_of_materials_has_them(bench: Bench, place: str, tmp_path: Path) -> None:
    done = run(bench, place, tmp_path / "out", wheel(tmp_path / "w", "pure_package"), options=("--sbom",))
    assert done.code == 0, done.err
    blobs = [path.read_bytes() for path in (tmp_path / "out" / "blobs" / "sha256").iterdir()]
    (bill,) = [blob for blob in blobs if b'"bomFormat"' in blob]
    assert b'"pkg:pypi/pure-package@1.0"' in bill


def test_the_same_digest_always(bench: Bench, place: str, tmp_path: Path) -> None:
    pure = [wheel(tmp_path / "w", name) for name in ("one", "two")]
    first = run(bench, place, tmp_path / "out1", *pure)
    before = os.umask(0o077)
    try:
        second = run(
            bench, place, tmp_path / "out2", *pure[::-1], cache=tmp_path / "cache", env={"TMPDIR": str(tmp_path)}
        )
    finally:
        os.umask(before)
    assert (first.code, second.code) == (0, 0), first.err + second.err
    assert first.digest == second.digest
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tritonbuild-")] == []


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "another interpreter": ({"tag": "cp310-cp310-manylinux_2_17_x86_64"}, "does not fit python3.11 of the image"),
    "another processor": ({"tag": "cp311-cp311-manylinux_2_17_aarch64"}, "does not fit python3.11"),
    "a newer C library": ({"tag": "cp311-cp311-manylinux_2_34_x86_64"}, "does not fit python3.11"),
    "a newer Python": ({"python": ">=3.12"}, "needs Python >=3.12, and the image has python3.11"),
    "what is not there": ({"requires": ("nosuch",)}, "requires nosuch, and the image lacks it"),
    "a newer one": ({"requires": ("numpy>=2",)}, "requires numpy>=2, and the image has 1.24.2"),
    "a replacement": ({"name": "old"}, "would replace old 2.0"),
    "a requirement that is none": ({"requires": ("><",)}, "is damaged"),
    "something outside": ({"contents": {"../../evil": b"x"}}, "cannot be unpacked"),
    "something elsewhere": ({"contents": {"/etc/evil": b"x"}}, "is damaged"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, bench: Bench, place: str, tmp_path: Path) -> None:
    options, message = REFUSED[name]
    path = wheel(tmp_path / "w", **{"name": "mine", **options})
    done = run(bench, place, tmp_path / "out", path)
    assert (done.code, done.err.count("error: ")) == (2, 1), done.err
    assert message in done.err
    assert not (tmp_path / "out" / "index.json").exists()


def test_what_is_no_wheel(bench: Bench, place: str, tmp_path: Path) -> None:
    path = tmp_path / "mine-1.0-py3-none-any.whl"
    path.write_bytes(b"PK nothing")
    done = run(bench, place, tmp_path / "out", path)
    assert (done.code, "is damaged" in done.err) == (2, True), done.err
    whole = wheel(tmp_path / "w", "mine")
    with zipfile.ZipFile(whole, "a") as out:
        out.writestr("mine/more.py", "not in RECORD")
    done = run(bench, place, tmp_path / "out2", whole)
    assert (done.code, "is damaged" in done.err) == (2, True), done.err


def test_without_the_library(bench: Bench, place: str, tmp_path: Path) -> None:
    (tmp_path / "fake").mkdir()
    (tmp_path / "fake" / "installer.py").write_text("raise ImportError(name='installer')\n")
    path = wheel(tmp_path / "w", "mine")
    done = run(bench, place, tmp_path / "out", path, env={"PYTHONPATH": str(tmp_path / "fake")})
    assert done.code == 2
    assert done.err.splitlines()[-2:] == [
        "error: wheels need the Python package 'installer', which is not installed",
        "hint: pip install 'tritonbuild[wheels]'",
    ]
