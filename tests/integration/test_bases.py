"""The bases slim and scratch: small images that serve, composed by engines of each kind."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests import services
from tests.integration.compare import Image
from tests.integration.labs import EMBEDDED, Lab
from tests.integration.test_compose import models
from tests.replica import Replica, ask
from tests.replica.push import push

SELECTION = ("--backend", "python", "--cache", "local", "--user", "triton-server")
UBUNTU = "library/ubuntu:22.04"
ON_PODMAN = (("podman", "slim"), ("podman", "scratch"))
ON_EACH = (*ON_PODMAN, ("docker", "scratch"), (EMBEDDED, "slim"), (EMBEDDED, "scratch"))
"""Labs and bases. The files of an image are the same with every engine (`test_embedded`), with other bases too."""
ENGINES = pytest.mark.parametrize(("lab", "on_base"), ON_EACH, indirect=True, scope="session")
PODMAN = pytest.mark.parametrize(("lab", "on_base"), ON_PODMAN, indirect=True, scope="session")
LARGEST = {"scratch": 0.25, "slim": 0.32}
"""Base -> the share of full's bytes that the image has at most."""


@attrs.frozen(kw_only=True)
class OnBase:
    """An image on a base, with the lab that composed it."""

    lab: Lab
    base: str
    tag: str


@pytest.fixture(scope="session")
def on_base(request: pytest.FixtureRequest, lab: Lab, made_replica: Replica) -> OnBase:
    """The replica with the python backend and the local cache; the base of the CPU flavor takes the place of Ubuntu."""
    base, tag = request.param, f"tritonbuild-test/{lab.name}:{request.param}"
    words: tuple[str, ...] = ()
    if base == "slim" and lab.engine == EMBEDDED:
        push(made_replica.layout, lab.sources.host, {UBUNTU: made_replica.images["cpu-min"].digest})
        words = (f"--opt=mirror=docker.io={lab.sources.host}",)
    elif base == "slim":
        for name in ("full", "cpu-min"):
            lab.run("pull", lab.sources.references[name])
        lab.run("tag", lab.sources.references["cpu-min"], f"docker.io/{UBUNTU}")
        words = ("--skip-pull",)
    lab.build(*SELECTION, "--base", base, *words, tag=tag)
    return OnBase(lab=lab, base=base, tag=tag)


@ENGINES
def test_it_serves(on_base: OnBase, tmp_path: Path) -> None:
    lab = on_base.lab
    (tmp_path / "links").mkdir()
    repository = models(tmp_path / "links", "add")
    with services.serve(
        lab.runner_env,
        lab.runner,
        on_base.tag,
        repository,
        program=() if on_base.base == "scratch" else ("tritonserver",),
        arguments=["--cache-config=local,size=1048576"],
    ) as server:
        assert ask.wrong(server.url, ["add"]) == {}


@ENGINES
def test_it_is_a_small_part_of_full(on_base: OnBase, made_replica: Replica) -> None:
    size, full = on_base.lab.config(on_base.tag)["Size"], made_replica.images["full"].unpacked
    print(f"{on_base.lab.name}, {on_base.base}: {size:,} bytes, {size / full:.1%} of full")
    assert size <= LARGEST[on_base.base] * full


@PODMAN
def test_its_modules_can_be_imported(on_base: OnBase) -> None:
    full = Image(lab=on_base.lab, reference=on_base.lab.sources.references["full"])
    on_base.lab.run("pull", full.reference)
    names = full.modules()
    broken = full.unimported(names)
    composed = attrs.evolve(full, reference=on_base.tag)
    assert composed.unimported([name for name in names if name not in broken]) == {}
    assert {"numpy", "pip"} <= {*names} - {*broken}


@PODMAN
def test_the_tests_of_numpy_are_left_out(on_base: OnBase) -> None:
    program = "import numpy, pathlib; print(*pathlib.Path(numpy.__file__).parent.rglob('tests/*.py'))"
    assert Image(lab=on_base.lab, reference=on_base.tag).run("python3", "-c", program).split() == []


@ENGINES
def test_its_configuration(on_base: OnBase) -> None:
    config = on_base.lab.config(on_base.tag)["Config"]
    env = dict(pair.split("=", 1) for pair in config["Env"])
    assert env["NVIDIA_DRIVER_CAPABILITIES"] == "compute,utility,video"
    assert env["PATH"] == "/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    script = "/opt/nvidia/nvidia_entrypoint.sh"
    assert config["Entrypoint"] == ["/opt/tritonserver/bin/tritonserver" if on_base.base == "scratch" else script]
    base = config["Labels"].get("org.opencontainers.image.base.name")
    assert base == (None if on_base.base == "scratch" else f"docker.io/{UBUNTU}")
