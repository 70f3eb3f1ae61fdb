"""Scripts of a Containerfile that can be run outside of one: what they call, with stand-ins on the path."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import tritonbuild
from tests.corpus import chroot

SCRIPTS = Path(tritonbuild.__file__).parent / "scripts"


def pip(tmp_path: Path, *words: str, works: bool = True) -> tuple[subprocess.CompletedProcess[str], list[list[str]]]:
    """Run pip.sh with a python3 that writes down how pip is called."""
    folder, calls = tmp_path / "bin", tmp_path / "calls"
    folder.mkdir()
    program = folder / "python3"
    program.write_text(
        f"""#!/bin/sh
case $1 in
    -m)
        {"true" if works else "exit 1"}
        [ "$3" = --version ] || (IFS='\t'; printf '%s\\n' "$*" >> '{calls}')
        ;;
    -I) exec '{sys.executable}' -c "import sys; sys.executable = '{program}'
$3" ;;
esac
"""
    )
    program.chmod(0o755)
    env = {**os.environ, "PATH": f"{folder}:/usr/bin:/bin"}
    argv = ["/bin/sh", str(SCRIPTS / "pip.sh"), *words]
    done = subprocess.run(argv, env=env, capture_output=True, text=True, check=False)
    lines = calls.read_text().splitlines() if calls.exists() else []
    return done, [line.split("\t") for line in lines]


INSTALL = ["-m", "pip", "install", "--no-cache-dir", "--upgrade"]


def test_pip_is_called_once_for_each_group_of_words(tmp_path: Path) -> None:
    done, calls = pip(
        tmp_path, "pip", "--", "wheel", "numpy<2", "--", "--requirement=/a b/0.txt", "x; python_version>'3'"
    )
    assert done.returncode == 0, done.stderr
    assert calls == [
        [*INSTALL, "pip"],
        [*INSTALL, "wheel", "numpy<2"],
        [*INSTALL, "--requirement=/a b/0.txt", "x; python_version>'3'"],
    ]


def test_an_interpreter_without_pip_is_named(tmp_path: Path) -> None:
    done, calls = pip(tmp_path, "numpy", works=False)
    assert (done.returncode, calls) == (1, [])
    assert done.stderr == "tritonbuild: python3 has no pip in this image, so that no package can be installed\n"


AS_ROOT = pytest.mark.skipif(os.geteuid() != 0, reason="chroot takes root")


@AS_ROOT
@pytest.mark.parametrize("home", [None, "", "srv/homes"], ids=["no /home", "a folder", "a link"])
def test_the_servers_user_has_a_home(home: str | None, tmp_path: Path) -> None:
    root = chroot.base_root(tmp_path)
    if home is not None:
        (root / (home or "home")).mkdir(parents=True, mode=0o711)
        os.chown(root / (home or "home"), 0, 50)
    if home:
        (root / "home").symlink_to(f"/{home}")
    done = chroot.run(root, "base.sh", env={})
    assert done.returncode == 0, done.stderr
    made = root / "tritonbuild/accounts" / (home or "home")
    status = (made / "triton-server").stat()
    assert (status.st_uid, status.st_gid, status.st_mode & 0o777) == (1000, 1000, 0o755)
    above = made.stat()
    assert (above.st_uid, above.st_gid, above.st_mode & 0o777) == ((0, 0, 0o755) if home is None else (0, 50, 0o711))
    assert sorted(path.name for path in (root / "tritonbuild/accounts/etc").iterdir()) == ["group", "passwd"]


@AS_ROOT
def test_a_home_that_the_base_has_stays(tmp_path: Path) -> None:
    root = chroot.base_root(tmp_path)
    (root / "home/triton-server").mkdir(parents=True)
    assert chroot.run(root, "base.sh", env={}).returncode == 0
    assert not (root / "tritonbuild/accounts/home").exists()


@AS_ROOT
def test_the_loader_finds_a_package_in_a_folder_of_its_own(tmp_path: Path) -> None:
    root = chroot.base_root(tmp_path)
    folder = "/usr/lib/x86_64-linux-gnu/nvshmem/13"
    listed = (
        "/.",
        folder,
        f"{folder}/libnvshmem_host.so.3",
        f"{folder}/libnvshmem_host.so.3.4.5",
        "/usr/share/doc/a.so",
    )
    programs = {
        "apt-get": "exit 0",
        "curl": "exit 0",
        "dpkg": f"[ $1 != -L ] || printf '%s\\n' {' '.join(listed)}",
        "uname": "echo x86_64",
    }
    for name, body in programs.items():
        (root / "usr/bin" / name).write_text(f"#!/bin/sh\n{body}\n")
        (root / "usr/bin" / name).chmod(0o755)
    (root / "etc/os-release").write_text('ID=ubuntu\nVERSION_ID="24.04"\n')
    words = ("arch=x86_64", "ubuntu=24.04", "repository=r", "keyring=k", "nvidia=nvshmem", "loader=nvshmem")
    done = chroot.run(root, "packages.sh", *words, env={})
    assert done.returncode == 0, done.stderr
    assert (root / "etc/ld.so.conf.d/nvshmem.conf").read_text() == f"{folder}\n"
