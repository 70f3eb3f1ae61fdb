"""Client tools out of an sdk image, with what they need, on a base that has none of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import services
from tests.integration.conftest import make_lab
from tests.integration.labs import Lab, Sources
from tests.replica.compiler import Compiler
from tests.services import programs

PROGRAM = '#include <stdio.h>\nint main(void) { return puts("a client") < 0; }\n'


@pytest.fixture
def lab(request: pytest.FixtureRequest, sources: Sources) -> Lab:
    return make_lab(request, "podman", sources)


@pytest.fixture
def sdk(containers: services.Containers, sources: Sources, tmp_path: Path) -> None:
    """An sdk image in the registry; its program needs a library of its own, which needs one of the system's."""
    install = tmp_path / "install"
    library = Compiler(install).link("lib/libclient.so", ["standin.c"], needed=["libacme_deep.so.2"])
    for folder in ("bin", "python"):
        (install / folder).mkdir()
    (install / "python" / "tritonclient.whl").touch()
    (tmp_path / "main.c").write_text(PROGRAM)
    words = ["gcc", "-o", str(install / "bin" / "client"), str(tmp_path / "main.c"), "-Wl,--no-as-needed"]
    programs.run([*words, "-Wl,--unresolved-symbols=ignore-in-shared-libs", str(library)])
    (tmp_path / "Containerfile").write_text(f"FROM {sources.references['full']}\nCOPY install /workspace/install\n")
    tag = f"{sources.mirror}/tritonserver:24.10-py3-sdk"
    words = ["buildah", "build", "--network=none", f"--file={tmp_path / 'Containerfile'}", f"--tag={tag}"]
    programs.run([*words, tmp_path], env=containers.env, timeout=600)
    programs.run(["buildah", "push", tag], env=containers.env, timeout=600)


def test_clients_run(sdk: None, lab: Lab, tmp_path: Path) -> None:
    tag = "tritonbuild-test/clients"
    base = lab.sources.references["cpu-min"]
    lab.build("--backend", "repeat", "--features", "clients", "--base", base, tag=tag)
    assert lab.run("run", "--rm", "--network=none", tag, "client").endswith("\na client\n")
    with lab.unpacked(tag, tmp_path) as files:
        assert (files / "workspace/install/python/tritonclient.whl").exists()
        assert (files / "etc/ld.so.conf.d/tritonbuild-sdk.conf").read_text() == "/workspace/install/lib\n"
        assert (files / "usr/lib/x86_64-linux-gnu/libacme_deep.so.2").exists()
