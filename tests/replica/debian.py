"""The Debian system under the images, from mmdebstrap and the machine's apt sources, captured at several steps."""

from collections.abc import Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.replica import layers, programs
from tests.replica.errors import ReplicaError
from tests.replica.layers import Tree

SUITE: Final = "bookworm"

PACKAGES: Final = (
    "curl",
    "libarchive13",
    "libb64-0d",
    "libcurl4",
    "libgomp1",
    "libnuma1",
    "libpython3.11",
    "libre2-9",
    "libssl3",
    "libxml2",
    "python3",
    "python3-numpy",
    "python3-pip",
)
"""Packages in full that min lacks: those of build.py that the server of the wheel needs."""

SLIM: Final = (
    "path-exclude=/usr/share/doc/*",
    "path-exclude=/usr/share/locale/*",
    "path-exclude=/usr/share/man/*",
    "path-include=/usr/share/doc/*/copyright",
)

EMPTIED: Final = (
    "dev",
    "proc",
    "run",
    "sys",
    "tmp",
    "var/cache/apt",
    "var/cache/ldconfig",
    "var/lib/apt/lists",
    "var/log",
    "var/tmp",
)
"""Folders that are kept empty: their contents differ between runs or belong to the machine."""

DROPPED: Final = frozenset(
    {
        "etc/.pwd.lock",
        "etc/apt/apt.conf.d/00mmdebstrap",
        "etc/apt/apt.conf.d/99mmdebstrap",
        "etc/hostname",
        "etc/machine-id",
        "etc/resolv.conf",
    }
)

CACHE: Final = "etc/ld.so.cache"


@attrs.frozen(kw_only=True)
class Debian:
    """Trees of the base and of the base with *PACKAGES*, and the loader's cache of each image."""

    base: Tree
    packages: Tree
    caches: Mapping[str, bytes]


def apt_sources() -> str:
    """Return the machine's sources of the suite, as lines; apt reads them in either format."""
    form = "deb $(REPO_URI) $(RELEASE) $(COMPONENT)"
    listed = programs.run(["apt-get", "indextargets", "--format", form, "Created-By: Packages"])
    names = {SUITE, f"{SUITE}-updates", f"{SUITE}-security"}
    lines = sorted({line for line in listed.splitlines() if line.split()[2] in names})
    if not lines:
        raise ReplicaError(
            f"no {SUITE} among the apt sources of this machine: add it to them, or use a machine with Debian 12"
        )
    return "".join(f"{line}\n" for line in lines)


def kept(tree: Tree) -> Tree:
    """Return *tree* without files that belong to one run or one machine."""
    return {
        path: entry
        for path, entry in tree.items()
        if path not in DROPPED
        and not any(path.startswith(f"{folder}/") for folder in EMPTIED)
        and not (path.startswith("var/") and path.endswith("-old"))
    }


def bootstrap(folder: Path, *, cuda: Path, server: Path, cpu: Path) -> Debian:
    """Create the system in one run, and capture its tree at several steps.

    Args:
        folder: an empty folder, which the trees refer to
        cuda: tar of the CUDA base's files
        server: tar of the libraries in full that come from no package
        cpu: tar of the libraries that the CPU flavour has in place of the CUDA base's
    """
    (folder / "sources.list").write_text(apt_sources())

    def snapshot(name: str) -> str:
        return f'tar --one-file-system -C "$1" -cf "$OUT/{name}.tar" .'

    def overlay(archive: str, name: str) -> str:
        return f'tar -C "$1" -xf "${archive}" && chroot "$1" ldconfig && cp "$1/{CACHE}" "$OUT/{name}.cache"'

    hooks = (
        snapshot("base"),
        overlay("CUDA", "min"),
        f'chroot "$1" apt-get install --yes --no-install-recommends {" ".join(PACKAGES)}',
        snapshot("packages"),
        overlay("SERVER", "full"),
        'tar -tf "$CUDA" | grep -v "/$" | (cd "$1" && xargs rm -f)',
        overlay("CPU", "cpu-full"),
    )
    programs.run(
        [
            "mmdebstrap",
            "--variant=apt",
            "--format=null",
            "--hook-dir=/usr/share/mmdebstrap/hooks/merged-usr",
            *(f"--dpkgopt={option}" for option in SLIM),
            *(f"--customize-hook={hook}" for hook in hooks),
            SUITE,
            "/dev/null",
            str(folder / "sources.list"),
        ],
        env={
            "CPU": str(cpu),
            "CUDA": str(cuda),
            "LC_ALL": "C.UTF-8",
            "OUT": str(folder),
            "PYTHONHASHSEED": "0",
            "SERVER": str(server),
            "SOURCE_DATE_EPOCH": str(layers.EPOCH),
        },
    )
    return Debian(
        base=kept(layers.read(folder / "base.tar")),
        packages=kept(layers.read(folder / "packages.tar")),
        caches={name: (folder / f"{name}.cache").read_bytes() for name in ("min", "full", "cpu-full")},
    )
