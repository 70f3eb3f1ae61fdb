"""A release's recipe, out of the rows that hold for it."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tritonbuild.catalog.records import Component, Copy, Dcgm, Recipe, Release, Repository, User
from tritonbuild.catalog.tables import Row, Spot, read

_REPOSITORY_ARCHITECTURES: Final[Mapping[str, str]] = {"x86_64": "x86_64", "aarch64": "sbsa"}


def copies(spot: Spot, rows: Iterable[Row], stage: str, places: Mapping[str, str] | None = None) -> tuple[Copy, ...]:
    """Return what *rows* copy from *stage*; without a destination, a file keeps its path."""
    found = []
    for row in spot.rows(rows):
        source = fill(row["source"], places or {})
        destination = fill(row.get("destination", row["source"]), places or {})
        found.append(Copy(source=source, destination=destination, stage=stage))
    return tuple(found)


def fill(text: str, places: Mapping[str, str]) -> str:
    """Return *text* with the names in braces replaced. Not `str.format`: `${PATH}` is left alone."""
    for name, value in places.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def recipe(release: Release, *, gpu: bool, arch: str, components: tuple[Component, ...]) -> Recipe:
    """Return the recipe of *release* for a flavour and architecture."""
    table = read("recipes")
    spot = Spot(release.version, gpu, arch)
    known = {
        "version": release.version,
        "triton_version": release.triton_version,
        "dcgm_version": release.dcgm_version,
    }
    places = {name: value for name, value in known.items() if value is not None}
    unknown = {f"{{{name}}}" for name, value in known.items() if value is None}

    def pairs(part: str) -> dict[str, str]:
        rows = list(spot.rows(table[part]))
        return {row["name"]: fill(row["value"], places) for row in rows if row["value"] not in unknown}

    # What the catalog does not know of a newer release, its full image does.
    env_from_full = pairs("env_from_full")
    env_from_full |= {row["name"]: f"env:{row['name']}" for row in spot.rows(table["env"]) if row["value"] in unknown}
    labels_from_full = spot.joined(table["labels_from_full"])
    labels_from_full += tuple(row["name"] for row in spot.rows(table["labels"]) if row["value"] in unknown)
    repository = fill(spot.value(table["repository"]), {"repository_arch": _REPOSITORY_ARCHITECTURES[arch]})
    dcgm = Dcgm(
        version=release.dcgm_version,
        packages=spot.joined(table["dcgm_packages"]),
        recommends=spot.value(table["dcgm_recommends"]),
    )
    return Recipe(
        release=release,
        gpu=gpu,
        arch=arch,
        workdir=table["workdir"],
        env=pairs("env"),
        env_from_full=env_from_full,
        build_env=pairs("build_env"),
        cpu_env=pairs("cpu_env"),
        labels=pairs("labels"),
        labels_from_full=labels_from_full,
        sagemaker_labels=pairs("sagemaker_labels"),
        sagemaker_copies=copies(spot, table["sagemaker_copies"], "full"),
        core_copies=copies(spot, table["core_copies"], "full"),
        left_out=spot.joined(table["left_out"]),
        context_copies=copies(spot, table["context_copies"], "context"),
        entrypoint_files=spot.joined(table["entrypoint_files"]),
        entrypoint=spot.joined(table["entrypoint"]),
        entrypoint_inherited=bool(spot.value(table["entrypoint_inherited"])),
        chown=spot.value(table["chown"]),
        user=User(**spot.value(table["user"]), removes=spot.joined(table["user_removes"])),
        apt=spot.joined(table["apt"]),
        cuda_apt=spot.joined(table["cuda_apt"]),
        boost=spot.value(table["boost"]),
        repository=Repository(url=repository, keyring=spot.value(table["keyring"]), key=spot.value(table["key"])),
        dcgm=dcgm if gpu else None,
        dlopen=spot.joined(table["dlopen"]),
        components=components,
    )
