"""The catalog of Triton's releases and components: tables of data and the functions that read them.

In: a release, a platform, names as users write them, and optionally the user's entries. Out: frozen records of
releases, components, image references and recipes. Callers: `composition`, `recipe`, `modelrepo` and the command line.
"""

from __future__ import annotations

from typing import Final

from tritonbuild.catalog.architectures import check_architecture, gpu_libraries, runs_on
from tritonbuild.catalog.catalog import REGISTRY, UBUNTU, Catalog
from tritonbuild.catalog.names import KINDS, check_name
from tritonbuild.catalog.records import Component, Dcgm, Extra, FileCopy, PackageRepository, Recipe, Release, ServerUser

BUILTIN: Final = Catalog()
"""The package's tables, without entries of a user."""

releases = BUILTIN.releases
newest = BUILTIN.newest
release = BUILTIN.release
components = BUILTIN.components
component = BUILTIN.component
resolve = BUILTIN.resolve
with_required = BUILTIN.with_required
variant = BUILTIN.variant
image = BUILTIN.image
sources = BUILTIN.sources
recipe = BUILTIN.recipe
extended = BUILTIN.extended

__all__ = [
    "BUILTIN",
    "KINDS",
    "REGISTRY",
    "UBUNTU",
    "Catalog",
    "Component",
    "Dcgm",
    "Extra",
    "FileCopy",
    "PackageRepository",
    "Recipe",
    "Release",
    "ServerUser",
    "check_architecture",
    "check_name",
    "component",
    "components",
    "extended",
    "gpu_libraries",
    "image",
    "newest",
    "recipe",
    "release",
    "releases",
    "resolve",
    "runs_on",
    "sources",
    "variant",
    "with_required",
]
