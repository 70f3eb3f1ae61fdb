"""What is wanted: names resolved, sources known, what cannot be is refused."""

from __future__ import annotations

import json
import re
from typing import Any

import pytest

from tritonbuild.backends import embedded
from tritonbuild.catalog import BUILTIN
from tritonbuild.composition import Composition, select, sources
from tritonbuild.errors import InvalidInputError
from tritonbuild.recipe import containerfile

REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    (
        "unknown backend",
        {"backends": ["onnxrutime"]},
        "unknown Triton backend 'onnxrutime'",
        "did you mean 'onnxruntime'?",
    ),
    (
        "two in one",
        {"backends": ["onnx,python"]},
        "'onnx,python' is not a component name",
        "give --backend once for each: --backend onnx --backend python",
    ),
    ("newline", {"backends": ["x /y\nRUN echo"]}, "'x /y\\nRUN echo' is not a component name", ""),
    ("path", {"backends": ["../lib"]}, "'../lib' is not a component name", ""),
    ("release", {"backends": ["python"], "container_version": "24.13"}, "", ""),
    ("old release", {"backends": ["python"], "container_version": "19.01"}, "", ""),
    (
        "full without min",
        {"backends": ["python"], "images": {"full": "a"}},
        "source image 'full' is given without 'min'",
        "add --image min,REFERENCE",
    ),
    (
        "min without full",
        {"backends": ["python"], "images": {"min": "a"}},
        "source image 'min' is given without 'full'",
        "add --image full,REFERENCE",
    ),
    (
        "image name",
        {"backends": ["python"], "images": {"fall": "a"}},
        "unknown source image 'fall'",
        "did you mean 'full'?",
    ),
    (
        "reference",
        {"backends": ["python"], "images": {"full": "a b", "min": "c"}},
        "'a b' is not an image reference: 'library/a b' is not a repository",
        "write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]",
    ),
    (
        "registry",
        {"backends": ["python"], "registry": "https://x"},
        "'https://x' is not a registry",
        "leave the scheme out: x",
    ),
    (
        "feature",
        {"backends": ["python"], "features": ["header"]},
        "unknown feature 'header'",
        "did you mean 'headers'?",
    ),
    (
        "exempt library",
        {"backends": ["python"], "exempt_libraries": ["lib*; rm -rf /"]},
        "'lib*; rm -rf /' is not a pattern of library names",
        "write libfoo.so.1 or libfoo*",
    ),
    (
        "excluded library",
        {"backends": ["python"], "exclude_libraries": ["lib/foo"]},
        "'lib/foo' is not a pattern of library names",
        "write libfoo.so.1 or libfoo*",
    ),
    (
        "excluded library with install",
        {"backends": ["python"], "exclude_libraries": ["libfoo*"], "runtime": "install"},
        "--exclude-library requires --runtime copy",
        "use --runtime copy; install brings no libraries from the full image",
    ),
]


@pytest.mark.parametrize(("keywords", "message", "hint"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_is_refused(keywords: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        Composition(**{"container_version": "24.10", **keywords})
    assert str(caught.value) == message or not message
    assert caught.value.hint == hint or not hint
    assert str(caught.value).isprintable()
    assert caught.value.exit_code == 2


def test_names_are_kept_once_in_the_order_given_backends_last() -> None:
    composition = Composition(backends=["python", "identity", "python"], caches="local", container_version="24.10")
    assert [component.name for component in composition.components] == ["local", "python", "identity"]


def test_an_alias_is_understood_and_said() -> None:
    composition = Composition(backends=("onnx",), container_version="24.10")
    assert [component.name for component in composition.components] == ["onnxruntime"]
    assert len(composition.notes) == 1
    assert "onnxruntime" in composition.notes[0]


def test_a_python_based_backend_brings_python() -> None:
    catalog = BUILTIN.extended([{"name": "mine", "requires": ["python"]}])
    composition = Composition(backends=("mine",), container_version="24.10", catalog=catalog)
    assert {component.name for component in composition.components} == {"mine", "python"}


def test_a_release_newer_than_the_catalog_is_taken_and_said() -> None:
    composition = Composition(backends=("python",), container_version="30.01")
    assert composition.notes == ("release 30.01 is newer than the catalog; it is treated like 26.09",)


def test_the_newest_release_is_the_default() -> None:
    assert Composition(backends=("python",)).container_version == BUILTIN.newest()


@pytest.mark.parametrize(
    ("tag", "version"),
    [
        ("24.10-py3", "24.10"),
        ("24.10", "24.10"),
        ("24.10-vllm-python-py3", "24.10"),
        ("24.100", ""),
        ("24.13-py3", ""),
        ("mine", ""),
    ],
)
def test_the_release_is_that_of_the_full_images_tag(tag: str, version: str) -> None:
    images = {"full": f"mirror.example/n/tritonserver:{tag}", "min": "mirror.example/n/base:1"}
    assert Composition(backends=("python",), images=images).container_version == (version or BUILTIN.newest())
    if version:
        with pytest.raises(
            InvalidInputError, match=r"is release 24\.10 by its tag, and the composition is for release 24\.05"
        ):
            Composition(backends=("python",), images=images, container_version="24.05")


@pytest.mark.parametrize("runtime", ["copy", "install"])
@pytest.mark.parametrize("gpu", [True, False])
def test_a_server_without_components(runtime: str, gpu: bool) -> None:
    composition = Composition(runtime=runtime, enable_gpu=gpu, container_version="24.10")
    assert composition.components == ()
    assert composition.notes == ("no component is chosen: the image has the server alone",)
    text = containerfile(composition)
    assert text.startswith("# Triton Inference Server 24.10 with no component.\n")
    assert not re.search(r"^COPY .*/(backends|caches|repoagents)/", text, re.MULTILINE)
    assert re.search(r"^COPY --from=full .* /opt/tritonserver/bin$", text, re.MULTILINE)
    if runtime == "copy":
        assert json.loads(embedded.document(composition))["components"] == []


@pytest.mark.parametrize(
    ("user", "written"),
    [
        ("triton-server", "1000:1000"),
        ("triton-server:triton-server", "1000:1000"),
        ("triton-server:video", "1000:video"),
        ("triton-server:44", "1000:44"),
        ("app:triton-server", "app:1000"),
        ("app", "app"),
        ("1234", "1234"),
        ("1234:5", "1234:5"),
        ("", ""),
    ],
)
def test_the_servers_account_is_written_in_numbers(user: str, written: str) -> None:
    composition = Composition(backends=("python",), user=user)
    assert select(composition).user() == written
    assert json.loads(embedded.document(composition))["run_as"] == written
    assert re.findall(r"^USER (.*)$", containerfile(composition), re.MULTILINE)[-1] == (written or "root")


def test_source_images() -> None:
    def named(**keywords: Any) -> dict[str, str]:
        composition = Composition(backends=("python",), container_version="24.10", **keywords)
        return {name: str(reference) for name, reference in sources(composition).items()}

    assert named() == {
        "full": "nvcr.io/nvidia/tritonserver:24.10-py3",
        "min": "nvcr.io/nvidia/tritonserver:24.10-py3-min",
    }
    assert named(registry="mirror.example/n")["full"] == "mirror.example/n/tritonserver:24.10-py3"
    assert named(enable_gpu=False)["min"] == "docker.io/library/ubuntu:22.04"
    assert named(images={"full": "a", "min": "b:1"}) == {
        "full": "docker.io/library/a:latest",
        "min": "docker.io/library/b:1",
    }


def test_a_variant_with_another_cuda_than_the_base() -> None:
    """The image of tensorrtllm in 26.07 is built on CUDA 13.1, the release's min image has 13.3."""
    (_, note) = Composition(backends=("tensorrtllm",), container_version="26.07").notes
    assert note == (
        "the 'trtllm' image of release 26.07 has CUDA 13.1.0.036 and the base CUDA 13.3.1: of libraries that both have "
        "under one name, the image gets the base's; --base names another base"
    )
    for same in (
        Composition(backends=("tensorrtllm",), container_version="25.03"),
        Composition(backends=("tensorrtllm",), container_version="26.07", base="example.com/cuda:13.1"),
        Composition(backends=("vllm",), container_version="26.07"),
    ):
        assert not any("has CUDA" in note for note in same.notes)
