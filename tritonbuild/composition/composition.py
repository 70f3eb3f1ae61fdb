"""The composition: the chosen components of a release, and the source images that contain them."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import additions, build_context, parameters
from tritonbuild import fragment as fragments
from tritonbuild.additions import ComponentFolder
from tritonbuild.catalog import BUILTIN, Catalog, Component
from tritonbuild.composition import checks, extras, fields, resolution
from tritonbuild.composition.bases import SCRATCH, check_scratch
from tritonbuild.composition.choices import (
    DCGM_SOURCES,
    FIRST_WITH_PYTHON,
    NVIDIA_REGISTRY,
    PLATFORM,
    RUNTIMES,
)
from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.optional_parts import OptionalPart
from tritonbuild.reference import Reference, parse_registry
from tritonbuild.wellknown import COMPONENT_FOLDERS

_SHELL_CHARACTERS: Final = re.compile(r"[^\w@%+=:,./-]")
"""Characters that a shell reads as more than a part of a word."""


@attrs.frozen(kw_only=True)
class Composition:
    """A choice of Triton components, validated on creation.

    Each component becomes one layer, caches and repository agents first, then the Triton backends in
    the order given: a backend that is appended leaves the layers before it as they are, so that an engine takes them
    from its cache.

    Args:
        backends: Names of Triton backends, such as `("onnxruntime", "python")`; common aliases (`onnx`) are
            accepted. `NAME[EXTRA,...]` has the core of a backend and the named extras alone, see docs/extras.md.
            `NAME=FOLDER` is a user's backend, compiled or written in Python.
        repoagents: Names of repository agents, or `NAME=FOLDER`.
        caches: Names of response caches, or `NAME=FOLDER`.
        container_version: NVIDIA's release, `YY.MM`. By default the one that the user's `full` image names, by its tag
            or in its configuration (which a build reads), or the newest known.
        enable_gpu: True for GPU, False for CPU.
        gpu_arch: The architectures of the GPUs that the image is for, such as `("8.0", "9.0")`: libraries for others
            alone are left out. By default all stay.
        images: Source images in place of the release's, by name: `full`, `min` (the base), `gpu-min` for CPU, and
            `sdk` for the feature `clients`. `full` and `min` go together.
        base: The image to compose on. `min` is the default; `slim` is the plain Ubuntu of the release, and `scratch` is
            no image: all files come from the full image. Any other image needs a C library as new as the full image's.
        registry: The registry of the release's images: a mirror in place of nvcr.io/nvidia.
        platform: `linux/amd64` or `linux/arm64`, which is passed to the engine. By default the engine decides, and
            names are checked against the components for linux/amd64.
        runtime: The source of the libraries that the components need: `copy` takes them out of the full image, without
            a network; `install` installs the packages that NVIDIA's compose.py installs, with apt and pip.
        dcgm: For `install`: the source of the data center GPU manager. `package` is NVIDIA's package repository,
            `copy` the full image, `none` omits it; a server that is linked to it then fails to start.
        features: Optional parts to add. `headers`: for compiling Triton backends; `allocators`:
            jemalloc and tcmalloc for LD_PRELOAD; `dcgm`: all of its libraries and programs; `python`: the server's
            Python packages and its OpenAI frontend, as files; `sources`: those of third parties; `nvidia`: all that
            the release has of these. And `clients`: programs, libraries and Python packages of clients, out of the
            release's sdk image, for the runtime `copy`.
        pip: Packages for the interpreter that the python backend embeds, as pip takes them: `numpy<2`, or the path of a
            wheel.
        requirements: Files of such packages.
        models: Folders of models that go into the image.
        models_folder: The folder of the models in the image.
        environment: Environment variables of the image, on top of Triton's; values are literal.
        labels: Labels of the image, on top of Triton's.
        user: The user of the image's processes: `triton-server`, `1000:1000`. Root by default, as in NVIDIA's images.
        entrypoint: The words of an entry point in place of the release's.
        files: Files and folders of this machine that go into the image, each with its path there. The libraries that
            they need are brought from the full image, as for a component.
        apt: Packages of the base's distribution, installed with apt, as in `libgl1` or `libgl1=1.6.0-1`.
        fragment: A file of instructions that end the Containerfile. They run as root, with a network.
        fragment_context: The folder that COPY and ADD of *fragment* copy from.
        exclude_libraries: Shell patterns of names of shared libraries that are not brought from the full image, for the
            runtime `copy`. Folders of components and Python packages are copied whole.
        exempt_libraries: Shell patterns of names of shared libraries that may be missing from the image, since
            something provides them at run time. The driver's are always exempt.
        catalog: The releases and components that exist.

    Raises:
        InvalidInputError: A name, a release, a reference or their combination cannot be used.
    """

    backends: tuple[str, ...] = attrs.field(default=(), converter=fields.names)
    repoagents: tuple[str, ...] = attrs.field(default=(), converter=fields.names)
    caches: tuple[str, ...] = attrs.field(default=(), converter=fields.names)
    container_version: str = attrs.field(default="", converter=fields.release)
    enable_gpu: bool = True
    gpu_arch: tuple[str, ...] = attrs.field(default=(), converter=fields.architectures)
    images: Mapping[str, Reference] = attrs.field(factory=dict, converter=fields.references)
    base: str | Reference | None = attrs.field(default=None, converter=fields.base)
    registry: str = attrs.field(default=NVIDIA_REGISTRY, converter=parse_registry)
    platform: str = attrs.field(default="", converter=fields.platform)
    runtime: str = "copy"
    dcgm: str = "package"
    features: tuple[str, ...] = attrs.field(default=(), converter=fields.names)
    pip: tuple[str, ...] = attrs.field(default=(), converter=fields.requirements)
    requirements: tuple[Path, ...] = attrs.field(default=(), converter=fields.requirement_files)
    files: Mapping[str, str] = attrs.field(factory=dict, converter=additions.added_files)
    apt: tuple[str, ...] = attrs.field(default=(), converter=fields.apt)
    models: tuple[Path, ...] = attrs.field(default=(), converter=fields.repositories)
    models_folder: str = attrs.field(default="/models", converter=fields.models_folder)
    environment: Mapping[str, str] = attrs.field(factory=dict, converter=additions.variables)
    labels: Mapping[str, str] = attrs.field(factory=dict, converter=additions.labels)
    user: str = attrs.field(default="", converter=fields.user)
    entrypoint: tuple[str, ...] = attrs.field(default=(), converter=additions.entrypoint)
    fragment: str | Path | None = None
    fragment_context: Path | None = attrs.field(default=None, converter=fields.fragment_context)
    exclude_libraries: tuple[str, ...] = attrs.field(default=(), converter=fields.names)
    exempt_libraries: tuple[str, ...] = attrs.field(default=(), converter=fields.names)
    catalog: Catalog = attrs.field(default=BUILTIN, repr=False, eq=False)
    components: tuple[Component, ...] = attrs.field(init=False, repr=False)
    """The chosen components with those they require, as the catalog describes them, and the user's folders."""
    parts: tuple[OptionalPart, ...] = attrs.field(init=False, repr=False)
    """The parts that the image can do without, and whether it has them."""
    folders: tuple[ComponentFolder, ...] = attrs.field(init=False, repr=False)
    """The components that are folders of the user, as `NAME=FOLDER` gives them."""
    has_programs: bool = attrs.field(init=False, repr=False)
    """Whether *models* hold files that need libraries (see `build_context.is_program`)."""
    release_is_assumed: bool = attrs.field(init=False, repr=False, eq=False)
    """Whether neither the user nor the tag of the full image names the release."""
    variant: str = attrs.field(init=False, repr=False)
    """The variant of the release's full image that holds the components."""
    instructions: str = attrs.field(init=False, repr=False)
    """The text of *fragment*."""
    notes: tuple[str, ...] = attrs.field(init=False, repr=False)
    """Remarks for the user: an alias, a release newer than the catalog."""

    def __attrs_pre_init__(self, **given: Any) -> None:
        """Check the types before any converter sees a value."""
        parameters.check(given, fields.TAKES)

    def __attrs_post_init__(self) -> None:
        """Resolve the names against the catalog, so that later code need not check them."""
        notes: list[str] = []
        tagged = fields.tagged_release(self.images)
        object.__setattr__(self, "release_is_assumed", not self.container_version and not tagged)
        if tagged and self.container_version not in {"", tagged}:
            raise InvalidInputError(
                f"the full image {self.images['full']} is release {tagged} by its tag,"
                f" and the composition is for release {self.container_version}",
                hint=f"add --container-version {tagged}, or name the image by its digest",
            )
        if not self.container_version:
            object.__setattr__(self, "container_version", tagged or self.catalog.newest())
        if not self.catalog.release(self.container_version).known:
            newest = self.catalog.newest()
            notes.append(f"release {self.container_version} is newer than the catalog; it is treated like {newest}")
        self._check_choices()
        checks.features(self.features, self.container_version, self.runtime, self.images)
        found = self._resolve()
        notes += found.notes
        if self.models and _SHELL_CHARACTERS.search(self.models_folder) and any(map(_is_python, found.components)):
            notes.append(
                f"the python backend loads no models from {self.models_folder!r}:"
                " it gives the path to a shell, unquoted"
            )
        if not found.components:
            notes.append("no component is chosen: the image has the server alone")
        object.__setattr__(self, "components", found.components)
        object.__setattr__(self, "parts", self._parts(notes))
        object.__setattr__(self, "folders", found.folders)
        object.__setattr__(self, "variant", self._variant(found, notes))
        object.__setattr__(self, "instructions", fragments.load(self.fragment))
        object.__setattr__(self, "has_programs", any(map(build_context.has_programs, self.models)))
        self.context()
        if self.base == SCRATCH:
            check_scratch(self.runtime, self.apt, self.instructions, self.entrypoint, clients=self.has("clients"))
        object.__setattr__(self, "notes", tuple(notes))
        if (self.pip or self.requirements) and not any(_is_python(component) for component in self.components):
            raise InvalidInputError(
                "pip packages need the python backend, which is not chosen", hint="add --backend python"
            )

    def _check_choices(self) -> None:
        """Raise an InvalidInputError if a choice is unknown, or two exclude each other."""
        for what, value, known in (("runtime", self.runtime, RUNTIMES), ("source of DCGM", self.dcgm, DCGM_SOURCES)):
            if value not in known:
                raise UnknownNameError(what, value, known)
        if self.dcgm != "package" and self.runtime != "install":
            raise InvalidInputError(
                "--dcgm requires --runtime install",
                hint="add --runtime install; with copy, the libraries come from the full image",
            )
        if self.base and "min" in self.images:
            raise InvalidInputError("--base and --image min,REF both name the base", hint="give one of them")
        given = {*self.images, *(["min"] if self.base else [])}
        if ("full" in self.images) != ("min" in given) and not self.base:
            given_name, missing = ("full", "min") if "full" in self.images else ("min", "full")
            raise InvalidInputError(
                f"source image {given_name!r} is given without {missing!r}", hint=f"add --image {missing},REFERENCE"
            )
        if self.fragment_context and not self.fragment:
            raise InvalidInputError("--context is given without a fragment", hint="add --fragment FILE")
        if self.exclude_libraries and self.runtime != "copy":
            raise InvalidInputError(
                "--exclude-library requires --runtime copy",
                hint="use --runtime copy; install brings no libraries from the full image",
            )
        for pattern in (*self.exclude_libraries, *self.exempt_libraries):
            if not pattern or not pattern.isprintable() or set(pattern) & set(" /'\"`$();&|<>"):
                raise InvalidInputError(
                    f"{pattern!r} is not a pattern of library names", hint="write libfoo.so.1 or libfoo*"
                )

    def _target(self) -> resolution.Target:
        return resolution.Target(
            catalog=self.catalog,
            version=self.container_version,
            platform=self.platform or PLATFORM,
            gpu=self.enable_gpu,
        )

    def _resolve(self) -> resolution.Resolution:
        """Resolve the names of the components, in the order of their layers."""
        names = {"cache": self.caches, "repoagent": self.repoagents, "backend": self.backends}
        return resolution.resolve(self._target(), [(kind, name) for kind in names for name in names[kind]])

    def _parts(self, notes: list[str]) -> tuple[OptionalPart, ...]:
        """Return the optional parts of the image; add a note if the base keeps libraries of parts that are left out.

        Raises:
            InvalidInputError: A part is left out that the composition does not bring.
        """
        if self.gpu_arch and not self.enable_gpu:
            raise InvalidInputError("--gpu-arch is for images for GPU", hint="omit it, or compose for GPU")
        found = extras.parts(self.components, self.gpu_arch, gpu=self.enable_gpu)
        lacking = [part.name for part in found if not part.kept and part.libraries]
        if not lacking:
            return found
        without = "--gpu-arch" if self.gpu_arch else f"an image without {lacking[0]}"
        if self.runtime != "copy":
            raise InvalidInputError(
                f"{without} requires --runtime copy",
                hint="use --runtime copy; install brings no libraries from the full image",
            )
        if self.base is None and "min" not in self.images:
            notes.append(f"{without}: the base min has such libraries and keeps them, unlike --base slim")
        return found

    def _variant(self, found: resolution.Resolution, notes: list[str]) -> str:
        """Return the variant of the full image to use; `full` if the user names the image."""
        if "full" in self.images:
            return "full"
        release = self.catalog.release(self.container_version)
        variant, note = resolution.variant(self._target(), found.of_release())
        disagreement = "" if self.base or not self.enable_gpu else resolution.other_cuda(release, variant)
        notes += [text for text in (note, disagreement) if text]
        if variant != "full" and self.runtime == "install":
            hint = "use --runtime copy; install omits the packages of that image"
            raise InvalidInputError(f"--runtime install cannot compose the {variant!r} image", hint=hint)
        return variant

    @property
    def wheels(self) -> tuple[Path, ...]:
        """The wheels among the packages."""
        return tuple(Path(text) for text in self.pip if text.endswith(additions.WHEEL) and text.startswith("/"))

    @property
    def network(self) -> bool:
        """Whether the build needs a network."""
        installed = self.pip or self.requirements or self.apt
        return self.runtime == "install" or bool(installed) or fragments.needs_network(self.instructions)

    def has(self, feature: str) -> bool:
        """Whether *feature* is wanted, by its name or as a part of `nvidia`."""
        part = feature != "clients" and (feature != "python" or self.container_version >= FIRST_WITH_PYTHON)
        return feature in self.features or (part and "nvidia" in self.features)

    def context(self) -> tuple[tuple[str, Path], ...]:
        """Return the build context: the paths in it, and the user's folders and files to put at them.

        Raises:
            InvalidInputError: A file that the user's instructions copy is not in the user's build context.
        """
        entries = [(f"{COMPONENT_FOLDERS[folder.kind]}/{folder.name}", folder.path) for folder in self.folders]
        entries += [(f"wheels/{path.name}", path) for path in self.wheels]
        entries += [(f"requirements/{number}.txt", path) for number, path in enumerate(self.requirements)]
        entries += [(f"files/{number}", Path(path)) for number, path in enumerate(self.files)]
        entries += [("models", path) for path in self.models]
        entries += [(build_context.PROGRAMS, path) for path in self.models if self.has_programs]
        reserved = {path.partition("/")[0] for path, _ in entries}
        return (*entries, *fragments.context(self.instructions, self.fragment_context, reserved))

    def is_user_folder(self, component: Component) -> bool:
        """Whether *component* is a folder of the user."""
        return any((folder.kind, folder.name) == (component.kind, component.name) for folder in self.folders)


def _is_python(component: Component) -> bool:
    return component.kind == "backend" and (component.name == "python" or "python" in component.requires)
