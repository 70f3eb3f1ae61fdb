"""Shared objects from C: the real ones in c/, and stand-ins with the needs and the weight of large libraries."""

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
    """Writes shared objects to *folder*, with no trace of when and where."""

    folder: Path

    def link(
        self, path: str, sources: Iterable[str], *, soname: str = "", needed: Iterable[str] = (), run_path: str = ""
    ) -> Path:
        """Link *sources* of c/ to the file *path* of the folder.

        Args:
            path: where in the folder; its last part is what a stand-in calls itself
            sources: file names
            soname: DT_SONAME, by default the file's own name
            needed: DT_NEEDED; a library that was not linked here before is only a name for the linker
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
        """Return a library with nothing in it but *soname*: linking needs no more."""
        library = self.folder / "names" / soname
        if not library.exists():
            library.parent.mkdir(parents=True, exist_ok=True)
            programs.run(["gcc", *FLAGS, f"-Wl,-soname,{soname}", "-o", str(library), "-x", "c", "/dev/null"])
        return library


def ballast(seed: str, megabytes: float) -> Iterable[bytes]:
    """Yield bytes that are always the same for *seed* and that gzip halves, as it does with libraries."""
    source = random.Random(seed)  # not for secrets
    for _ in range(round(megabytes * MEGABYTE) // (64 * BLOCK)):
        noise = source.randbytes(32 * BLOCK)
        yield b"".join(noise[start : start + BLOCK] * 2 for start in range(0, len(noise), BLOCK))


def add_ballast(file: Path, megabytes: float) -> None:
    """Append ballast to *file*; an ELF file may have any bytes after its sections."""
    with file.open("ab") as out:
        out.writelines(ballast(file.name, megabytes))
