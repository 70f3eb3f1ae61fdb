"""The `copy` runtime: what the components need comes out of the full image.

Stages, all from images alone, with no network and, but for what the user adds, an empty build context:

`full`
    the image with everything.
`packages`
    on the full image, where the user wants packages of pip: the full image with these.
`base-content`
    on the base: what it has, and its accounts with the server's user.
`runtime`
    on the full image: what the chosen components need and the base lacks.
`sdk`, `clients`
    where the user wants clients: the image that has them, and on it what they need and the base lacks.
`composed`
    the base with the server, the components (a layer each) and the runtime.
`check`
    on `composed`: the loader's cache, and the search for libraries that are missing, which fails the build.
last
    `composed` with the loader's cache.
"""

from __future__ import annotations

from tritonbuild.composition import CLIENTS, Selection
from tritonbuild.containerfile import Copy, Stage, Word
from tritonbuild.recipe import parts


def stages(selection: Selection) -> list[Stage]:
    """Return the stages of a build that copies."""
    composition, sources = selection.composition, selection.sources
    calls = parts.pip_calls(composition)
    packages = Stage(base="full", name="packages", instructions=(Word("USER", "root"), *parts.pip(composition, calls)))
    return [
        Stage(base=str(sources["full"]), name="full"),
        *([packages] if calls else []),
        Stage(
            base=str(sources["min"]),
            name="base-content",
            instructions=(Word("USER", "root"), parts.script("base.sh")),
        ),
        _runtime(selection, "packages" if calls else "full"),
        *_clients(selection),
        _composed(selection, str(sources["min"])),
        parts.check(
            composition,
            Copy(sources=("/tritonbuild/runtime.list",), target="/tritonbuild/", from_stage="runtime"),
            *(
                Copy(sources=("/tritonbuild/runtime.list",), target="/tritonbuild/clients.list", from_stage=stage.name)
                for stage in _clients(selection)[1:]
            ),
        ),
        parts.last(selection),
    ]


def _clients(selection: Selection) -> list[Stage]:
    """Return the stages that clients come from; none where they are not wanted."""
    if not selection.composition.has("clients"):
        return []
    instructions = (
        Word("USER", "root"),
        Copy(sources=("/tritonbuild/",), target="/tritonbuild/base/", from_stage="base-content"),
        parts.script("runtime.sh", f"root={CLIENTS}"),
    )
    return [
        Stage(base=str(selection.sources["sdk"]), name="sdk"),
        Stage(base="sdk", name="clients", instructions=instructions),
    ]


def _runtime(selection: Selection, base: str) -> Stage:
    composition = selection.composition
    folders = [c.directory for c in composition.components if c.directory]
    opened = [*selection.opened(), *(name for c in composition.components for name in c.dlopen)]
    own = [
        parts.brought(component, composition, parts.ROOT)
        for component in composition.components
        if composition.is_own(component)
    ]
    return Stage(
        base=base,
        name="runtime",
        instructions=(
            Word("USER", "root"),
            *own,
            Copy(sources=("/tritonbuild/",), target="/tritonbuild/base/", from_stage="base-content"),
            parts.script(
                "runtime.sh",
                *folders,
                *(f"name={name}" for name in dict.fromkeys(opened)),
                *(f"file={path}" for path in selection.read_files()),
            ),
        ),
    )


def _composed(selection: Selection, base: str) -> Stage:
    composition = selection.composition
    clients = [
        Copy(sources=(CLIENTS,), target=CLIENTS, from_stage="sdk", chown=parts.ROOT),
        # before the server's: of a library that both bring, the server's stays
        Copy(sources=("/tritonbuild/runtime/",), target="/", from_stage="clients"),
    ]
    return Stage(
        base=base,
        name="composed",
        instructions=(
            Copy(sources=("/tritonbuild/etc/",), target="/etc/", from_stage="base-content"),
            *parts.server(selection, parts.ROOT, headers=composition.has("headers")),
            *(clients if composition.has("clients") else ()),
            Copy(sources=("/tritonbuild/runtime/",), target="/", from_stage="runtime"),
            parts.environment(selection),
        ),
    )
