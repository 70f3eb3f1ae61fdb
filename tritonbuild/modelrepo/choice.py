"""The choice of components: from the needs of models to the components of a release."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Final

import attrs

from tritonbuild.catalog import Catalog, Component
from tritonbuild.errors import InvalidInputError
from tritonbuild.modelrepo.records import Model, Need, Repository, Selection

AUTO_COMPLETE: Final = "22.07"
"""The first release that completes model configurations by default (release notes of 2.24.0)."""

TENSORFLOW_2: Final = "22.08"
"""The first release whose `tensorflow` is TensorFlow 2 by default (release notes of 2.25.0)."""

_ENSEMBLE: Final = ("backend", "ensemble")


def components(  # noqa: PLR0913 - three of them select from the catalog
    repository: Repository,
    catalog: Catalog,
    version: str,
    *,
    platform: str = "linux/amd64",
    gpu: bool = True,
    folders: Collection[tuple[str, str]] = (),
) -> Selection:
    """Return the components of release *version* that the models of *repository* need, each once, sorted by name.

    Args:
        folders: Components, as kind and name, that the user provides as folders: they are left out.

    Raises:
        InvalidInputError: No model was found, the needs of one are unknown, or the release, the platform or the
            flavor lacks a component: the message names the model, its folder and the reason for the need.
    """
    _check(repository)
    query = _Query(catalog, version, platform, gpu)
    left_out = {_ENSEMBLE, *folders}
    chosen: dict[str, set[str]] = {"backend": set(), "repoagent": set(), "cache": set()}
    notes: dict[str, None] = {}
    caches = catalog.components(version, platform=platform, gpu=gpu, kind="cache")
    for model in repository.models:
        for need in model.needs:
            if (need.kind, need.name) in left_out:
                continue
            if need.kind == "cache" and not caches:
                notes[f"release {version} caches responses in the server: it has no cache component"] = None
            else:
                component, note = _resolve(model, need, query)
                chosen[need.kind].add(component.name)
                if note:
                    notes[note] = None
    bare = [model.name for model in repository.models if not model.config and model.needs]
    if bare and version < AUTO_COMPLETE:
        option = "--strict-model-config=false"
        notes[f"release {version} loads models without config.pbtxt only with {option}: {', '.join(bare)}"] = None
    return Selection(
        backends=tuple(sorted(chosen["backend"])),
        repoagents=tuple(sorted(chosen["repoagent"])),
        caches=tuple(sorted(chosen["cache"])),
        notes=tuple(notes),
    )


def _check(repository: Repository) -> None:
    """Raise an InvalidInputError if *repository* has no model, or the needs of a model are unknown."""
    if not repository.models:
        raise InvalidInputError(
            f"no model in {' and '.join(repository.folders)}", hint="each folder in a repository is a model"
        )
    for model in repository.models:
        for problem in model.problems:
            if problem.blocks:
                raise InvalidInputError(f"{_title(model)}: {problem.message}", hint=problem.hint)


@attrs.frozen
class _Query:
    """The query to the catalog: release, platform and flavor."""

    catalog: Catalog
    version: str
    platform: str
    gpu: bool

    def resolve(self, kind: str, name: str) -> Component:
        return self.catalog.component(kind, name, self.version, platform=self.platform, gpu=self.gpu)


def _resolve(model: Model, need: Need, query: _Query) -> tuple[Component, str]:
    """Return the component that Triton loads for a need, and a note or ""."""
    name, note = need.name, ""
    if (need.kind, name) == ("backend", "tensorflow") and query.version < TENSORFLOW_2:
        name = "tensorflow1"
        option = "--backend-config=tensorflow,version=2"
        note = f"release {query.version} uses TensorFlow 1 unless it is started with {option}"
    try:
        component = query.resolve(need.kind, name)
    except InvalidInputError as error:
        raise InvalidInputError(f"{_title(model)}: {error.message}: {need.reason}", hint=error.hint) from None
    folder = PurePosixPath(component.directory or "").name
    if name in (folder, "tensorflow"):
        return component, note
    if name == component.name:
        note = f"release {query.version} has {name} in {component.directory}: the server looks for it by that name"
        return component, note
    # Triton does not know the aliases that the command line accepts
    raise InvalidInputError(
        f"{_title(model)}: Triton does not know {component.name} as {name!r}: {need.reason}",
        hint=f"write {component.name} in the configuration",
    )


def _title(model: Model) -> str:
    return f"model {model.name!r} ({model.path})"
