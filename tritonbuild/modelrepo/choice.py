"""The components of a release that the models of a repository need."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import PurePosixPath
from typing import Final

import attrs

from tritonbuild.catalog import Catalog, Component
from tritonbuild.errors import InvalidInputError
from tritonbuild.modelrepo.records import Model, Need, Repository, Selection

AUTO_COMPLETE: Final = "22.07"
"""The first release that loads a model without a complete configuration unasked (release notes of 2.24.0)."""

TENSORFLOW_2: Final = "22.08"
"""The first release whose `tensorflow` is TensorFlow 2 unless it is told otherwise (release notes of 2.25.0)."""

_ENSEMBLE: Final = ("backend", "ensemble")


def components(  # noqa: PLR0913 - three of them are what the catalog is asked for
    repository: Repository,
    catalog: Catalog,
    version: str,
    *,
    platform: str = "linux/amd64",
    gpu: bool = True,
    own: Collection[tuple[str, str]] = (),
) -> Selection:
    """Return the components of release *version* that the models of *repository* need, each once, sorted by name.

    Args:
        own: Components, as kind and name, that come from elsewhere than the release: they are left out.

    Raises:
        InvalidInputError: There is no model, it is not known what one needs, or the release, the platform or the
            flavour does not have it: the message names the model, its folder and what made it need that.
    """
    _check(repository)
    target = _Target(catalog, version, platform, gpu)
    left_out = {_ENSEMBLE, *own}
    chosen: dict[str, set[str]] = {"backend": set(), "repoagent": set(), "cache": set()}
    notes: dict[str, None] = {}
    caches = catalog.components(version, platform=platform, gpu=gpu, kind="cache")
    for model in repository.models:
        for need in model.needs:
            if (need.kind, need.name) in left_out:
                continue
            if need.kind == "cache" and not caches:
                notes[f"release {version} keeps responses in the server itself: there is no cache to compose"] = None
            else:
                component, note = _resolve(model, need, target)
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
    """Raise an InvalidInputError if it is not known what the repository's models need."""
    if not repository.models:
        raise InvalidInputError(
            f"there is no model in {' and '.join(repository.folders)}", hint="every folder of a repository is a model"
        )
    for model in repository.models:
        for problem in model.problems:
            if problem.blocks:
                raise InvalidInputError(f"{_title(model)}: {problem.message}", hint=problem.hint)


@attrs.frozen
class _Target:
    """What is composed for."""

    catalog: Catalog
    version: str
    platform: str
    gpu: bool

    def resolve(self, kind: str, name: str) -> Component:
        return self.catalog.component(kind, name, self.version, platform=self.platform, gpu=self.gpu)


def _resolve(model: Model, need: Need, target: _Target) -> tuple[Component, str]:
    """Return the component that Triton loads for a need, and a note."""
    name, note = need.name, ""
    if (need.kind, name) == ("backend", "tensorflow") and target.version < TENSORFLOW_2:
        name = "tensorflow1"
        option = "--backend-config=tensorflow,version=2"
        note = f"release {target.version} takes TensorFlow 1 unless it is started with {option}"
    try:
        component = target.resolve(need.kind, name)
    except InvalidInputError as error:
        raise InvalidInputError(f"{_title(model)}: {error.message}: {need.reason}", hint=error.hint) from None
    folder = PurePosixPath(component.directory or "").name
    if name in (folder, "tensorflow"):
        return component, note
    if name == component.name:
        note = f"release {target.version} has {name} in {component.directory}: the server looks for it by that name"
        return component, note
    # what people call a component on a command line, Triton does not understand in a configuration
    raise InvalidInputError(
        f"{_title(model)}: Triton does not know {component.name} as {name!r}: {need.reason}",
        hint=f"write {component.name} in the configuration",
    )


def _title(model: Model) -> str:
    return f"model {model.name!r} ({model.path})"
