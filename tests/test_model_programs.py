"""Programs of models: the libraries, programs and Python files of models that go into the image."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tritonbuild import build_context
from tritonbuild.composition import Composition
from tritonbuild.recipe import containerfile

ELF = b"\x7fELF and more"


@pytest.fixture
def models(tmp_path: Path) -> Path:
    """A repository with one model that has programs, and one that has none."""
    folder = tmp_path / "repository"
    (folder / "mine/1/lib").mkdir(parents=True)
    (folder / "mine/libtriton_mine.so").write_bytes(ELF)
    (folder / "mine/libtriton_mine.so").chmod(0o755)
    (folder / "mine/1/lib/libdeep.so.1.2").write_bytes(ELF)
    (folder / "mine/1/lib/libdeep.so.1").symlink_to("libdeep.so.1.2")
    (folder / "mine/1/weights").symlink_to("model.bin")
    (folder / "mine/1/model.bin").write_bytes(b"weights")
    (folder / "mine/1/lib64").symlink_to("lib")
    (folder / "mine/1/model.py").write_text("import ctypes\nctypes.CDLL('libdeep.so.1')\n")
    (folder / "plain/1/empty").mkdir(parents=True)
    (folder / "plain/config.pbtxt").write_text('backend: "python"\n')
    (folder / "plain/1/model.py").write_text("class TritonPythonModel: ...\n")
    return folder


def test_programs_are_chosen_by_their_content(models: Path, tmp_path: Path) -> None:
    context = tmp_path / "context"
    build_context.fill(context, [("models", models), (build_context.PROGRAMS, models)])
    found = {str(path.relative_to(context / "programs")) for path in (context / "programs").rglob("*")}
    links = {"mine/1/lib/libdeep.so.1", "mine/1/lib64"}
    files = {"mine/libtriton_mine.so", "mine/1/lib/libdeep.so.1.2", "mine/1/model.py"}
    assert found == {*links, *files, "mine", "mine/1", "mine/1/lib"}
    assert {path for path in found if (context / "programs" / path).is_symlink()} == links
    assert os.access(context / "programs/mine/libtriton_mine.so", os.X_OK)


def test_models_without_programs_change_nothing(models: Path) -> None:
    composition = Composition(backends=("python",), models=(models / "plain",))
    assert not composition.has_programs
    assert "COPY programs/" not in containerfile(composition)
    assert "programs" not in dict(composition.context())


@pytest.mark.parametrize("runtime", ["copy", "install"])
def test_programs_of_models_are_closed_and_checked(models: Path, runtime: str) -> None:
    composition = Composition(models=(models,), models_folder="/srv/it's", runtime=runtime)
    text = containerfile(composition)
    stages = {stage.split(" AS ")[-1].split("\n")[0]: stage for stage in text.split("\nFROM ")[1:]}
    assert "COPY programs/ /tritonbuild/files/0/\n" in stages["runtime" if runtime == "copy" else "extras"]
    checked = stages["check"]
    assert checked.index("COPY --chown=0:0 ") < checked.index("check.sh")
    assert ("programs", models) in composition.context()
