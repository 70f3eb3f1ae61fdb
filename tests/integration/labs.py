"""The engines as the integration tests use them, each with an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import attrs

from tests.services import programs
from tests.services.serving import Runner


@attrs.frozen(kw_only=True)
class Sources:
    """The replica in a registry.

    Attributes:
        host: The registry.
        references: The source images by name.
    """

    host: str
    references: Mapping[str, str]

    @property
    def mirror(self) -> str:
        """What goes in place of nvcr.io/nvidia."""
        return f"{self.host}/nvidia"


@attrs.frozen(kw_only=True)
class Lab:
    """An engine that runs.

    Attributes:
        name: The test's name for it.
        engine: tritonbuild's name for it.
        env: What leads to it.
        runner: What runs its images.
        runner_env: What leads to that.
        root: The folder that holds all it stores.
        sources: The source images it can pull.
    """

    name: str
    engine: str
    env: Mapping[str, str]
    runner: Runner
    runner_env: Mapping[str, str]
    root: Path
    sources: Sources

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of tritonbuild, for this engine and the replica."""
        return [
            *(sys.executable, "-m", "tritonbuild", "--engine", self.engine),
            *("--registry", self.sources.mirror, "--container-version", "24.10", *arguments),
        ]

    def environment(self) -> dict[str, str]:
        """Return the whole environment tritonbuild is run with."""
        return {**os.environ, **self.env}

    def tritonbuild(self, *arguments: str, timeout: float = 900) -> subprocess.CompletedProcess[str]:
        """Run tritonbuild to its end, whatever that is."""
        return subprocess.run(
            self.command(*arguments),
            env=self.environment(),
            capture_output=True,
            text=True,
            timeout=timeout,
            check=False,
        )

    def build(self, *arguments: str) -> dict[str, Any]:
        """Build with success and return the result."""
        done = self.tritonbuild("--json", *arguments)
        assert done.returncode == 0, done.stderr[-6000:]
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    def run(self, *words: str) -> str:
        """Return what a command of the runner prints."""
        return programs.run([programs.find_in(self.runner_env, self.runner), *words], env=self.runner_env, timeout=600)

    def config(self, image: str) -> dict[str, Any]:
        """Return what the runner says of an image: `Config`, `RootFS`, `Size`."""
        (document,) = json.loads(self.run("image", "inspect", image))
        assert isinstance(document, dict)
        return document

    def layers(self, image: str) -> list[str]:
        """Return the digests of an image's unpacked layers, the base's first."""
        return list(self.config(image)["RootFS"]["Layers"])

    @contextlib.contextmanager
    def unpacked(self, image: str, folder: Path) -> Iterator[Path]:
        """Have the files of an image in *folder*."""
        name = f"unpacked-{os.getpid()}"
        self.run("create", f"--name={name}", "--pull=never", image, "true")
        try:
            archive = folder / "image.tar"
            self.run("export", f"--output={archive}", name)
            files = folder / "files"
            files.mkdir()
            programs.run(["tar", "-C", files, "-xpf", archive, "--numeric-owner"])
            archive.unlink()
            yield files
        finally:
            self.run("rm", "--force", name)


ENGINES = ("podman", "buildah", "docker", "docker-legacy")
"""Every lab's name."""


def needs(name: str) -> Sequence[str]:
    """Return the programs a lab cannot do without."""
    return {"podman": ("podman", "runc"), "buildah": ("buildah", "podman", "runc")}.get(name, ("dockerd", "runc"))
