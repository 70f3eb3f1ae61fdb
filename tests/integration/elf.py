"""What an image's ELF files need, by the image's own loader, asked file by file in a chroot."""

from __future__ import annotations

import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

DRIVER = ("libcuda.so", "libnvidia-", "libcudadebugger.so")


def elf_files(root: Path, folders: Iterable[str]) -> Iterator[Path]:
    """Yield the ELF files below *folders* of the image's files in *root*, links left out."""
    for folder in folders:
        for path in sorted((root / folder.lstrip("/")).rglob("*")):
            if path.is_file() and not path.is_symlink():
                with path.open("rb") as file:
                    if file.read(4) == b"\x7fELF":
                        yield path


def missing(root: Path, files: Iterable[Path], env: Mapping[str, str]) -> dict[str, list[str]]:
    """Return the libraries that are not found, the driver's left out, by the path of the file that needs them."""
    found: dict[str, list[str]] = {}
    for path in files:
        inside = "/" + str(path.relative_to(root))
        said = subprocess.run(
            ["chroot", str(root), "/usr/bin/ldd", inside], env=dict(env), capture_output=True, text=True, check=False
        )
        names = [
            line.split()[0]
            for line in said.stdout.splitlines()
            if "not found" in line and not line.split()[0].startswith(DRIVER)
        ]
        if names:
            found[inside] = names
    return found
