"""Composition to Containerfile: the multi-stage build that takes chosen files out of the source images."""

from __future__ import annotations

from tritonbuild.composition import Composition, select
from tritonbuild.containerfile import render
from tritonbuild.recipe import copying, installing

__all__ = ["containerfile"]


def containerfile(composition: Composition) -> str:
    """Return the Containerfile that composes *composition*: the same text for an equal composition."""
    selection = select(composition)
    chosen = ", ".join(f"{c.kind} {c.name}" for c in composition.components)
    context = ", ".join(dict.fromkeys(place for place, _ in composition.context()))
    needs = f"Needs {f'a build context with {context}' if context else 'no build context'}"
    stages = copying.stages if composition.runtime == "copy" else installing.stages
    header = [
        f"Triton Inference Server {composition.container_version} with {chosen}.",
        f"Composed from {selection.sources['full']} on {selection.sources['min']}.",
        f"{needs}{', and a network' if composition.network else ' and no network'}.",
    ]
    if composition.platform:
        header.append(f"For {composition.platform}.")
    return render(header, stages(selection))
