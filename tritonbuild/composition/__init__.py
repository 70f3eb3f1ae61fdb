"""Compositions: the requested contents of an image as a validated value, independent of engines.

Input: names, references and paths from `api` and `cli`. Output: a `Composition`, and its `Selection` with the recipe
and the source images from the catalog, for `recipe`, `source_check` and the embedded engine.
"""

from __future__ import annotations

from tritonbuild.composition.bases import BASES
from tritonbuild.composition.choices import (
    CLIENTS,
    DCGM_SOURCES,
    FEATURES,
    HEADERS,
    NVIDIA_REGISTRY,
    PLATFORM,
    RUNTIMES,
    SMALL_FILES,
)
from tritonbuild.composition.composition import Composition
from tritonbuild.composition.selection import Selection, select, sources

__all__ = [
    "BASES",
    "CLIENTS",
    "DCGM_SOURCES",
    "FEATURES",
    "HEADERS",
    "NVIDIA_REGISTRY",
    "PLATFORM",
    "RUNTIMES",
    "SMALL_FILES",
    "Composition",
    "Selection",
    "select",
    "sources",
]
