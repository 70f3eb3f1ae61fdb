"""What is wanted in an image: components of a release, from which source images. Knows nothing of engines."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import attrs

from tritonbuild.catalog import BUILTIN, Catalog, Component, Recipe
from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.reference import Reference, parse_reference, parse_registry

NVIDIA_REGISTRY: Final = "nvcr.io/nvidia"
FEATURES: Final = ("headers",)
SOURCE_NAMES: Final = ("full", "min", "gpu-min")


def _names(value: Iterable[str] | str) -> tuple[str, ...]:
    """Return component names as a tuple, each once, in the order given."""
    return tuple(dict.fromkeys((value,) if isinstance(value, str) else value))


def _release(value: str) -> str:
    """Return a release; the newest where none is given."""
    return value or BUILTIN.newest()


def _references(value: Mapping[str, str | Reference]) -> dict[str, Reference]:
    for name in value:
        if name not in SOURCE_NAMES:
            raise UnknownNameError("source image", name, SOURCE_NAMES)
    return {name: image if isinstance(image, Reference) else parse_reference(image) for name, image in value.items()}


@attrs.frozen(kw_only=True)
class Composition:
    """A choice of Triton components, validated when it is made.

    Components are laid into the image one layer each, caches and repository agents first, then the Triton backends in
    the order given: a backend that is appended leaves the layers before it as they are, so that an engine takes them
    from its cache.

    Args:
        backends: Names of Triton backends, say `("onnxruntime", "python")`; names people use for them (`onnx`) are
            understood.
        repoagents: Names of repository agents.
        caches: Names of response caches.
        container_version: NVIDIA's release, `YY.MM`; the newest known by default.
        enable_gpu: Whether for GPU or CPU.
        images: Source images in place of the release's own, by name: `full`, `min` (the base) and, for CPU, `gpu-min`.
            `full` and `min` go together.
        registry: Where the release's own images are: a mirror in place of nvcr.io/nvidia.
        features: What to add that is not needed to run: `headers` for compiling Triton backends.
        exempt_libraries: Shell patterns of names of shared libraries that may be missing from the image, since
            something provides them at run time. The driver's are always exempt.
        catalog: The releases and components that exist.

    Raises:
        InvalidInputError: A name, a release, a reference or their combination cannot be used.
    """

    backends: tuple[str, ...] = attrs.field(default=(), converter=_names)
    repoagents: tuple[str, ...] = attrs.field(default=(), converter=_names)
    caches: tuple[str, ...] = attrs.field(default=(), converter=_names)
    container_version: str = attrs.field(default="", converter=_release)
    enable_gpu: bool = True
    images: Mapping[str, Reference] = attrs.field(factory=dict, converter=_references)
    registry: str = attrs.field(default=NVIDIA_REGISTRY, converter=parse_registry)
    features: tuple[str, ...] = attrs.field(default=(), converter=_names)
    exempt_libraries: tuple[str, ...] = attrs.field(default=(), converter=_names)
    catalog: Catalog = attrs.field(default=BUILTIN, repr=False, eq=False)
    components: tuple[Component, ...] = attrs.field(init=False, repr=False)
    """The chosen components with those they require, as the catalog describes them."""
    notes: tuple[str, ...] = attrs.field(init=False, repr=False)
    """What was understood in a way worth saying aloud: an alias, a release newer than the catalog."""

    def __attrs_post_init__(self) -> None:
        """Resolve the names against the catalog; nothing else is needed later to know that they exist."""
        release = self.catalog.release(self.container_version)
        notes = (
            []
            if release.known
            else [
                f"release {self.container_version} is newer than the catalog: taken to be like {self.catalog.newest()}"
            ]
        )
        wanted = [("cache", name) for name in self.caches]
        wanted += [("repoagent", name) for name in self.repoagents]
        wanted += [("backend", name) for name in self.backends]
        if not wanted:
            raise InvalidInputError("no component is chosen", hint="name at least one, say --backend python")
        chosen = []
        for kind, name in wanted:
            component, said = self.catalog.resolve(kind, name, self.container_version, gpu=self.enable_gpu)
            chosen.append(component)
            notes += [said] if said else []
        components = self.catalog.with_required(chosen, self.container_version, gpu=self.enable_gpu)
        if ("full" in self.images) != ("min" in self.images):
            given, missing = ("full", "min") if "full" in self.images else ("min", "full")
            raise InvalidInputError(
                f"source image {given!r} is given without {missing!r}", hint=f"add --image {missing},REFERENCE"
            )
        for feature in self.features:
            if feature not in FEATURES:
                raise UnknownNameError("feature", feature, FEATURES)
        for pattern in self.exempt_libraries:
            if not pattern or not pattern.isprintable() or set(pattern) & set(" /'\"`$();&|<>"):
                raise InvalidInputError(
                    f"{pattern!r} is not a pattern of library names", hint="say libfoo.so.1 or libfoo*"
                )
        object.__setattr__(self, "components", components)
        object.__setattr__(self, "notes", tuple(notes))

    def recipe(self) -> Recipe:
        """Return what the catalog knows of how this release is composed, in this flavour."""
        return self.catalog.recipe(self.container_version, gpu=self.enable_gpu)

    def sources(self) -> dict[str, Reference]:
        """Return the source images by name: `full`, `min` and, where the composition needs it, `gpu-min`."""
        own = self.catalog.sources(self.container_version, gpu=self.enable_gpu, registry=self.registry)
        return {**{name: parse_reference(image) for name, image in own.items()}, **self.images}
