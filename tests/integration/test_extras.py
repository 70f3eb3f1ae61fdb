"""Components of the replica without some of their extras, built by an engine and by the embedded one."""

from __future__ import annotations

import json

import attrs
import pytest

from tests.integration.conftest import make_lab
from tests.integration.labs import EMBEDDED, Lab, Sources

ONNX = "/opt/tritonserver/backends/onnxruntime"


@pytest.fixture(params=["podman", EMBEDDED])
def lab(request: pytest.FixtureRequest, sources: Sources) -> Lab:
    return make_lab(request, request.param, sources)


def test_an_image_without_an_extra(lab: Lab) -> None:
    """It has the rest of the component, a label, and libraries for all files."""
    tag = f"tritonbuild-test/{lab.name}:extras"
    lab.build("--backend", "onnxruntime[cuda]", tag=tag)
    names = lab.run("run", "--rm", "--network=none", "--pull=never", "--entrypoint=ls", tag, "-A", ONNX).split()
    assert names == [
        "libonnxruntime.so",
        "libonnxruntime.so.1",
        "libonnxruntime.so.1.19.2",
        "libonnxruntime_providers_cuda.so",
        "libonnxruntime_providers_shared.so",
        "libtriton_onnxruntime.so",
    ]
    assert lab.config(tag)["Config"]["Labels"]["tritonbuild.extras"] == "onnxruntime[cuda]"


def test_an_extra_that_is_needed_cannot_be_left_out(lab: Lab) -> None:
    done = lab.tritonbuild("--backend", "pytorch[core]", "--output-name", f"tritonbuild-test/{lab.name}:never")
    assert done.returncode == 4
    file = "/opt/tritonserver/backends/pytorch/libtriton_pytorch.so"
    assert f"{file} needs libtorchvision.so, which is left out: add backend pytorch[torchvision]" in done.stderr


def test_a_plan_shows_the_sizes(request: pytest.FixtureRequest, sources: Sources) -> None:
    lab = make_lab(request, EMBEDDED, sources)
    words = ["plan", "--backend", "onnxruntime", "--backend", "pytorch", "--backend", "tensorrt"]
    done = attrs.evolve(lab, options=()).tritonbuild(*words, "--json")
    assert done.returncode == 0, done.stderr
    parts = {part["name"]: part for part in json.loads(done.stdout)["parts"]}
    assert parts["backend onnxruntime[cuda]"]["size"] > 10_000_000
    assert parts["backend onnxruntime[openvino]"]["size"] > 3_000_000
    needed = parts["backend pytorch[torchvision]"]
    assert needed["size"] is None
    assert needed["reason"].endswith("libtriton_pytorch.so needs libtorchvision.so")
    # The base, min, has TensorRT.
    assert parts["backend tensorrt[builder]"]["size"] == 0
