"""Missing libraries: only what the full image finds for the same file is a fault."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import attrs
import pytest

from tests.replica.layers import Tree, file, symlink
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tests.tiny.elves import LIBRARIES, PACKAGES, Compiler, base_tree, files, python_tree, sources

COMPONENT = f"{tiny.SERVER_FOLDER}/backends/a/libtriton_a.so"


def test_a_library_that_the_full_image_lacks_too(bench: Bench, compiler: Compiler) -> None:
    base = base_tree(compiler)
    compiler("libtbb.so.12")
    plugin = f"{PACKAGES}/numba/np/ufunc/tbbpool.cpython-311-x86_64-linux-gnu.so"
    full = {**python_tree(compiler), plugin: file(compiler("tbbpool.so", "libtbb.so.12", "libc.so.6"))}
    images = sources(bench, base, full)
    done, plan = images.plan(images.request("python"))
    assert done.code == 0, done.err
    assert f"/{plugin}" in files(plan)
    reason = "which the full image lacks too"
    assert plan["excused"] == [{"file": f"/{plugin}", "name": "libtbb.so.12", "reason": reason}]
    assert f"/{plugin} needs libtbb.so.12, {reason}\n" in images.build(images.request("python")).err


def test_a_library_in_another_folder_of_the_package(bench: Bench, compiler: Compiler) -> None:
    """vllm's extension needs torch's library, which Python loads first; the full image has it on LD_LIBRARY_PATH."""
    base = base_tree(compiler)
    torch = compiler("libtorch.so")
    full = {
        **python_tree(compiler),
        f"{PACKAGES}/torch/lib/libtorch.so": file(torch),
        f"{PACKAGES}/vllm/_C.abi3.so": file(compiler("_C.abi3.so", "libtorch.so", "libc.so.6")),
    }
    images = sources(bench, base, full, env={"PATH": "/usr/bin:/bin"})
    done, plan = images.plan(images.request("python"))
    assert done.code == 0, done.err
    assert [one["name"] for one in plan["excused"]] == ["libtorch.so"]


def test_a_library_of_the_package_that_only_the_full_image_finds(bench: Bench, compiler: Compiler) -> None:
    """Its LD_LIBRARY_PATH is not the composed image's, but the package has the library."""
    base = base_tree(compiler)
    full = {
        **python_tree(compiler),
        f"{PACKAGES}/torch/lib/libtorch.so": file(compiler("libtorch.so")),
        f"{PACKAGES}/vllm/_C.abi3.so": file(compiler("_C.abi3.so", "libtorch.so", "libc.so.6")),
    }
    # The base's loader is satisfied by name; its library is not for this processor.
    env = {"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": f"/{PACKAGES}/torch/lib"}
    images = sources(
        bench,
        {**base, "opt/x/libtorch.so": file(b"no library")},
        full,
        env=env,
        base_env={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": "/opt/x"},
    )
    done, plan = images.plan(images.request("python"))
    assert done.code == 0, done.err
    assert [(one["name"], one["reason"]) for one in plan["excused"]] == [
        ("libtorch.so", f"which its package has as /{PACKAGES}/torch/lib/libtorch.so")
    ]


def faulty(compiler: Compiler, versions: str = "") -> tuple[Tree, Tree]:
    """Return trees of a component that needs a library of full, of which the base has one that is empty."""
    base = base_tree(compiler)
    compiler("libdeep.so.2", code="int g(void) { return 1; }\n", versions=versions)
    deep = (compiler.folder / "libdeep.so.2").read_bytes()
    full = {
        COMPONENT: file(
            compiler("libtriton_a.so", "libdeep.so.2", "libc.so.6", code="int g(void); int h(void) { return g(); }")
        ),
        f"{LIBRARIES}/libdeep.so.2": file(deep),
    }
    return {**base, "opt/x/libdeep.so.2": file(b"no library")}, full


def test_a_library_that_only_the_result_lacks(bench: Bench, compiler: Compiler) -> None:
    base, full = faulty(compiler)
    images = sources(bench, base, full, base_env={"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/x"})
    done, plan = images.plan(images.request("a"))
    assert (done.code, plan) == (4, {})
    assert f"error: /{COMPONENT} needs libdeep.so.2, which the composed image does not have\n" in done.err
    assert "hint: add --exempt-library for a library that is provided at run time\n" in done.err


def test_a_base_that_is_too_old(bench: Bench, compiler: Compiler) -> None:
    base = base_tree(compiler)
    old = base[f"{LIBRARIES}/libc.so.6"]
    compiler("libc.so.6", code="int f(void) { return 1; }\n", versions="GLIBC_2.2.5 { };\nGLIBC_2.99 { f; };\n")
    new = file((compiler.folder / "libc.so.6").read_bytes())
    component = file(compiler("libtriton_a.so", "libc.so.6", code="int f(void); int g(void) { return f(); }\n"))
    images = sources(
        bench, {**base, f"{LIBRARIES}/libc.so.6": old}, {COMPONENT: component, f"{LIBRARIES}/libc.so.6": new}
    )
    done, _ = images.plan(images.request("a"))
    assert done.code == 4
    assert f"error: /{COMPONENT} needs GLIBC_2.99, which /lib/x86_64-linux-gnu/libc.so.6 does not define\n" in done.err
    assert "hint: use a full image whose base is as old as the base image\n" in done.err


USES = "int f(void); int g(void) { return f(); }\n"
BESIDE = "usr/local/lib/tritonbuild"


def versioned(compiler: Compiler, versions: str, *needed: str) -> bytes:
    return compiler("libv.so.1", *needed, code="int f(void) { return 1; }\n", versions=versions)


def test_an_older_library_of_the_base(bench: Bench, compiler: Compiler) -> None:
    """Full's is brought beside it, and with it a library that only full's needs."""
    base = base_tree(compiler)
    more = compiler("libmore.so.1")
    new = versioned(compiler, "V_1 { };\nV_2 { f; } V_1;\n", "libmore.so.1")
    full = {
        COMPONENT: file(compiler("libtriton_a.so", "libv.so.1", code=USES)),
        f"{LIBRARIES}/libv.so.1": symlink("libv.so.1.2"),
        f"{LIBRARIES}/libv.so.1.2": file(new),
        f"{LIBRARIES}/libmore.so.1": file(more),
    }
    base[f"{LIBRARIES}/libv.so.1"] = symlink("libv.so.1.1")
    base[f"{LIBRARIES}/libv.so.1.1"] = file(versioned(compiler, "V_1 { f; };\n"))
    images = sources(bench, base, full)
    done, plan = images.plan(images.request("a"))
    assert done.code == 0, done.err
    brought = {path for path in files(plan) if "libv" in path or "libmore" in path}
    assert brought == {f"/{BESIDE}/libv.so.1", f"/{LIBRARIES}/libmore.so.1"}
    composed = images.build(images.request("a"))
    assert composed.contents[f"{BESIDE}/libv.so.1"] == new
    assert composed.contents["etc/ld.so.conf.d/00-tritonbuild.conf"] == f"/{BESIDE}\n".encode()
    assert f"/{BESIDE}/libv.so.1\0".encode() in composed.contents["etc/ld.so.cache"]
    assert f"{BESIDE}/libv.so.1" not in images.build(attrs.evolve(images.request("a"), exempt=["V_2"])).contents


def test_another_library_of_the_base_with_every_version(bench: Bench, compiler: Compiler) -> None:
    """The base's file differs, but defines what is needed: it is used."""
    base = base_tree(compiler)
    new = versioned(compiler, "V_1 { f; };\n")
    full = {
        COMPONENT: file(compiler("libtriton_a.so", "libv.so.1", code=USES)),
        f"{LIBRARIES}/libv.so.1": file(new),
    }
    base[f"{LIBRARIES}/libv.so.1"] = file(versioned(compiler, "V_1 { f; };\nV_2 { } V_1;\n"))
    images = sources(bench, base, full)
    done, plan = images.plan(images.request("a"))
    assert done.code == 0, done.err
    assert not any("libv" in path for path in files(plan))


def test_an_older_library_that_a_run_path_finds(bench: Bench, compiler: Compiler) -> None:
    """The loader's configuration cannot hide it, so the two are named."""
    base = base_tree(compiler)
    new = versioned(compiler, "V_2 { f; };\n")
    component = compiler("libtriton_a.so", "libv.so.1", code=USES, words=["-Wl,-rpath,/opt/acme"])
    base["opt/acme/libv.so.1"] = file(versioned(compiler, "V_1 { f; };\n"))
    images = sources(bench, base, {COMPONENT: file(component), "opt/acme/libv.so.1": file(new)})
    done, _ = images.plan(images.request("a"))
    assert done.code == 4
    assert f"error: /{COMPONENT} needs V_2, which /opt/acme/libv.so.1 does not define\n" in done.err


@pytest.fixture(scope="session")
def numba(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheels of numba and llvmlite for Python 3.11, out of the package index or pip's cache."""
    folder = tmp_path_factory.mktemp("numba")
    words = ["download", "--quiet", "--only-binary=:all:", "--no-deps", "--python-version=3.11", "--dest", str(folder)]
    done = subprocess.run(
        [sys.executable, "-m", "pip", *words, "numba==0.61.2", "llvmlite==0.44.0"],
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    if done.returncode:
        pytest.skip(f"pip cannot download numba: {done.stderr.strip()[-200:]}")
    return folder


def of_this_machine(*names: str) -> Tree:
    """Return libraries of this machine, each as a file and a link."""
    tree: Tree = {}
    for name in names:
        path = Path(f"/{LIBRARIES}/{name}").resolve()
        tree[f"{LIBRARIES}/{path.name}"] = file(path.read_bytes())
        if path.name != name:
            tree[f"{LIBRARIES}/{name}"] = symlink(path.name)
    return tree


@pytest.mark.integration
def test_numba(bench: Bench, compiler: Compiler, numba: Path) -> None:
    """Files of the real wheels in the full image: its plug-in for TBB needs a library that no image has."""
    tree: Tree = {}
    for wheel in numba.glob("*.whl"):
        with zipfile.ZipFile(wheel) as archive:
            tree |= {
                f"{PACKAGES}/{one}": file(archive.read(one)) for one in archive.namelist() if not one.endswith("/")
            }
    c_library = ("libc.so.6", "libm.so.6", "libdl.so.2", "libpthread.so.0", "librt.so.1", "ld-linux-x86-64.so.2")
    base = {**base_tree(compiler), **of_this_machine(*c_library)}
    more = of_this_machine("libstdc++.so.6", "libgcc_s.so.1", "libz.so.1", "libgomp.so.1")
    full = {**python_tree(compiler), **tree, **more}
    images = sources(bench, base, full)
    done, plan = images.plan(images.request("python"))
    assert done.code == 0, done.err
    assert {one["name"] for one in plan["excused"]} == {"libtbb.so.12"}
