"""Libraries that files open by name, with the scripts and with the embedded planner."""

from __future__ import annotations

import pytest

from tests.corpus.chroot import Build
from tests.corpus.outcome import Tree
from tests.tiny.elves import Compiler

LIBRARIES = "usr/lib/x86_64-linux-gnu"
COMPONENT = "opt/tritonserver/backends/a"


def naming(*names: str) -> str:
    """Return code with names that a program would give to `dlopen`."""
    return "".join(f'const char *name{number} = "{name}";\n' for number, name in enumerate(names))


def test_transitively(build: Build, compiler: Compiler, server: Tree) -> None:
    """A named library, one that it is linked to, and those that these name, wherever the loader finds them."""
    needed, third = compiler("libneeded.so.3"), compiler("libthird.so")
    full: Tree = {
        **server,
        f"{COMPONENT}/libtriton_a.so": compiler("libtriton_a.so", code=naming("libfirst.so.1", "libcuda.so.1")),
        f"{LIBRARIES}/libfirst.so.1": compiler("libfirst.so.1", "libneeded.so.3", code=naming("libsecond.so.2")),
        f"{LIBRARIES}/libneeded.so.3": needed,
        "opt/more/libsecond.so.2": compiler("libsecond.so.2", code=naming("libthird.so")),
        "opt/conf/libthird.so": third,
        "etc/ld.so.conf.d/third.conf": b"/opt/conf\n",
        f"{LIBRARIES}/libcuda.so.1": compiler("libcuda.so.1"),
        f"{LIBRARIES}/libunnamed.so.1": compiler("libunnamed.so.1"),
    }
    done = build.compose({}, full, ["backends/a"], full_env={"LD_LIBRARY_PATH": "/opt/more"})
    first = f"{LIBRARIES}/libfirst.so.1"
    assert done.files == {
        first,
        f"{LIBRARIES}/libneeded.so.3",
        "opt/more/libsecond.so.2",
        "opt/conf/libthird.so",
    }
    assert done.folders == {"/opt/more", "/opt/conf"}
    assert done.opened == {
        ("libfirst.so.1", f"/{COMPONENT}/libtriton_a.so"),
        ("libsecond.so.2", f"/{first}"),
        ("libthird.so", "/opt/more/libsecond.so.2"),
    }


def test_names_in_strings(build: Build, compiler: Compiler, server: Tree) -> None:
    """A name is found between any other characters than those of names."""
    found = ("liba.so.1", "/opt/x/libb-2.so", "cannot open libc++.so.1, or", "libd.so:", "x(libe.so.1.2.3)")
    lost = ("mylibf.so.1", "libg.so.1.bak", "libh.so.2", "LIBI.so.1", "libj%.so.1", "libk.sofa", "lib.so")
    names = ("liba.so.1", "libb-2.so", "libc++.so.1", "libd.so", "libe.so.1.2.3")
    others = ("libf.so.1", "libg.so.1", "libh.so", "libi.so.1", "libj.so.1", "libk.so", "lib.so")
    full: Tree = {
        **server,
        f"{COMPONENT}/libtriton_a.so": compiler("libtriton_a.so", code=naming(*found, *lost)),
        **{f"{LIBRARIES}/{name}": compiler(name) for name in (*names, *others)},
    }
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {f"{LIBRARIES}/{name}" for name in names}


def test_names_without_need(build: Build, compiler: Compiler, server: Tree) -> None:
    """The base has one, a run path of the component leads to another; one is the name of the file, one is excluded."""
    compiler("libbundled.so.1")
    words = ["-Wl,-rpath,$ORIGIN/more"]
    names = naming("libhere.so.1", "libbundled.so.1", "libleft.so.1", "libm.so.6")
    full: Tree = {
        **server,
        f"{COMPONENT}/self.so": compiler("libself.so.1", "libbundled.so.1", code=names, words=words),
        f"{COMPONENT}/more/libbundled.so.1": compiler("libbundled.so.1"),
        **{f"{LIBRARIES}/{one}": compiler(one) for one in ("libbundled.so.1", "libself.so.1", "libleft.so.1")},
    }
    base: Tree = {f"{LIBRARIES}/libhere.so.1": compiler("libhere.so.1")}
    done = build.compose(base, full, ["backends/a", "exclude=libleft*"])
    assert done.passed
    assert not done.files
    assert not done.opened


def test_a_library_that_is_excluded_and_needed(build: Build, compiler: Compiler, server: Tree) -> None:
    library = compiler("libleft.so.1")
    component = compiler("libtriton_a.so", "libleft.so.1")
    full: Tree = {**server, f"{COMPONENT}/libtriton_a.so": component, f"{LIBRARIES}/libleft.so.1": library}
    done = build.compose({}, full, ["backends/a", "exclude=libleft*"])
    lacks = "needs libleft.so.1, which the composed image does not have"
    assert (done.messages, done.passed) == ((f"/{COMPONENT}/libtriton_a.so {lacks}\n",), False)


def test_names_in_python_files(build: Build, compiler: Compiler, server: Tree) -> None:
    """Only files that open libraries count, and only small ones."""
    opens = b"import ctypes\nctypes.CDLL('%s')\n"
    full: Tree = {
        **server,
        f"{COMPONENT}/a b/mine.py": opens % b"libone.so.1",
        f"{COMPONENT}/names.py": b"NAME = 'libtwo.so.1'\n",
        f"{COMPONENT}/large.py": opens % b"libthree.so.1" + b"#" * (1 << 20),
        f"{COMPONENT}/notes.txt": opens % b"libfour.so.1",
        **{f"{LIBRARIES}/lib{one}.so.1": compiler(f"lib{one}.so.1") for one in ("one", "two", "three", "four")},
    }
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {f"{LIBRARIES}/libone.so.1"}
    assert done.opened == {("libone.so.1", f"/{COMPONENT}/a b/mine.py")}


@pytest.mark.parametrize("name", ["my lib.so", "a\nb.so", "-n.so", "*.so", "it's.so", "a\tb.so", "a:.so"])
def test_an_odd_file_that_names_a_library(build: Build, compiler: Compiler, server: Tree, name: str) -> None:
    full: Tree = {
        **server,
        f"{COMPONENT}/{name}": compiler("odd.so", code=naming("libx.so.1")),
        f"{LIBRARIES}/libx.so.1": compiler("libx.so.1"),
    }
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {f"{LIBRARIES}/libx.so.1"}


def test_names_where_a_program_has_no_strings(build: Build, compiler: Compiler, server: Tree) -> None:
    """One is between the instructions, one is the name of a symbol, and one is in a part that is not loaded."""
    code = """
    __asm__(".text\\n.string \\"libcode.so.1\\"\\n.section .note.more, \\"\\"\\n.string \\"libnote.so.1\\"\\n.text");
    int symbol(void) __asm__("libsymbol.so.1");
    int symbol(void) { return 1; }
    const char *name = "libstring.so.1";
    """
    names = ("code", "note", "symbol", "string")
    full: Tree = {
        **server,
        f"{COMPONENT}/libtriton_a.so": compiler("libtriton_a.so", code=code, words=["-Wl,-z,separate-code"]),
        **{f"{LIBRARIES}/lib{one}.so.1": compiler(f"lib{one}.so.1") for one in names},
    }
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {f"{LIBRARIES}/libstring.so.1"}


def test_patterns_of_the_catalog(build: Build, compiler: Compiler, server: Tree) -> None:
    """They count for LD_LIBRARY_PATH too, and bring what the library names."""
    full: Tree = {
        **server,
        f"{COMPONENT}/a.txt": b"",
        "opt/more/libone.so.1": compiler("libone.so.1", code=naming("libtwo.so.1")),
        f"{LIBRARIES}/libtwo.so.1": compiler("libtwo.so.1"),
    }
    done = build.compose({}, full, ["backends/a", "name=libone.so*"], full_env={"LD_LIBRARY_PATH": "/opt/more"})
    assert done.files == {"opt/more/libone.so.1", f"{LIBRARIES}/libtwo.so.1"}
    assert done.opened == {("libtwo.so.1", "/opt/more/libone.so.1")}


def test_a_link_in_another_folder_than_its_file(build: Build, compiler: Compiler, server: Tree) -> None:
    """The loader searches `$ORIGIN` in the folder of the link, so the library beside the file is not found."""
    compiler("libdep.so.1")
    words = ["-Wl,-rpath,$ORIGIN"]
    full: Tree = {
        **server,
        f"{COMPONENT}/liba.so": "/srv/a/target",
        "srv/a/target": compiler("liba.so", "libdep.so.1", words=words),
        "srv/a/libdep.so.1": (compiler.folder / "libdep.so.1").read_bytes(),
    }
    done = build.compose({}, full, ["backends/a"])
    assert done.files == {"srv/a/target"}
    assert done.messages == (f"/{COMPONENT}/liba.so needs libdep.so.1, which the full image lacks too\n",)
