"""The scripts of the `copy` runtime on file trees with odd names, links and libraries."""

from __future__ import annotations

import pytest

from tests.corpus.chroot import Build
from tests.corpus.outcome import Tree
from tests.tiny.elves import Compiler

LIBRARIES = "usr/lib/x86_64-linux-gnu"
COMPONENT = "opt/tritonserver/backends/a"
PACKAGES = "usr/local/lib/python3.11/dist-packages"
ODD = (
    *(
        "my lib",
        "my lib needs libcuda.so.1",
        "a\nb",
        "-n",
        "*",
        "it's",
        'a"b',
        "a\\nb",
        "$HOME",
        "a;b",
        "[ab]",
        "ä",
        " lead",
    ),
    *("ä", " lead", "trail ", "a\tb", "#a", "~", "%s", "a:", "`a`", "&", "a=b", "?", "{a,b}", "\x7f"),
)


@pytest.mark.parametrize("name", ODD)
def test_an_odd_file_name_in_a_component(build: Build, compiler: Compiler, server: Tree, name: str) -> None:
    """Its library is copied, and the file that has the odd name is checked."""
    dependency = compiler("libdep.so.1")
    compiler("libgone.so.1")
    odd = compiler("odd.so", "libdep.so.1", "libgone.so.1")
    full = {**server, f"{COMPONENT}/{name}.so": odd, f"{LIBRARIES}/libdep.so.1": dependency}
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {f"{LIBRARIES}/libdep.so.1"}
    shown = name.replace("\n", "\x01")
    assert done.messages == (f"/{COMPONENT}/{shown}.so needs libgone.so.1, which the full image lacks too\n",)
    assert done.passed


@pytest.mark.parametrize("name", ODD)
def test_an_odd_name_of_a_link_target(build: Build, compiler: Compiler, server: Tree, name: str) -> None:
    full = {**server, f"{COMPONENT}/liba.so": f"/srv/{name}/{name}.so", f"srv/{name}/{name}.so": compiler("a.so")}
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {f"srv/{name}/{name}.so"}
    assert done.passed


def test_a_link_that_leads_nowhere(build: Build, server: Tree) -> None:
    full = {**server, f"{COMPONENT}/gone.so": "/srv/gone.so", f"{COMPONENT}/round.so": "round.so"}
    done = build.compose({}, full, ["backends/a"])
    assert (done.files, done.messages, done.passed) == (frozenset(), (), True)


def test_a_link_to_a_folder_outside_the_server(build: Build, compiler: Compiler, server: Tree) -> None:
    full = {
        **server,
        f"{COMPONENT}/data": "/srv/data",
        "srv/data/x/liba.so": compiler("liba.so"),
        "srv/data/b": "x/liba.so",
    }
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {"srv/data/x/liba.so", "srv/data/b"}
    assert done.links == {"srv/data/b": "x/liba.so"}


def test_a_chain_of_links(build: Build, compiler: Compiler, server: Tree) -> None:
    compiler("libdep.so.1")
    full = {
        **server,
        f"{COMPONENT}/liba.so": compiler("liba.so", "libdep.so.1"),
        f"{LIBRARIES}/libdep.so.1": "libdep.so.1.2",
        f"{LIBRARIES}/libdep.so.1.2": "/etc/alternatives/dep",
        "etc/alternatives/dep": f"/{LIBRARIES}/libdep.so.1.2.3",
        f"{LIBRARIES}/libdep.so.1.2.3": (compiler.folder / "libdep.so.1").read_bytes(),
    }
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {*(f"{LIBRARIES}/libdep.so.{end}" for end in ("1", "1.2", "1.2.3")), "etc/alternatives/dep"}
    assert done.passed


def test_a_library_that_only_the_result_lacks(build: Build, compiler: Compiler, server: Tree) -> None:
    """The base has a file of that name in a folder that its loader does not search."""
    compiler("libdeep.so.2")
    full = {
        **server,
        f"{COMPONENT}/my lib.so": compiler("a.so", "libdeep.so.2"),
        "opt/deep/libdeep.so.2": (compiler.folder / "libdeep.so.2").read_bytes(),
    }
    environment = {"LD_LIBRARY_PATH": "/opt/deep"}
    done = build.compose({"srv/libdeep.so.2": b"no library"}, full, ["backends/a"], full_env=environment)
    assert done.files == {"opt/deep/libdeep.so.2"}
    assert done.passed


def test_a_name_that_the_composed_image_does_not_find(build: Build, compiler: Compiler, server: Tree) -> None:
    """The base finds it by its environment, which the composed image does not have."""
    compiler("libdeep.so.2")
    full = {
        **server,
        f"{COMPONENT}/my lib.so": compiler("a.so", "libdeep.so.2"),
        "opt/deep/libdeep.so.2": (compiler.folder / "libdeep.so.2").read_bytes(),
    }
    environment = {"LD_LIBRARY_PATH": "/opt/deep"}
    base_environment = {"LD_LIBRARY_PATH": "/srv"}
    done = build.compose(
        {"srv/libdeep.so.2": b"no library"},
        full,
        ["backends/a"],
        full_env=environment,
        base_env=base_environment,
    )
    assert done.messages == (f"/{COMPONENT}/my lib.so needs libdeep.so.2, which the composed image does not have\n",)
    assert not done.passed


def test_a_library_that_the_package_has_elsewhere(build: Build, compiler: Compiler, server: Tree) -> None:
    """As vllm's extension, which needs a library of torch's that Python has loaded before."""
    torch = compiler("libtorch.so")
    folder = f"{COMPONENT}/site-packages"
    full = {
        **server,
        f"{folder}/torch/lib/libtorch.so": torch,
        f"{folder}/vllm/_C.abi3.so": compiler("_C.abi3.so", "libtorch.so"),
    }
    done = build.compose({}, full, ["backends/a"], full_env={"LD_LIBRARY_PATH": f"/{folder}/torch/lib"})
    found = f"/{folder}/torch/lib/libtorch.so"
    assert done.messages == (f"/{folder}/vllm/_C.abi3.so needs libtorch.so, which its package has as {found}\n",)
    assert done.passed


def test_a_libc_that_is_too_old(build: Build, compiler: Compiler, server: Tree) -> None:
    compiler("libv.so.1", code="int f(void) { return 1; }\n", versions="GLIBC_2.99 { f; };\n")
    new = (compiler.folder / "libv.so.1").read_bytes()
    component = compiler("libtriton_a.so", "libv.so.1", code="int f(void); int g(void) { return f(); }\n")
    old = compiler("libv.so.1", code="int f(void) { return 1; }\n", versions="GLIBC_2.1 { f; };\n")
    full_only = {**server, f"{COMPONENT}/libtriton_a.so": component, "opt/new/libv.so.1": new}
    done = build.compose(
        {f"{LIBRARIES}/libv.so.1": old}, full_only, ["backends/a"], full_env={"LD_LIBRARY_PATH": "/opt/new"}
    )
    assert done.messages == (
        f"/{COMPONENT}/libtriton_a.so needs GLIBC_2.99, which the composed image does not have\n",
        "use a full image whose base is as old as the base image\n",
    )
    assert not done.passed
