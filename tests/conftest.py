"""Fixtures and options of all tests."""

from __future__ import annotations

import os
import re
import shutil
import stat
import tempfile
from collections.abc import Callable, Generator
from pathlib import Path
from typing import Any

import hypothesis
import pytest

from tests.bounds import bounded

pytest_plugins = ["tests.tiny.bench", "tests.tiny.elves"]

REQUIRE = "--require-engine"
DAEMONS = {"docker": "docker", "buildx": "docker", "nerdctl": "containerd", "buildctl": "containerd"}
"""Engine -> the daemon of its lab."""

# A busy machine fails no test.
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
    group.addoption("--update-golden", action="store_true", help="rewrite the golden files")


def pytest_configure(config: pytest.Config) -> None:
    """Give each worker its own temporary folder, because tests check that nothing is left in it."""
    if worker := os.environ.get("PYTEST_XDIST_WORKER"):
        folder = tempfile.mkdtemp(prefix=f"tb-{worker}-")
        config.add_cleanup(lambda: shutil.rmtree(folder, ignore_errors=True))
        os.environ["TMPDIR"] = tempfile.tempdir = folder


@pytest.hookimpl(wrapper=True)
def pytest_runtest_setup() -> Generator[None, object, object]:
    """Stop a fixture that waits without end."""
    with bounded():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_call() -> Generator[None, object, object]:
    """Stop a test that waits without end."""
    with bounded():
        return (yield)


@pytest.hookimpl(wrapper=True)
def pytest_runtest_teardown() -> Generator[None, object, object]:
    """Stop a teardown that waits without end."""
    with bounded():
        return (yield)


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Any) -> object:
    """Assign tests to workers by file, and tests with real engines by the daemon that they use."""
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - it need not be there

    class Scheduling(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            return share(nodeid)

    return Scheduling(config, log)


def share(nodeid: str) -> str:
    """Return the name of the group of tests that runs on one worker with this test."""
    file, _, test = nodeid.partition("::")
    if "/integration/" not in file:
        return file
    if file.endswith("test_embedded.py"):  # compares with docker's images
        return "docker"
    words = re.split(r"[\[\]-]", test)
    return next((DAEMONS[word] for word in words if word in DAEMONS), "containers")


@pytest.fixture(autouse=True)
def own_folders(tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch) -> None:
    """Keep the user's settings out of the tests, and the tests' logs out of the user's folders."""
    for variable in ("TRITONBUILD_ENGINE", "TRITONBUILD_CONFIG"):
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path_factory.getbasetemp() / "config"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path_factory.getbasetemp() / "state"))


@pytest.fixture
def golden(request: pytest.FixtureRequest) -> Callable[[Path, str], None]:
    """Return a function that compares text with a golden file, or rewrites it with --update-golden."""

    def compare(path: Path, text: str) -> None:
        if request.config.getoption("--update-golden"):
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        assert path.read_text(encoding="utf-8") == text

    return compare


@pytest.fixture
def fake_program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str, str], Path]:
    """Return a function that puts a shell script first on PATH and returns the file that records its calls.

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
