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
    full: Tree = {
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
    full: Tree = {
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


@pytest.fixture
def needing(compiler: Compiler, server: Tree) -> Tree:
    """The server with a component that needs a library of /opt/deep."""
    library = compiler("libdeep.so.2")
    return {
        **server,
        f"{COMPONENT}/my lib.so": compiler("a.so", "libdeep.so.2"),
        "opt/deep/libdeep.so.2": library,
    }


DEEP = {"LD_LIBRARY_PATH": "/opt/deep"}
NO_LIBRARY: Tree = {"srv/libdeep.so.2": b"no library"}


def test_a_library_that_only_the_result_lacks(build: Build, needing: Tree) -> None:
    """The base has a file of that name in a folder that its loader does not search."""
    done = build.compose(NO_LIBRARY, needing, ["backends/a"], full_env=DEEP)
    assert done.files == {"opt/deep/libdeep.so.2"}
    assert done.passed


def test_a_name_that_the_composed_image_does_not_find(build: Build, needing: Tree) -> None:
    """The base finds it by its environment, which the composed image does not have."""
    base_env = {"LD_LIBRARY_PATH": "/srv"}
    done = build.compose(NO_LIBRARY, needing, ["backends/a"], full_env=DEEP, base_env=base_env)
    assert done.messages == (f"/{COMPONENT}/my lib.so needs libdeep.so.2, which the composed image does not have\n",)
    assert not done.passed


def test_a_library_that_the_package_has_elsewhere(build: Build, compiler: Compiler, server: Tree) -> None:
    """As vllm's extension, which needs a library of torch's that Python has loaded before."""
    torch = compiler("libtorch.so")
    folder = f"{COMPONENT}/site-packages"
    full: Tree = {
        **server,
        f"{folder}/torch/lib/libtorch.so": torch,
        f"{folder}/vllm/_C.abi3.so": compiler("_C.abi3.so", "libtorch.so"),
    }
    done = build.compose({}, full, ["backends/a"], full_env={"LD_LIBRARY_PATH": f"/{folder}/torch/lib"})
    found = f"/{folder}/torch/lib/libtorch.so"
    assert done.messages == (f"/{folder}/vllm/_C.abi3.so needs libtorch.so, which its package has as {found}\n",)
    assert done.passed


def versioned(compiler: Compiler, name: str, versions: str) -> bytes:
    """Return a library that defines *versions*, the last one with the function `f`."""
    return compiler(name, code="int f(void) { return 1; }\n", versions=versions)


USES = "int f(void); int g(void) { return f(); }\n"
BESIDE = "usr/local/lib/tritonbuild"


def test_a_c_library_that_is_too_old(build: Build, compiler: Compiler, server: Tree) -> None:
    """The C library cannot be brought beside the base's."""
    new = versioned(compiler, "libutil.so.1", "GLIBC_2.99 { f; };\n")
    component = compiler("libtriton_a.so", "libutil.so.1", code=USES)
    old = versioned(compiler, "libutil.so.1", "GLIBC_2.1 { f; };\n")
    full = {**server, f"{COMPONENT}/libtriton_a.so": component, "opt/new/libutil.so.1": new}
    done = build.compose({f"{LIBRARIES}/libutil.so.1": old}, full, ["backends/a"], full_env=NEW)
    assert done.messages == (
        f"/{COMPONENT}/libtriton_a.so needs GLIBC_2.99, which /usr/lib/x86_64-linux-gnu/libutil.so.1 does not define\n",
        "use a full image whose base is as old as the base image\n",
    )
    assert not done.passed


NEW = {"LD_LIBRARY_PATH": "/opt/new"}


def test_an_older_library_of_the_base(build: Build, compiler: Compiler, server: Tree) -> None:
    """Full's is brought beside it, and with it a library that only full's needs."""
    more = compiler("libmore.so.1")
    new = compiler(
        "libv.so.1", "libmore.so.1", code="int f(void) { return 1; }\n", versions="V_1 { };\nV_2 { f; } V_1;\n"
    )
    full: Tree = {
        **server,
        f"{COMPONENT}/libtriton_a.so": compiler("libtriton_a.so", "libv.so.1", code=USES),
        f"{LIBRARIES}/libv.so.1": "libv.so.1.2",
        f"{LIBRARIES}/libv.so.1.2": new,
        f"{LIBRARIES}/libmore.so.1": more,
    }
    base: Tree = {
        f"{LIBRARIES}/libv.so.1": "libv.so.1.1",
        f"{LIBRARIES}/libv.so.1.1": versioned(compiler, "libv.so.1", "V_1 { f; };\n"),
    }
    done = build.compose(base, full, ["backends/a"])
    assert (done.messages, done.passed) == ((), True)
    assert done.files == {f"{LIBRARIES}/libmore.so.1", f"{BESIDE}/libv.so.1"}
    assert (build.folder / "composed" / BESIDE / "libv.so.1").read_bytes() == new


def test_another_library_of_the_base_with_every_version(build: Build, compiler: Compiler, server: Tree) -> None:
    """The base's file differs, but defines what is needed: it is used."""
    component: Tree = {}
    for needed, versions in (("libv.so.1", "V_1 { f; };\n"), ("libw.so.1", "libw.so.1 { f; };\n")):
        versioned(compiler, needed, versions)
        component[f"{COMPONENT}/{needed}.user.so"] = compiler("libtriton_a.so", needed, code=USES)
    new: Tree = {f"{LIBRARIES}/{name}": (compiler.folder / name).read_bytes() for name in ("libv.so.1", "libw.so.1")}
    base: Tree = {
        f"{LIBRARIES}/libv.so.1": versioned(compiler, "libv.so.1", "V_1 { f; };\nV_2 { } V_1;\n"),
        f"{LIBRARIES}/libw.so.1": versioned(compiler, "libw.so.1", "libw.so.1 { f; };\nW_2 { };\n"),
    }
    done = build.compose(base, {**server, **component, **new}, ["backends/a"])
    assert (done.files, done.messages, done.passed) == (frozenset(), (), True)
    # only the former could be missing
    assert [path.name for path in (build.folder / "full/tritonbuild/runtime.other").iterdir()] == ["libv.so.1"]


def test_an_older_library_that_a_run_path_finds(build: Build, compiler: Compiler, server: Tree) -> None:
    """The loader's configuration cannot hide it, so the two are named."""
    new = versioned(compiler, "libv.so.1", "V_2 { f; };\n")
    words = ["-Wl,-rpath,/srv/acme"]
    component = compiler("libtriton_a.so", "libv.so.1", code=USES, words=words)
    old = versioned(compiler, "libv.so.1", "V_1 { f; };\n")
    full = {**server, f"{COMPONENT}/libtriton_a.so": component, "srv/acme/libv.so.1": new}
    done = build.compose({"srv/acme/libv.so.1": old}, full, ["backends/a"])
    needs = f"/{COMPONENT}/libtriton_a.so needs V_2, which /srv/acme/libv.so.1 does not define\n"
    assert (done.messages, done.passed) == ((needs,), False)
