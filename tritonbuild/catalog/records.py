"""What the catalog answers with: frozen records of releases, components and recipes."""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import attrs


@attrs.frozen(kw_only=True)
class Release:
    """A release of Triton.

    Attributes:
        version: NVIDIA's `YY.MM` container version.
        known: False for a release that is newer than the catalog: the newest recipe stands in, the versions are
            None, and the distribution's and Python's are those of the newest release. Whoever uses it says so aloud.
        triton_version: The server's own version: `2.51.0`.
        upstream: The release of NVIDIA's other containers that this one is based on.
        ubuntu_version: The distribution of its images: `22.04`.
        python_version: The minor version of their interpreter: `3.10`.
        cuda_version: As its documents say it, in as many parts as they do; None where they do not.
        dcgm_version: The version of NVIDIA's data center GPU manager, as its package has it.
        variants: The images it is published as: `full`, `min`, `vllm`.
        versions: The versions of frameworks inside, by name: `onnxruntime`, `openvino`, `vllm`, `tensorrtllm`.
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


@attrs.frozen(kw_only=True)
class Copy:
    """A file or folder that is copied.

    Attributes:
        source: Its path in the stage.
        destination: Where it goes, relative to the working directory or absolute.
        stage: The stage it comes from: `full`, `gpu-min`, or `context` for the build context.
    """

    source: str
    destination: str
    stage: str


@attrs.frozen(kw_only=True)
class Component:
    """A Triton backend, repository agent or cache, as one release has it for one platform and flavour.

    Attributes:
        kind: `backend`, `repoagent` or `cache`.
        name: What users call it.
        directory: Where it is, relative to `/opt/tritonserver`; None where it is part of the server itself.
        first: The first release that has it.
        last: The last one; the newest release in the catalog for a component that is still there.
        platforms: The platforms it is built for.
        gpu: Whether it computes on GPUs, on the platform that was asked for.
        cpu: Whether it computes without a GPU there.
        requires: The Triton backends that it does not work without.
        images: The variants of the full image that hold it; none for a component that no published image holds.
        suffix: The tag suffix of the first of them: `-vllm-python-py3`.
        version: The version of the framework inside, where it is known.
        env: The environment variables that it needs, in order; a name can come twice, each `ENV` on the one before.
        apt: The distribution's packages that the `install` runtime installs for it.
        pip: The same for pip packages, a tuple for each call of pip.
        copies: Files that the CPU flavour takes from the GPU flavour's min image.
        dlopen: Names, or shell patterns of names, of libraries outside its directory that it opens at run time
            without being linked to them. Not all exist in every release.
        aliases: Other names for it.
        description: One line for a list.
        notes: What is worth knowing in this release.
        own: Whether it is an entry of the user's.
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
    suffix: str = ""
    version: str | None = None
    env: tuple[tuple[str, str], ...] = ()
    apt: tuple[str, ...] = ()
    pip: tuple[tuple[str, ...], ...] = ()
    copies: tuple[Copy, ...] = ()
    dlopen: tuple[str, ...] = ()
    aliases: tuple[str, ...] = ()
    description: str = ""
    notes: tuple[str, ...] = ()
    own: bool = False

    @property
    def releases(self) -> str:
        """The releases that have it, in words: `23.06 to 26.08`."""
        return self.first if self.first == self.last else f"{self.first} to {self.last}"


@attrs.frozen(kw_only=True)
class User:
    """The user of the image: *name* with *uid* and *gid*, after the users *removes* of the base are gone."""

    name: str
    uid: int
    gid: int
    removes: tuple[str, ...] = ()


@attrs.frozen(kw_only=True)
class Repository:
    """NVIDIA's repository of distribution packages.

    Attributes:
        url: Its address, for the distribution and architecture.
        keyring: The package in it that brings its key; None before 22.06.
        key: The name of its key, before there was such a package; None afterwards.
    """

    url: str
    keyring: str | None
    key: str | None


@attrs.frozen(kw_only=True)
class Dcgm:
    """The data center GPU manager, which the server is linked to in the GPU flavour.

    Attributes:
        version: The version that belongs to the release; None where it is not known.
        packages: The names of its packages.
        recommends: Whether the packages they recommend are installed too.
    """

    version: str | None
    packages: tuple[str, ...]
    recommends: bool

    def pinned(self, version: str | None = None) -> tuple[str, ...]:
        """Return the packages with *version*, or the release's, as apt takes them; bare names where none is known."""
        pin = version or self.version
        return tuple(f"{name}=1:{pin}" if pin else name for name in self.packages)


@attrs.frozen(kw_only=True)
class Recipe:
    """What a release's compose.py writes, for one flavour and architecture.

    Attributes:
        release: The release.
        gpu: The flavour.
        arch: `x86_64` or `aarch64`.
        workdir: The working directory.
        env: Environment variables of every image. A value may refer to the base's: `${PATH}`.
        env_from_full: More of them, whose values only the full image tells: `label:NAME` or `env:NAME` there.
        build_env: Variables that are of use while packages are installed; compose.py leaves them in the image.
        cpu_env: For the CPU flavour, made of the GPU full image: what keeps the server from looking for a GPU.
            Not compose.py's: the CPU-only full image's entry point, which nobody can pull, does the like.
        labels: Labels of every image.
        labels_from_full: Labels that are taken over from the full image.
        sagemaker_labels: Labels where the full image can serve for SageMaker; compose.py writes the first only.
        sagemaker_copies: What is copied in that case.
        core_copies: The server.
        left_out: Paths of the full image that compose.py leaves behind without a word.
        context_copies: The entry point as compose.py copies it, from a clone of the server's repository.
        entrypoint_files: Where the full image has these: files and folders, which keep their paths.
        entrypoint: The entry point.
        entrypoint_inherited: Whether compose.py leaves it and its program to the min image, which has the same.
        chown: The owner that copied files are given; None where they are root's.
        user: The user.
        apt: The distribution's packages of every image.
        cuda_apt: Packages of every image that come from *repository*.
        boost: The version of Boost that is compiled into every image; nothing there needs it to run.
        repository: NVIDIA's packages.
        dcgm: None in the CPU flavour.
        dlopen: As `Component.dlopen`, for the server itself.
        components: The components of the release, with what each of them adds.
    """

    release: Release
    gpu: bool
    arch: str
    workdir: str
    env: Mapping[str, str]
    env_from_full: Mapping[str, str]
    build_env: Mapping[str, str]
    cpu_env: Mapping[str, str]
    labels: Mapping[str, str]
    labels_from_full: tuple[str, ...]
    sagemaker_labels: Mapping[str, str]
    sagemaker_copies: tuple[Copy, ...]
    core_copies: tuple[Copy, ...]
    left_out: tuple[str, ...]
    context_copies: tuple[Copy, ...]
    entrypoint_files: tuple[str, ...]
    entrypoint: tuple[str, ...]
    entrypoint_inherited: bool
    chown: str | None
    user: User
    apt: tuple[str, ...]
    cuda_apt: tuple[str, ...]
    boost: str | None
    repository: Repository
    dcgm: Dcgm | None
    dlopen: tuple[str, ...]
    components: tuple[Component, ...]

    @property
    def core_files(self) -> tuple[str, ...]:
        """The plain files among *core_copies*, by name: licences and the version."""
        return tuple(copy.source.rpartition("/")[2] for copy in self.core_copies if copy.destination == ".")

    def env_with(self, components: Iterable[Component]) -> dict[str, str]:
        """Return *env* with what *components* add in this flavour, in their order.

        A value that refers to its own variable takes in the one before it, so that each variable comes once. The
        base's value is referred to as it is by one component alone: `${LD_LIBRARY_PATH}`.
        """
        env = dict(self.env)
        here = {(item.kind, item.name): item for item in self.components}
        for chosen in components:
            for name, value in here.get((chosen.kind, chosen.name), chosen).env:
                env[name] = _taking_in(env[name], name, value) if name in env else value
        return env


def _taking_in(before: str, name: str, value: str) -> str:
    """Return *value* with *before* where it refers to *name*: `$NAME` or `${NAME}`."""
    return re.sub(rf"\$(?:{name}\b|{{{name}}})", before.replace("\\", r"\\"), value)
