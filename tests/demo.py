"""The demonstration: create source images, compose an image, and request an inference from it."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path

import tritonbuild
from tests import replica, services
from tests.replica import MODELS, ask
from tests.services.serving import Runner

TAG = "tritonbuild-demo:python"
MODEL = "add"


@contextmanager
def engine(root: Path, host: str) -> Iterator[tuple[Runner, Mapping[str, str]]]:
    """Yield an engine that can build and run: docker if its daemon answers, else podman with a storage of its own."""
    if tritonbuild.health("docker"):
        yield "docker", {}
        return
    with services.containers(root / "podman", insecure=[host]) as containers:
        yield "podman", containers.env


def say(text: str) -> None:
    print(f"\n== {text}", flush=True)


def size(env: Mapping[str, str], runner: Runner, image: str) -> int:
    """Return the bytes of an image in the runner's store."""
    program = services.programs.find_in(env, runner)
    return int(services.programs.run([program, "image", "inspect", "--format={{.Size}}", image], env=env))


def main() -> int:
    """Run the demonstration and return the exit code."""
    say("source images with NVIDIA's layout, from PyPI's and Debian's packages (made once)")
    made = replica.make()
    with ExitStack() as stack:
        root = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tritonbuild-demo-", dir="/var/tmp")))
        registry = stack.enter_context(services.registry(root / "registry"))
        references = made.push(registry.host)
        runner, env = stack.enter_context(engine(root, registry.host))
        command = [
            *("tritonbuild", "--engine", runner, "--backend", "python", "--container-version", "24.10"),
            *("--registry", f"{registry.host}/nvidia", "-t", TAG, "--quiet"),
        ]
        say(" ".join(command))
        program = [sys.executable, "-m", *command]
        subprocess.run(program, env={**os.environ, **env}, check=True)

        say(f"a server from {TAG}, with the model {MODEL!r}")
        models = root / "models"
        models.mkdir()
        subprocess.run(["cp", "-r", MODELS / MODEL, models], check=True)
        with services.serve(env, runner, TAG, models) as server:
            question = ask.QUESTIONS[MODEL]
            answer = ask.infer(server.url, MODEL, question)
            print(f"asked    {dict(question.inputs)}\nanswered {answer}")
        full, composed = size(env, runner, references["full"]), size(env, runner, TAG)
        say(f"full {full / 1e6:.0f} MB, composed {composed / 1e6:.0f} MB: {1 - composed / full:.0%} less")
        if runner == "docker":
            services.programs.run(["docker", "image", "rm", TAG], env=env)
    return 0 if answer == question.outputs else 1


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (services.ServiceError, services.MissingProgramError, replica.ReplicaError) as error:
        sys.exit(f"demo: {error}")
    except subprocess.CalledProcessError as error:
        sys.exit(error.returncode)
