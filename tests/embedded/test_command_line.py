"""tritonbuild's own command line with the embedded engine: what it says, and where."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TypeAlias

import pytest

import tritonbuild.embedded
from tests.tiny import images as tiny
from tests.tiny.bench import Bench

pytestmark = pytest.mark.integration

Run: TypeAlias = Callable[..., "subprocess.CompletedProcess[str]"]


@pytest.fixture
def run(bench: Bench, upstream: str, tmp_path: Path) -> Run:
    """Return a function that runs tritonbuild where no engine is installed, with the small images as sources."""
    config = tmp_path / "config.toml"
    config.write_text("".join(f'[[component]]\nname = "{name}"\n' for name in "abc"))
    env = {
        "PATH": str(tmp_path),
        "TRITONBUILD_CONFIG": str(config),
        "XDG_CACHE_HOME": str(bench.folder),
        "XDG_DATA_HOME": str(tmp_path / "data"),
    }
    images = (f"full,{upstream}/src/{tiny.FULL}", f"min,{upstream}/src/{tiny.BASE}")

    def call(*words: str) -> subprocess.CompletedProcess[str]:
        argv = [sys.executable, "-m", "tritonbuild", *words, "--container-version", "24.10"]
        argv += [word for image in images for word in ("--image", image)]
        return subprocess.run(argv, env={**os.environ, **env}, capture_output=True, text=True, timeout=300, check=False)

    return call


def test_auto_says_why_no_other_engine_and_where_the_image_is(run: Run, tmp_path: Path) -> None:
    done = run("--backend", "a", "--output-name", "my/triton:1")
    assert done.returncode == 0, done.stderr
    *said, last = done.stderr.splitlines()
    (first,) = [line for line in said if line.startswith("tritonbuild: engine ")]
    engine = f"engine embedded {tritonbuild.embedded.VERSION}"
    assert first.startswith(f"tritonbuild: {engine}, the first that is healthy; no other is (docker: ")
    assert all(f"{name}: " in first for name in ("podman", "buildah", "nerdctl", "buildx", "buildctl"))
    assert last == f"tritonbuild: the image is in oci:{tmp_path}/data/tritonbuild/images:my/triton:1"
    assert done.stdout.startswith("sha256:")
    again = run("--backend", "a", "--output-name", "my/triton:1", "--json")
    assert json.loads(again.stdout)["locations"] == [f"oci:{tmp_path}/data/tritonbuild/images:my/triton:1"]


ADDRESS = "https://me:hunter2@localhost:1/x"
WITH_A_SECRET = {
    "base": ["--base", ADDRESS],
    "registry": ["--registry", "me:hunter2@localhost:1"],
    "image": ["--image", f"sdk,{ADDRESS}"],
    "output name": ["--output-name", ADDRESS],
    "pip": ["--pip", f"git+{ADDRESS}"],
    "plug-in": ["--plugin", ADDRESS],
    "source": ["--opt", f"source=full={ADDRESS}"],
    "source on disk": ["--opt", f"source=full=oci:{ADDRESS}"],
    "source, quiet": ["--opt", "source=full=me:hunter2@localhost:1/x", "--quiet"],
    "mirror": ["--opt", f"mirror=localhost={ADDRESS}"],
    "mirror without a scheme": ["--opt", "mirror=localhost=me:hunter2@localhost:1"],
    "insecure registry": ["--opt", "insecure_registry=me:hunter2@localhost:1"],
    "file of logins": ["--opt", f"authfile={ADDRESS}", "--opt", f"output=type=oci,dest={ADDRESS}"],
}


@pytest.mark.parametrize("name", WITH_A_SECRET)
def test_no_password_is_shown_or_logged(name: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    done = run("--engine", "embedded", "--backend", "a", *WITH_A_SECRET[name])
    assert done.returncode in {1, 2, 4}, done.stderr
    assert "Traceback" not in done.stderr
    shown = done.stdout + done.stderr + "".join(path.read_text() for path in tmp_path.rglob("*.log"))
    assert "hunter2" not in shown


def test_quiet_is_quiet(run: Run) -> None:
    done = run("--backend", "a", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")


def test_a_plan_with_layers(run: Run, tmp_path: Path) -> None:
    done = run("plan", "--engine", "embedded", "--backend", "b", "--quiet")
    assert (done.returncode, done.stderr) == (0, "")
    table = [line.split(maxsplit=2) for line in done.stdout.split("\n\n")[1].splitlines()]
    assert table[0] == ["SIZE", "FILES", "LAYER"]
    assert [row[2] for row in table[1:]] == [
        "server",
        "backend b",
        "accounts and the loader's cache",
        "total",
    ]
    assert not (tmp_path / "data").exists()
    document = json.loads(run("plan", "--engine", "embedded", "--backend", "b", "--quiet", "--json").stdout)
    sizes = {file["path"]: file["size"] for layer in document["layers"] for file in layer["files"]}
    assert sizes["/opt/tritonserver/backends/b/model.bin"] == 999986
    assert int(table[2][0].replace(",", "")) == document["layers"][1]["size"]
    every = run("plan", "--engine", "embedded", "--backend", "b", "--quiet", "--verbose")
    assert "  /opt/tritonserver/backends/b/model.bin" in every.stdout
    # Without an engine it opens no connection.
    assert json.loads(run("plan", "--backend", "b", "--quiet", "--json").stdout)["layers"] is None


def test_a_plan_that_cannot_be(run: Run) -> None:
    done = run("plan", "--engine", "embedded", "--backend", "identity", "--quiet")
    assert (done.returncode, done.stdout) == (4, "")
    assert "the full image has no /opt/tritonserver/backends/identity" in done.stderr
    done = run("plan", "--backend", "a", "--opt", "no_cache=true")
    assert (done.returncode, "--opt is given without an engine" in done.stderr) == (2, True)
    done = run("plan", "--engine", "podman", "--backend", "a", "--opt", "no_cache=true")
    assert (done.returncode, "plan takes no 'no_cache'" in done.stderr) == (2, True)
