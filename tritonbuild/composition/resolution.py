"""Resolve the names of components against the catalog and the user's folders."""

from __future__ import annotations

from collections.abc import Iterable

import attrs

from tritonbuild import additions
from tritonbuild.additions import ComponentFolder
from tritonbuild.catalog import KINDS, Catalog, Component, Release, check_name
from tritonbuild.composition import extras
from tritonbuild.errors import InvalidInputError
from tritonbuild.wellknown import COMPONENT_FOLDERS


@attrs.frozen(kw_only=True)
class Target:
    """The release, platform and flavor that names are resolved for."""

    catalog: Catalog
    version: str
    platform: str
    gpu: bool


@attrs.frozen(kw_only=True)
class Resolution:
    """The components that names stand for.

    Attributes:
        components: The chosen components with those they require, the user's folders among them.
        folders: The components that are folders of the user.
        notes: Remarks about aliases, and about folders that replace a component of the release.
    """

    components: tuple[Component, ...]
    folders: tuple[ComponentFolder, ...]
    notes: tuple[str, ...]

    def of_release(self) -> tuple[Component, ...]:
        """Return the components that the release's images contain."""
        folders = {(folder.kind, folder.name) for folder in self.folders}
        return tuple(component for component in self.components if (component.kind, component.name) not in folders)


def resolve(target: Target, wanted: Iterable[tuple[str, str]]) -> Resolution:
    """Return the components that *wanted*, pairs of kind and name (or `NAME=FOLDER`), stand for.

    Raises:
        InvalidInputError: A component or a folder does not exist, or the release does not have the component.
    """
    catalog, version = target.catalog, target.version
    chosen: dict[tuple[str, str], Component] = {}
    folders, notes = [], []
    for kind, text in wanted:
        named, equals, folder = text.partition("=")
        name, names = extras.split(named)
        if equals:
            if names is not None:
                hint = f"write {name}={folder}; a folder is copied whole"
                raise InvalidInputError(f"{named!r} is a folder, which has no extras", hint=hint)
            folders.append(additions.component_folder(kind, check_name(kind, name), folder))
            chosen[kind, name] = _component(folders[-1], target)
            if any(component.name == name for component in catalog.components(version, kind=kind)):
                notes.append(f"{KINDS[kind]} {name!r} is the folder {str(folders[-1].path)!r}, not the release's")
        else:
            component, note = catalog.resolve(kind, name, version, platform=target.platform, gpu=target.gpu)
            component, required = extras.choose(component, names)
            key = component.kind, component.name
            chosen[key] = extras.merged(chosen[key], component) if key in chosen else component
            notes += [one for one in (note, required) if one]
    components = catalog.with_required(chosen.values(), version, platform=target.platform, gpu=target.gpu)
    return Resolution(components=components, folders=tuple(folders), notes=tuple(notes))


def variant(target: Target, components: Iterable[Component]) -> tuple[str, str]:
    """Return the variant of the full image that holds all *components*, and a note if it is not `full`."""
    found = tuple(components)
    name = target.catalog.variant(found, target.version)
    if name == "full":
        return name, ""
    special = [one for one in ("vllm", "tensorrtllm") if any(component.name == one for component in found)]
    return name, f"{' and '.join(special) or 'the selection'} is in the {name!r} image alone, which is used"


def other_cuda(release: Release, variant_name: str) -> str:
    """Return a note if a variant of the full image is built on another CUDA than the release's min image, or ""."""
    cuda, base = release.variant_cuda.get(variant_name, ""), release.cuda_version or ""
    if not cuda or not base or cuda.split(".")[:2] == base.split(".")[:2]:
        return ""
    return (
        f"the {variant_name!r} image of release {release.version} has CUDA {cuda} and the base CUDA {base}: "
        "of libraries that both have under one name, the image gets the base's; --base names another base"
    )


def _component(folder: ComponentFolder, target: Target) -> Component:
    """Return a user's folder as a component."""
    return Component(
        kind=folder.kind,
        name=folder.name,
        directory=f"{COMPONENT_FOLDERS[folder.kind]}/{folder.name}",
        first=target.version,
        last=target.version,
        platforms=(target.platform,),
        gpu=True,
        cpu=True,
        requires=("python",) if folder.python_based else (),
        custom=True,
    )
