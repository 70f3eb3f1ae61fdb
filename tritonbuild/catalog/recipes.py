"""Recipes: a `Recipe` record from the rows that hold for a release, flavor and architecture."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

from tritonbuild.catalog.records import Component, Dcgm, FileCopy, PackageRepository, Recipe, Release, ServerUser
from tritonbuild.catalog.tables import Row, Scope, load_table

_REPOSITORY_ARCHITECTURES: Final[Mapping[str, str]] = {"x86_64": "x86_64", "aarch64": "sbsa"}


def copies(scope: Scope, rows: Iterable[Row], fillings: Mapping[str, str] | None = None) -> tuple[FileCopy, ...]:
    """Return the copies that *rows* describe; a row without a destination keeps the path of the file."""
    found = []
    for row in scope.rows(rows):
        source = fill(row["source"], fillings or {})
        destination = fill(row.get("destination", row["source"]), fillings or {})
        found.append(FileCopy(source=source, destination=destination))
    return tuple(found)


def fill(text: str, fillings: Mapping[str, str]) -> str:
    """Return *text* with each `{name}` of *fillings* replaced. Unlike `str.format`, it leaves `${PATH}` alone."""
    for name, value in fillings.items():
        text = text.replace(f"{{{name}}}", value)
    return text


def recipe_of(release: Release, *, gpu: bool, arch: str, components: tuple[Component, ...]) -> Recipe:
    """Return the recipe of *release* for a flavor and architecture."""
    table = load_table("recipes")
    scope = Scope(release.version, gpu, arch)
    known = {
        "version": release.version,
        "triton_version": release.triton_version,
        "dcgm_version": release.dcgm_version,
    }
    fillings = {name: value for name, value in known.items() if value is not None}
    unknown = {f"{{{name}}}" for name, value in known.items() if value is None}

    def pairs(part: str) -> dict[str, str]:
        rows = list(scope.rows(table[part]))
        return {row["name"]: fill(row["value"], fillings) for row in rows if row["value"] not in unknown}

    # Values that the catalog lacks for a newer release come from the full image.
    env_from_full = pairs("env_from_full")
    env_from_full |= {row["name"]: f"env:{row['name']}" for row in scope.rows(table["env"]) if row["value"] in unknown}
    labels_from_full = scope.joined(table["labels_from_full"])
    labels_from_full += tuple(row["name"] for row in scope.rows(table["labels"]) if row["value"] in unknown)
    repository = fill(scope.value(table["repository"]), {"repository_arch": _REPOSITORY_ARCHITECTURES[arch]})
    dcgm = Dcgm(
        version=release.dcgm_version,
        packages=scope.joined(table["dcgm_packages"]),
        recommends=scope.value(table["dcgm_recommends"]),
    )
    return Recipe(
        release=release,
        gpu=gpu,
        arch=arch,
        workdir=table["workdir"],
        env=pairs("env"),
        env_from_full=env_from_full,
        cpu_env=pairs("cpu_env"),
        labels=pairs("labels"),
        labels_from_full=labels_from_full,
        sagemaker_labels=pairs("sagemaker_labels"),
        sagemaker_copies=copies(scope, table["sagemaker_copies"]),
        core_copies=copies(scope, table["core_copies"]),
        entrypoint_files=scope.joined(table["entrypoint_files"]),
        entrypoint=scope.joined(table["entrypoint"]),
        chown=scope.value(table["chown"]),
        user=ServerUser(**scope.value(table["user"]), removes=scope.joined(table["user_removes"])),
        apt=scope.joined(table["apt"]),
        cuda_apt=scope.joined(table["cuda_apt"]),
        loader_apt=scope.joined(table["loader_apt"]),
        repository=PackageRepository(
            url=repository, keyring=scope.value(table["keyring"]), key=scope.value(table["key"])
        ),
        dcgm=dcgm if gpu else None,
        dlopen=scope.joined(table["dlopen"]),
        components=components,
    )
