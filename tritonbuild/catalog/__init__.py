"""The catalog: Triton's releases and components as data, and the functions that read them.

The functions here read the built-in tables. A `Catalog` has them as methods, and can be extended by the user's own
components. Nothing is read before it is asked for, and nothing here opens a connection.
"""

from __future__ import annotations

from typing import Final

from tritonbuild.catalog.catalog import REGISTRY, UBUNTU, Catalog
from tritonbuild.catalog.names import KINDS, check_name
from tritonbuild.catalog.records import Component, Copy, Dcgm, Recipe, Release, Repository, User

BUILTIN: Final = Catalog()
"""The tables of this package, without entries of a user's."""

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
    "Copy",
    "Dcgm",
    "Recipe",
    "Release",
    "Repository",
    "User",
    "check_name",
    "component",
    "components",
    "extended",
    "image",
    "newest",
    "recipe",
    "release",
    "releases",
    "resolve",
    "sources",
    "variant",
    "with_required",
]
