"""Records of the catalog: releases, components and recipes, all frozen."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs


@attrs.frozen(kw_only=True)
class Release:
    """A release of Triton.

    Attributes:
        version: NVIDIA's `YY.MM` container version.
        known: Whether the catalog has it. For a release that is newer than the catalog, the recipe, the distribution
            and Python's version are those of the newest release, and the other versions are None. A note informs
            the user.
        triton_version: The version of the server: `2.51.0`.
        upstream: The release of NVIDIA's other containers that this one is based on.
        ubuntu_version: The Ubuntu release of its images: `22.04`.
        python_version: The minor version of the interpreter in its images: `3.10`.
        cuda_version: The version of CUDA as the release's documents spell it; None where they have none.
        variant_cuda: The versions of CUDA in those of *variants* that are built on a base of their own, where known.
        dcgm_version: The version of NVIDIA's data center GPU manager, as its package has it.
        variants: The published images by their names in the catalog: `full`, `min`, `vllm`.
        versions: The versions of frameworks in its images, by name: `onnxruntime`, `openvino`, `vllm`, `tensorrtllm`.
    """

    version: str
    known: bool
    triton_version: str | None
    upstream: str | None
    ubuntu_version: str
    python_version: str
    cuda_version: str | None
    dcgm_version: str | None
    variants: tuple[str, ...]
    versions: Mapping[str, str] = attrs.field(factory=dict)
    variant_cuda: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class FileCopy:
    """A copy of a file or folder from a source image.

    Attributes:
        source: The path in the source image.
        destination: The path in the composed image, absolute or relative to the working directory.
    """

    source: str
    destination: str


@attrs.frozen(kw_only=True)
class Extra:
    """A part of a component that can be left out, written `onnxruntime[cuda]`.

    Attributes:
        name: The name in brackets.
        files: Its files and folders in the component's directory, as shell patterns in which `*` matches `/` too; none
            for an extra that stands for what every choice has.
        dlopen: Libraries that only its files open, as in `Component.dlopen`.
        libraries: Names, or shell patterns of names, of libraries outside the directory that are left out with it.
        requires: The extras of the component that it does not work without.
    """

    name: str
    files: tuple[str, ...] = ()
    dlopen: tuple[str, ...] = ()
    libraries: tuple[str, ...] = ()
    requires: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Component:
    """A Triton backend, repository agent or cache, as one release has it for one platform and flavor.

    Attributes:
        kind: `backend`, `repoagent` or `cache`.
        name: The name on the command line.
        directory: Its folder, relative to `/opt/tritonserver`; None for a component that is part of the server.
        first: The first release that has it.
        last: The last release that has it; the catalog's newest release for a component that was not removed.
        platforms: The platforms it is built for.
        gpu: Whether it computes on GPUs, on the platform of the query.
        cpu: Whether it computes without a GPU, on the platform of the query.
        requires: The Triton backends that it does not work without.
        images: The variants of the full image that hold it; none for a component that no published image holds.
        version: The version of its framework, where it is known.
        env: The environment variables that it needs, in order; a name can occur twice, and a later value can refer
            to the earlier one.
        apt: The distribution's packages that the `install` runtime installs for it.
        pip: The Python packages that the `install` runtime installs for it: a tuple for each call of pip.
        copies: Files that the CPU flavor takes from the GPU flavor's min image.
        dlopen: Names, or shell patterns of names, of libraries outside its directory that it opens at run time
            without being linked to them, whatever extras are chosen. Not all exist in every release.
        venv: The virtual environment of its image, which the image's PATH selects; empty without one.
        aliases: Other names for it.
        description: One line for a list.
        notes: Limitations and changes in this release.
        custom: Whether it is an entry or a folder of the user.
        extras: Its parts that can be left out.
        chosen: The names of the extras that the user chose; None for all.
    """

    kind: str
    name: str
    directory: str | None
    first: str
    last: str
    platforms: tuple[str, ...]
    gpu: bool
    cpu: bool
    requires: tuple[str, ...] = ()
    images: tuple[str, ...] = ()
    version: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    apt: tuple[str, ...] = ()
    pip: tuple[tuple[str, ...], ...] = ()
    copies: tuple[FileCopy, ...] = ()
    dlopen: tuple[str, ...] = ()
    venv: str = ""
    aliases: tuple[str, ...] = ()
    description: str = ""
    notes: tuple[str, ...] = ()
    custom: bool = False
    extras: tuple[Extra, ...] = ()
    chosen: tuple[str, ...] | None = None

    @property
    def title(self) -> str:
        """The name with the chosen extras: `onnxruntime[cuda]`."""
        return self.name if self.chosen is None else f"{self.name}[{','.join(self.chosen)}]"

    @property
    def left_out(self) -> tuple[Extra, ...]:
        """The extras that are not chosen."""
        return tuple(extra for extra in self.extras if self.chosen is not None and extra.name not in self.chosen)

    @property
    def releases(self) -> str:
        """The releases that have it, in words: `23.06 to 26.08`."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


@attrs.frozen(kw_only=True)
class ServerUser:
    """The server's account in the image: *name* with *uid* and *gid*; users of the base in *removes* are deleted."""

    name: str
    uid: int
    gid: int
    removes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class PackageRepository:
    """NVIDIA's repository of distribution packages.

    Attributes:
        url: The URL for the distribution and architecture.
        keyring: The package in the repository that installs its key; None before 22.06.
        key: The name of the repository's key before 22.06; None afterwards.
    """

    url: str
    keyring: str | None
    key: str | None


@attrs.frozen(kw_only=True)
class Dcgm:
    """The data center GPU manager (DCGM), which the server is linked to in the GPU flavor.

    Attributes:
        version: The version in the release; None where it is not known.
        packages: The names of its packages.
        recommends: Whether the packages they recommend are installed too.
    """

    version: str | None
    packages: tuple[str, ...]
    recommends: bool

    def pinned(self, version: str | None = None) -> tuple[str, ...]:
        """Return apt's arguments that pin the packages to *version*, or the release's; names alone if it is unknown."""
        pin = version or self.version
        return tuple(f"{name}=1:{pin}" if pin else name for name in self.packages)


@attrs.frozen(kw_only=True)
class Recipe:
    """The content of the Containerfile that a release's compose.py writes, for one flavor and architecture.

    Attributes:
        release: The release.
        gpu: The flavor.
        arch: `x86_64` or `aarch64`.
        workdir: The working directory.
        env: Environment variables of every image. A value may refer to a variable of the base: `${PATH}`.
        env_from_full: Variables whose values come from the full image's configuration: `label:NAME` or `env:NAME`.
        cpu_env: Variables of the CPU flavor, which keep the server from looking for a GPU. compose.py has none: it
            relies on the entry point of the CPU-only full image, which is not published.
        labels: Labels of every image.
        labels_from_full: Names of labels whose values come from the full image's configuration.
        sagemaker_labels: Labels for SageMaker; compose.py writes the first only.
        sagemaker_copies: Files for SageMaker, copied where the full image has them.
        core_copies: The server's files.
        entrypoint_files: Files and folders of the entry point in the full image; they keep their paths.
        entrypoint: The entry point.
        chown: The owner of copied files; None for root.
        user: The server's account.
        apt: The distribution's packages of every image.
        cuda_apt: Packages of every image that come from *repository*.
        loader_apt: Packages among *cuda_apt* whose folders of libraries the loader's configuration has to list.
        repository: NVIDIA's package repository.
        dcgm: DCGM; None in the CPU flavor.
        dlopen: Libraries that the server opens at run time, as in `Component.dlopen`.
        components: The components of the release, with the environment, packages and files that each adds.
    """

    release: Release
    gpu: bool
    arch: str
    workdir: str
    env: Mapping[str, str]
    env_from_full: Mapping[str, str]
    cpu_env: Mapping[str, str]
    labels: Mapping[str, str]
    labels_from_full: tuple[str, ...]
    sagemaker_labels: Mapping[str, str]
    sagemaker_copies: tuple[FileCopy, ...]
    core_copies: tuple[FileCopy, ...]
    entrypoint_files: tuple[str, ...]
    entrypoint: tuple[str, ...]
    chown: str | None
    user: ServerUser
    apt: tuple[str, ...]
    cuda_apt: tuple[str, ...]
    loader_apt: tuple[str, ...]
    repository: PackageRepository
    dcgm: Dcgm | None
    dlopen: tuple[str, ...]
    components: tuple[Component, ...]

    @property
    def core_files(self) -> tuple[str, ...]:
        """The names of the single files among *core_copies*: licenses and the version."""
        return tuple(copy.source.rpartition("/")[2] for copy in self.core_copies if copy.destination == ".")

    def env_with(self, components: Iterable[Component]) -> dict[str, str]:
        """Return *env* extended by the variables of *components* in this flavor, in their order.

        A reference to an earlier value of the same variable is replaced by that value, so that each variable occurs
        once; a value that several components share is added
        once. The first value's reference to the base remains: `${LD_LIBRARY_PATH}`.
        """
        env = dict(self.env)
        here = {(item.kind, item.name): item for item in self.components}
        pairs = (pair for chosen in components for pair in here.get((chosen.kind, chosen.name), chosen).env)
        for name, value in dict.fromkeys(pairs):
            env[name] = _appended(env[name], name, value) if name in env else value
        return env


def _appended(before: str, name: str, value: str) -> str:
    """Return *value* with each reference to *name*, `$NAME` or `${NAME}`, replaced by *before*."""
    return re.sub(rf"\$(?:{name}\b|{{{name}}})", before.replace("\\", r"\\"), value)
