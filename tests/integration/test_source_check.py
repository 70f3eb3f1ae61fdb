"""What source images say of themselves, out of real stores and a real registry."""

from __future__ import annotations

import pytest

from tests.integration.labs import Lab
from tritonbuild import backends, source_check
from tritonbuild.composition import Composition
from tritonbuild.errors import InvalidInputError


def test_the_registry_tells_without_a_pull(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_check, "TIMEOUT", 120.0)  # a busy machine may answer late
    images = {"full": lab.sources.references["cpu-full"], "min": lab.sources.references["min"]}
    composition = Composition(backends=["python"], container_version="24.10", images=images)
    found = source_check.read(composition, backends.get_backend(lab.engine), {}, lab.env)
    assert found["full"]["NVIDIA_TRITON_SERVER_VERSION"] == "24.10"
    assert found["min"]["CUDA_VERSION"] == "12.6.2.004"
    with pytest.raises(InvalidInputError, match="cpu-only-py3 is for CPU, and the composition for GPU"):
        source_check.check(composition, found)


def test_the_store_tells_what_it_has(lab: Lab) -> None:
    engine, base = backends.get_backend(lab.engine), lab.sources.references["cpu-min"]
    composition = Composition(backends=["python"], container_version="24.10", base=base)
    if engine.config_query:
        lab.run("pull", "--quiet", base)
    found = source_check.read(composition, engine, {"pull": False}, lab.env)
    assert [list(env) for env in found.values()] == ([["PATH"]] if engine.config_query else [])
