"""Parts of a component that are left out: the scripts and the embedded engine give equal files and verdicts."""

from __future__ import annotations

import os
import time
from collections.abc import Mapping, Sequence
from pathlib import Path

import attrs
import pytest

from tests.corpus.chroot import Build, base_root, run
from tests.corpus.outcome import Tree
from tests.replica import layers
from tests.tiny.bench import Bench
from tests.tiny.elves import LIBRARIES, Compiler, base_tree, files, sources
from tritonbuild.embedded.request import RequestedComponent
from tritonbuild.optional_parts import OptionalPart, absent, excluded, opened

FOLDER = "/opt/tritonserver/backends/a"
COMPONENT = FOLDER[1:]
SERVER_FOLDERS = ("opt/tritonserver/bin", "opt/tritonserver/lib")
PROVIDER = OptionalPart(
    name="backend a[provider]", folder=FOLDER, files=("libprovider*.so*", "data", "*.xml"), opened=("libopened.so.*",)
)
BUILDER = OptionalPart(name="backend a[builder]", folder=FOLDER, libraries=("libbuilder*.so.*",))


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0 or os.uname().machine != "x86_64":
        pytest.skip("a chroot needs root, and these trees x86-64")
    return base_root(tmp_path_factory.mktemp("template") / "root")


@attrs.frozen(kw_only=True)
class Both:
    """The scripts, and the embedded engine on the same full image."""

    build: Build
    bench: Bench
    compiler: Compiler

    def compose(self, full: Tree, parts: Sequence[OptionalPart]) -> tuple[set[str], list[str], bool]:
        """Return the files that the composed image has beside its base, the lines of the check, and the verdict."""
        libraries = absent(parts, ())
        done = self.build.compose(
            {},
            full,
            [
                "backends/a",
                *(f"name={name}" for name in opened(parts, FOLDER)),
                *(f"exclude={name}" for name in excluded(libraries)),
            ],
            left_out=[f"backends/a={pattern}" for part in parts if not part.kept for pattern in part.files],
            checked=[f"absent={one.folder}={one.pattern}={one.part}" for one in libraries],
        )
        composed = self.build.folder / "composed"
        found = [path for path in (composed / COMPONENT).rglob("*") if path.is_symlink() or not path.is_dir()]
        by_scripts = {*done.files, *(str(path.relative_to(composed)) for path in found)}
        lines = sorted(line.strip() for line in done.messages)
        embedded = self.plan(full, parts)
        assert (by_scripts if done.passed else set(), lines, done.passed) == embedded
        return by_scripts, lines, done.passed

    def plan(self, full: Tree, parts: Sequence[OptionalPart]) -> tuple[set[str], list[str], bool]:
        tree: layers.Tree = {
            path: layers.symlink(content) if isinstance(content, str) else layers.file(content, 0o755)
            for path, content in full.items()
        }
        images = sources(self.bench, base_tree(self.compiler), tree)
        request = images.request(parts=parts)
        request = attrs.evolve(request, components=[RequestedComponent(title="backend a", folder=FOLDER)])
        done, plan = images.plan(request)
        tail = [line.strip() for line in done.err.splitlines() if line.startswith("       ")]
        excused = [f"{one['file']} needs {one['name']}, {one['reason']}" for one in plan.get("excused", ())]
        return ours(files(plan) if plan else set(), full), sorted(tail + excused), done.code == 0


def ours(paths: set[str], full: Mapping[str, object]) -> set[str]:
    """Return those of the paths of a plan that are of *full*, except for the server's."""
    return {path[1:] for path in paths if path[1:] in full and not path[1:].startswith(SERVER_FOLDERS)}


@pytest.fixture
def both(template: Path, tmp_path: Path, bench: Bench, compiler: Compiler) -> Both:
    folder = tmp_path / "stages"
    folder.mkdir()
    return Both(build=Build(folder=folder, template=template), bench=bench, compiler=compiler)


@pytest.fixture
def full(compiler: Compiler) -> Tree:
    """A component whose provider needs and opens libraries, and a library that opens others."""
    tree: Tree = {
        f"{LIBRARIES}/libopened.so.2": compiler("libopened.so.2"),
        f"{LIBRARIES}/libneeded.so.1": compiler("libneeded.so.1"),
        f"{LIBRARIES}/libcore.so.1": compiler("libcore.so.1"),
    }
    return {
        "opt/tritonserver/bin/tritonserver": compiler("tritonserver"),
        "opt/tritonserver/lib/libtritonserver.so": compiler("libtritonserver.so"),
        f"{COMPONENT}/libtriton_a.so": compiler("libtriton_a.so", "libcore.so.1"),
        f"{COMPONENT}/libprovider.so.1.2": compiler("libprovider.so.1", "libneeded.so.1"),
        f"{COMPONENT}/libprovider.so.1": "libprovider.so.1.2",
        f"{COMPONENT}/libprovider_more.so": compiler("libprovider_more.so"),
        f"{COMPONENT}/data/a b/model.bin": b"1",
        f"{COMPONENT}/data/plugins.xml": b"2",
        f"{COMPONENT}/deep/plugins.xml": b"3",
        f"{COMPONENT}/deep/plugins.txt": b"4",
        **tree,
    }


def left(part: OptionalPart) -> OptionalPart:
    return attrs.evolve(part, kept=False)


def test_all_is_there(both: Both, full: Tree) -> None:
    found, lines, passed = both.compose(full, [PROVIDER, BUILDER])
    assert found == {path for path in full if not path.startswith(SERVER_FOLDERS)}
    assert (lines, passed) == ([], True)


def test_a_part_with_what_only_it_needs(both: Both, full: Tree) -> None:
    found, lines, passed = both.compose(full, [left(PROVIDER), BUILDER])
    assert found == {
        f"{COMPONENT}/libtriton_a.so",
        f"{COMPONENT}/deep/plugins.txt",
        f"{LIBRARIES}/libcore.so.1",
    }
    assert (lines, passed) == ([], True)


def test_a_library_that_only_a_file_of_the_part_names(both: Both, full: Tree, compiler: Compiler) -> None:
    named = f"{LIBRARIES}/libnamed.so.3"
    naming = compiler("libprovider_more.so", code='const char *name = "libnamed.so.3";\n')
    changed = {**full, f"{COMPONENT}/libprovider_more.so": naming, named: compiler("libnamed.so.3")}
    found, _, passed = both.compose(changed, [left(PROVIDER)])
    assert named not in found
    assert passed


def test_a_part_that_a_file_of_the_component_needs(both: Both, full: Tree, compiler: Compiler) -> None:
    needing = compiler("libtriton_a.so", "libprovider.so.1", words=["-Wl,-rpath,$ORIGIN"])
    _, lines, passed = both.compose({**full, f"{COMPONENT}/libtriton_a.so": needing}, [left(PROVIDER)])
    assert lines == [f"{FOLDER}/libtriton_a.so needs libprovider.so.1, which is left out: add backend a[provider]"]
    assert not passed


def test_a_library_of_the_same_name_elsewhere(both: Both, full: Tree, compiler: Compiler) -> None:
    """It takes the place of the one that is left out, as it would in a full image without the part."""
    needing = compiler("libtriton_a.so", "libprovider.so.1", words=["-Wl,-rpath,$ORIGIN"])
    other = f"{LIBRARIES}/libprovider.so.1"
    changed = {**full, f"{COMPONENT}/libtriton_a.so": needing, other: compiler("libprovider.so.1")}
    found, lines, passed = both.compose(changed, [left(PROVIDER)])
    assert other in found
    assert (lines, passed) == ([], True)


def test_a_library_that_is_left_out_and_needed(both: Both, full: Tree, compiler: Compiler) -> None:
    builder = f"{LIBRARIES}/libbuilder_sm80.so.1"
    changed = {**full, builder: compiler("libbuilder_sm80.so.1")}
    changed[f"{COMPONENT}/libtriton_a.so"] = compiler("libtriton_a.so", "libbuilder_sm80.so.1")
    found, _, passed = both.compose(changed, [BUILDER])
    assert builder in found
    assert passed


def test_a_library_that_is_left_out_and_needed_fails(both: Both, full: Tree, compiler: Compiler) -> None:
    changed = {**full, f"{LIBRARIES}/libbuilder_sm80.so.1": compiler("libbuilder_sm80.so.1")}
    changed[f"{COMPONENT}/libtriton_a.so"] = compiler("libtriton_a.so", "libbuilder_sm80.so.1")
    _, lines, passed = both.compose(changed, [left(BUILDER)])
    assert lines == [f"{FOLDER}/libtriton_a.so needs libbuilder_sm80.so.1, which is left out: add backend a[builder]"]
    assert not passed


def test_a_file_of_another_folder_that_no_image_satisfies(both: Both, full: Tree, compiler: Compiler) -> None:
    """It needs a library of that name, but the full image does not find it either."""
    compiler("libprovider.so.1")
    changed = {**full, "opt/tritonserver/lib/libother.so": compiler("libother.so", "libprovider.so.1")}
    _, lines, passed = both.compose(changed, [left(PROVIDER)])
    assert lines == ["/opt/tritonserver/lib/libother.so needs libprovider.so.1, which the full image lacks too"]
    assert passed


def test_folders_keep_their_times(both: Both, full: Tree) -> None:
    both.compose(full, [PROVIDER])
    root = both.build.folder / "full"
    times = {path: path.stat().st_mtime_ns for path in (root / COMPONENT).rglob("*")}
    time.sleep(0.01)
    done = run(root, "trim.sh", "backends/a=*.xml", "backends/a=libprovider*", "backends/none=x", env={})
    assert done.returncode == 0, done.stderr
    rest = [*(root / COMPONENT).rglob("*")]
    assert root / COMPONENT / "deep" in rest
    assert root / COMPONENT / "deep/plugins.xml" not in rest
    assert {path: path.stat().st_mtime_ns for path in rest} == {path: times[path] for path in rest}
