"""Engines from elsewhere: modules, files, installed packages, and the worked example for Lima."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from tests.test_cli import run
from tritonbuild import backends
from tritonbuild.backends import _plugins
from tritonbuild.errors import InvalidInputError, TritonBuildError

LIMA = Path(__file__).parent.parent / "docs" / "examples" / "lima.py"
ID = "sha256:" + "0b" * 32
FakeProgram = Callable[[str, str], Path]

ENGINE = """
import tritonbuild
tritonbuild.register_backend("mine", health=lambda: True, construct_build_args=lambda *, file, **_: ["--file=" + file])
"""


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Leave the registry and the modules as they were."""
    monkeypatch.setattr(backends, "_registered", dict(backends._registered))
    before = set(sys.modules)
    yield
    for name in set(sys.modules) - before:
        if name.startswith(("tritonbuild_plugin_", "plugged")):
            del sys.modules[name]


def test_a_file_is_loaded_once(tmp_path: Path) -> None:
    file = tmp_path / "engines.py"
    file.write_text(ENGINE)
    _plugins.load(str(file))
    _plugins.load(str(file))
    assert backends.get_backend("mine").binary == "mine"


def test_a_module(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "plugged.py").write_text(ENGINE)
    monkeypatch.syspath_prepend(tmp_path)
    _plugins.load("plugged")
    assert backends.get_backend("mine").binary == "mine"


def installed(folder: Path, module: str) -> None:
    """Make *folder* look like a site folder with a package that announces *module*."""
    metadata = folder / "plugged-1.dist-info"
    metadata.mkdir()
    (metadata / "METADATA").write_text("Metadata-Version: 2.1\nName: plugged\nVersion: 1\n")
    (metadata / "entry_points.txt").write_text(f"[{_plugins.GROUP}]\nmine = {module}\n")


def test_an_installed_package_is_found_by_the_library_and_the_command_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "plugged.py").write_text(ENGINE)
    installed(tmp_path, "plugged")
    monkeypatch.syspath_prepend(tmp_path)
    assert backends.get_backend("mine").binary == "mine"
    code, output, _ = run("engines", "--json", PYTHONPATH=str(tmp_path))
    assert code == 0
    assert [record["ok"] for record in json.loads(output) if record["engine"] == "mine"] == [True]
    assert run("health", "mine", PYTHONPATH=str(tmp_path)) == (0, "", "")


BROKEN = [
    ("raise ValueError('what')", "plug-in {file!r} cannot be loaded: ValueError: what"),
    ("import nonsense_that_is_not_there", "plug-in {file!r} cannot be loaded: ModuleNotFoundError: "),
    ("def", "plug-in {file!r} cannot be loaded: SyntaxError: "),
    (
        "import tritonbuild\ntritonbuild.register_backend('podman', health=bool, construct_build_args=list)",
        "engine 'podman' is registered already",
    ),
]


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[row[0][:20] for row in BROKEN])
def test_a_plug_in_that_breaks(text: str, message: str, tmp_path: Path) -> None:
    file = tmp_path / "engines.py"
    file.write_text(text)
    with pytest.raises(TritonBuildError) as caught:
        _plugins.load(str(file))
    assert str(caught.value).startswith(message.format(file=str(file)))
    assert (caught.value.hint == "fix the plug-in, or leave it out") == ("cannot be loaded" in message)


@pytest.mark.parametrize("name", ["nonsense_that_is_not_there", "./none.py", "/"])
def test_a_plug_in_that_is_not_there(name: str) -> None:
    with pytest.raises(InvalidInputError):
        _plugins.load(name)


def test_the_command_line_builds_with_a_plug_in(fake_program: FakeProgram, tmp_path: Path) -> None:
    calls = fake_program("mine", "echo built")
    file = tmp_path / "engines.py"
    file.write_text(ENGINE)
    code, _, error = run("--plugin", str(file), "--engine", "mine", "--backend", "python", "--opt", "colour=red")
    assert (code, error) == (0, "built\n")
    assert calls.read_text().startswith("build\t--file=")
    config = tmp_path / "config.toml"
    config.write_text('plugins = ["engines.py"]\n')
    assert run("health", "mine", TRITONBUILD_CONFIG=str(config)) == (0, "", "")


# --- the worked example

LIMACTL = f"""
case "$*" in
    list*) echo "$STATUS" ;;
    *workers*) exit "$BUILDKIT" ;;
    *) for token; do case $token in --iidfile=*) printf '{ID}' > "${{token#--iidfile=}}" ;; esac; done ;;
esac
"""


def lima(*arguments: str, status: str = "Running", buildkit: str = "0", tmp: str = "/tmp/lima") -> tuple[int, str, str]:
    Path("/tmp/lima").mkdir(exist_ok=True)
    return run("--plugin", str(LIMA), *arguments, STATUS=status, BUILDKIT=buildkit, TMPDIR=tmp)


def test_lima_builds(fake_program: FakeProgram) -> None:
    calls = fake_program("limactl", LIMACTL)
    code, output, error = lima("--engine", "lima", "--backend", "python", "-t", "me/triton:1")
    assert (code, output, error) == (0, f"{ID}\n", "")
    (words,) = [line.split("\t") for line in calls.read_text().splitlines() if "\tbuild\t" in line]
    assert words[:4] == ["shell", "default", "nerdctl", "build"]
    assert {"--tag=me/triton:1", "--network=none"} <= set(words)
    assert any(word.startswith("--file=/tmp/lima/tritonbuild-") for word in words)


LIMA_REASONS = [
    ({"status": "Stopped"}, "the machine default does not run", "limactl start default"),
    (
        {"buildkit": "1"},
        "no buildkitd answers in the machine default",
        "limactl shell default systemctl --user start buildkit",
    ),
    ({"tmp": "/var/tmp"}, "the temporary folder /var/tmp is not shared with the machine", "set TMPDIR=/tmp/lima"),
]


@pytest.mark.parametrize(("state", "reason", "hint"), LIMA_REASONS, ids=[row[1] for row in LIMA_REASONS])
def test_lima_is_not_healthy(state: dict[str, str], reason: str, hint: str, fake_program: FakeProgram) -> None:
    fake_program("limactl", LIMACTL)
    code, output, error = lima("health", "-v", "lima", **state)
    assert (code, output) == (3, "")
    assert error == f"tritonbuild: engine 'lima' is not healthy: {reason}\nhint: {hint}\n"


def test_lima_is_not_installed() -> None:
    code, _, error = run("--plugin", str(LIMA), "health", "-v", "lima", PATH="/nowhere", TMPDIR="/tmp/lima")
    assert (code, "limactl is not installed" in error) == (3, True)


def test_the_conformance_checks_find_what_is_wrong(fake_program: FakeProgram, tmp_path: Path) -> None:
    """An engine that always says yes and does nothing does not conform."""
    fake_program("mine", "exit 0")
    file = tmp_path / "engines.py"
    file.write_text(ENGINE)
    words = [sys.executable, "-m", "tritonbuild.testing", "mine", "--plugin", str(file), "--base", "localhost/base:1"]
    done = subprocess.run(words, capture_output=True, text=True, env={**os.environ}, check=False)
    assert done.returncode == 1
    rows = [line.split(":", 1)[0].split() for line in done.stdout.splitlines()[:-1]]
    lines = {name: verdict for verdict, name in rows}
    assert lines["healthy"] == "passed"
    assert lines["a_step_that_fails_is_an_error"] == "FAILED"
    assert lines["a_time_out_leaves_nothing_running"] == "FAILED"
