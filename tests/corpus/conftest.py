"""The root file system that the trees are laid over, and the server in each of them."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tests.corpus.chroot import Build, base_root
from tests.corpus.outcome import Tree
from tests.tiny.elves import Compiler


@pytest.fixture(scope="session")
def template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    if os.geteuid() != 0 or os.uname().machine != "x86_64":
        pytest.skip("a chroot needs root, and these trees x86-64")
    return base_root(tmp_path_factory.mktemp("template") / "root")


@pytest.fixture
def build(template: Path, tmp_path: Path) -> Build:
    return Build(folder=tmp_path, template=template)


@pytest.fixture
def server(compiler: Compiler) -> Tree:
    return {
        "opt/tritonserver/bin/tritonserver": compiler("tritonserver"),
        "opt/tritonserver/lib/libtritonserver.so": compiler("libtritonserver.so"),
    }
