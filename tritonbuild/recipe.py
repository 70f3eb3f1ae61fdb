"""Composition to Containerfile: the multi-stage build that takes chosen files out of the source images.

Stages of the `copy` runtime, all from images alone, with an empty build context and no network:

`full`
    the image with everything.
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

import pkgutil
import re
from typing import Final

from tritonbuild.composition import Composition
from tritonbuild.containerfile import (
    Comment,
    Copy,
    Entrypoint,
    Env,
    Instruction,
    Label,
    Script,
    Stage,
    Word,
    render,
)
from tritonbuild.reference import Reference

SERVER: Final = "/opt/tritonserver"
HEADERS: Final = f"{SERVER}/include"
"""For compiling backends; not needed to run."""

ROOT: Final = "0:0"

CA_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Read by the server for model repositories in S3, GCS and Azure."""


def containerfile(composition: Composition) -> str:
    """Return the Containerfile that composes *composition*: the same text for an equal composition."""
    sources = composition.sources()
    chosen = ", ".join(f"{c.kind} {c.name}" for c in composition.components)
    return render(
        [
            f"Triton Inference Server {composition.container_version} with {chosen}.",
            f"Composed from {sources['full']} on {sources['min']}.",
            "Needs no build context and no network.",
        ],
        [
            Stage(base=str(sources["full"]), name="full"),
            _base_content(sources["min"]),
            _runtime(composition),
            _composed(composition, sources["min"]),
            _check(composition),
            _last(composition, sources),
        ],
    )


def _script(name: str) -> str:
    return (pkgutil.get_data("tritonbuild", f"scripts/{name}") or b"").decode()


def _base_content(base: Reference) -> Stage:
    return Stage(
        base=str(base),
        name="base-content",
        instructions=(Word("USER", "root"), Script(name="base.sh", text=_script("base.sh"))),
    )


def _runtime(composition: Composition) -> Stage:
    recipe = composition.recipe()
    folders = [c.directory for c in composition.components if c.directory]
    opened = dict.fromkeys([*recipe.dlopen, *(name for c in composition.components for name in c.dlopen)])
    read = [*(copy.source for copy in recipe.sagemaker_copies), CA_CERTIFICATES]
    return Stage(
        base="full",
        name="runtime",
        instructions=(
            Word("USER", "root"),
            Copy(sources=("/tritonbuild/",), target="/tritonbuild/base/", from_stage="base-content"),
            Script(
                name="runtime.sh",
                text=_script("runtime.sh"),
                arguments=(*folders, *(f"name={name}" for name in opened), *(f"file={path}" for path in read)),
            ),
        ),
    )


def _copied(path: str) -> Copy:
    """Copy a folder or file of the full image to the same path, owned by root."""
    return Copy(sources=(path,), target=path, from_stage="full", chown=ROOT)


def _composed(composition: Composition, base: Reference) -> Stage:
    recipe = composition.recipe()
    folders = [copy.source for copy in recipe.core_copies if copy.source.rpartition("/")[2] not in recipe.core_files]
    if "headers" not in composition.features:
        folders.remove(HEADERS)
    instructions: list[Instruction] = [
        Copy(sources=("/tritonbuild/etc/",), target="/etc/", from_stage="base-content"),
        *(_copied(path) for path in recipe.entrypoint_files),
        Copy(
            sources=tuple(f"{SERVER}/{name}" for name in recipe.core_files),
            target=f"{SERVER}/",
            from_stage="full",
            chown=ROOT,
        ),
        *(_copied(folder) for folder in folders),
        *(_copied(f"{SERVER}/{c.directory}") for c in composition.components if c.directory),
        Copy(sources=("/tritonbuild/runtime/",), target="/", from_stage="runtime"),
        Env(_environment(composition), expand=True),
    ]
    return Stage(base=str(base), name="composed", instructions=tuple(instructions))


def _environment(composition: Composition) -> dict[str, str]:
    """Return the image's environment; values may refer to the base's.

    A search path that ends with the base's does so only where the base has one: an empty last element would be the
    working directory. Every base has a PATH.
    """
    recipe = composition.recipe()
    env = {**recipe.env_with(composition.components), **recipe.cpu_env}
    return {
        name: value if name == "PATH" else re.sub(rf":\$(?:{name}|\{{{name}\}})$", f"${{{name}:+:${name}}}", value)
        for name, value in env.items()
    }


def _check(composition: Composition) -> Stage:
    return Stage(
        base="composed",
        name="check",
        instructions=(
            Word("USER", "root"),
            Copy(sources=("/tritonbuild/runtime.list",), target="/tritonbuild/", from_stage="runtime"),
            Script(name="check.sh", text=_script("check.sh"), arguments=composition.exempt_libraries),
        ),
    )


def _last(composition: Composition, sources: dict[str, Reference]) -> Stage:
    recipe = composition.recipe()
    base = sources["min"]
    labels = {
        **recipe.labels,
        **recipe.sagemaker_labels,
        "org.opencontainers.image.base.name": str(base),
        **({"org.opencontainers.image.base.digest": base.digest} if base.digest else {}),
        "org.opencontainers.image.version": composition.container_version,
    }
    return Stage(
        base="composed",
        instructions=(
            Copy(
                sources=("/tritonbuild/etc/ld.so.cache",),
                target="/etc/ld.so.cache",
                from_stage="check",
            ),
            Label(labels),
            Word("WORKDIR", recipe.workdir),
            Entrypoint(recipe.entrypoint),
            Comment(
                "The server runs as root unless told otherwise, as in NVIDIA's images; triton-server (1000) exists."
            ),
        ),
    )
