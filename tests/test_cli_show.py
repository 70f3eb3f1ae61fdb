"""The commands that show and build nothing: exit code, stdout, stderr; no engine, no network, and fast."""

from __future__ import annotations

import json
import os
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.replica import MODELS
from tests.test_cli import run
from tritonbuild import api, backends

FakeProgram = Callable[[str, str], Path]


def model(repository: Path, name: str, config: str) -> None:
    (repository / name / "1").mkdir(parents=True)
    (repository / name / "config.pbtxt").write_text(config)


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    folder = tmp_path / "models"
    model(folder, "ask", 'backend: "python"')
    model(folder, "see", 'platform: "onnxruntime_onnx"\nresponse_cache { enable: true }')
    return folder


# --- components ---


def test_components_as_a_table() -> None:
    code, output, error = run("components", "--container-version", "24.10", "--platform", "linux/arm64")
    assert (code, error) == (0, "")
    rows = {line.split()[1]: line for line in output.splitlines()}
    assert rows["onnxruntime"].split()[:5] == ["backend", "onnxruntime", "22.01", "to", "26.09"]
    assert "onnx, ort" in rows["onnxruntime"]
    assert rows["onnxruntime"].endswith(" (extras cpu, cuda, tensorrt)")
    assert rows["redis"].startswith("cache")
    assert "in trtllm images only" in rows["tensorrtllm"]
    assert "openvino" not in rows


def test_components_as_json() -> None:
    code, output, error = run("components", "--container-version", "24.10", "--no-enable-gpu", "--json")
    assert (code, error) == (0, "")
    record = json.loads(output)
    assert (record["container_version"], record["triton_version"], record["gpu"]) == ("24.10", "2.51.0", False)
    assert record["cuda_version"] == "12.6.2"
    assert record["images"]["full"] == "nvcr.io/nvidia/tritonserver:24.10-py3"
    found = {(c["kind"], c["name"]): c for c in record["components"]}
    assert found["backend", "onnxruntime"]["releases"] == ["22.01", "26.09"]
    assert ("backend", "tensorrt") not in found


def test_components_of_a_release_that_is_none() -> None:
    assert run("components", "--container-version", "24.13") == (
        2,
        "",
        "tritonbuild: '24.13' is not a Triton release\nhint: releases are YY.MM, from 22.01 to 26.09\n",
    )


def test_components_of_a_newer_release_are_a_guess_and_said_to_be() -> None:
    code, output, error = run("components", "--container-version", "30.01")
    assert (code, error) == (0, "tritonbuild: release 30.01 is newer than the catalog; it is treated like 26.09\n")
    assert "onnxruntime" in output


# --- models ---


def test_models_as_a_table(repository: Path) -> None:
    code, output, error = run("models", str(repository))
    assert (code, error) == (0, "")
    assert [line.split("  ")[0] for line in output.splitlines()] == ["MODEL", "ask", "see", ""]
    assert 'backend python       config.pbtxt says backend: "python"' in output


def test_models_as_json(repository: Path) -> None:
    code, output, _ = run("models", str(repository), "--json")
    assert code == 0
    found = {found["name"]: found for found in json.loads(output)["models"]}
    assert [need["name"] for need in found["see"]["needs"]] == ["onnxruntime", "local"]


def test_a_model_that_will_not_load_is_said(repository: Path) -> None:
    (repository / "ask" / "1").rmdir()
    code, _, error = run("models", str(repository))
    assert code == 0
    assert error.startswith("tritonbuild: model 'ask': it has no version (")


def test_a_broken_configuration_is_named_with_its_line(repository: Path) -> None:
    (repository / "ask" / "config.pbtxt").write_text('backend: "python"\nnonsense here')
    for command in ("models", "render"):
        arguments = [str(repository)] if command == "models" else ["--model-repository", str(repository)]
        code, output, error = run(command, *arguments)
        assert (code, output) == (2, "")
        assert f"{repository}/ask/config.pbtxt" in error
        assert "2" in error
        assert len(error.splitlines()) <= 2


# --- models to components ---


def test_a_composition_for_models_says_why(repository: Path) -> None:
    code, output, error = run("plan", "--model-repository", str(repository), "--container-version", "24.10", "--json")
    assert (code, error) == (0, "")
    record = json.loads(output)
    assert [(c["kind"], c["name"]) for c in record["components"]] == [
        ("cache", "local"),
        ("backend", "onnxruntime"),
        ("backend", "python"),
    ]
    assert "backend python: model 'ask': config.pbtxt says backend: \"python\"" in record["notes"]
    assert record["context"] == []


def test_components_that_are_named_and_needed_come_once(repository: Path) -> None:
    code, output, error = run("render", "--model-repository", str(repository), "--backend", "python", "--with-models")
    assert code == 0
    assert "backend python:" not in error
    assert output.count("/opt/tritonserver/backends/python /opt") == 1
    assert "\nCOPY --chown=0:0 models/ /models/\n" in output


def test_models_need_something_the_release_has_not(repository: Path) -> None:
    code, _, error = run("render", "--model-repository", str(MODELS), "--container-version", "24.10")
    assert code == 2
    assert error.startswith("tritonbuild: model 'reverse' (")


def test_own_backends_are_not_asked_of_the_release(tmp_path: Path) -> None:
    model(tmp_path / "models", "mine", 'backend: "mine"')
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "libtriton_mine.so").touch()
    arguments = ["--model-repository", str(tmp_path / "models"), "--backend", f"mine={tmp_path / 'mine'}"]
    code, output, error = run("render", *arguments)
    assert (code, error) == (0, "")
    assert "\nCOPY --chown=0:0 backends/mine/ /opt/tritonserver/backends/mine/\n" in output


def test_models_to_put_in_have_to_be_named() -> None:
    code, _, error = run("render", "--backend", "python", "--with-models")
    assert (code, error) == (
        2,
        "tritonbuild: --with-models is given without models\nhint: add --model-repository FOLDER\n",
    )


# --- plan ---


def test_a_plan_lists_every_image_that_a_mirror_needs(fake_program: FakeProgram) -> None:
    calls = [fake_program(name, "exit 99") for name in ("docker", "podman", "buildah")]
    arguments = ["--backend", "pytorch", "--container-version", "24.10", "--no-enable-gpu", "--json"]
    images = {}
    for runtime in ("copy", "install"):
        code, output, error = run("plan", *arguments, "--runtime", runtime)
        assert (code, error) == (0, "")
        record = json.loads(output)
        images[runtime] = record["images"]
        assert record["network"] == (runtime == "install")
    full, base = "nvcr.io/nvidia/tritonserver:24.10-py3", "docker.io/library/ubuntu:22.04"
    assert images["copy"] == {"full": full, "min": base}
    assert images["install"] == {"full": full, "min": base, "gpu-min": f"{full}-min"}
    assert not any(path.exists() for path in calls)


def test_a_plan_lists_the_images_of_its_containerfile() -> None:
    for arguments in (["--base", "debian:12"], ["--image", "full,a/b:1", "--image", "min,c:2"], ["--backend", "vllm"]):
        _, text, _ = run("render", "--backend", "python", *arguments)
        _, output, _ = run("plan", "--backend", "python", *arguments, "--json")
        lines = (line.split() for line in text.splitlines() if line.startswith("FROM "))
        named = {words[1] for words in lines}
        stages = {line.split()[3] for line in text.splitlines() if line.startswith("FROM ") and " AS " in line}
        assert named - stages == set(json.loads(output)["images"].values())


def test_a_plan_for_people() -> None:
    code, output, error = run("plan", "--backend", "onnx", "--container-version", "24.10")
    assert (code, error) == (0, "tritonbuild: 'onnx' is taken to be Triton backend 'onnxruntime'\n")
    assert output.splitlines() == [
        "backend:  onnxruntime",
        "full:     nvcr.io/nvidia/tritonserver:24.10-py3",
        "min:      nvcr.io/nvidia/tritonserver:24.10-py3-min",
        "network:  not needed",
    ]


def test_vllm_takes_its_image_and_says_so() -> None:
    code, output, error = run("plan", "--backend", "vllm", "--container-version", "24.10")
    assert (code, error) == (0, "tritonbuild: vllm is in the 'vllm' image alone, which is used\n")
    assert "tritonserver:24.10-vllm-python-py3\n" in output
    code, _, error = run("plan", "--backend", "vllm", "--backend", "onnxruntime", "--container-version", "24.10")
    assert code == 2
    assert error.startswith("tritonbuild: no image of release 24.10 holds all of vllm, onnxruntime, python\nhint: vllm")


# --- from-compose ---

COMPOSE = [
    ("--backend python", "--backend python"),
    (
        "python3 compose.py --backend a --backend b --repoagent c --cache d",
        "--backend a --backend b --repoagent c --cache d",
    ),
    ("--enable-gpu=false --container-version 24.05", "--no-enable-gpu --container-version 24.05"),
    ("--enable-gpu False --dry", "--no-enable-gpu --dry-run"),
    ("--enable-gpu --skip-pull -q", "--skip-pull --quiet"),
    ("--image full,a:1 --image=min,b:2 -v", "--image full,a:1 --image min,b:2 --verbose"),
    ("--output-name x --output-name 'y z' --work-dir w", "--output-name 'y z' --work-dir w"),
]


@pytest.mark.parametrize(("given", "expected"), COMPOSE, ids=[row[0] for row in COMPOSE])
def test_a_command_of_compose_py(given: str, expected: str) -> None:
    line = f"tritonbuild --runtime install {expected}\n"
    assert run("from-compose", "--", *shlex.split(given)) == (0, line, "")


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ("--bakend a", "unrecognized arguments: --bakend a"),
        ("--image", "argument --image: expected one argument"),
    ],
)
def test_arguments_that_compose_py_does_not_take(given: str, message: str) -> None:
    code, text, error = run("from-compose", "--", *given.split())
    assert (code, text) == (2, "")
    assert error == f"tritonbuild: compose.py: {message}\nhint: give the arguments of compose.py after --\n"


def test_a_converted_command_renders_what_compose_py_installs(tmp_path: Path) -> None:
    _, line, _ = run("from-compose", "--", *shlex.split(f"--backend python --work-dir {tmp_path} --dry-run"))
    assert run(*shlex.split(line)[1:])[0] == 0
    assert (
        "libdcgm" in (tmp_path / "Dockerfile.compose").read_text()
        or "datacenter-gpu-manager" in (tmp_path / "Dockerfile.compose").read_text()
    )


# --- render ---


def test_render_to_stdout_a_file_and_a_folder(tmp_path: Path) -> None:
    code, text, error = run("render", "--backend", "python")
    assert (code, error) == (0, "")
    assert text.startswith("# Triton Inference Server 26.09 with backend python.\n")
    for place, path in ((tmp_path / "a", tmp_path / "a"), (tmp_path, tmp_path / "Dockerfile.compose")):
        assert run("render", "--backend", "python", "--output", str(place)) == (0, f"{path}\n", "")
        assert path.read_text() == text
    assert "<<'EOF-" in text
    assert run("render", "--backend", "python", "--buildkit") == (0, text, "")
    code, universal, error = run("render", "--backend", "python", "--no-buildkit")
    assert (code, error, "<<'EOF-" in universal) == (0, "", False)
    assert universal == api.get_containerfile(backends=["python"], enable_buildkit=False)
    code, _, error = run("render", "--backend", "python", "--output", str(tmp_path / "no" / "where"))
    assert code == 2
    assert error.startswith("tritonbuild: cannot write ")


def test_a_pipe_is_written_to_and_stays_one(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with subprocess.Popen(["cat", pipe], stdout=subprocess.PIPE, text=True) as reader:
        code, _, _ = run("render", "--backend", "python", "--output", str(pipe))
        assert reader.communicate(timeout=30)[0].startswith("# Triton Inference Server")
    assert code == 0
    assert pipe.is_fifo()


def test_render_needs_no_engine(tmp_path: Path) -> None:
    assert run("render", "--backend", "python", PATH="/nowhere")[0] == 0


FORBIDDEN = ("asyncio", "http", "socket", "ssl", "tarfile", "urllib.request", "zipfile")


def test_rendering_imports_neither_network_nor_archive_code() -> None:
    program = f"""
import sys
import tritonbuild
tritonbuild.get_containerfile(backends=["python"])
print([name for name in {FORBIDDEN!r} if name in sys.modules])
"""
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"


def test_the_command_line_adds_nothing_to_what_typer_imports(tmp_path: Path) -> None:
    """typer itself brings socket and zipfile along where it works with pydantic."""
    asked = f"print([name for name in {FORBIDDEN!r} if name in sys.modules])"
    bare = f"""
import sys
import typer
app = typer.Typer(add_completion=False)
app.command()(lambda: None)
app(args=[], standalone_mode=False)
{asked}
"""
    ours = f"""
import sys
from tritonbuild.cli import run
run(["render", "--backend", "python", "--output", {str(tmp_path)!r}])
{asked}
"""
    said = [subprocess.check_output([sys.executable, "-c", text], text=True).splitlines()[-1] for text in (bare, ours)]
    assert said[1] == said[0]


ENGINES = {engine.name for engine in backends.engines()}

# What a command line that names an engine and components does without.
UNNEEDED = (
    *("importlib.metadata", "psutil", "tomllib", "tritonbuild.cli.models", "tritonbuild.modelrepo"),
    *("tritonbuild.embedded", "tritonbuild.testing"),
)


def imported(*arguments: str) -> tuple[int, list[str]]:
    """Run a command line in a new interpreter; return its exit code and the modules that it has then."""
    program = f"""
import sys
from tritonbuild.cli import run
code = run({list(arguments)!r})
print(code, *sys.modules)
"""
    code, *names = subprocess.check_output([sys.executable, "-c", program], text=True).splitlines()[-1].split()
    return int(code), names


def test_rendering_imports_no_engine(tmp_path: Path) -> None:
    code, names = imported("render", "--backend", "python", "--output", str(tmp_path))
    assert code == 0
    assert [name for name in names if name.startswith(UNNEEDED)] == []
    assert engines(names) == set()


def test_a_build_imports_its_own_engine_alone(fake_program: FakeProgram) -> None:
    script = 'for word; do case "$word" in --iidfile=*) printf sha256:%064d 0 > "${word#*=}";; esac; done; echo 5.0.0'
    fake_program("podman", script)
    code, names = imported("--engine", "podman", "--backend", "python", "--quiet")
    assert code == 0
    assert [name for name in names if name.startswith(UNNEEDED)] == []
    assert engines(names) == {"podman"}


def engines(modules: list[str]) -> set[str]:
    """Return the engines whose modules are loaded."""
    return {name.rpartition(".")[2] for name in modules if name.startswith("tritonbuild.backends.")} & ENGINES


def test_importing_the_package_alone_imports_nothing_of_it() -> None:
    program = "import sys, tritonbuild; print([name for name in sys.modules if name.startswith('tritonbuild.')])"
    assert subprocess.check_output([sys.executable, "-c", program], text=True) == "[]\n"
