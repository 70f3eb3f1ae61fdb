"""The bases that need no reference: the plain Ubuntu of a release."""

from __future__ import annotations

import re
from typing import Any

import pytest

from tritonbuild.composition import Composition, select
from tritonbuild.recipe import containerfile


def compose(**keywords: Any) -> Composition:
    return Composition(**{"backends": ("python",), "container_version": "24.10", **keywords})


@pytest.mark.parametrize(("release", "ubuntu"), [("22.01", "20.04"), ("24.10", "22.04"), ("26.08", "24.04")])
@pytest.mark.parametrize("gpu", [True, False])
def test_slim_is_the_ubuntu_of_the_release(release: str, ubuntu: str, gpu: bool) -> None:
    selection = select(compose(container_version=release, base="slim", enable_gpu=gpu))
    assert str(selection.sources["min"]) == f"docker.io/library/ubuntu:{ubuntu}"
    assert selection.labels()["org.opencontainers.image.base.name"] == f"docker.io/library/ubuntu:{ubuntu}"
    text = containerfile(selection.composition)
    assert (
        re.findall(r"^FROM (\S+) AS (?:base-content|composed)$", text, re.MULTILINE)
        == [f"docker.io/library/ubuntu:{ubuntu}"] * 2
    )


def test_min_is_the_default() -> None:
    assert compose(base="min") == compose(base="") == compose()
    assert str(select(compose(base="min")).sources["min"]) == "nvcr.io/nvidia/tritonserver:24.10-py3-min"


def test_another_full_image_goes_with_slim() -> None:
    found = select(compose(images={"full": "me/full:1"}, base="slim")).sources
    assert {name: str(image) for name, image in found.items()} == {
        "full": "docker.io/me/full:1",
        "min": "docker.io/library/ubuntu:22.04",
    }


def test_a_base_that_may_not_be_nvidias_gets_the_variables_of_gpus_and_keeps_its_own() -> None:
    variables = {
        "NVIDIA_VISIBLE_DEVICES": "${NVIDIA_VISIBLE_DEVICES:-all}",
        "NVIDIA_DRIVER_CAPABILITIES": "${NVIDIA_DRIVER_CAPABILITIES:-compute,utility,video}",
    }
    for base in ("slim", "debian:12"):
        env = select(compose(base=base)).variables()
        assert {name: env[name] for name in variables} == variables
        assert not variables.keys() & select(compose(base=base, enable_gpu=False)).variables().keys()
    assert not variables.keys() & select(compose()).variables().keys()
