"""Components: a `Component` record from its row, for a release, platform and flavor."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tritonbuild.catalog.names import ARCHITECTURES
from tritonbuild.catalog.recipes import copies, fill
from tritonbuild.catalog.records import Component, Extra, Release
from tritonbuild.catalog.tables import Row, Scope, load_table
from tritonbuild.wellknown import COMPONENT_FOLDERS

_PATHS: Final[Mapping[str, Mapping[str, str]]] = {
    "x86_64": {"triplet": "x86_64-linux-gnu", "cuda_target": "x86_64-linux"},
    "aarch64": {"triplet": "aarch64-linux-gnu", "cuda_target": "sbsa-linux"},
}
"""The parts of paths that differ between architectures, by the names that the data files have for them."""


def span(row: Row) -> tuple[str, str]:
    """Return the first and the last release of the catalog for which *row* holds."""
    versions = tuple(load_table("releases")["triton"])
    return max(row.get("from", ""), versions[0]), min(row.get("to", "99.99"), versions[-1])


def component_from(row: Row, release: Release, scope: Scope) -> Component:
    """Return the component that *row* describes, in *release* for *scope*."""
    table = load_table("components")
    first, last = span(row)
    starts = row.get("on_from", {})
    devices = {name: text.split() for name, text in row["on"].items() if starts.get(name, "") <= scope.version}
    here = [device for name in devices if ARCHITECTURES[name] == scope.arch for device in devices[name]]
    images = tuple(name for name in row["images"] if name in release.variants)
    paths = _PATHS[scope.arch]
    fillings = {**paths, "cuda_libraries": fill(scope.value(table["cuda_libraries"]), paths)}
    # A CPU base lacks files that the GPU flavor's min image has. The GPU flavor is built on that image.
    copied = [] if scope.gpu else [table["sets"][name] for name in row.get("copies", ())]
    directory = row.get("directory", [{"value": f"{COMPONENT_FOLDERS[row['kind']]}/{row['name']}"}])
    return Component(
        kind=row["kind"],
        name=row["name"],
        directory=scope.value(directory),
        first=first,
        last=last,
        platforms=tuple(devices),
        gpu="gpu" in here,
        cpu="cpu" in here,
        requires=tuple(row.get("requires", ())),
        images=images,
        version=row.get("framework_version") or release.versions.get(row.get("version", "")),
        env=tuple((item["name"], fill(item["value"], fillings)) for item in scope.rows(row.get("env", ()))),
        apt=scope.joined(row.get("apt", ())),
        pip=tuple(tuple(item["value"]) for item in scope.rows(row.get("pip", ()))),
        copies=tuple(copy for rows in copied for copy in copies(scope, rows, fillings)),
        dlopen=_libraries(row.get("dlopen", ()), scope),
        venv=scope.value(row.get("venv", ())) or "",
        aliases=tuple(row.get("aliases", ())),
        description=row.get("description", ""),
        notes=tuple(item["value"] for item in scope.rows(row.get("notes", ()))),
        custom=row.get("custom", False),
        extras=tuple(_extra(extra, scope) for extra in scope.rows(row.get("extras", ()))),
    )


def _extra(row: Row, scope: Scope) -> Extra:
    return Extra(
        name=row["name"],
        files=tuple(row.get("files", ())),
        dlopen=_libraries(row.get("dlopen", ()), scope),
        libraries=_libraries(row.get("libraries", ()), scope),
        requires=tuple(row.get("requires", ())),
    )


def _libraries(names: Iterable[str], scope: Scope) -> tuple[str, ...]:
    """Return the names of libraries; a name of a set stands for those in it."""
    sets = load_table("components")["sets"]
    return scope.joined(row for name in names for row in sets.get(name, ({"value": [name]},)))
