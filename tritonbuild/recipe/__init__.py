"""Recipes: the Containerfile of a composition, as a multi-stage build that any OCI builder runs.

In: a `Composition`. Out: the text of a Containerfile, the same for equal compositions; it contains the shell scripts in
`scripts/`. Callers: `api.get_containerfile` and every build with an engine that reads Containerfiles.
"""

from __future__ import annotations

from collections.abc import Mapping

from tritonbuild.composition import Composition, select
from tritonbuild.containerfile import render
from tritonbuild.recipe import copying, installing

__all__ = ["containerfile"]


def containerfile(
    composition: Composition, full_env: Mapping[str, str] | None = None, *, heredocs: bool = False
) -> str:
    """Return the text of the Containerfile for *composition*, in one of two forms that build the same files.

    Args:
        composition: The composition.
        full_env: The environment variables of the full image, where they are known.
        heredocs: Whether scripts are heredocs, for builders that know them; else every builder accepts the text.
    """
    selection = select(composition, full_env)
    chosen = ", ".join(f"{c.kind} {c.title}" for c in composition.components) or "no component"
    context = ", ".join(dict.fromkeys(path for path, _ in composition.context()))
    needs = f"Needs {f'a build context with {context}' if context else 'no build context'}"
    stages = copying.stages if composition.runtime == "copy" else installing.stages
    header = [
        f"Triton Inference Server {composition.container_version} with {chosen}.",
        f"Composed from {selection.sources['full']} on {selection.base}.",
        f"{needs}{', and a network' if composition.network else ' and no network'}.",
    ]
    if composition.gpu_arch:
        header.append(f"For GPUs of the architectures {', '.join(composition.gpu_arch)}.")
    if composition.platform:
        header.append(f"For {composition.platform}.")
    if heredocs:
        header.append(
            "Needs a builder with heredocs; `tritonbuild render --no-buildkit` writes this file for any builder."
        )
    return render(header, stages(selection), heredocs=heredocs)
