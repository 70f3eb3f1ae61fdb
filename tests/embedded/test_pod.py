"""The conditions of a pod in Kubernetes or OpenShift: any user id, no capabilities to speak of, a read-only root."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Final

import pytest

import tritonbuild
from tests import services
from tests.tiny import images as tiny
from tests.tiny.bench import Bench

pytestmark = pytest.mark.integration

USER: Final = "1000650000"
"""A user id of OpenShift, which no account has; its group is root."""

POD: Final = (
    *("unshare", "--mount", "sh", "-euc"),
    'folder=$1; shift; mount -t tmpfs -o mode=2777 tmpfs "$folder"; mount -o remount,bind,ro /; exec "$@"',
    "sh",
)
"""In a namespace of its own: a volume `emptyDir`, and a root file system that nobody can write to."""

ANY_USER: Final = (
    *("setpriv", f"--reuid={USER}", "--regid=0", "--clear-groups", "--no-new-privs"),
    *("--inh-caps=-all,+dac_read_search", "--ambient-caps=+dac_read_search", "--bounding-set=-all,+dac_read_search"),
)
"""The one capability is for the interpreter in the home of this test's user, which a pod does not have."""


def in_pod(folder: Path, env: Mapping[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run tritonbuild where *folder* is the only one that can be written to."""
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can mount, and become another user with setpriv")
    code = str(Path(tritonbuild.__file__).parents[1])
    return subprocess.run(
        [*POD, str(folder), *ANY_USER, sys.executable, "-m", "tritonbuild", "--container-version", "24.10", *words],
        env={"PATH": "/usr/bin:/bin", "PYTHONPATH": code, "PYTHONDONTWRITEBYTECODE": "1", **env},
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )


@pytest.fixture
def words(upstream: str, tmp_path: Path) -> list[str]:
    """Return the command line of a build that is pushed."""
    (tmp_path / "config.toml").write_text('[[component]]\nname = "a"\n')
    images = (f"full,{upstream}/src/{tiny.FULL}", f"min,{upstream}/src/{tiny.BASE}")
    named = [word for image in images for word in ("--image", image)]
    return ["--engine", "embedded", "--backend", "a", *named, "--opt", "push=true"]


@pytest.mark.parametrize(
    "variables",
    [
        {"TMPDIR": "{folder}"},
        {"TMPDIR": "{folder}", "HOME": "/"},
        {"XDG_CACHE_HOME": "{folder}"},
        {"XDG_CACHE_HOME": "{folder}/cache", "HOME": "/"},
        {"HOME": "{folder}"},
    ],
    ids=",".join,
)
def test_one_writable_folder_is_enough(
    variables: dict[str, str], words: list[str], upstream: str, bench: Bench, tmp_path: Path
) -> None:
    del bench  # it fills the registry
    folder, tag = tmp_path / "volume", f"{upstream}/pod/{'-'.join(variables).lower()}:1"
    folder.mkdir()
    env = {name: value.format(folder=folder) for name, value in variables.items()}
    env["TRITONBUILD_CONFIG"] = str(tmp_path / "config.toml")
    for parent in (tmp_path, *tmp_path.parents):
        parent.chmod(parent.stat().st_mode | 0o011)
    done = in_pod(folder, env, *words, "--output-name", tag)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("sha256:")
    assert services.digest(tag).startswith("sha256:")
    assert list(folder.iterdir()) == []  # the volume went with the pod


def test_without_a_writable_folder_one_hint_says_what_to_mount(words: list[str], tmp_path: Path) -> None:
    folder = tmp_path / "volume"
    folder.mkdir()
    env = {"TRITONBUILD_CONFIG": str(tmp_path / "config.toml"), "TMPDIR": "/nowhere"}
    done = in_pod(folder, env, *words)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "tritonbuild: no folder for temporary files can be written to\n"
        "hint: mount a writable folder at /tmp (in Kubernetes an emptyDir), or name one with TMPDIR\n"
    )
