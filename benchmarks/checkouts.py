"""Compare this checkout with another one: the start of the program, and builds of the embedded engine.

    python -m benchmarks.checkouts OTHER [--embedded FOLDER] [--megabytes N] [--runs N]

Both checkouts run in this interpreter's environment, in turn, in the same minutes. Without `--embedded` only the start
is measured, which takes seconds. With it, source images of ten large components are made in FOLDER (kept for the next
time), a registry is started, and each checkout builds from it and pushes to it, with a cache of its own:

- a first build, with an empty cache
- an indexed build, with the indexes of the source layers and none of its layers
- a next selection, with one component more than the build before

Each figure is this checkout / the other one: medians, and the median of the ratios. CPU time counts the processes of
tritonbuild, not the registry's.
"""

from __future__ import annotations

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Final

from benchmarks import embedded_sources
from benchmarks.pairs import Argv, Cost, alternate, compare, cost
from tests import services
from tests.replica import oci
from tests.replica.push import push

HERE: Final = Path(__file__).parents[1]
FIRST: Final = embedded_sources.COMPONENTS[:3]
MORE: Final = embedded_sources.COMPONENTS[3:]
"""The components that next selections add, one each time; so there are at most as many runs."""

START: Final = {
    "python -c pass, twice": ("-c", "pass"),  # the noise of this machine
    "import tritonbuild": ("-c", "import tritonbuild"),
    "import tritonbuild, every public name": ("-c", "from tritonbuild import *"),
    "--version": ("-m", "tritonbuild", "--version"),
    "--help": ("-m", "tritonbuild", "--help"),
    "render": ("-m", "tritonbuild", "render", "--quiet", "--backend", "python"),
}


def within(checkout: Path, *arguments: str) -> Argv:
    """Return the command that runs Python in a checkout, which comes before all else on its module path."""
    return ("env", f"--chdir={checkout}", f"PYTHONPATH={checkout}", sys.executable, *arguments)


def show(title: str, figure: object) -> None:
    """Print a figure."""
    print(f"{title:<38} {figure}", flush=True)


def start(other: Path, runs: int) -> None:
    """Compare the start of the program, with compiled files outside of both checkouts."""
    with tempfile.TemporaryDirectory(prefix="tritonbuild-bench-") as compiled:
        for title, arguments in START.items():
            pair = compare(
                within(HERE, *arguments), within(other, *arguments), runs=runs, env={"PYTHONPYCACHEPREFIX": compiled}
            )
            show(title, pair)


class Builds:
    """The builds of one checkout, with a cache of their own.

    Args:
        checkout: The folder of the code.
        root: An empty folder to work in.
        host: The registry.
    """

    def __init__(self, checkout: Path, root: Path, host: str) -> None:
        self.checkout = checkout
        self.cache = root / "cache"
        self.host = host
        self.name = root.name
        root.mkdir()
        self.config = root / "config.toml"
        self.config.write_text("".join(f'[[component]]\nname = "{name}"\n' for name in embedded_sources.COMPONENTS))

    def build(self, names: Sequence[str], repository: str) -> Cost:
        """Build an image of these components, push it, and return the cost."""
        argv = [
            *within(self.checkout, "-m", "tritonbuild", "--quiet", "--engine=embedded", "--container-version=24.10"),
            *(f"--backend={name}" for name in names),
            f"--registry={self.host}/nvidia",
            f"--output-name={self.host}/{self.name}/{repository}",
            *(f"--opt={option}" for option in ("push=true", f"cache_dir={self.cache}")),
        ]
        return cost(argv, {"TRITONBUILD_CONFIG": str(self.config)})

    def first(self, number: int) -> Cost:
        """Build with an empty cache."""
        shutil.rmtree(self.cache, ignore_errors=True)
        return self.build(FIRST, f"first{number}:1")

    def indexed(self, number: int) -> Cost:
        """Build with nothing in the cache but the indexes of the source layers."""
        for folder in ("layers", "blobs"):
            shutil.rmtree(self.cache / folder)
        return self.build(FIRST, f"indexed{number}:1")

    def following(self, number: int) -> Cost:
        """Build with one component more than the build before, into the same repository."""
        return self.build((*FIRST, *MORE[: number + 1]), f"next:{number}")


def embedded(other: Path, folder: Path, megabytes: int, runs: int) -> None:
    """Compare builds of the embedded engine, from a registry to it."""
    layout = embedded_sources.make(folder, megabytes=megabytes)
    index = json.loads((layout / "index.json").read_bytes())
    names = {f"nvidia/{entry['annotations'][oci.REFERENCE]}": entry["digest"] for entry in index["manifests"]}
    with tempfile.TemporaryDirectory(prefix="tritonbuild-bench-", dir=folder) as work:
        root = Path(work)
        with services.registry(root / "registry") as registry:
            push(layout, registry.host, names)
            these, those = (Builds(path, root / name, registry.host) for path, name in ((HERE, "a"), (other, "b")))
            ways: dict[str, Callable[[Builds], Callable[[int], Cost]]] = {
                "embedded: a first build": lambda builds: builds.first,
                "embedded: an indexed build": lambda builds: builds.indexed,
                "embedded: a next selection": lambda builds: builds.following,
            }
            for title, way in ways.items():
                if title.endswith("selection"):
                    for builds in (these, those):
                        builds.build(FIRST, "next:first")
                show(title, alternate(way(these), way(those), runs=runs))


def main(argv: Sequence[str] | None = None) -> None:
    """Print the figures."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("other", type=Path, help="folder of the other checkout")
    parser.add_argument("--embedded", type=Path, metavar="FOLDER", help="measure builds too; folder for their sources")
    parser.add_argument("--megabytes", type=int, default=170, help="size of each large component, unpacked")
    parser.add_argument("--runs", type=int, default=5, help=f"pairs of builds, at most {len(MORE)}; starts: four times")
    options = parser.parse_args(argv)
    if not 0 < options.runs <= len(MORE):
        parser.error(f"--runs takes 1 to {len(MORE)}, not {options.runs}")
    other = options.other.resolve()
    code = "import pathlib, tritonbuild; print(pathlib.Path(tritonbuild.__file__).parents[1])"
    found = subprocess.run(within(other, "-c", code), check=True, capture_output=True, text=True).stdout.strip()
    if found != str(other):
        parser.error(f"{other} holds no package tritonbuild: Python found {found}")
    start(other, options.runs * 4)
    if options.embedded:
        embedded(other, options.embedded.resolve(), options.megabytes, options.runs)


if __name__ == "__main__":
    main()
