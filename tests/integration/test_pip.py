"""Packages of pip, really installed into the interpreter the server embeds, from an index on this machine."""

from __future__ import annotations

import functools
import http.server
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.integration.conftest import make_lab
from tests.integration.labs import Sources
from tests.replica import MODELS, ask

MODEL = """import triton_python_backend_utils as pb_utils
from acme_factor import FACTOR
from acme_times import times


class TritonPythonModel:
    def execute(self, requests):
        inputs = [pb_utils.get_input_tensor_by_name(request, "INPUT0").as_numpy() for request in requests]
        return [pb_utils.InferenceResponse([pb_utils.Tensor("OUTPUT0", times(one, FACTOR))]) for one in inputs]
"""
"""What the replica's `scale` answers, with one package from the command line and one from a file."""


def write_wheel(index: Path, name: str, text: str) -> None:
    """Put a package with one module into *index*, as pip looks for it."""
    folder = index / name.replace("_", "-")
    folder.mkdir(parents=True)
    metadata = f"{name}-1.0.dist-info"
    with zipfile.ZipFile(folder / f"{name}-1.0-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{name}.py", text)
        wheel.writestr(f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: 1.0\n")
        wheel.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{metadata}/RECORD", f"{name}.py,,\n{metadata}/METADATA,,\n{metadata}/WHEEL,,\n")


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def index(sources: Sources, tmp_path: Path) -> Iterator[str]:
    """An index of packages, where the builds can reach it; its listings of folders are what pip reads."""
    write_wheel(tmp_path / "index", "acme_factor", "FACTOR = 3\n")
    write_wheel(tmp_path / "index", "acme_times", "def times(values, factor):\n    return values * factor\n")
    handler = functools.partial(Quiet, directory=str(tmp_path / "index"))
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/"
        server.shutdown()
        thread.join()


def test_packages_of_pip_are_there_for_the_python_backend(
    request: pytest.FixtureRequest, sources: Sources, index: str, tmp_path: Path
) -> None:
    lab = make_lab(request, "podman", sources)
    (tmp_path / "requirements.txt").write_text(f"--index-url {index}\nacme-factor == 1.0\n")
    tag = "tritonbuild-test/pip"
    words = ("--backend", "python", "--pip", "acme-times>=1", "--requirements", str(tmp_path / "requirements.txt"))
    lab.build(*words, "--base", sources.references["cpu-min"], tag=tag)

    model = tmp_path / "models" / "scale"
    (model / "1").mkdir(parents=True)
    config = (MODELS / "scale" / "config.pbtxt").read_text()
    (model / "config.pbtxt").write_text(config.replace("acme_scale", "python"))
    (model / "1" / "model.py").write_text(MODEL)
    with services.serve(lab.runner_env, lab.runner, tag, model.parent) as server:
        assert ask.wrong(server.url, ["scale"]) == {}


def test_a_package_that_is_nowhere_ends_the_build(
    request: pytest.FixtureRequest, sources: Sources, index: str, tmp_path: Path
) -> None:
    lab = make_lab(request, "podman", sources)
    (tmp_path / "requirements.txt").write_text(f"--index-url {index}\nacme-nothing\n")
    done = lab.tritonbuild("--backend", "python", "--requirements", str(tmp_path / "requirements.txt"))
    assert done.returncode == 4
    assert "No matching distribution found for acme-nothing" in done.stderr
