"""Shared objects from C: the real ones in c/, and stand-ins with the dependencies and the size of large libraries."""

import random
from collections.abc import Iterable
from pathlib import Path
from typing import Final

import attrs

from tests.replica import programs

SOURCES: Final = Path(__file__).parent / "c"
FLAGS: Final = (
    *("-shared", "-fPIC", "-O2", "-std=c11", "-D_GNU_SOURCE", "-s", "-fno-ident"),
    *("-Wl,--build-id=none", "-Wl,--no-as-needed", "-Wl,--hash-style=gnu"),
)
BLOCK: Final = 512
MEGABYTE: Final = 1 << 20


@attrs.frozen
class Compiler:
    """Writes reproducible shared objects to *folder*."""

    folder: Path

    def link(
        self, path: str, sources: Iterable[str], *, soname: str = "", needed: Iterable[str] = (), run_path: str = ""
    ) -> Path:
        """Link *sources* of c/ to the file *path* of the folder.

        Args:
            path: the path in the folder; a stand-in reports its last part as its name
            sources: file names
            soname: DT_SONAME, by default the file's name
            needed: DT_NEEDED; for a library that was not linked here before, an empty one is made
            run_path: DT_RUNPATH
        """
        output = self.folder / path
        output.parent.mkdir(parents=True, exist_ok=True)
        programs.run(
            [
                *("gcc", *FLAGS, f'-DNAME="{output.name}"', f"-Wl,-soname,{soname or output.name}"),
                *([f"-Wl,--enable-new-dtags,-rpath,{run_path}"] if run_path else []),
                *("-o", str(output), *sources, *(str(self._named(name)) for name in needed)),
            ],
            cwd=SOURCES,
        )
        return output

    def _named(self, soname: str) -> Path:
        """Return an empty library with *soname*, which is enough to link against."""
        library = self.folder / "names" / soname
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            programs.run(["gcc", *FLAGS, f"-Wl,-soname,{soname}", "-o", str(library), "-x", "c", "/dev/null"])
        return library


def ballast(seed: str, megabytes: float) -> Iterable[bytes]:
    """Yield bytes that depend only on *seed* and that gzip halves, as it does with libraries."""
    source = random.Random(seed)  # not for secrets
    for _ in range(round(megabytes * MEGABYTE) // (64 * BLOCK)):
        noise = source.randbytes(32 * BLOCK)
        yield b"".join(noise[start : start + BLOCK] * 2 for start in range(0, len(noise), BLOCK))


def add_ballast(file: Path, megabytes: float) -> None:
    """Append ballast to *file*; an ELF file may have any bytes after its sections."""
    with file.open("ab") as out:
        out.writelines(ballast(file.name, megabytes))
