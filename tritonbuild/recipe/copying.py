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
`composed`
    the base with the server, the components (a layer each) and the runtime.
`check`
    on `composed`: the loader's cache, and the search for libraries that are missing, which fails the build.
last
    `composed` with the loader's cache.
"""

from __future__ import annotations

from tritonbuild.composition import Composition
from tritonbuild.containerfile import Copy, Stage, Word
from tritonbuild.recipe import parts


def stages(composition: Composition) -> list[Stage]:
    """Return the stages of a build that copies."""
    sources = composition.sources()
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
        _runtime(composition, "packages" if calls else "full"),
        _composed(composition, str(sources["min"])),
        parts.check(
            composition, Copy(sources=("/tritonbuild/runtime.list",), target="/tritonbuild/", from_stage="runtime")
        ),
        parts.last(composition),
    ]


def _runtime(composition: Composition, base: str) -> Stage:
    folders = [c.directory for c in composition.components if c.directory]
    opened = [*composition.opened(), *(name for c in composition.components for name in c.dlopen)]
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
                *(f"file={path}" for path in composition.read_files()),
            ),
        ),
    )


def _composed(composition: Composition, base: str) -> Stage:
    return Stage(
        base=base,
        name="composed",
        instructions=(
            Copy(sources=("/tritonbuild/etc/",), target="/etc/", from_stage="base-content"),
            *parts.server(composition, parts.ROOT, headers=composition.has("headers")),
            Copy(sources=("/tritonbuild/runtime/",), target="/", from_stage="runtime"),
            parts.environment(composition),
        ),
    )
