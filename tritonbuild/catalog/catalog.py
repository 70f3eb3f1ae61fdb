"""The `Catalog`: queries over the built-in tables and the user's component entries."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

import attrs

from tritonbuild.catalog import user_entries
from tritonbuild.catalog.component import component_from, span
from tritonbuild.catalog.names import ARCHITECTURES, KINDS, check_kind, check_name, check_platform, is_release
from tritonbuild.catalog.recipes import recipe_of
from tritonbuild.catalog.records import Component, Recipe, Release
from tritonbuild.catalog.tables import Row, Scope, load_table
from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.reference import parse_registry

REGISTRY: Final = "nvcr.io/nvidia"
"""The registry of NVIDIA's Triton images."""

UBUNTU: Final = "docker.io/library/ubuntu"
"""The base of the CPU flavor, registry included: engines resolve a short name differently."""

_FRAMEWORKS: Final = ("onnxruntime", "openvino", "vllm", "tensorrtllm")

_VLLM_BASE: Final = "26.03"
"""The first release whose vllm image is based on nvidia/vllm (server build.py, create_dockerfile_linux)."""


@attrs.frozen
class Catalog:
    """Releases and components: the tables, and the user's *entries*, which take precedence (see `extended`)."""

    entries: tuple[Row, ...] = ()

    def releases(self) -> tuple[str, ...]:
        """Return all releases of the catalog, oldest first."""
        return tuple(load_table("releases")["triton"])

    def newest(self) -> str:
        """Return the newest release of the catalog."""
        return self.releases()[-1]

    def release(self, version: str) -> Release:
        """Return the release *version*. It is not `known` if it is newer than the catalog.

        Raises:
            InvalidInputError: *version* has not the form `YY.MM`, or is older than the catalog.
        """
        versions = self.releases()
        extent = f"{versions[0]} to {versions[-1]}"
        table = load_table("releases")
        if not is_release(version):
            raise InvalidInputError(f"{version!r} is not a Triton release", hint=_release_hint(version, extent))
        if version < versions[0]:
            raise InvalidInputError(f"release {version} is older than the catalog", hint=f"the catalog has {extent}")
        known = version in table["triton"]
        scope = Scope(version)
        frameworks = {name: _framework_version(table[name], scope) for name in _FRAMEWORKS if known}
        return Release(
            version=version,
            known=known,
            triton_version=table["triton"].get(version),
            upstream=table["upstream"].get(version, version) if known else None,
            ubuntu_version=scope.value(table["ubuntu"]),
            python_version=scope.value(table["python"]),
            cuda_version=table["cuda"].get(version),
            dcgm_version=scope.value(table["dcgm"]) if known else None,
            variants=tuple(name for name, row in table["variants"].items() if scope.covers(row)),
            variant_cuda={name: row[version] for name, row in table["variant_cuda"].items() if version in row},
            versions={name: text for name, text in frameworks.items() if text is not None},
        )

    def components(
        self, version: str, *, platform: str = "linux/amd64", gpu: bool = True, kind: str | None = None
    ) -> tuple[Component, ...]:
        """Return the components for a release, platform and flavor, of one *kind* or of all kinds.

        Raises:
            InvalidInputError: The release or the platform does not exist.
        """
        release, plain = self.release(version), check_platform(platform)
        scope = Scope(version, gpu, ARCHITECTURES[plain])
        kinds = KINDS if kind is None else (check_kind(kind),)
        rows = [row for wanted in kinds for row in _rows(self.entries, wanted) if scope.covers(row)]
        found = [component_from(row, release, scope) for row in rows]
        return tuple(item for item in found if item.images and plain in item.platforms and (gpu or item.cpu))

    def component(
        self, kind: str, name: str, version: str, *, platform: str = "linux/amd64", gpu: bool = True
    ) -> Component:
        """Return the component with a name or alias; raises as `resolve`."""
        return self.resolve(kind, name, version, platform=platform, gpu=gpu)[0]

    def resolve(
        self, kind: str, name: str, version: str, *, platform: str = "linux/amd64", gpu: bool = True
    ) -> tuple[Component, str]:
        """Return the component with the name or alias *name*, and a note that names it if *name* is an alias, or "".

        An alias depends on the release: `tf` is tensorflow2 in 23.03 and tensorflow in 24.10.

        Raises:
            UnknownNameError: No release has such a component.
            InvalidInputError: *name* does not have the form of a name, or the release, the platform or the flavor
                does not have the component.
        """
        check_kind(kind)
        check_name(kind, name)
        release, plain = self.release(version), check_platform(platform)
        scope = Scope(version, gpu, ARCHITECTURES[plain])
        rows = [row for row in _rows(self.entries, kind) if name == row["name"]]
        rows += [row for row in _rows(self.entries, kind) if name in row.get("aliases", ())]
        if not rows:
            raise self._unknown(kind, name, release)
        present = [row for row in rows if scope.covers(row)]
        if not present:
            spans = ", ".join(f"{row['name']} is in {' to '.join(dict.fromkeys(span(row)))}" for row in rows)
            raise InvalidInputError(f"release {version} has no {KINDS[kind]} {name!r}", hint=spans)
        found = component_from(present[0], release, scope)
        if not found.images:
            hint = "build a full image that has it, and describe it in a component entry"
            raise InvalidInputError(f"no image of release {version} holds {KINDS[kind]} {found.name!r}", hint=hint)
        if plain not in found.platforms:
            hint = (
                f"it is on {' and '.join(found.platforms)}"
                if found.platforms
                else "it is on no platform in that release"
            )
            raise InvalidInputError(f"{KINDS[kind]} {found.name!r} is not on {plain} in {version}", hint=hint)
        if not gpu and not found.cpu:
            hint = "leave it out, or compose for GPUs"
            raise InvalidInputError(f"{KINDS[kind]} {found.name!r} does not run without a GPU", hint=hint)
        note = "" if name == found.name else f"{name!r} is taken to be {KINDS[kind]} {found.name!r}"
        return found, note

    def with_required(
        self, components: Iterable[Component], version: str, *, platform: str = "linux/amd64", gpu: bool = True
    ) -> tuple[Component, ...]:
        """Return *components*, then the components that they require, each once.

        Raises:
            InvalidInputError: The release does not have a required component.
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
        """Return the variant of the full image that holds all *components*; `full` if several do.

        Raises:
            InvalidInputError: No image of the release holds all of them.
        """
        chosen = tuple(components)
        for name in self.release(version).variants:
            if all(name in item.images for item in chosen):
                return name
        images = [f"{item.name} is in {' and '.join(item.images) or 'none'}" for item in chosen]
        names = ", ".join(item.name for item in chosen)
        raise InvalidInputError(f"no image of release {version} holds all of {names}", hint="; ".join(images))

    def image(self, version: str, variant: str = "full", *, registry: str = REGISTRY) -> str:
        """Return the reference of an image of a release: `nvcr.io/nvidia/tritonserver:24.10-py3-min`.

        Raises:
            UnknownNameError: No release has the variant.
            InvalidInputError: The release is not known to have it, or *registry* is malformed.
        """
        release, rows = self.release(version), load_table("releases")["variants"]
        if variant not in rows:
            raise UnknownNameError("image variant", variant, rows)
        if variant not in release.variants:
            extent = " to ".join(dict.fromkeys(span(rows[variant])))
            hint = f"it is in {extent}; to name an image: --image full,REF"
            raise InvalidInputError(f"release {version} is not known to have a {variant!r} image", hint=hint)
        return f"{parse_registry(registry)}/tritonserver:{version}{rows[variant]['suffix']}"

    def sources(
        self, version: str, *, gpu: bool = True, registry: str = REGISTRY, variant: str = "full", ubuntu: str = UBUNTU
    ) -> dict[str, str]:
        """Return the source images of a release: `full` and `min`, and `gpu-min` for the CPU flavor.

        The CPU flavor takes its components from the GPU full image, since the CPU-only image is not published. Its
        base is the distribution that the release is built on, as the server's build.py has it; compose.py names an
        older one from 24.11 on. *registry* does not apply to *ubuntu*, which is not NVIDIA's.

        Raises:
            UnknownNameError: No release has the variant.
            InvalidInputError: The release or its variant does not exist, or a registry is malformed.
        """
        release = self.release(version)
        full = self.image(version, variant, registry=registry)
        gpu_min = self.image(version, "min", registry=registry)
        if not gpu:
            return {"full": full, "min": self.plain_base(version, ubuntu=ubuntu), "gpu-min": gpu_min}
        if variant == "vllm" and version >= _VLLM_BASE:
            base = f"{parse_registry(registry)}/vllm:{release.upstream or version}-py3"
            return {"full": full, "min": base}
        return {"full": full, "min": gpu_min}

    def plain_base(self, version: str, *, ubuntu: str = UBUNTU) -> str:
        """Return the reference of the distribution that a release is built on: `docker.io/library/ubuntu:24.04`.

        Raises:
            InvalidInputError: The release does not exist, or *ubuntu* is malformed.
        """
        return f"{parse_registry(ubuntu)}:{self.release(version).ubuntu_version}"

    def recipe(
        self, version: str, *, gpu: bool = True, arch: str = "x86_64", full_env: Mapping[str, str] | None = None
    ) -> Recipe:
        """Return the content of the Containerfile that the release's compose.py writes.

        Args:
            version: The release.
            gpu: The flavor.
            arch: `x86_64` or `aarch64`.
            full_env: The environment variables of the full image, with the versions that the catalog lacks.

        Raises:
            InvalidInputError: The release or the architecture does not exist.
        """
        platform = check_platform(arch)
        components = self.components(version, platform=platform, gpu=gpu)
        release = self.release(version)
        found = full_env or {}
        release = attrs.evolve(
            release,
            triton_version=release.triton_version or found.get("TRITON_SERVER_VERSION"),
            dcgm_version=release.dcgm_version or found.get("DCGM_VERSION"),
        )
        return recipe_of(release, gpu=gpu, arch=ARCHITECTURES[platform], components=components)

    def extended(self, records: Iterable[Mapping[str, Any]]) -> Catalog:
        """Return this catalog extended by *records*: components of the user's full images (docs/catalog.md).

        Raises:
            UnknownNameError: A record has a key, a kind, a variant or a requirement that does not exist.
            InvalidInputError: A value has the wrong form, or a name is in use and the record lacks `replace`.
        """
        catalog = self
        for row in user_entries.rows(records):
            kind, name, title = row["kind"], row["name"], user_entries.title_of(row)
            existing = _rows(catalog.entries, kind)
            others = [other for other in existing if other["name"] != name]
            if len(others) < len(existing) and not row["replace"]:
                hint = "to replace it, add replace = true"
                raise InvalidInputError(f"{title}: the catalog has a {KINDS[kind]} of that name", hint=hint)
            taken = {text: other["name"] for other in others for text in (other["name"], *other.get("aliases", ()))}
            for text in (name, *row["aliases"]):
                if text in taken:
                    raise InvalidInputError(f"{title}: {text!r} is a name of {KINDS[kind]} {taken[text]!r}")
            catalog = attrs.evolve(catalog, entries=(*catalog.entries, row))
        backends = [row["name"] for row in _rows(catalog.entries, "backend")]
        for row in catalog.entries:
            for name in row["requires"]:
                if name not in backends:
                    raise UnknownNameError(KINDS["backend"], name, backends, where=f"in {user_entries.title_of(row)}")
        return catalog

    def _unknown(self, kind: str, name: str, release: Release) -> UnknownNameError:
        scope = Scope(release.version)
        known = [row["name"] for row in _rows(self.entries, kind) if scope.covers(row) and row["images"]]
        for other in KINDS:
            if other != kind and any(name == row["name"] for row in _rows(self.entries, other)):
                return UnknownNameError(KINDS[kind], name, (), hint=f"it is a {KINDS[other]}: --{other} {name}")
        return UnknownNameError(KINDS[kind], name, known)


def _rows(entries: Iterable[Row], kind: str) -> list[Row]:
    """Return the rows of *kind*; a user's entry replaces the built-in row of the same name."""
    replaced = {row["name"]: row for row in entries if row["kind"] == kind}
    rows = load_table("components")["components"]
    return [*(row for row in rows if row["kind"] == kind and row["name"] not in replaced), *replaced.values()]


def _framework_version(rows: Any, scope: Scope) -> str | None:
    version: str | None = rows.get(scope.version) if isinstance(rows, dict) else scope.value(rows)
    return version


def _release_hint(version: str, extent: str) -> str:
    for release, triton in load_table("releases")["triton"].items():
        if version.removeprefix("v") == triton:
            return f"Triton {triton} is in release {release}"
    if is_release(version[:5]) and version[5:6] == "-":
        return f"give the release alone: {version[:5]}"
    return f"releases are YY.MM, from {extent}"
