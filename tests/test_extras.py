"""Extras of components and architectures of GPUs: from what the user writes to what is left out."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.test_cli import run
from tests.test_recipe import without_scripts
from tritonbuild.backends import embedded
from tritonbuild.catalog import BUILTIN, gpu_libraries
from tritonbuild.composition import Composition, select
from tritonbuild.errors import InvalidInputError
from tritonbuild.optional_parts import AbsentLibraries, OptionalPart, absent, excluded, opened
from tritonbuild.recipe import containerfile

ONNX = "/opt/tritonserver/backends/onnxruntime"


def composition(*backends: str, **keywords: Any) -> Composition:
    return Composition(**{"backends": backends, "container_version": "24.10", **keywords})


def titles(*backends: str, **keywords: Any) -> list[str]:
    return [component.title for component in composition(*backends, **keywords).components]


def rendered(*backends: str, **keywords: Any) -> str:
    return without_scripts(containerfile(composition(*backends, **keywords)))


@pytest.mark.parametrize(
    ("written", "title"),
    [
        (["onnxruntime"], "onnxruntime"),
        (["onnxruntime[cuda]"], "onnxruntime[cuda]"),
        (["onnx[openvino,cuda]"], "onnxruntime[cuda,openvino]"),
        (["onnxruntime[ cuda , openvino ]"], "onnxruntime[cuda,openvino]"),
        (["onnxruntime[cpu]", "onnxruntime[openvino]"], "onnxruntime[cpu,openvino]"),
        (["onnxruntime[cpu]", "onnxruntime"], "onnxruntime"),
        (["onnxruntime", "onnxruntime[cpu]"], "onnxruntime"),
        (["onnxruntime[tensorrt]"], "onnxruntime[cuda,tensorrt]"),
        (["pytorch[core]"], "pytorch[core]"),
    ],
)
def test_chosen_extras(written: list[str], title: str) -> None:
    assert titles(*written) == [title]


def test_a_required_extra_is_added_with_a_note() -> None:
    assert composition("onnxruntime[tensorrt]").notes == (
        "Triton backend 'onnxruntime': tensorrt requires cuda, which is added",
    )


def test_a_base_that_keeps_its_libraries_gets_a_note() -> None:
    keeps = "the base min has such libraries and keeps them, unlike --base slim"
    assert composition("tensorrt", gpu_arch="8.0").notes == (f"--gpu-arch: {keeps}",)
    assert composition("tensorrt[core]").notes == (f"an image without backend tensorrt[builder]: {keeps}",)
    assert composition("tensorrt[core]", gpu_arch="8.0", base="slim").notes == ()
    assert composition("onnxruntime[cuda]").notes == ()


@pytest.mark.parametrize(
    ("keywords", "message", "hint"),
    [
        (
            {"backends": "onnxruntime[cdua]"},
            "unknown extra 'cdua' of Triton backend 'onnxruntime'",
            "known: cpu, cuda, tensorrt, openvino",
        ),
        (
            {"backends": "onnxruntime[]"},
            "unknown extra '' of Triton backend 'onnxruntime'",
            "known: cpu, cuda, tensorrt, openvino",
        ),
        (
            {"backends": "onnxruntime[openvino]", "platform": "linux/arm64"},
            "unknown extra 'openvino' of Triton backend 'onnxruntime'",
            "known: cpu, cuda, tensorrt",
        ),
        ({"backends": "python[cuda]"}, "Triton backend 'python' has no extras", "write python"),
        ({"caches": "local[x]"}, "cache 'local' has no extras", "write local"),
        (
            {"backends": "mine[x]=/tmp"},
            "'mine[x]' is a folder, which has no extras",
            "write mine=/tmp; a folder is copied whole",
        ),
        (
            {"backends": "onnxruntime[cuda"},
            "'onnxruntime[cuda' is not a component name",
            "write extras as NAME[EXTRA,...]",
        ),
        (
            {"backends": "tensorrt", "gpu_arch": "8.5"},
            "unknown GPU architecture '8.5'",
            f"known: {', '.join(gpu_libraries())}",
        ),
        (
            {"backends": "python", "gpu_arch": "8.0", "enable_gpu": False},
            "--gpu-arch is for images for GPU",
            "omit it, or compose for GPU",
        ),
        (
            {"backends": "tensorrt", "gpu_arch": "8.0", "runtime": "install"},
            "--gpu-arch requires --runtime copy",
            "use --runtime copy; install brings no libraries from the full image",
        ),
        (
            {"backends": "tensorrt[core]", "runtime": "install"},
            "an image without backend tensorrt[builder] requires --runtime copy",
            "use --runtime copy; install brings no libraries from the full image",
        ),
    ],
)
def test_choices_that_are_refused(keywords: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Composition(**{"container_version": "24.10", **keywords})
    assert str(caught.value) == message
    assert caught.value.hint == hint or not hint


def test_files_are_removed_before_the_runtime_is_collected() -> None:
    text = rendered("onnxruntime[openvino]", "python")
    assert re.findall(r"^FROM (\S+) AS (trimmed|runtime)$", text, re.MULTILINE) == [
        ("full", "trimmed"),
        ("trimmed", "runtime"),
    ]
    trimmed = re.search(r"&& /bin/sh /tmp/trim.sh (.*)\n", text)
    assert trimmed
    assert trimmed[1] == (
        "'backends/onnxruntime=libonnxruntime_providers_cuda.so' "
        "'backends/onnxruntime=libonnxruntime_providers_tensorrt.so'"
    )
    copied = re.findall(r"^COPY --from=(\w+) --chown=0:0 /opt/tritonserver/backends/(\w+) ", text, re.MULTILINE)
    assert copied == [("trimmed", "onnxruntime"), ("full", "python")]
    assert "name=libcudnn" not in text
    assert f"'absent={ONNX}=libonnxruntime_providers_cuda.so=backend onnxruntime[cuda]'" in text
    assert '    "tritonbuild.extras"="onnxruntime[openvino]"\n' in text
    assert text.startswith("# Triton Inference Server 24.10 with backend onnxruntime[openvino], backend python.\n")


def test_packages_of_pip_are_installed_above_the_removal() -> None:
    text = rendered("onnxruntime[cuda]", "python", pip=["numpy"])
    assert "\nFROM trimmed AS packages\n" in text
    assert "\nFROM packages AS runtime\n" in text


def test_install_copies_the_rest_of_a_component() -> None:
    text = rendered("onnxruntime[cuda]", runtime="install")
    assert f"\nCOPY --from=trimmed --chown=1000:1000 {ONNX} {ONNX}\n" in text


@pytest.mark.parametrize("backends", [(), ("onnxruntime", "python"), ("pytorch",)])
def test_nothing_is_removed_without_brackets(backends: tuple[str, ...]) -> None:
    text = rendered(*backends)
    assert not re.search("trim|absent=|exclude=|tritonbuild.extras", text)


def test_libraries_of_an_extra_are_not_brought() -> None:
    text = rendered("tensorrt[core]")
    assert "'exclude=libnvinfer_builder_resource_sm*.so.*'" in text
    assert "'absent==libnvinfer_builder_resource_sm*.so.*=backend tensorrt[builder]'" in text
    assert "trimmed" not in text


def test_libraries_that_another_component_opens_stay() -> None:
    assert "exclude=" not in rendered("tensorrt[core]", "onnxruntime")
    assert "exclude=" in rendered("tensorrt[core]", "onnxruntime[cuda]")


def test_architectures_of_gpus() -> None:
    text = rendered("tensorrt", gpu_arch="8.9,9.0", exclude_libraries=["libfoo*"])
    excluded = re.findall(r"'exclude=([^']*)'", text)
    assert excluded[0] == "libfoo*"
    numbers = [re.fullmatch(r"libnvinfer_builder_resource_sm(\d+)\.so\.\*", name) for name in excluded[1:]]
    assert [number[1] for number in numbers if number] == [
        *("50", "52", "53", "60", "61", "62", "70", "72", "75", "100", "101", "103", "110", "120", "121")
    ]
    assert all(numbers)
    assert '"tritonbuild.gpu-arch"="8.9 9.0"' in text
    assert "\n# For GPUs of the architectures 8.9, 9.0.\n" in text


def test_the_request_of_the_embedded_engine() -> None:
    request = json.loads(embedded.document(composition("onnxruntime[cuda]", gpu_arch=["8.0"])))
    (component,) = request["components"]
    assert component["title"] == "backend onnxruntime[cuda]"
    parts = {part["name"]: part["kept"] for part in request["parts"]}
    assert [name for name in parts if not name.startswith("gpu-arch")] == [
        *(f"backend onnxruntime[{name}]" for name in ("cuda", "tensorrt", "openvino"))
    ]
    assert [name for name, kept in parts.items() if kept] == ["backend onnxruntime[cuda]", "gpu-arch 8.0"]
    assert request["labels"]["tritonbuild.extras"] == "onnxruntime[cuda]"


def test_a_users_entry_with_extras() -> None:
    entry = {"name": "mine", "extras": {"small": {}, "big": {"files": ["data"], "dlopen": ["libbig.so.1"]}}}
    catalog = BUILTIN.extended([entry])
    text = rendered("mine[small]", catalog=catalog)
    assert "&& /bin/sh /tmp/trim.sh 'backends/mine=data'\n" in text
    assert "name=libbig.so.1" not in text
    assert "'name=libbig.so.1'" in rendered("mine", catalog=catalog)
    assert select(composition("mine[big]", catalog=catalog)).labels()["tritonbuild.extras"] == "mine[big]"


def test_the_command_line(tmp_path: Path) -> None:
    (tmp_path / "see" / "1").mkdir(parents=True)
    (tmp_path / "see" / "1" / "model.onnx").write_bytes(b"")
    (tmp_path / "see" / "config.pbtxt").write_text('platform: "onnxruntime_onnx"')
    models = ("--model-repository", str(tmp_path), "--container-version", "24.10")
    code, out, _ = run("plan", "--backend", "onnx[cuda]", "--gpu-arch", "8.0,9.0", *models, "--json")
    record = json.loads(out)
    assert (code, record["gpu_arch"]) == (0, ["8.0", "9.0"])
    (component,) = record["components"]
    assert component["extras"] == ["cpu", "cuda", "tensorrt", "openvino"]
    assert component["chosen_extras"] == ["cuda"]
    assert "onnxruntime[cuda]" in run("plan", "--backend", "onnx[cuda]", *models)[1]
    assert run("render", "--backend", "onnxruntime[x]") == (
        2,
        "",
        "tritonbuild: unknown extra 'x' of Triton backend 'onnxruntime'\nhint: known: cpu, cuda, tensorrt, openvino\n",
    )


# --- the rules ---

CORE = OptionalPart(name="backend a[x]", folder="/a", files=("libx*.so", "sub/y"), opened=("libo.so.1",))
LEFT_OUT = OptionalPart(
    name="backend b[z]", folder="/b", opened=("libp.so.1",), libraries=("libq*", "libo.so.1"), kept=False
)


def test_libraries_that_kept_parts_open() -> None:
    assert opened((CORE, LEFT_OUT), "/a") == ("libo.so.1",)
    assert opened((CORE, LEFT_OUT), "/b") == ()


def test_absent_libraries() -> None:
    found = absent((CORE, LEFT_OUT), ())
    assert found == (AbsentLibraries(part="backend b[z]", pattern="libq*"),)
    assert excluded(found) == ("libq*",)
    assert absent((CORE, LEFT_OUT), ["libq*"]) == ()
