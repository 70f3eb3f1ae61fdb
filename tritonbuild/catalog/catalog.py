"""The catalog as a value: the built-in tables, with the user's own entries or without."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from tritonbuild.catalog import component, recipes, user_entries
from tritonbuild.catalog.names import (
    ARCHITECTURES,
    KINDS,
    check_kind,
    check_name,
    check_platform,
    check_registry,
    is_release,
    platform_of,
)
from tritonbuild.catalog.records import Component, Recipe, Release
from tritonbuild.catalog.tables import Row, Spot, read
from tritonbuild.errors import InvalidInputError, UnknownNameError

REGISTRY: Final = "nvcr.io/nvidia"
"""Where NVIDIA publishes Triton's images."""

UBUNTU: Final = "docker.io/library/ubuntu"
"""The base of the CPU flavour, with its registry: a short name means something else to each engine."""

_FRAMEWORKS: Final = ("onnxruntime", "openvino", "vllm", "tensorrtllm")

_VLLM_BASE: Final = "26.03"
"""The first release whose vllm image is based on nvidia/vllm (server build.py, create_dockerfile_linux)."""


@attrs.frozen
class Catalog:
    """Releases and components: those of the tables, and *own* entries on top (see `extended`)."""

    own: tuple[Row, ...] = ()

    def releases(self) -> tuple[str, ...]:
        """Return the releases that the catalog holds, oldest first."""
        return tuple(read("releases")["triton"])

    def newest(self) -> str:
        """Return the newest of them."""
        return self.releases()[-1]

    def release(self, version: str) -> Release:
        """Return a release. One that is newer than the catalog is not `known`.

        Raises:
            InvalidInputError: *version* has not the form `YY.MM`, or is older than the catalog.
        """
        versions = self.releases()
        span = f"{versions[0]} to {versions[-1]}"
        table = read("releases")
        if not is_release(version):
            raise InvalidInputError(f"{version!r} is not a Triton release", hint=_release_hint(version, span))
        if version < versions[0]:
            raise InvalidInputError(f"release {version} is older than the catalog", hint=f"it holds {span}")
        known = version in table["triton"]
        spot = Spot(version)
        versions_inside = {name: _version_at(table[name], spot) for name in _FRAMEWORKS if known}
        return Release(
            version=version,
            known=known,
            triton_version=table["triton"].get(version),
            upstream=table["upstream"].get(version, version) if known else None,
            ubuntu_version=spot.value(table["ubuntu"]),
            python_version=spot.value(table["python"]),
            cuda_version=table["cuda"].get(version),
            dcgm_version=spot.value(table["dcgm"]) if known else None,
            variants=tuple(name for name, row in table["variants"].items() if spot.covers(row)),
            versions={name: text for name, text in versions_inside.items() if text is not None},
        )

    def components(
        self, version: str, *, platform: str = "linux/amd64", gpu: bool = True, kind: str | None = None
    ) -> tuple[Component, ...]:
        """Return what can be composed for a release, platform and flavour; of one *kind*, or of all.

        Raises:
            InvalidInputError: The release or platform is not one.
        """
        release, plain = self.release(version), check_platform(platform)
        spot = Spot(version, gpu, ARCHITECTURES[plain])
        kinds = KINDS if kind is None else (check_kind(kind),)
        rows = [row for wanted in kinds for row in _rows(self.own, wanted) if spot.covers(row)]
        found = [component.component(row, release, spot) for row in rows]
        return tuple(item for item in found if item.images and plain in item.platforms and (gpu or item.cpu))

    def component(
        self, kind: str, name: str, version: str, *, platform: str = "linux/amd64", gpu: bool = True
    ) -> Component:
        """Return the component that a name or alias stands for; raises as `resolve`."""
        return self.resolve(kind, name, version, platform=platform, gpu=gpu)[0]

    def resolve(
        self, kind: str, name: str, version: str, *, platform: str = "linux/amd64", gpu: bool = True
    ) -> tuple[Component, str]:
        """Return the component that *name* stands for in a release, and what to say if that is an alias, or "".

        An alias stands for what the release has: `tf` is tensorflow2 in 23.03 and tensorflow in 24.10.

        Raises:
            UnknownNameError: There is no such component in any release.
            InvalidInputError: *name* has not the form of a name, or the release, the platform or the flavour does
                not have the component.
        """
        check_kind(kind)
        check_name(kind, name)
        release, plain = self.release(version), check_platform(platform)
        spot = Spot(version, gpu, ARCHITECTURES[plain])
        rows = [row for row in _rows(self.own, kind) if name == row["name"]]
        rows += [row for row in _rows(self.own, kind) if name in row.get("aliases", ())]
        if not rows:
            raise self._unknown(kind, name, release)
        present = [row for row in rows if spot.covers(row)]
        if not present:
            where = ", ".join(f"{row['name']} is in {' to '.join(dict.fromkeys(component.span(row)))}" for row in rows)
            raise InvalidInputError(f"release {version} has no {KINDS[kind]} {name!r}", hint=where)
        found = component.component(present[0], release, spot)
        if not found.images:
            hint = "build a full image that has it, and name it in an entry of your own"
            raise InvalidInputError(f"no image of release {version} holds {KINDS[kind]} {found.name!r}", hint=hint)
        if plain not in found.platforms:
            hint = f"it is on {' and '.join(found.platforms)}" if found.platforms else "it is on no platform there"
            raise InvalidInputError(f"{KINDS[kind]} {found.name!r} is not on {plain} in {version}", hint=hint)
        if not gpu and not found.cpu:
            hint = "leave it out, or compose for GPUs"
            raise InvalidInputError(f"{KINDS[kind]} {found.name!r} does not run without a GPU", hint=hint)
        said = "" if name == found.name else f"{name!r} is taken to be {KINDS[kind]} {found.name!r}"
        return found, said

    def with_required(
        self, components: Iterable[Component], version: str, *, platform: str = "linux/amd64", gpu: bool = True
    ) -> tuple[Component, ...]:
        """Return *components* and those that they require, each once: the required after all that were given.

        Raises:
            InvalidInputError: The release does not have one that is required.
        """
        found = {(item.kind, item.name): item for item in components}
        queue = list(found.values())
        while queue:
            for name in queue.pop(0).requires:
                if ("backend", name) not in found:
                    needed = self.component("backend", name, version, platform=platform, gpu=gpu)
                    found["backend", name] = needed
                    queue.append(needed)
        return tuple(found.values())

    def variant(self, components: Iterable[Component], version: str) -> str:
        """Return the variant of the full image that holds all *components*; `full` where there is a choice.

        Raises:
            InvalidInputError: No image of the release holds them all.
        """
        chosen = tuple(components)
        for name in self.release(version).variants:
            if all(name in item.images for item in chosen):
                return name
        places = [f"{item.name} is in {' and '.join(item.images) or 'none'}" for item in chosen]
        names = ", ".join(item.name for item in chosen)
        raise InvalidInputError(f"no image of release {version} holds all of {names}", hint="; ".join(places))

    def image(self, version: str, variant: str = "full", *, registry: str = REGISTRY) -> str:
        """Return the reference of an image of a release: `nvcr.io/nvidia/tritonserver:24.10-py3-min`.

        Raises:
            UnknownNameError: There is no such variant.
            InvalidInputError: The release is not known to have it, or the registry is not one.
        """
        release, rows = self.release(version), read("releases")["variants"]
        if variant not in rows:
            raise UnknownNameError("image variant", variant, rows)
        if variant not in release.variants:
            span = " to ".join(dict.fromkeys(component.span(rows[variant])))
            hint = f"it is in {span}; an image can be named itself: --image full,REF"
            raise InvalidInputError(f"release {version} is not known to have a {variant!r} image", hint=hint)
        return f"{check_registry(registry)}/tritonserver:{version}{rows[variant]['suffix']}"

    def sources(
        self, version: str, *, gpu: bool = True, registry: str = REGISTRY, variant: str = "full", ubuntu: str = UBUNTU
    ) -> dict[str, str]:
        """Return the source images of a release: `full` and `min`, and `gpu-min` for the CPU flavour.

        The CPU flavour takes its components from the GPU full image, since the CPU-only one is not published, and
        its base is the distribution that the release is built on: what the server's build.py says, not the older
        one that compose.py names from 24.11 on. *ubuntu* is not NVIDIA's, so *registry* leaves it alone.

        Raises:
            UnknownNameError: There is no such variant.
            InvalidInputError: The release, its variant or the registry is not one.
        """
        release = self.release(version)
        full = self.image(version, variant, registry=registry)
        gpu_min = self.image(version, "min", registry=registry)
        if not gpu:
            return {"full": full, "min": f"{check_registry(ubuntu)}:{release.ubuntu_version}", "gpu-min": gpu_min}
        if variant == "vllm" and version >= _VLLM_BASE:
            base = f"{check_registry(registry)}/vllm:{release.upstream or version}-py3"
            return {"full": full, "min": base}
        return {"full": full, "min": gpu_min}

    def recipe(self, version: str, *, gpu: bool = True, arch: str = "x86_64") -> Recipe:
        """Return what the release's compose.py writes.

        Raises:
            InvalidInputError: The release or architecture is not one.
        """
        platform = platform_of(arch)
        components = self.components(version, platform=platform, gpu=gpu)
        return recipes.recipe(self.release(version), gpu=gpu, arch=ARCHITECTURES[platform], components=components)

    def extended(self, records: Iterable[Mapping[str, Any]]) -> Catalog:
        """Return a catalog with *records* too: components of the user's own full images (docs/catalog.md).

        Raises:
            UnknownNameError: A record has a key, a kind, a variant or a requirement that does not exist.
            InvalidInputError: A record is not what it should be, or takes a name that is taken without `replace`.
        """
        catalog = self
        for row in user_entries.rows(records):
            kind, name, title = row["kind"], row["name"], user_entries.title_of(row)
            there = _rows(catalog.own, kind)
            others = [other for other in there if other["name"] != name]
            if len(others) < len(there) and not row["replace"]:
                hint = "say replace = true to have the entry in its place"
                raise InvalidInputError(f"{title}: there is a {KINDS[kind]} of that name", hint=hint)
            taken = {text: other["name"] for other in others for text in (other["name"], *other.get("aliases", ()))}
            for text in (name, *row["aliases"]):
                if text in taken:
                    raise InvalidInputError(f"{title}: {text!r} stands for {KINDS[kind]} {taken[text]!r} already")
            catalog = attrs.evolve(catalog, own=(*catalog.own, row))
        backends = [row["name"] for row in _rows(catalog.own, "backend")]
        for row in catalog.own:
            for name in row["requires"]:
                if name not in backends:
                    raise UnknownNameError(KINDS["backend"], name, backends, where=f"in {user_entries.title_of(row)}")
        return catalog

    def _unknown(self, kind: str, name: str, release: Release) -> UnknownNameError:
        spot = Spot(release.version)
        known = [row["name"] for row in _rows(self.own, kind) if spot.covers(row) and row["images"]]
        for other in KINDS:
            if other != kind and any(name == row["name"] for row in _rows(self.own, other)):
                return UnknownNameError(KINDS[kind], name, (), hint=f"it is a {KINDS[other]}: --{other} {name}")
        return UnknownNameError(KINDS[kind], name, known)


def _rows(own: tuple[Row, ...], kind: str) -> list[Row]:
    """Return the rows of a kind; one of the user's takes the place of the one of its name."""
    mine = {row["name"]: row for row in own if row["kind"] == kind}
    rows = [row for row in read("components")["components"] if row["kind"] == kind and row["name"] not in mine]
    return [*rows, *mine.values()]


def _version_at(rows: Any, spot: Spot) -> str | None:
    version: str | None = rows.get(spot.version) if isinstance(rows, dict) else spot.value(rows)
    return version


def _release_hint(version: str, span: str) -> str:
    for release, triton in read("releases")["triton"].items():
        if version.removeprefix("v") == triton:
            return f"Triton {triton} is in release {release}"
    if is_release(version[:5]) and version[5:6] == "-":
        return f"give the release alone: {version[:5]}"
    return f"releases are YY.MM, from {span}"
