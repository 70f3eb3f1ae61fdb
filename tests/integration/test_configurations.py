"""What source images say of themselves, out of real stores and a real registry."""

from __future__ import annotations

from tests.integration.labs import Lab
from tritonbuild import backends, configurations
from tritonbuild.composition import Composition


def test_named_images_are_known_without_a_pull(lab: Lab) -> None:
    images = lab.sources.references
    sources = ("--image", f"full,{images['cpu-full']}", "--image", f"min,{images['cpu-min']}")
    done = lab.tritonbuild("--backend", "python", *sources)
    assert done.returncode == 2, done.stderr
    assert f"the full image {images['cpu-full']} is for CPU, and the composition for GPU" in done.stderr


def test_the_store_tells_what_it_has(lab: Lab) -> None:
    engine, base = backends.get_backend(lab.engine), lab.sources.references["cpu-min"]
    composition = Composition(backends=["python"], container_version="24.10", base=base)
    if engine.config_query:
        lab.run("pull", "--quiet", base)
    found = configurations.read(composition, engine, {"pull": False}, lab.env)
    assert [list(env) for env in found.values()] == ([["PATH"]] if engine.config_query else [])
