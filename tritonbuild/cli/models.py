"""Add the components that models need to those that the options name."""

from __future__ import annotations

from collections.abc import Sequence

from tritonbuild import modelrepo
from tritonbuild.catalog import Catalog
from tritonbuild.composition import PLATFORM


def choose(  # noqa: PLR0913 - the options that decide what a release has
    chosen: dict[str, list[str]],
    repositories: Sequence[str],
    *,
    catalog: Catalog,
    version: str,
    platform: str,
    gpu: bool,
) -> tuple[str, ...]:
    """Add to *chosen* the components that the models need; return the reasons, a line for each component."""
    repository = modelrepo.read(repositories)
    folders = [(kind, text.partition("=")[0]) for kind, texts in chosen.items() for text in texts if "=" in text]
    selection = modelrepo.components(
        repository, catalog, version or catalog.newest(), platform=platform or PLATFORM, gpu=gpu, folders=folders
    )
    notes = list(selection.notes)
    with_extras = {
        (kind, catalog.component(kind, name, version or catalog.newest(), platform=platform or PLATFORM, gpu=gpu).name)
        for kind, texts in chosen.items()
        for name, bracket, _ in (text.partition("[") for text in texts if "=" not in text)
        if bracket
    }
    found = {"backend": selection.backends, "repoagent": selection.repoagents, "cache": selection.caches}
    for kind, names in found.items():
        for name in names:
            if name not in chosen[kind] and (kind, name) not in with_extras:
                chosen[kind].append(name)
                notes.append(f"{kind} {name}: {_reason(repository, kind, name)}")
    return tuple(notes)


def _reason(repository: modelrepo.Repository, kind: str, name: str) -> str:
    """Return the first model that needs a component with its reason, and the number of others."""
    same = [(model, need) for model in repository.models for need in model.needs if need.kind == kind]
    found = [(model, need) for model, need in same if need.name == name]
    # A few components have another name in the catalog than for Triton, with an addition: tensorflow2.
    found = found or [(model, need) for model, need in same if name.startswith(need.name)]
    if not found:
        return "a model needs it"
    model, need = found[0]
    others = len({model.path for model, _ in found}) - 1
    return f"model {model.name!r}: {need.reason}{f', and {others} more' if others else ''}"
