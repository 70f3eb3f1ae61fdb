"""Small source images with real ELF files: compiled here, and as far as a loader reads them."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import tarfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.replica import layers, oci
from tests.replica.layers import Tree, file, symlink
from tests.tiny import images as tiny
from tests.tiny.bench import Bench, Outcome
from tritonbuild.embedded.request import Request, RequestedComponent
from tritonbuild.wellknown import SERVER

LIBRARIES = "usr/lib/x86_64-linux-gnu"
PACKAGES = "usr/local/lib/python3.11/dist-packages"
STUB = f"{tiny.SERVER_FOLDER}/backends/python/triton_python_backend_stub"
ENV = {"PATH": "/usr/bin:/bin"}


@attrs.frozen(kw_only=True)
class Compiler:
    """Compiles shared libraries into a folder."""

    folder: Path

    def __call__(self, name: str, *needed: str, code: str = "", versions: str = "", words: Sequence[str] = ()) -> bytes:
        """Return a shared library.

        Args:
            name: Its soname.
            needed: Libraries that were compiled before and that it needs.
            code: C; nothing by default.
            versions: A version script of the linker.
            words: More arguments of the compiler.
        """
        source, script = self.folder / f"{name}.c", self.folder / f"{name}.map"
        source.write_text(code)
        script.write_text(versions)
        argv = ["gcc", "-shared", "-fPIC", "-nostdlib", f"-Wl,-soname,{name}", "-Wl,--no-as-needed", *words]
        argv += [f"-Wl,--version-script={script}"] if versions else []
        argv += [str(source), *(str(self.folder / one) for one in needed), "-o", str(self.folder / name)]
        subprocess.run(argv, check=True)
        return (self.folder / name).read_bytes()


@pytest.fixture
def compiler(tmp_path: Path) -> Compiler:
    if shutil.which("gcc") is None or os.uname().machine != "x86_64":
        pytest.skip("there is no compiler for x86-64")
    folder = tmp_path / "compiled"
    folder.mkdir()
    return Compiler(folder=folder)


def base_tree(compiler: Compiler) -> Tree:
    """Return a base with a C library, a shell, and an empty loader configuration of Debian's form."""
    compiler("libc.so.6", code="int f(void) { return 1; }\n", versions="GLIBC_2.2.5 { };\nGLIBC_2.31 { f; };\n")
    tree = tiny.base_tree()
    del tree["bin"]
    return {
        **tree,
        "lib": symlink("usr/lib"),
        "bin": symlink("usr/bin"),
        "usr/bin/sh": file(compiler("sh", "libc.so.6"), 0o755),
        "etc/ld.so.conf": file(b"include /etc/ld.so.conf.d/*.conf\n"),
        f"{LIBRARIES}/libc.so.6": file((compiler.folder / "libc.so.6").read_bytes(), 0o755),
    }


def python_tree(compiler: Compiler) -> Tree:
    """Return a python backend with its interpreter."""
    compiler("libpython3.11.so.1.0")
    return {
        STUB: file(compiler("stub", "libpython3.11.so.1.0", "libc.so.6"), 0o755),
        f"{LIBRARIES}/libpython3.11.so.1.0": file((compiler.folder / "libpython3.11.so.1.0").read_bytes()),
        "usr/bin/python3.11": file((compiler.folder / "sh").read_bytes(), 0o755),
        "usr/bin/python3": symlink("python3.11"),
        "usr/lib/python3.11/os.py": file(b"# the standard library\n"),
        PACKAGES: layers.directory(),
    }


@attrs.frozen(kw_only=True)
class Sources:
    """A full and a base image as a layout, and an engine."""

    bench: Bench
    layout: Path

    def request(self, *names: str, **fields: Any) -> Request:
        source = f"oci:{self.layout}"
        components = [RequestedComponent(title=f"backend {one}", folder=f"{SERVER}/backends/{one}") for one in names]
        request = tiny.request(f"{source}:{tiny.FULL}", f"{source}:{tiny.BASE}")
        return attrs.evolve(request, components=components, **fields)

    def plan(self, request: Request, *options: str) -> tuple[Outcome, dict[str, Any]]:
        """Return the outcome, and the plan; empty without one."""
        path = self.layout.with_name("plan")
        path.unlink(missing_ok=True)
        done = self.bench.run(request, f"--plan-file={path}", *options)
        return done, json.loads(path.read_bytes()) if path.exists() else {}

    def build(self, request: Request, *options: str) -> Composed:
        out = self.layout.with_name("out")
        shutil.rmtree(out, ignore_errors=True)
        done = self.bench.run(request, f"--output=type=oci-layout,dest={out}", *options)
        assert done.code == 0, done.err
        return composed(out, done)


@attrs.frozen(kw_only=True)
class Composed:
    """New files of an image, and its configuration."""

    members: Mapping[str, tarfile.TarInfo]
    contents: Mapping[str, bytes]
    config: Mapping[str, Any]
    err: str


def composed(layout: Path, done: Outcome) -> Composed:
    manifest = oci.read_json(layout, done.digest)
    members: dict[str, tarfile.TarInfo] = {}
    contents: dict[str, bytes] = {}
    for layer in manifest["layers"][1:]:
        with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as tar:
            for member in tar:
                members[member.name] = member
                content = tar.extractfile(member) if member.isreg() else None
                if content:
                    contents[member.name] = content.read()
    config = oci.read_json(layout, manifest["config"]["digest"])["config"]
    return Composed(members=members, contents=contents, config=config, err=done.err)


def sources(
    bench: Bench, base: Tree, full: Tree, *, env: Mapping[str, str] = ENV, base_env: Mapping[str, str] = ENV
) -> Sources:
    """Write both images; *full* is on *base*, with the tiny server."""
    folder = bench.folder / "layout"
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    below = layers.write_layer(layers.with_parents(base), blobs, "base")
    above = layers.write_layer(layers.with_parents({**tiny.server_tree(100_000), **full}), blobs, "server")
    images = {
        tiny.BASE: oci.ImageConfig(layers=[below], env=dict(base_env)),
        tiny.FULL: oci.ImageConfig(layers=[below, above], env=dict(env)),
    }
    oci.write_index(folder, images)
    return Sources(bench=bench, layout=folder)


def files(plan: Mapping[str, Any]) -> set[str]:
    """Return the paths of a plan."""
    return {one["path"] for layer in plan["layers"] for one in layer["files"]}
