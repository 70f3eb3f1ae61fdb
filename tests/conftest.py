"""What all tests share."""

from __future__ import annotations

import os
import shutil
import stat
import tempfile
from collections.abc import Callable
from pathlib import Path

import hypothesis
import pytest

REQUIRE = "--require-engine"

# No test fails because a machine is busy.
hypothesis.settings.register_profile(
    "tritonbuild", deadline=None, suppress_health_check=[hypothesis.HealthCheck.too_slow]
)
hypothesis.settings.load_profile("tritonbuild")


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("tritonbuild")
    group.addoption(
        REQUIRE,
        action="append",
        default=[],
        metavar="ENGINE",
        help="fail instead of skip when this engine is missing; repeatable; 'all' for every one",
    )
    group.addoption("--update-golden", action="store_true", help="write the golden files anew")


def pytest_configure() -> None:
    """Give each worker a temporary folder of its own: tests look at what is left in it."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = Path(tempfile.gettempdir()) / f"tb-{worker}-{os.getpid()}"
        folder.mkdir()
        os.environ["TMPDIR"] = tempfile.tempdir = str(folder)


def pytest_unconfigure() -> None:
    if "PYTEST_XDIST_WORKER" in os.environ:
        shutil.rmtree(tempfile.gettempdir(), ignore_errors=True)


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's settings out of the tests, and the tests' logs out of the user's folders."""
    for variable in ("TRITONBUILD_ENGINE", "TRITONBUILD_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Return a function that compares text with a golden file, or writes it with --update-golden."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text

    return compare


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return a function that puts a shell script on PATH, first; it returns the file that records its calls.

    Each call adds a line with the arguments, separated by tabs.
    """
    folder = tmp_path / "bin"
    folder.mkdir()
    monkeypatch.setenv("PATH", f"{folder}{os.pathsep}{os.environ['PATH']}")

    def make(name: str, script: str) -> Path:
        calls = tmp_path / f"{name}.calls"
        program = folder / name
        program.write_text(
            f"""#!/bin/sh
(IFS='\t'; printf '%s\\n' "$*" >> '{calls}')
{script}
"""
        )
        program.chmod(program.stat().st_mode | stat.S_IXUSR)
        return calls

    return make
