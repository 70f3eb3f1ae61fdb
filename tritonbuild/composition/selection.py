"""A composition with its data from the catalog: recipe, source images, environment and labels."""

from __future__ import annotations

import itertools
import posixpath
import re
from collections.abc import Mapping
from typing import Final

import attrs

from tritonbuild import optional_parts
from tritonbuild.catalog import Component, Recipe
from tritonbuild.composition.bases import (
    GPU_VARIABLES,
    SCRATCH,
    SEARCH_PATH,
    SERVER_PROGRAM,
    SHELL_FILES,
    SLIM,
    SYSTEM_FILES,
    SYSTEM_LIBRARIES,
)
from tritonbuild.composition.choices import (
    CLIENTS,
    FEATURE_FILES,
    FEATURE_FOLDERS,
    FEATURE_LIBRARIES,
    PLATFORM,
    READ_FILES,
)
from tritonbuild.composition.composition import Composition
from tritonbuild.optional_parts import AbsentLibraries
from tritonbuild.reference import Reference, parse_reference
from tritonbuild.wellknown import SERVER, with_entries

_TENSORFLOW: Final = frozenset({"tensorflow", "tensorflow1", "tensorflow2"})
"""The backends whose variables compose.py gives to every image."""
_DALI_PACKAGES: Final = f"{SERVER}/backends/dali/wheel/dali:$PYTHONPATH"
"""The dali backend's Python packages; compose.py sets this from 24.05 on alone."""
EXTRAS_LABEL: Final = "tritonbuild.extras"
"""The label with the components of which extras are chosen: `onnxruntime[cuda] pytorch[core]`."""
GPU_ARCH_LABEL: Final = "tritonbuild.gpu-arch"
"""The label with the architectures of GPUs that the image is for: `8.0 9.0`."""


@attrs.frozen(kw_only=True)
class Selection:
    """A composition, its recipe and its source images: looked up once for each rendering.

    Attributes:
        composition: The composition.
        recipe: The content of NVIDIA's compose.py for the release and flavor.
        sources: The source images by name: `full`, `min` unless the image is made on scratch, and, where they are
            needed, `gpu-min` and `sdk`.
        full_env: The environment variables of the full image; empty where they are not known.
    """

    composition: Composition
    recipe: Recipe
    sources: Mapping[str, Reference]
    full_env: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def base(self) -> str:
        """The reference of the base, or `scratch`."""
        return SCRATCH if self.on_scratch else str(self.sources["min"])

    @property
    def on_scratch(self) -> bool:
        """Whether the image has no base."""
        return self.composition.base == SCRATCH

    @property
    def has_shell(self) -> bool:
        """Whether the image has a shell: on scratch only for the python backend, or for another entry point."""
        backends = {one.name for one in self.composition.components if one.kind == "backend"}
        return not self.on_scratch or "python" in backends or posixpath.basename(self.entrypoint[0]) != "tritonserver"

    @property
    def entrypoint(self) -> tuple[str, ...]:
        """The words of the entry point."""
        released = (SERVER_PROGRAM,) if self.on_scratch else self.recipe.entrypoint
        return self.composition.entrypoint or released

    def entrypoint_files(self) -> tuple[str, ...]:
        """Return the files and folders of the release's entry point; none on scratch, which has no shell for them."""
        return () if self.on_scratch else self.recipe.entrypoint_files

    def feature_folders(self) -> tuple[str, ...]:
        """Return the folders of the full image that features add; headers are not among them."""
        return tuple(folder for feature, folder in FEATURE_FOLDERS.items() if self.composition.has(feature))

    def opened(self) -> tuple[str, ...]:
        """Return the names (shell patterns) of libraries that the server opens, and those of features."""
        features = (
            name for feature, names in FEATURE_LIBRARIES.items() if self.composition.has(feature) for name in names
        )
        return (*self.recipe.dlopen, *features, *(SYSTEM_LIBRARIES if self.on_scratch else ()))

    def opened_by(self, component: Component) -> tuple[str, ...]:
        """Return the names (shell patterns) of libraries that a component opens, with the extras that it has."""
        folder = f"{SERVER}/{component.directory}"
        return (*component.dlopen, *optional_parts.opened(self.composition.parts, folder))

    def absent(self) -> tuple[AbsentLibraries, ...]:
        """Return the libraries that are left out with a part of the image."""
        components = (name for one in self.composition.components for name in one.dlopen)
        return optional_parts.absent(self.composition.parts, (*self.opened(), *components))

    def excluded(self) -> tuple[str, ...]:
        """Return the names (shell patterns) of libraries that are not brought."""
        return (*self.composition.exclude_libraries, *optional_parts.excluded(self.absent()))

    def read_files(self) -> tuple[str, ...]:
        """Return the files and folders that are read or run, where the full image has them."""
        features = (path for feature, paths in FEATURE_FILES.items() if self.composition.has(feature) for path in paths)
        scripts = (copy.source for copy in self.recipe.sagemaker_copies if self.has_shell)
        return (*scripts, *READ_FILES, *features, *self._system_files())

    def _system_files(self) -> tuple[str, ...]:
        """Return the files that take the place of the base's, on scratch."""
        if not self.on_scratch:
            return ()
        program = self.entrypoint[0]
        programs = (program,) if program.startswith("/") and not program.startswith(f"{SERVER}/") else ()
        return (*SYSTEM_FILES, *(SHELL_FILES if self.has_shell else ()), *programs)

    def variables(self) -> dict[str, str]:
        """Return the image's environment without the user's variables; values may refer to the base's.

        A search path that ends with the base's does so only where the base has one: an empty last element would be
        the working directory. Every base has a PATH.
        """
        components = self.composition.components
        names = {component.name for component in components if component.kind == "backend"}
        env = {**self.recipe.env_with(components), **self.recipe.cpu_env}
        if not names & _TENSORFLOW:
            env = {name: value for name, value in env.items() if not name.startswith("TF_")}
        if self.composition.has("clients"):
            env["PATH"] += f":{CLIENTS}/bin"
        if "python" in names and self.composition.runtime == "copy":
            env |= self._python_variables(env["PATH"])
        if "dali" in names:
            env.setdefault("PYTHONPATH", _DALI_PACKAGES)
        if self.composition.enable_gpu and self.composition.base:
            form = "{value}" if self.on_scratch else "${{{name}:-{value}}}"
            env |= {name: form.format(name=name, value=value) for name, value in GPU_VARIABLES.items()}
        if self.on_scratch:
            return {
                name: _ended(name, value, f":{SEARCH_PATH}" if name == "PATH" else "") for name, value in env.items()
            }
        return {
            name: value if name == "PATH" else _ended(name, value, f"${{{name}:+:${name}}}")
            for name, value in env.items()
        }

    def _python_variables(self, path: str) -> dict[str, str]:
        """Return the variables that select the Python environment of the full image, if they are known.

        Args:
            path: The value of PATH without that environment.
        """
        venv = self.full_env.get("VIRTUAL_ENV", "")
        if self.full_env:
            entries = [*([f"{venv}/bin"] if venv else []), *_own_entries(self.full_env.get("PATH", ""))]
        else:
            entries = [f"{component.venv}/bin" for component in self.composition.components if component.venv]
        found = {"VIRTUAL_ENV": venv} if venv else {}
        return {**found, "PATH": with_entries(path, dict.fromkeys(entries))} if entries else found

    def user(self) -> str:
        """Return the user of the image's processes, in numbers for the server's account; empty for root.

        Kubernetes does not accept a name where it requires that the user is not root (`runAsNonRoot`).
        """
        account = self.recipe.user
        name, colon, group = self.composition.user.partition(":")
        if name == account.name:
            name, group, colon = str(account.uid), group or account.name, ":"
        return f"{name}{colon}{account.gid if group == account.name else group}"

    def labels(self) -> dict[str, str]:
        """Return the image's labels, the user's included."""
        base = self.sources.get("min")
        return {
            **self.recipe.labels,
            **self.recipe.sagemaker_labels,
            **({"org.opencontainers.image.base.name": str(base)} if base else {}),
            **({"org.opencontainers.image.base.digest": base.digest} if base and base.digest else {}),
            "org.opencontainers.image.version": self.composition.container_version,
            **self._choices(),
            **self.composition.labels,
        }

    def _choices(self) -> dict[str, str]:
        """Return labels for the chosen extras and architectures of GPUs; none where the image has all."""
        extras = " ".join(one.title for one in self.composition.components if one.chosen is not None)
        found = {EXTRAS_LABEL: extras, GPU_ARCH_LABEL: " ".join(self.composition.gpu_arch)}
        return {name: value for name, value in found.items() if value}


def _ended(name: str, value: str, end: str) -> str:
    """Return *value* with *end* in place of a reference to the base's value at its end."""
    return re.sub(rf":\$(?:{name}|\{{{name}\}})$", lambda _: end, value)


def _own_entries(path: str) -> list[str]:
    """Return the entries of the full image's PATH that lead to no folder of the server, CUDA or the distribution.

    Such an entry before the distribution's leads to another Python: a virtual environment, or one in `/opt/conda/bin`.
    """
    before = itertools.takewhile(lambda entry: entry not in SEARCH_PATH.split(":"), path.split(":"))
    return [entry for entry in before if entry.startswith("/") and not entry.startswith(("/usr/", f"{SERVER}/"))]


def select(composition: Composition, full_env: Mapping[str, str] | None = None) -> Selection:
    """Look up the recipe and the source images of *composition*; *full_env* are the full image's variables."""
    arch = composition.platform or PLATFORM
    version, gpu = composition.container_version, composition.enable_gpu
    recipe = composition.catalog.recipe(version, gpu=gpu, arch=arch, full_env=full_env)
    return Selection(composition=composition, recipe=recipe, sources=sources(composition), full_env=full_env or {})


def sources(composition: Composition) -> dict[str, Reference]:
    """Return the source images by name: `full`, `min` except for scratch, and `gpu-min` and `sdk` where needed."""
    catalog, version, registry = composition.catalog, composition.container_version, composition.registry
    images = catalog.sources(version, gpu=composition.enable_gpu, registry=registry, variant=composition.variant)
    found = {**{name: parse_reference(image) for name, image in images.items()}, **composition.images}
    if composition.base == SLIM:
        found["min"] = parse_reference(catalog.plain_base(version))
    elif composition.base == SCRATCH:
        found.pop("min")
    elif isinstance(composition.base, Reference):
        found["min"] = composition.base
    # With `copy`, the full image has these files.
    if composition.runtime != "install" or not any(component.copies for component in composition.components):
        found.pop("gpu-min", None)
    if not composition.has("clients"):
        found.pop("sdk", None)
    elif "sdk" not in found:
        found["sdk"] = parse_reference(catalog.image(version, "sdk", registry=registry))
    return found
