"""Programs of models: their libraries are brought and checked, and the models' layer is the last that has files."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.corpus.chroot import plant
from tests.replica.layers import file
from tests.tiny.bench import Bench
from tests.tiny.elves import LIBRARIES, Compiler, base_tree, files, sources
from tritonbuild import build_context
from tritonbuild.embedded.request import Addition

MODELS = [Addition(title="models", folder="/models", context="models")]
PROGRAMS = [Addition(title="models", folder="/models", context="programs")]
LIBRARY = "/models/mine/libtriton_mine.so"


@pytest.fixture
def context(tmp_path: Path, compiler: Compiler) -> Path:
    """A build context with a model whose library needs one of full, and one of its own."""
    compiler("libdeep.so.2")
    near = compiler("libnear.so.1", "libdeep.so.2")
    words = ["-Wl,-rpath,$ORIGIN/lib"]
    plant(
        tmp_path / "repository/mine",
        {
            "libtriton_mine.so": compiler("libtriton_mine.so", "libnear.so.1", words=words),
            "lib/libnear.so.1": near,
            "1/weights": b"weights",
        },
    )
    folder = tmp_path / "context"
    build_context.fill(folder, [("models", tmp_path / "repository"), ("programs", tmp_path / "repository")])
    return folder


def test_the_libraries_of_a_model_are_brought(bench: Bench, compiler: Compiler, context: Path) -> None:
    base = base_tree(compiler)
    full = {f"{LIBRARIES}/libdeep.so.2": file((compiler.folder / "libdeep.so.2").read_bytes())}
    images = sources(bench, base, full)
    request = images.request(additions=MODELS, programs=PROGRAMS)
    done, plan = images.plan(request, f"--context={context}")
    assert done.code == 0, done.err
    assert f"/{LIBRARIES}/libdeep.so.2" in files(plan)
    titles = [layer["title"] for layer in plan["layers"]]
    assert titles.index("runtime of models") < titles.index("models") == len(titles) - 1
    composed = images.build(request, f"--context={context}")
    assert composed.members["models/mine"].mode == 0o755
    assert composed.contents["models/mine/1/weights"] == b"weights"
    without = images.request(additions=MODELS)
    assert f"/{LIBRARIES}/libdeep.so.2" not in files(images.plan(without, f"--context={context}")[1])


def test_a_library_that_only_the_result_lacks(bench: Bench, compiler: Compiler, context: Path) -> None:
    """The base's file of that name, which its loader finds by LD_LIBRARY_PATH, is no library."""
    base = base_tree(compiler) | {"opt/x/libdeep.so.2": file(b"no library")}
    full = {f"{LIBRARIES}/libdeep.so.2": file((compiler.folder / "libdeep.so.2").read_bytes())}
    images = sources(bench, base, full, base_env={"PATH": "/bin", "LD_LIBRARY_PATH": "/opt/x"})
    done, _ = images.plan(images.request(additions=MODELS, programs=PROGRAMS), f"--context={context}")
    assert done.code == 4
    needs = "needs libdeep.so.2, which the composed image does not have"
    assert f"{LIBRARY} {needs}\n" in done.err


def test_a_library_that_the_full_image_lacks_too(bench: Bench, compiler: Compiler, context: Path) -> None:
    images = sources(bench, base_tree(compiler), {})
    done, plan = images.plan(images.request(additions=MODELS, programs=PROGRAMS), f"--context={context}")
    assert done.code == 0, done.err
    reason = "which the full image lacks too"
    needing = {"/models/mine/lib/libnear.so.1", LIBRARY}
    assert {(one["file"], one["name"], one["reason"]) for one in plan["excused"]} == {
        (path, "libdeep.so.2", reason) for path in needing
    }
