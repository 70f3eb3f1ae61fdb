"""What is wanted in an image: components of a release, from which source images. Knows nothing of engines."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Final, TypeAlias

import attrs

from tritonbuild import additions
from tritonbuild.additions import OwnFolder
from tritonbuild.catalog import BUILTIN, KINDS, Catalog, Component, Recipe, check_name
from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.reference import Reference, parse_platform, parse_reference, parse_registry

NVIDIA_REGISTRY: Final = "nvcr.io/nvidia"
PLATFORM: Final = "linux/amd64"
"""What a composition is for unless it says so: never what it is made on."""

TENSORFLOW: Final = frozenset({"tensorflow", "tensorflow1", "tensorflow2"})
"""Whose variables compose.py gives to every image."""
DALI_PACKAGES: Final = "/opt/tritonserver/backends/dali/wheel/dali:$PYTHONPATH"
"""Where the dali backend's Python package is; compose.py says so from 24.05 on alone."""
HEADERS: Final = "/opt/tritonserver/include"
"""For compiling backends; not needed to run."""
CA_CERTIFICATES: Final = "/etc/ssl/certs/ca-certificates.crt"
"""Read by the server for model repositories in S3, GCS and Azure."""
FEATURE_FOLDERS: Final = {"python": "/opt/tritonserver/python", "sources": "/opt/tritonserver/third-party-src"}
"""Folders of the full image that are not needed to run."""
_FEATURE_LIBRARIES: Final = {
    "allocators": ("libjemalloc.so*", "libtcmalloc*.so*"),
    "dcgm": ("libdcgm*.so*", "libnvperf_dcgm_host.so*"),
}
_FEATURE_FILES: Final = {"dcgm": ("/usr/bin/dcgmi", "/usr/bin/nv-hostengine")}
CLIENTS: Final = "/workspace/install"
"""Programs, libraries and Python packages of clients, in the sdk image; docs/quick_start.md of the client's repository
and Dockerfile.sdk of the server's."""
FEATURES: Final = ("allocators", "clients", "dcgm", "headers", "nvidia", "python", "sources")
RUNTIMES: Final = ("copy", "install")
DCGM_WAYS: Final = ("copy", "none", "package")
SOURCE_NAMES: Final = ("full", "min", "gpu-min", "sdk")
_WHEELS: Final = "23.09"
"""The first release whose full image has /opt/tritonserver/python."""

_Paths: TypeAlias = str | Path | Iterable[str | Path]

_FOLDERS: Final = {"backend": "backends", "repoagent": "repoagents", "cache": "caches"}


def _names(value: Iterable[str] | str) -> tuple[str, ...]:
    """Return component names as a tuple, each once, in the order given."""
    return tuple(dict.fromkeys((value,) if isinstance(value, str) else value))


def _release(value: str) -> str:
    """Return a release; the newest where none is given."""
    return value or BUILTIN.newest()


def _base(value: str | Reference | None) -> Reference | None:
    if isinstance(value, str):
        return parse_reference(value) if value else None
    return value


def _requirements(value: Iterable[str] | str) -> tuple[str, ...]:
    return additions.requirements(_names(value))


def _requirement_files(value: _Paths) -> tuple[Path, ...]:
    return additions.files(_paths(value), "requirements file")


def _repositories(value: _Paths) -> tuple[Path, ...]:
    return additions.folders(_paths(value), "model repository")


def _models_folder(value: str) -> str:
    return additions.target(value, "models")


def _paths(value: _Paths) -> tuple[str | Path, ...]:
    return (value,) if isinstance(value, (str, Path)) else tuple(value)


def _platform(value: str) -> str:
    return parse_platform(value) if value else ""


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
            understood. `NAME=FOLDER` is a backend of one's own, compiled or written in Python.
        repoagents: Names of repository agents, or `NAME=FOLDER`.
        caches: Names of response caches, or `NAME=FOLDER`.
        container_version: NVIDIA's release, `YY.MM`; the newest known by default.
        enable_gpu: Whether for GPU or CPU.
        images: Source images in place of the release's own, by name: `full`, `min` (the base), `gpu-min` for CPU, and
            `sdk` for the feature `clients`. `full` and `min` go together.
        base: An image to compose on in place of `min`: any with a C library as new as the full image's.
        registry: Where the release's own images are: a mirror in place of nvcr.io/nvidia.
        platform: `linux/amd64` or `linux/arm64`; the engine is told. By default the engine decides, and what exists
            on linux/amd64 is taken to exist.
        runtime: How what the components need gets there: `copy` takes it out of the full image, without a network;
            `install` has the distribution's package manager and pip install what NVIDIA's compose.py does.
        dcgm: For `install`: where the data center GPU manager comes from. `package` is NVIDIA's package repository,
            `copy` the full image, `none` leaves it out, and a server that is linked to it does not start then.
        features: What to add that is not needed to run. `headers`: for compiling Triton backends; `allocators`:
            jemalloc and tcmalloc for LD_PRELOAD; `dcgm`: all of its libraries and programs; `python`: the server's
            Python packages and its OpenAI frontend, as files; `sources`: those of third parties; `nvidia`: all that
            the release has of these. And `clients`: programs, libraries and Python packages of clients, out of the
            release's sdk image, for the runtime `copy`.
        pip: Packages for the interpreter that the python backend embeds, as pip takes them: `numpy<2`, or the path of a
            wheel.
        requirements: Files of such packages.
        models: Folders of models that go into the image.
        models_folder: Where they go.
        environment: Environment variables of the image, on top of Triton's; values are literal.
        labels: Labels of the image, on top of Triton's.
        user: Who the image's processes run as: `triton-server`, `1000:1000`. Root by default, as in NVIDIA's images.
        entrypoint: The words of an entry point in place of the release's.
        fragment: A file of instructions that end the Containerfile. They have no network unless the build has one.
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
    base: Reference | None = attrs.field(default=None, converter=_base)
    registry: str = attrs.field(default=NVIDIA_REGISTRY, converter=parse_registry)
    platform: str = attrs.field(default="", converter=_platform)
    runtime: str = "copy"
    dcgm: str = "package"
    features: tuple[str, ...] = attrs.field(default=(), converter=_names)
    pip: tuple[str, ...] = attrs.field(default=(), converter=_requirements)
    requirements: tuple[Path, ...] = attrs.field(default=(), converter=_requirement_files)
    models: tuple[Path, ...] = attrs.field(default=(), converter=_repositories)
    models_folder: str = attrs.field(default="/models", converter=_models_folder)
    environment: Mapping[str, str] = attrs.field(factory=dict, converter=additions.variables)
    labels: Mapping[str, str] = attrs.field(factory=dict, converter=additions.labels)
    user: str = attrs.field(default="", converter=additions.user)
    entrypoint: tuple[str, ...] = attrs.field(default=(), converter=additions.entrypoint)
    fragment: str | Path | None = None
    exempt_libraries: tuple[str, ...] = attrs.field(default=(), converter=_names)
    catalog: Catalog = attrs.field(default=BUILTIN, repr=False, eq=False)
    components: tuple[Component, ...] = attrs.field(init=False, repr=False)
    """The chosen components with those they require, as the catalog describes them, the user's own among them."""
    own: tuple[OwnFolder, ...] = attrs.field(init=False, repr=False)
    """Those that are folders of the user's."""
    variant: str = attrs.field(init=False, repr=False)
    """Which of the release's images with everything holds the components."""
    instructions: str = attrs.field(init=False, repr=False)
    """The text of *fragment*."""
    notes: tuple[str, ...] = attrs.field(init=False, repr=False)
    """What was understood in a way worth saying aloud: an alias, a release newer than the catalog."""

    def __attrs_post_init__(self) -> None:
        """Resolve the names against the catalog; nothing else is needed later to know that they exist."""
        notes: list[str] = []
        release = self.catalog.release(self.container_version)
        if not release.known:
            newest = self.catalog.newest()
            notes.append(f"release {self.container_version} is newer than the catalog: taken to be like {newest}")
        self._check_choices()
        self._check_features()
        components, own = self._resolve(notes)
        variant = self._variant(components, own, notes)
        object.__setattr__(self, "components", components)
        object.__setattr__(self, "own", own)
        object.__setattr__(self, "variant", variant)
        object.__setattr__(self, "instructions", additions.fragment(self.fragment))
        object.__setattr__(self, "notes", tuple(notes))
        if (self.pip or self.requirements) and not any(_is_python(component) for component in components):
            raise InvalidInputError(
                "pip packages are for the python backend, which is not chosen", hint="add --backend python"
            )

    def _check_choices(self) -> None:
        """Raise an InvalidInputError where a choice is not one, or two exclude each other."""
        for what, value, known in (("runtime", self.runtime, RUNTIMES), ("way to have DCGM", self.dcgm, DCGM_WAYS)):
            if value not in known:
                raise UnknownNameError(what, value, known)
        if self.dcgm != "package" and self.runtime != "install":
            raise InvalidInputError(
                "--dcgm is for --runtime install", hint="with copy, the server's libraries come out of the full image"
            )
        if self.base and "min" in self.images:
            raise InvalidInputError("--base and --image min,REF both name the base", hint="give one of them")
        given = {*self.images, *(["min"] if self.base else [])}
        if ("full" in self.images) != ("min" in given) and not self.base:
            given_name, missing = ("full", "min") if "full" in self.images else ("min", "full")
            raise InvalidInputError(
                f"source image {given_name!r} is given without {missing!r}", hint=f"add --image {missing},REFERENCE"
            )
        for pattern in self.exempt_libraries:
            if not pattern or not pattern.isprintable() or set(pattern) & set(" /'\"`$();&|<>"):
                raise InvalidInputError(
                    f"{pattern!r} is not a pattern of library names", hint="say libfoo.so.1 or libfoo*"
                )

    def _check_features(self) -> None:
        """Raise an InvalidInputError where a feature is none, or cannot be had."""
        for feature in self.features:
            if feature not in FEATURES:
                raise UnknownNameError("feature", feature, FEATURES)
        if "clients" in self.features and self.runtime == "install":
            raise InvalidInputError(
                "feature 'clients' is for --runtime copy", hint="what they are linked to is not installed"
            )
        if "sdk" in self.images and "clients" not in self.features:
            raise InvalidInputError("source image 'sdk' is for the feature 'clients'", hint="add --features clients")
        if "python" in self.features and self.container_version < _WHEELS:
            raise InvalidInputError(
                f"release {self.container_version} has no Python packages of the server", hint=f"{_WHEELS} is the first"
            )

    def _resolve(self, notes: list[str]) -> tuple[tuple[Component, ...], tuple[OwnFolder, ...]]:
        """Return what is chosen with what it requires, and those of it that are folders of the user's."""
        wanted = [("cache", name) for name in self.caches]
        wanted += [("repoagent", name) for name in self.repoagents]
        wanted += [("backend", name) for name in self.backends]
        if not wanted:
            raise InvalidInputError("no component is chosen", hint="name at least one, say --backend python")
        version, platform, gpu = self.container_version, self.platform or PLATFORM, self.enable_gpu
        chosen, own = [], []
        for kind, text in wanted:
            name, equals, folder = text.partition("=")
            if equals:
                own.append(additions.own_folder(kind, check_name(kind, name), folder))
                chosen.append(_component(own[-1], version, platform))
                if any(c.name == name for c in self.catalog.components(version, kind=kind)):
                    notes.append(f"{KINDS[kind]} {name!r} is the folder {str(own[-1].path)!r}, not the release's")
            else:
                component, said = self.catalog.resolve(kind, name, version, platform=platform, gpu=gpu)
                chosen.append(component)
                notes += [said] if said else []
        components = self.catalog.with_required(chosen, version, platform=platform, gpu=gpu)
        return components, tuple(own)

    def _variant(self, components: Iterable[Component], own: Iterable[OwnFolder], notes: list[str]) -> str:
        """Return the variant of the full image to take; any will do where the user names the image."""
        mine = {(folder.kind, folder.name) for folder in own}
        if "full" in self.images:
            return "full"
        rest = [component for component in components if (component.kind, component.name) not in mine]
        variant = self.catalog.variant(rest, self.container_version)
        if variant != "full":
            names = [name for name in ("vllm", "tensorrtllm") if any(c.name == name for c in rest)]
            notes.append(f"{' and '.join(names) or 'the selection'} is in the {variant!r} image alone, which is taken")
            if self.runtime == "install":
                hint = "the packages of that image are not installed: say --runtime copy"
                raise InvalidInputError(f"--runtime install cannot make the {variant!r} flavour", hint=hint)
        return variant

    @property
    def arch(self) -> str:
        """The architecture the image is for, as NVIDIA's build scripts call it."""
        return {"linux/amd64": "x86_64"}.get(self.platform or PLATFORM, "aarch64")

    @property
    def wheels(self) -> tuple[Path, ...]:
        """The wheels among the packages."""
        return tuple(Path(text) for text in self.pip if text.endswith(additions.WHEEL) and text.startswith("/"))

    @property
    def network(self) -> bool:
        """Whether the build has to reach a network."""
        return self.runtime == "install" or bool(self.pip or self.requirements)

    def has(self, feature: str) -> bool:
        """Whether *feature* is wanted, by its name or as a part of `nvidia`."""
        there = feature != "clients" and (feature != "python" or self.container_version >= _WHEELS)
        whole = "nvidia" in self.features and there
        return feature in self.features or whole

    def context(self) -> tuple[tuple[str, Path], ...]:
        """Return what the build context holds: paths in it, and the user's folders and files that go there."""
        entries = [(f"{_FOLDERS[folder.kind]}/{folder.name}", folder.path) for folder in self.own]
        entries += [(f"wheels/{path.name}", path) for path in self.wheels]
        entries += [(f"requirements/{number}.txt", path) for number, path in enumerate(self.requirements)]
        entries += [("models", path) for path in self.models]
        return tuple(entries)

    def feature_folders(self) -> tuple[str, ...]:
        """Return folders of the full image that are wanted and not needed to run, headers left out."""
        return tuple(folder for feature, folder in FEATURE_FOLDERS.items() if self.has(feature))

    def opened(self) -> tuple[str, ...]:
        """Return names of libraries (shell patterns) that the server opens, and those of features."""
        features = (name for feature, names in _FEATURE_LIBRARIES.items() if self.has(feature) for name in names)
        return (*self.recipe().dlopen, *features)

    def read_files(self) -> tuple[str, ...]:
        """Return files that are read or run, where the full image has them."""
        features = (path for feature, paths in _FEATURE_FILES.items() if self.has(feature) for path in paths)
        return (*(copy.source for copy in self.recipe().sagemaker_copies), CA_CERTIFICATES, *features)

    def is_own(self, component: Component) -> bool:
        """Whether *component* is a folder of the user's."""
        return any((folder.kind, folder.name) == (component.kind, component.name) for folder in self.own)

    def recipe(self) -> Recipe:
        """Return what the catalog knows of how this release is composed, in this flavour."""
        return self.catalog.recipe(self.container_version, gpu=self.enable_gpu, arch=self.arch)

    def sources(self) -> dict[str, Reference]:
        """Return the source images by name: `full`, `min` and, where the composition needs them, `gpu-min`, `sdk`."""
        own = self.catalog.sources(
            self.container_version, gpu=self.enable_gpu, registry=self.registry, variant=self.variant
        )
        found = {**{name: parse_reference(image) for name, image in own.items()}, **self.images}
        if self.base:
            found["min"] = self.base
        if not self.needs_gpu_min:
            found.pop("gpu-min", None)
        if not self.has("clients"):
            found.pop("sdk", None)
        elif "sdk" not in found:
            found["sdk"] = parse_reference(self.catalog.image(self.container_version, "sdk", registry=self.registry))
        return found

    def variables(self) -> dict[str, str]:
        """Return the image's environment, the user's own left out; values may refer to the base's.

        A search path that ends with the base's does so only where the base has one: an empty last element would be
        the working directory. Every base has a PATH.
        """
        recipe = self.recipe()
        names = {component.name for component in self.components if component.kind == "backend"}
        env = {**recipe.env_with(self.components), **recipe.cpu_env}
        if not names & TENSORFLOW:
            env = {name: value for name, value in env.items() if not name.startswith("TF_")}
        if self.has("clients"):
            env["PATH"] += f":{CLIENTS}/bin"
        if "dali" in names:
            env.setdefault("PYTHONPATH", DALI_PACKAGES)
        return {
            name: value if name == "PATH" else re.sub(rf":\$(?:{name}|\{{{name}\}})$", f"${{{name}:+:${name}}}", value)
            for name, value in env.items()
        }

    def image_labels(self) -> dict[str, str]:
        """Return the image's labels, the user's own included."""
        recipe, base = self.recipe(), self.sources()["min"]
        return {
            **recipe.labels,
            **recipe.sagemaker_labels,
            "org.opencontainers.image.base.name": str(base),
            **({"org.opencontainers.image.base.digest": base.digest} if base.digest else {}),
            "org.opencontainers.image.version": self.container_version,
            **self.labels,
        }

    @property
    def needs_gpu_min(self) -> bool:
        """Whether files are taken from the GPU flavour's min image; with `copy`, the full image has them."""
        return self.runtime == "install" and any(component.copies for component in self.components)


def _is_python(component: Component) -> bool:
    return component.kind == "backend" and (component.name == "python" or "python" in component.requires)


def _component(folder: OwnFolder, version: str, platform: str) -> Component:
    """Return a folder of the user's as a component."""
    return Component(
        kind=folder.kind,
        name=folder.name,
        directory=f"{_FOLDERS[folder.kind]}/{folder.name}",
        first=version,
        last=version,
        platforms=(platform,),
        gpu=True,
        cpu=True,
        requires=("python",) if folder.python_based else (),
        own=True,
    )
