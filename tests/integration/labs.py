"""The engines as the integration tests use them, each with an environment of its own."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from tests import services
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
        sources: The source images it can pull.
        by_hand: The words of its build command, as a user types them; a file, a context and a name come after.
        archives: Where it puts images for the runner to load, if it has no store of its own; None if it has.
        options: Other options of every build.
    """

    name: str
    engine: str
    env: Mapping[str, str]
    runner: Runner
    runner_env: Mapping[str, str]
    sources: Sources
    by_hand: tuple[str, ...]
    archives: Path | None = None
    options: tuple[str, ...] = ()

    def command(self, *arguments: str) -> list[str]:
        """Return the command line of tritonbuild, for this engine and the replica."""
        put_out = [] if self.archives is None else [f"--opt=output=type=docker,dest={self.archive}"]
        return [
            *(sys.executable, "-m", "tritonbuild", "--engine", self.engine, *put_out, *self.options),
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

    def build(self, *arguments: str, tag: str) -> dict[str, Any]:
        """Build with success, so that the runner has the image as *tag*; return the result."""
        done = self.tritonbuild("--json", "--output-name", tag, *arguments)
        assert done.returncode == 0, done.stderr[-6000:]
        if self.archives is not None:
            services.load(self.runner_env, self.runner, self.archive)
            self.archive.unlink()
        result = json.loads(done.stdout)
        assert isinstance(result, dict)
        return result

    @property
    def archive(self) -> Path:
        """The file an image goes through on its way to the runner."""
        assert self.archives is not None
        return self.archives / "image.tar"

    def build_by_hand(self, file: Path, context: Path, tag: str) -> None:
        """Build a Containerfile with the engine's own command line, without a network."""
        words = [
            word.format(file=file, folder=file.parent, name=file.name, context=context, tag=tag)
            for word in self.by_hand
        ]
        programs.run([programs.find_in(self.env, words[0]), *words[1:]], env=self.env, timeout=900)

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
        """Have the files of an image in *folder* for a while."""
        name = f"unpacked-{os.getpid()}"
        self.run("create", f"--name={name}", "--pull=never", "--network=none", image, "true")
        try:
            archive = folder / "image.tar"
            self.run("export", f"--output={archive}", name)
            files = folder / "files"
            files.mkdir()
            programs.run(["tar", "-C", files, "-xpf", archive, "--numeric-owner"])
            archive.unlink()
            yield files
        finally:
            shutil.rmtree(folder / "files", ignore_errors=True)
            self.run("rm", "--force", name)


ENGINES = ("podman", "buildah", "docker", "docker-legacy", "buildx", "nerdctl", "buildctl")
"""The labs whose engines read Containerfiles."""

EMBEDDED = "embedded"
"""The lab of the engine that reads none; podman runs what it writes."""

_PLAIN = ("build", "--network=none", "--file={file}", "--tag={tag}", "{context}")
BY_HAND = {
    "podman": ("podman", *_PLAIN),
    "buildah": ("buildah", *_PLAIN),
    "docker": ("docker", *_PLAIN),
    "docker-legacy": ("docker", *_PLAIN),
    "buildx": ("docker", "buildx", "build", "--load", *_PLAIN[1:]),
    "nerdctl": ("nerdctl", *_PLAIN),
    "buildctl": (
        *("buildctl", "build", "--frontend=dockerfile.v0", "--local=context={context}", "--local=dockerfile={folder}"),
        *("--opt=filename={name}", "--opt=force-network-mode=none"),
    ),
}
"""What a user types, by lab."""
