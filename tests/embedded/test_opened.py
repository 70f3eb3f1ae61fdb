"""Libraries that files open by name: found by the names in the files, brought with what they need and name."""

from __future__ import annotations

import pytest

import tritonbuild
from tests.replica.layers import file
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tests.tiny.elves import LIBRARIES, PACKAGES, Compiler, Sources, base_tree, files, python_tree, sources
from tritonbuild.catalog import BUILTIN
from tritonbuild.planned import PlannedLibrary

COMPONENT = f"{tiny.SERVER_FOLDER}/backends/a/libtriton_a.so"


def naming(*names: str) -> str:
    """Return code with names that a program would give to `dlopen`."""
    return "".join(f'const char *name{number} = "{name}";\n' for number, name in enumerate(names))


@pytest.fixture
def images(bench: Bench, compiler: Compiler) -> Sources:
    base = {**base_tree(compiler), f"{LIBRARIES}/libhere.so.1": file(compiler("libhere.so.1"))}
    full = {
        COMPONENT: file(
            compiler("libtriton_a.so", "libc.so.6", code=naming("libfirst.so.1", "libcuda.so.1", "libhere.so.1"))
        ),
        f"{LIBRARIES}/libneeded.so.3": file(compiler("libneeded.so.3")),
        f"{LIBRARIES}/libfirst.so.1": file(
            compiler("libfirst.so.1", "libneeded.so.3", code=naming("libsecond.so.2", "/opt/more/libabsent.so"))
        ),
        "opt/more/libsecond.so.2": file(compiler("libsecond.so.2")),
        f"{LIBRARIES}/libcuda.so.1": file(compiler("libcuda.so.1")),
        f"{LIBRARIES}/libunnamed.so.1": file(compiler("libunnamed.so.1")),
        f"{LIBRARIES}/libctyped.so.1": file(compiler("libctyped.so.1")),
        **python_tree(compiler),
        f"{PACKAGES}/mine/__init__.py": file(b"import ctypes\nctypes.CDLL('libctyped.so.1')\n"),
    }
    return sources(bench, base, full, env={"PATH": "/usr/bin:/bin", "LD_LIBRARY_PATH": "/opt/more"})


def brought(images: Sources, *names: str, **fields: object) -> tuple[set[str], dict[str, str]]:
    done, plan = images.plan(images.request(*names, **fields))
    assert done.code == 0, done.err
    paths = {path for path in files(plan) if "/lib/x86_64-linux-gnu/" in path or path.startswith("/opt/more/lib")}
    return paths, {one["name"]: one["file"] for one in plan["opened"]}


def test_named_libraries_are_brought_transitively(images: Sources) -> None:
    paths, opened = brought(images, "a")
    first = f"/{LIBRARIES}/libfirst.so.1"
    assert paths == {first, f"/{LIBRARIES}/libneeded.so.3", "/opt/more/libsecond.so.2"}
    assert opened == {"libfirst.so.1": f"/{COMPONENT}", "libsecond.so.2": first}


def test_names_in_python_files(images: Sources) -> None:
    paths, opened = brought(images, "python")
    assert f"/{LIBRARIES}/libctyped.so.1" in paths
    assert opened == {"libctyped.so.1": f"/{PACKAGES}/mine/__init__.py"}


def test_excluded_libraries(images: Sources) -> None:
    paths, opened = brought(images, "a", exclude_libraries=["libfirst*"])
    assert (paths, opened) == (set(), {})


def test_the_plan_of_the_library(images: Sources) -> None:
    """Each library with the file that names it, and none that is excluded."""
    source = {name: f"oci:{images.layout}:{image}" for name, image in (("full", tiny.FULL), ("base", tiny.BASE))}
    found = tritonbuild.plan(
        backends=["a"],
        container_version="24.10",
        catalog=BUILTIN.extended([{"name": "a"}]),
        exclude_libraries="libsecond*",
        backend="embedded",
        options={"source": source, "cache_dir": str(images.bench.cache), "platform": "linux/amd64"},
    )
    library = PlannedLibrary(name="libfirst.so.1", path=f"/{LIBRARIES}/libfirst.so.1", file=f"/{COMPONENT}")
    assert (found.opened, found.excused) == ((library,), ())
