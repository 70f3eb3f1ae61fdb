"""One component, out of its row: what it is in a release, on a platform, in a flavour."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tritonbuild.catalog import recipes
from tritonbuild.catalog.names import ARCHITECTURES, FOLDERS
from tritonbuild.catalog.records import Component, Release
from tritonbuild.catalog.tables import Row, Spot, read

_TARGETS: Final[Mapping[str, Mapping[str, str]]] = {
    "x86_64": {"triplet": "x86_64-linux-gnu", "cuda_target": "x86_64-linux"},
    "aarch64": {"triplet": "aarch64-linux-gnu", "cuda_target": "sbsa-linux"},
}


def span(row: Row) -> tuple[str, str]:
    """Return the first and the last release of the catalog that *row* holds for."""
    versions = tuple(read("releases")["triton"])
    return max(row.get("from", ""), versions[0]), min(row.get("to", "99.99"), versions[-1])


def component(row: Row, release: Release, spot: Spot) -> Component:
    """Return the component of *row* as it is at *spot*, in *release*."""
    table = read("components")
    first, last = span(row)
    starts = row.get("on_from", {})
    devices = {name: text.split() for name, text in row["on"].items() if starts.get(name, "") <= spot.version}
    here = [device for name in devices if ARCHITECTURES[name] == spot.arch for device in devices[name]]
    images = tuple(name for name in row["images"] if name in release.variants)
    target = _TARGETS[spot.arch]
    places = {**target, "cuda_libraries": recipes.fill(spot.value(table["cuda_libraries"]), target)}
    # Files of the GPU flavour's min image stand in for what a CPU base lacks: of no use in the GPU flavour.
    copied = [] if spot.gpu else [table["sets"][name] for name in row.get("copies", ())]
    opened = [opened for name in row.get("dlopen", ()) for opened in table["sets"].get(name, ({"value": [name]},))]
    directory = row.get("directory", [{"value": f"{FOLDERS[row['kind']]}/{row['name']}"}])
    return Component(
        kind=row["kind"],
        name=row["name"],
        directory=spot.value(directory),
        first=first,
        last=last,
        platforms=tuple(devices),
        gpu="gpu" in here,
        cpu="cpu" in here,
        requires=tuple(row.get("requires", ())),
        images=images,
        suffix=read("releases")["variants"][images[0]]["suffix"] if images else "",
        version=row.get("framework_version") or release.versions.get(row.get("version", "")),
        env=tuple((item["name"], recipes.fill(item["value"], places)) for item in spot.rows(row.get("env", ()))),
        apt=spot.joined(row.get("apt", ())),
        pip=tuple(tuple(item["value"]) for item in spot.rows(row.get("pip", ()))),
        copies=tuple(copy for rows in copied for copy in recipes.copies(spot, rows, "gpu-min", places)),
        dlopen=spot.joined(opened),
        aliases=tuple(row.get("aliases", ())),
        description=row.get("description", ""),
        notes=tuple(item["value"] for item in spot.rows(row.get("notes", ()))),
        own=row.get("own", False),
    )
