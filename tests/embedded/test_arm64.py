"""An image for another processor than this machine's: planned and written like any other, since nothing is run."""

from __future__ import annotations

import json
import shutil
import struct
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tests.replica import layers, oci
from tests.replica.layers import Tree, file, symlink
from tests.tiny import images as tiny
from tests.tiny.bench import Bench

LIBRARIES = "usr/lib/aarch64-linux-gnu"
AARCH64 = 183
_MACHINE = 18
"""Where an ELF file says which processor it is for."""


@pytest.fixture
def elf(tmp_path: Path) -> Any:
    """Return a function that makes a shared library for AArch64 as far as a loader reads it: nothing of it is code."""
    if shutil.which("gcc") is None:
        pytest.skip("there is no compiler")
    folder = tmp_path / "elf"
    folder.mkdir()

    def make(name: str, *needed: str) -> bytes:
        words = ["gcc", "-shared", "-nostdlib", f"-Wl,-soname,{name}", "-Wl,--no-as-needed", "-xc", "/dev/null"]
        words += ["-xnone", *(str(folder / one) for one in needed), "-o", str(folder / name)]
        subprocess.run(words, check=True)
        content = bytearray((folder / name).read_bytes())
        struct.pack_into("<H", content, _MACHINE, AARCH64)
        return bytes(content)

    return make


def put(folder: Path, base: Tree, full: Tree) -> str:
    """Write both images as a layout, for linux/arm64; return the place without a name."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    below = layers.write_layer(layers.with_parents(base), blobs, "base")
    above = layers.write_layer(layers.with_parents(full), blobs, "server")
    env = {"PATH": "/usr/bin:/bin"}
    images = {
        tiny.BASE: oci.ImageConfig(layers=[below], env=env),
        tiny.FULL: oci.ImageConfig(layers=[below, above], env=env),
    }
    oci.write_index(folder, images)
    index = json.loads((folder / "index.json").read_bytes())
    index["manifests"] = [
        {**one, **tiny.for_platform(folder, one["digest"], architecture="arm64")} for one in index["manifests"]
    ]
    (folder / "index.json").write_bytes(oci.to_json(index))
    return f"oci:{folder}"


def test_what_it_needs_is_found(bench: Bench, elf: Any, tmp_path: Path) -> None:
    own = elf("libown.so.1")
    base = {
        **tiny.base_tree(),
        "lib": symlink("usr/lib"),
        "bin/sh": file(elf("sh"), 0o755),
        f"{LIBRARIES}/libown.so.1": file(own),
    }
    del base["bin"]
    elf("libdeep.so.2")
    full = {
        **tiny.server_tree(),
        f"{tiny.SERVER_FOLDER}/backends/a/libtriton_a.so": file(elf("libtriton_a.so", "libdeep.so.2", "libown.so.1")),
        f"{LIBRARIES}/libdeep.so.2.1": file(elf("libdeep.so.2")),
        f"{LIBRARIES}/libdeep.so.2": symlink("libdeep.so.2.1"),
    }
    place = put(tmp_path / "layout", base, full)
    request = tiny.request(f"{place}:{tiny.FULL}", f"{place}:{tiny.BASE}", "a")
    out = f"--output=type=oci-layout,dest={tmp_path / 'out'}"
    done = bench.run(request, "--platform=linux/arm64", out)
    assert done.code == 0, done.err
    manifest = oci.read_json(tmp_path / "out", done.digest)
    config = oci.read_json(tmp_path / "out", manifest["config"]["digest"])
    assert (config["os"], config["architecture"]) == ("linux", "arm64")
    found: dict[str, bytes] = {}
    for layer in manifest["layers"][1:]:
        with tarfile.open(tmp_path / "out" / "blobs" / layer["digest"].replace(":", "/")) as tar:
            for member in tar:
                content = tar.extractfile(member) if member.isreg() else None
                found[member.name] = content.read() if content else b""
    assert {f"{LIBRARIES}/libdeep.so.2", f"{LIBRARIES}/libdeep.so.2.1"} <= found.keys()
    assert f"{LIBRARIES}/libown.so.1" not in found
    cache = found["etc/ld.so.cache"]
    assert b"/lib/aarch64-linux-gnu/libdeep.so.2\0" in cache
    # FLAG_ELF_LIBC6 and FLAG_AARCH64_LIB64
    assert {flags for flags, *_ in struct.iter_unpack("<iIIIQ", cache[48 : 48 + 24 * 2])} == {0x0A03}


def test_what_is_missing_is_said_when_it_is_planned(bench: Bench, elf: Any, tmp_path: Path) -> None:
    elf("libdeep.so.2")
    base = {
        **tiny.base_tree(),
        "usr/bin/sh": file(elf("sh"), 0o755),
        f"{LIBRARIES}/libdeep.so.2": file(b"not a library, but the base has it"),
    }
    full = {
        **tiny.server_tree(),
        f"{tiny.SERVER_FOLDER}/backends/a/libtriton_a.so": file(elf("libtriton_a.so", "libdeep.so.2")),
        f"{LIBRARIES}/libdeep.so.2": file(elf("libdeep.so.2")),
    }
    place = put(tmp_path / "layout", base, full)
    request = tiny.request(f"{place}:{tiny.FULL}", f"{place}:{tiny.BASE}", "a")
    done = bench.run(request, "--platform=linux/arm64", f"--plan-file={tmp_path / 'plan'}")
    assert done.code == 4
    needs = "/opt/tritonserver/backends/a/libtriton_a.so needs libdeep.so.2, which the composed image does not have"
    assert f"error: {needs}" in done.err
    assert not (tmp_path / "plan").exists()
    assert [*(bench.cache / "blobs").iterdir()] == []
