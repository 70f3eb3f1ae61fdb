"""What is wrong with NVIDIA's compose.py cannot happen here: B1 to B24 of docs/from-compose.md, each with its test."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tritonbuild
from tests.test_catalog import EVERY_RELEASE, FACT
from tests.test_cli import PODMAN, run
from tritonbuild.catalog import BUILTIN
from tritonbuild.composition import Composition, sources
from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.recipe import containerfile

FakeProgram = Callable[[str, str], Path]
SCRIPTS = Path(tritonbuild.__file__).parent / "scripts"
DOCUMENT = Path(__file__).parents[1] / "docs" / "from-compose.md"
RUNTIMES = pytest.mark.parametrize("runtime", ["copy", "install"])


def text(*backends: str, version: str = "24.10", **keywords: Any) -> str:
    return containerfile(Composition(backends=backends or ("python",), container_version=version, **keywords))


def test_the_document_names_these_tests_and_no_others() -> None:
    rows = re.findall(r"^\| (B\d+a?) \|.*\| ([^|]+) \|$", DOCUMENT.read_text(), re.MULTILINE)
    assert [name for name, _ in rows] == ["B1", "B2", "B3", "B3a", *(f"B{number}" for number in range(4, 25))]
    here = {name for name in globals() if name.startswith("test_b")}
    named = {name for _, cell in rows for name in re.findall(r"`(test_b\w+)`", cell)}
    assert named == here
    for _, cell in rows:
        assert re.findall(r"`(test_\w+)`", cell)


def test_b1_the_cpu_base_is_what_the_release_is_built_on() -> None:
    assert sources(Composition(backends=("python",), container_version="24.10", enable_gpu=False))["min"].tag == "22.04"
    for version in ("24.11", "25.08", "26.08", "26.09"):
        images = sources(Composition(backends=("python",), container_version=version, enable_gpu=False))
        assert images["min"].tag == "24.04"


def test_b2_the_machines_distribution_decides_nothing(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "distro" not in sys.modules
    before = text(runtime="install")
    assert not re.search(r"\b(yum|dnf)\b", before)
    for release in ({"ID": "debian"}, {"ID": "fedora", "ID_LIKE": "rhel"}):
        monkeypatch.setattr("platform.freedesktop_os_release", lambda found=release: found)
        assert text(runtime="install") == before


def test_b3_no_release_has_to_be_named() -> None:
    code, output, error = run("render", "--backend", "pytorch")
    assert (code, error) == (0, "")
    assert f"\nFROM nvcr.io/nvidia/tritonserver:{BUILTIN.newest()}-py3 AS full\n" in output


def test_b3a_the_release_is_taken_and_not_the_upstream_one() -> None:
    for version in ("22.06", "26.05", "26.06"):
        images = sources(Composition(backends=("identity",), container_version=version))
        assert {source.tag for source in images.values()} == {f"{version}-py3", f"{version}-py3-min"}


def test_b4_backends_with_an_image_of_their_own() -> None:
    for version in BUILTIN.releases():
        for name, variant in (("vllm", "vllm"), ("tensorrtllm", "trtllm")):
            if variant in BUILTIN.release(version).variants:
                composition = Composition(backends=(name,), container_version=version)
                assert sources(composition)["full"].tag == f"{version}-{variant}-python-py3"
                assert f"/opt/tritonserver/backends/{name} " in containerfile(composition)
    with pytest.raises(InvalidInputError, match="fastertransformer"):
        Composition(backends=("fastertransformer",), container_version="24.10")


@pytest.mark.parametrize(
    ("name", "version", "platform"),
    [
        ("onnxrutime", "24.10", ""),
        ("onnxruntime,python", "24.10", ""),
        ("tensorflow", "25.03", ""),
        ("tensorflow1", "24.03", ""),
        ("fil", "24.10", "linux/arm64"),
        ("openvino", "24.10", "linux/arm64"),
    ],
)
def test_b5_what_is_not_there_is_refused_at_once(name: str, version: str, platform: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Composition(backends=(name,), container_version=version, platform=platform)
    assert caught.value.hint


def test_b5_the_cache_that_was_not_there_yet_and_the_backend_without_a_folder() -> None:
    with pytest.raises(InvalidInputError, match=r"release 23\.03 has no cache 'redis'"):
        Composition(caches=("redis",), container_version="23.03")
    assert "backends/ensemble" not in text("ensemble")


@pytest.mark.parametrize("name", ["x /y\nRUN echo injected", "../lib", "a$b", 'a"b', "a;b", " "])
def test_b6_a_name_stays_a_name(name: str) -> None:
    for keyword in ("backends", "repoagents", "caches"):
        wanted: dict[str, Any] = {keyword: (name,)}
        with pytest.raises(InvalidInputError, match="is not a component name"):
            Composition(**wanted)


@RUNTIMES
def test_b7_every_stage_that_is_copied_from_is_declared(runtime: str) -> None:
    for version in BUILTIN.releases():
        for gpu in (True, False):
            chosen = [c for c in BUILTIN.components(version, gpu=gpu, kind="backend") if "full" in c.images]
            written = text(*(c.name for c in chosen), version=version, enable_gpu=gpu, runtime=runtime)
            stages = re.findall(r"^FROM \S+ AS (\S+)$", written, re.MULTILINE)
            assert set(re.findall(r"^COPY --from=(\S+)", written, re.MULTILINE)) <= set(stages)


def test_b8_no_image_is_called_none() -> None:
    written = text("pytorch", enable_gpu=False, runtime="install", images={"full": "a", "min": "b"})
    assert "None" not in written
    assert "\nFROM nvcr.io/nvidia/tritonserver:24.10-py3-min AS gpu-min\n" in written


def test_b9_full_alone_is_not_full_and_min() -> None:
    with pytest.raises(InvalidInputError, match="source image 'full' is given without 'min'"):
        Composition(backends=("python",), images={"full": "a", "gpu-min": "b"})


@pytest.mark.parametrize(
    ("value", "flavour"), [("1", "1"), ("yes", "1"), ("on", "1"), ("0", "0"), ("off", "0"), ("tru", "")]
)
def test_b10_enable_gpu_is_what_it_says(value: str, flavour: str) -> None:
    code, output, error = run("render", "--backend", "python", f"--enable-gpu={value}")
    if flavour:
        assert f'TRITON_SERVER_GPU_ENABLED="{flavour}"' in output
    else:
        assert (code, error) == (
            2,
            "tritonbuild: --enable-gpu=tru is neither true nor false\nhint: use true or false\n",
        )


@RUNTIMES
def test_b11_a_cpu_image_comes_from_images_that_are_published(runtime: str) -> None:
    written = text("onnxruntime", enable_gpu=False, runtime=runtime)
    assert "cpu-only" not in written
    assert "\nFROM nvcr.io/nvidia/tritonserver:24.10-py3 AS full\n" in written
    assert 'TRITON_SERVER_CPU_ONLY="1"' in written
    # what the GPU flavour's server is linked to comes along
    assert "library=libcudart.so.*" in written or runtime == "copy"


def test_b12_a_dry_run_runs_nothing(fake_program: FakeProgram, tmp_path: Path) -> None:
    calls = [fake_program(name, "exit 99") for name in ("docker", "podman", "buildah")]
    assert run("--backend", "python", "--dry-run", "--work-dir", str(tmp_path))[0] == 0
    assert run("plan", "--backend", "python")[0] == 0
    assert not any(path.exists() for path in calls)


def test_b13_what_is_cheap_to_see_is_seen_first(fake_program: FakeProgram, tmp_path: Path) -> None:
    calls = fake_program("podman", PODMAN)
    for arguments in (["--work-dir", "/nowhere"], ["--fragment", "/nowhere"], ["-t", "A b"], ["--opt", "nope=1"]):
        code, output, error = run("--engine", "podman", "--backend", "python", *arguments)
        assert (code, output) == (2, "")
        assert error
    assert "build" not in (calls.read_text() if calls.exists() else "")


def test_b14_no_clone_and_no_certain_folder(tmp_path: Path) -> None:
    argv = [sys.executable, "-m", "tritonbuild", "render", "--backend", "python", "--runtime", "install"]
    done = subprocess.run(argv, cwd=tmp_path, capture_output=True, text=True, check=True)
    assert not re.search(r"^(COPY|ADD) (?!--from=)", done.stdout, re.MULTILINE)
    assert list(tmp_path.iterdir()) == []


def test_b15_the_recipe_is_the_releases_own() -> None:
    old = text(version="24.05", runtime="install")
    assert "'apt=libre2-9'" in old
    assert "ubuntu2204" in old
    assert "'nvidia=datacenter-gpu-manager=1:3.2.6'" in old
    new = text(version="26.08", runtime="install")
    assert "'triton-server' '1000' 'ubuntu'" in new
    assert "libre2" not in new


def test_b16_dcgm_is_the_releases_own() -> None:
    for version in BUILTIN.releases():
        pinned = re.findall(
            r"'nvidia=datacenter-gpu-manager\S*=1:([0-9.-]+)'", text(version=version, runtime="install")
        )
        assert set(pinned) == {BUILTIN.release(version).dcgm_version} - {None}


@pytest.mark.parametrize("folder", [None, "", "empty"])
def test_b17_without_compatibility_libraries_nothing_is_linked_or_removed(tmp_path: Path, folder: str | None) -> None:
    env = {name: value for name, value in os.environ.items() if name != "_CUDA_COMPAT_PATH"}
    if folder is not None:
        env["_CUDA_COMPAT_PATH"] = str(tmp_path / folder) if folder else ""
    (tmp_path / "empty" / "lib").mkdir(parents=True)
    (tmp_path / "bin").mkdir()
    for name in ("ln", "rm", "ldconfig"):
        (tmp_path / "bin" / name).write_text("#!/bin/sh\nexit 99\n")
        (tmp_path / "bin" / name).chmod(0o755)
    env["PATH"] = f"{tmp_path / 'bin'}:{env['PATH']}"
    subprocess.run(["/bin/sh", SCRIPTS / "compat.sh"], env=env, check=True, capture_output=True)


def test_b18_the_platform_is_what_is_asked_for(monkeypatch: pytest.MonkeyPatch, fake_program: FakeProgram) -> None:
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    assert "'arch=x86_64'" in text(runtime="install")
    written = text("pytorch", runtime="install", platform="linux/arm64")
    assert "'arch=aarch64'" in written
    assert "/sbsa" in written
    assert "'apt=libgfortran5'" in written
    calls = fake_program("podman", PODMAN)
    assert run("--engine", "podman", "--backend", "python", "--platform", "arm64", "-q")[0] == 0
    assert "--platform=linux/arm64" in calls.read_text().split("\t")


@RUNTIMES
def test_b19_serve_is_one_file(runtime: str) -> None:
    written = text(runtime=runtime)
    assert re.findall(r"'file=(/usr/bin/\S+)'", written) == ["/usr/bin/serve"]
    for label in ("accept-bind-to-port", "multi-models"):
        assert f'"com.amazonaws.sagemaker.capabilities.{label}"="true"' in written


@EVERY_RELEASE
def test_b20_what_is_left_behind_can_be_had_and_is_written_down(version: str) -> None:
    written = text(version=version, features=["nvidia"])
    copied = {"backends", "bin", "caches", "include", "lib", "nvidia_entrypoint.sh", "repoagents"}
    left = [f"/opt/tritonserver/{name}" for name in FACT[version]["in_full"] if name not in copied]
    assert left
    for path in left:
        assert f"COPY --from=full --chown=0:0 {path} {path}\n" in written
        assert f"`{path}`" in DOCUMENT.read_text()


def test_b21_versions_of_any_length(tmp_path: Path) -> None:
    # 2.18.0 to 2.7x come from the catalog; no image's environment is searched for them
    assert 'TRITON_SERVER_VERSION="2.18.0"' in text(version="22.01")
    argv = [
        sys.executable,
        "-W",
        "error",
        "-c",
        "import compileall, sys; sys.exit(not compileall.compile_dir(sys.argv[1], quiet=1, force=True))",
    ]
    subprocess.run([*argv, SCRIPTS.parent], check=True, env={**os.environ, "PYTHONPYCACHEPREFIX": str(tmp_path)})


def test_b22_nothing_is_installed_that_is_not_needed_to_run() -> None:
    written = text()
    assert not re.search(r"apt-get|pip|clang|curl", written)
    installed = text(runtime="install")
    (packages,) = re.findall(r"^RUN printf(?:.*\\\n)+.*packages\.sh .*$", installed, re.MULTILINE)
    assert "apt-get install" in packages
    (removal,) = re.findall(r"rm -rf [^\n]*/var/lib/apt/lists/\*", packages)
    assert packages.index(removal) > packages.rindex("apt-get install")
    pinned = text(images={"full": "a", "min": f"b@sha256:{'0a' * 32}"}, user="triton-server")
    assert f'"org.opencontainers.image.base.digest"="sha256:{"0a" * 32}"' in pinned
    assert "\nUSER 1000:1000\n" in pinned


@RUNTIMES
def test_b23_variables_and_libraries_come_with_what_needs_them(runtime: str) -> None:
    assert "TF_" not in text(runtime=runtime)
    assert 'TF_AUTOTUNE_THRESHOLD="2"' in text("tensorflow", runtime=runtime)
    assert 'PYTHONPATH="/opt/tritonserver/backends/dali/' in text("dali", version="22.01", runtime=runtime)
    if runtime == "install":
        assert "'apt=libgomp1'" in text("pytorch", version="22.01", runtime=runtime)


def test_b24_any_engine_and_failures_that_say_so(fake_program: FakeProgram) -> None:
    fake_program("podman", 'if [ "$2" = version ]; then echo 4.3.1; exit; fi; echo broken >&2; exit 7')
    code, output, error = run("--engine", "podman", "--backend", "python", "-q")
    assert (code, output) == (4, "")
    assert "  | broken\ntritonbuild: the build with engine 'podman' failed with exit status 7\n" in error
    with pytest.raises(UnknownNameError):
        tritonbuild.get_backend("kaniko")
