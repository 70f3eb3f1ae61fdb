"""Root file systems of this machine's programs, in which the scripts of a build run as in an image."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType

import attrs

import tritonbuild
from tests.corpus.outcome import Outcome, Tree
from tests.corpus.planner import ENVIRONMENT, planned

SCRIPTS = Path(tritonbuild.__file__).parent / "scripts"
PROGRAMS = (
    *("awk", "bash", "cat", "chmod", "chown", "chroot", "cksum", "comm", "cp", "cut", "find", "grep", "head"),
    *("ldconfig", "ldd", "uname"),
    *("ls", "mkdir", "mktemp", "od", "readlink", "rm", "sed", "sh", "sort", "stat", "tail", "touch", "tr", "xargs"),
)
CONFIGURED = "etc/ld.so.conf.d/tritonbuild.conf"
NAMED = re.compile("tritonbuild: (.*) names (.*), which is brought\n")


def plant(root: Path, tree: Tree) -> None:
    """Write files into *root*."""
    for name, content in tree.items():
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.unlink(missing_ok=True)
        if isinstance(content, str):
            path.symlink_to(content)
        else:
            path.write_bytes(content)
            path.chmod(0o755)


def base_root(root: Path) -> Path:
    """Make a root file system with the programs of the scripts and the libraries that these need."""
    files: set[str] = {"/lib64/ld-linux-x86-64.so.2"}
    for name in PROGRAMS:
        program = shutil.which(name, path=ENVIRONMENT["PATH"])
        assert program, f"this machine has no {name}"
        files.add(program)
        needed = subprocess.run(["ldd", program], capture_output=True, text=True, check=False).stdout
        files.update(re.findall(r"(?:=> )?(/\S+) \(0x", needed))
    for folder in ("usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/lib64", "etc/ld.so.conf.d", "tmp", "dev"):
        (root / folder).mkdir(parents=True)
    for link in ("bin", "sbin", "lib", "lib64"):
        (root / link).symlink_to(f"usr/{link}")
    for name in sorted(files):
        file = Path(name)
        target = root / str(file.parent.resolve()).lstrip("/") / file.name
        target.parent.mkdir(parents=True, exist_ok=True)
        if not target.exists():
            shutil.copy2(file.resolve(), target)
    (root / "dev/null").touch()
    (root / "etc/ld.so.conf").write_text("include /etc/ld.so.conf.d/*.conf\n")
    (root / "etc/ld.so.conf.d/multiarch.conf").write_text("/usr/lib/x86_64-linux-gnu\n")
    (root / "etc/passwd").write_text("root:x:0:0:root:/root:/bin/sh\n")
    (root / "etc/group").write_text("root:x:0:\n")
    return root


def run(root: Path, script: str, *arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    """Run a script of a build in *root*."""
    shutil.copy(SCRIPTS / script, root / "tmp" / script)
    argv = ["chroot", str(root), "/bin/sh", f"/tmp/{script}", *arguments]
    environment = {**ENVIRONMENT, **env}
    return subprocess.run(argv, env=environment, capture_output=True, text=True, check=False, timeout=120)


@attrs.frozen(kw_only=True)
class Build:
    """The stages of a build, each in a folder."""

    folder: Path
    template: Path

    def root(self, name: str) -> Path:
        target = self.folder / name
        subprocess.run(["cp", "-al", str(self.template), str(target)], check=True)
        # the scripts write these
        for file in ("passwd", "group"):
            content = (target / "etc" / file).read_bytes()
            (target / "etc" / file).unlink()
            (target / "etc" / file).write_bytes(content)
        return target

    def compose(
        self,
        base: Tree,
        full: Tree,
        arguments: Iterable[str],
        *,
        full_env: Mapping[str, str] | None = None,
        base_env: Mapping[str, str] | None = None,
        composed_env: Mapping[str, str] | None = None,
        left_out: Sequence[str] = (),
        checked: Sequence[str] = (),
        files: Mapping[str, Tree | bytes] | None = None,
    ) -> Outcome:
        """Compose *base* and *full*, which has the files of *base* too, with the scripts and with the embedded planner.

        The composed image has the environment of neither, but *composed_env*.

        Args:
            base: The base image.
            full: The further files of the full image.
            arguments: Those of `runtime.sh`.
            full_env: The environment of the full image.
            base_env: The environment of the base image.
            composed_env: The environment of the composed image.
            left_out: Arguments of `trim.sh`, which is run if there are any.
            files: The user's files and folders, by their paths in the image.
            checked: Arguments of `check.sh`. With these or *left_out*, only the scripts run.

        Returns:
            The outcome of the scripts, which that of the planner equals.
        """
        arguments = [*arguments]
        if left_out or checked:
            return self.scripted(base, full, arguments, full_env or {}, base_env or {}, left_out, checked)
        context = self.folder / "context"
        for number, content in enumerate((files or {}).values()):
            tree = {"": content} if isinstance(content, bytes) else {f"/{name}": one for name, one in content.items()}
            plant(context, {f"files/{number}{name}": one for name, one in tree.items()})
        added = dict(enumerate(files or {}))
        outcome = self.scripted(
            base,
            full,
            arguments,
            full_env or {},
            base_env or {},
            composed_env=composed_env or {},
            added=[*added.values()],
        )
        other = planned(
            self.template, base, full, arguments, full_env or {}, base_env or {}, composed_env or {}, context, added
        )
        differences = outcome.differences(other)
        assert not differences, differences
        return outcome

    def scripted(  # noqa: PLR0917 - as `compose` takes them
        self,
        base: Tree,
        full: Tree,
        arguments: Iterable[str],
        full_env: Mapping[str, str],
        base_env: Mapping[str, str],
        left_out: Sequence[str] = (),
        checked: Sequence[str] = (),
        composed_env: Mapping[str, str] = MappingProxyType({}),
        added: Sequence[str] = (),
    ) -> Outcome:
        """Run the scripts of the `copy` runtime."""
        below, above, composed = (self.root(name) for name in ("base", "full", "composed"))
        for root in (below, above, composed):
            plant(root, base)
        plant(above, full)
        done = run(below, "base.sh", env=base_env)
        assert done.returncode == 0, done.stderr
        subprocess.run(["ldconfig", "-r", str(above)], check=True)
        shutil.copytree(below / "tritonbuild", above / "tritonbuild" / "base")
        if left_out:
            done = run(above, "trim.sh", *left_out, env={})
            assert done.returncode == 0, done.stderr
        if added:
            shutil.copytree(self.folder / "context/files", above / "tritonbuild/files", symlinks=True)
            done = run(above, "files.sh", *added, env={})
            assert done.returncode == 0, done.stderr
        done = run(above, "runtime.sh", *arguments, env=full_env)
        assert done.returncode == 0, done.stderr
        runtime = above / "tritonbuild" / "runtime"
        files = {
            os.path.relpath(path, runtime): path for path in runtime.rglob("*") if path.is_symlink() or path.is_file()
        }
        subprocess.run(["cp", "-a", f"{above}/opt", str(composed)], check=True)
        subprocess.run(["cp", "-a", f"{runtime}/.", str(composed)], check=True)
        (composed / "tritonbuild").mkdir()
        for number, path in enumerate(added):
            source, target = self.folder / f"context/files/{number}", composed / path[1:]
            target.parent.mkdir(parents=True, exist_ok=True)
            subprocess.run(["cp", "-a", "-T", str(source), str(target)], check=True)
        if added:
            shutil.copy(above / "tritonbuild/files.list", composed / "tritonbuild/files.all")
        for kind in ("list", "missing", "python"):
            shutil.copy(above / "tritonbuild" / f"runtime.{kind}", composed / "tritonbuild")
        shutil.copytree(above / "tritonbuild" / "runtime.other", composed / "tritonbuild" / "runtime.other")
        named = [(name, os.path.realpath(f"{above}{file}")) for file, name in NAMED.findall(done.stderr)]
        done = run(composed, "check.sh", *checked, env=composed_env)
        folders = (runtime / CONFIGURED).read_text().splitlines() if (runtime / CONFIGURED).exists() else ()
        written = composed / "tritonbuild" / "checked"
        files |= {os.path.relpath(path, written): path for path in written.rglob("*") if path.is_file()}
        return Outcome(
            files=frozenset(name for name in files if not name.startswith("etc/ld.so.")),
            links={name: str(path.readlink()) for name, path in files.items() if path.is_symlink()},
            folders=frozenset(folders),
            opened=frozenset((name, file.removeprefix(str(above)).replace("\1", "\n")) for name, file in named),
            messages=tuple(done.stderr.split("tritonbuild: ")[1:]),
            passed=done.returncode == 0,
        )
