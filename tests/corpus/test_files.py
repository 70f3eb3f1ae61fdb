"""Files of the user: what they need is brought and checked as for a component, by the scripts and the planner alike."""

from __future__ import annotations

from tests.corpus.chroot import Build
from tests.corpus.outcome import Tree
from tests.tiny.elves import Compiler

LIBRARIES = "usr/lib/x86_64-linux-gnu"


def test_the_libraries_of_a_program_and_of_a_folder_are_brought(build: Build, compiler: Compiler, server: Tree) -> None:
    deep, other = compiler("libdeep.so.1"), compiler("libother.so.1")
    near = compiler("libnear.so.1", "libdeep.so.1")
    program = compiler("program", "libnear.so.1")
    module = compiler("module.so", "libother.so.1")
    full = {**server, **{f"{LIBRARIES}/{one}.so.1": two for one, two in (("libdeep", deep), ("libnear", near))}}
    full[f"{LIBRARIES}/libother.so.1"] = other
    files: dict[str, Tree | bytes] = {
        "/srv/it's a program": program,
        "/opt/app": {"sub/module.so": module, "words.txt": b"words", "link.so": "sub/module.so"},
    }
    done = build.compose({}, full, [], files=files)
    assert done.files == {f"{LIBRARIES}/{name}.so.1" for name in ("libdeep", "libnear", "libother")}
    assert (done.messages, done.passed) == ((), True)


def test_a_library_of_the_user_is_not_brought_from_the_full_image(
    build: Build, compiler: Compiler, server: Tree
) -> None:
    """A component needs it, and full has another file at the same path, through a link."""
    library = compiler("libown.so.1")
    component = compiler("libtriton_a.so", "libown.so.1")
    full = {**server, "opt/tritonserver/backends/a/libtriton_a.so": component, f"{LIBRARIES}/libown.so.1": library}
    done = build.compose({}, full, ["backends/a"], files={"/lib/x86_64-linux-gnu/libown.so.1": library})
    assert (done.files, done.messages, done.passed) == (frozenset(), (), True)


def test_a_library_in_a_folder_that_the_users_configuration_names(
    build: Build, compiler: Compiler, server: Tree
) -> None:
    library = compiler("libown.so.1")
    component = compiler("libtriton_a.so", "libown.so.1")
    full = {**server, "opt/tritonserver/backends/a/libtriton_a.so": component}
    files: dict[str, Tree | bytes] = {
        "/srv/lib": {"libown.so.1": library},
        "/etc/ld.so.conf.d/own.conf": b"/srv/lib\n",
    }
    done = build.compose({}, full, ["backends/a"], files=files)
    assert (done.files, done.messages, done.passed) == (frozenset(), (), True)


def test_a_library_that_no_image_has(build: Build, compiler: Compiler, server: Tree) -> None:
    compiler("libgone.so.1")
    files: dict[str, Tree | bytes] = {"/opt/app": {"run": compiler("run", "libgone.so.1")}}
    done = build.compose({}, server, [], files=files)
    assert done.messages == ("/opt/app/run needs libgone.so.1, which the full image lacks too\n",)
    assert done.passed


def test_a_library_that_a_script_of_the_user_opens(build: Build, compiler: Compiler, server: Tree) -> None:
    full = {**server, f"{LIBRARIES}/libopened.so.1": compiler("libopened.so.1")}
    files: dict[str, Tree | bytes] = {"/opt/app": {"a.py": b"import ctypes\nctypes.CDLL('libopened.so.1')\n"}}
    done = build.compose({}, full, [], files=files)
    assert done.files == {f"{LIBRARIES}/libopened.so.1"}
    assert done.passed
