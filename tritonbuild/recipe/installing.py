"""The `install` runtime: stages that install the packages that the release's compose.py installs.

Stages:

`full`, `gpu-min`
    the full image; for CPU compositions that need files of it, the GPU flavor's min image.
`trimmed`
    on `full`, if extras of components are left out: removes their files.
`extras`
    on `full`: collects files that not every full image has.
`composed`
    the base with packages, the server's account, the server and the components.
`check`, last
    as with `copy`.

The release and the target platform decide which packages are installed. The scripts examine the base in which they
run, never the machine that writes the Containerfile. docs/from-compose.md lists the differences from compose.py.
"""

from __future__ import annotations

from typing import Final

from tritonbuild.composition import Selection
from tritonbuild.containerfile import Copy, Instruction, Stage, Word
from tritonbuild.recipe import parts

_DCGM_LIBRARIES: Final = ("libdcgm*.so.*",)
_SERVER_LIBRARIES: Final = ("libcudart.so.*", "libdcgm.so.*")
"""Libraries that the GPU flavor's server is linked to and a CPU base lacks. compose.py expects the CPU-only full
image, which is not published."""

ADDED_PACKAGES: Final = ("ca-certificates",)
"""Packages in addition to compose.py's: curl, and the server with S3, GCS or Azure, need certificates."""

ADDED_FOR: Final = {"pytorch": ("libgomp1",)}
"""Packages of libraries that a backend is linked to; compose.py installs this one from 22.04 on only."""


def stages(selection: Selection) -> list[Stage]:
    """Return the stages of a build with the `install` runtime."""
    sources = selection.sources
    purpose = "The GPU flavor's min image, from which files come that the full image for CPU lacks."
    return [
        parts.full(selection),
        *parts.trimmed(selection.composition),
        *([Stage(base=str(sources["gpu-min"]), purpose=purpose, name="gpu-min")] if "gpu-min" in sources else []),
        _extras(selection),
        _composed(selection, selection.base),
        parts.check(selection, *parts.checked_files(selection.composition, "extras")),
        parts.last(selection),
    ]


def _extras(selection: Selection) -> Stage:
    composition, recipe = selection.composition, selection.recipe
    libraries = _SERVER_LIBRARIES if not recipe.gpu else _DCGM_LIBRARIES if composition.dcgm == "copy" else ()
    files = [f"file={copy.source}" for copy in recipe.sagemaker_copies]
    run = parts.script("extras.sh", *files, *(f"library={name}" for name in libraries))
    purpose = "Collect files that not every full image has."
    instructions = (Word("USER", "root"), *parts.listed_files(composition), run)
    return Stage(base="full", purpose=purpose, name="extras", instructions=instructions)


def _composed(selection: Selection, base: str) -> Stage:
    composition, recipe = selection.composition, selection.recipe
    owner = recipe.chown or ""
    calls = [list(call) for component in composition.components for call in component.pip]
    instructions: list[Instruction] = [
        Word("USER", "root"),
        parts.script("user.sh", recipe.user.name, str(recipe.user.uid), *recipe.user.removes),
        parts.script("packages.sh", *_packages(selection)),
        *parts.pip(composition, [*calls, *parts.pip_calls(composition)]),
        *([parts.script("compat.sh")] if recipe.gpu else []),
        *(
            Copy(sources=(copy.source,), target=_target(copy.source, copy.destination), from_stage="gpu-min")
            for copy in dict.fromkeys(copy for component in composition.components for copy in component.copies)
        ),
        *parts.server(selection, owner, headers=True),
        Copy(sources=("/tritonbuild/extras/",), target="/", from_stage="extras"),
        *parts.files(composition),
        parts.environment(selection),
    ]
    purpose = "The base with packages, the server and a layer for each component."
    return Stage(base=base, purpose=purpose, name="composed", instructions=tuple(instructions))


def _target(source: str, destination: str) -> str:
    """Return the path of the copy of *source*; compose.py writes `FOLDER/.` for a file that keeps its name."""
    return f"{destination[:-1]}{source.rpartition('/')[2]}" if destination.endswith("/.") else destination


def _packages(selection: Selection) -> list[str]:
    """Return the arguments of `packages.sh`."""
    composition, recipe = selection.composition, selection.recipe
    added = [*ADDED_PACKAGES, *(name for c in composition.components for name in ADDED_FOR.get(c.name, ()))]
    names = [*composition.apt, *recipe.apt, *added, *(name for c in composition.components for name in c.apt)]
    nvidia = list(recipe.cuda_apt)
    recommends = ""
    if recipe.dcgm and composition.dcgm == "package":
        nvidia += recipe.dcgm.pinned()
        recommends = "recommends=yes" if recipe.dcgm.recommends else ""
    arguments = [f"arch={recipe.arch}", *(f"apt={name}" for name in sorted(set(names)))]
    if nvidia:
        repository = recipe.repository
        arguments += [
            f"ubuntu={recipe.release.ubuntu_version}",
            f"repository={repository.url}",
            f"keyring={repository.keyring}" if repository.keyring else f"key={repository.key}",
            *([recommends] if recommends else []),
            *(f"nvidia={name}" for name in nvidia),
            *(f"loader={name}" for name in recipe.loader_apt),
        ]
    return arguments
