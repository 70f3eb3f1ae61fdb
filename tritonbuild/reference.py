"""Image references, digests and platforms: parse, validate, format.

The grammar is that of https://github.com/distribution/reference; platforms are those of the OCI image index.
"""

from __future__ import annotations

import re
from typing import Final

import attrs

from tritonbuild.errors import InvalidInputError

_COMPONENT: Final = r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*"
_HOST: Final = (
    r"(?:[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?(?:\.[a-zA-Z0-9](?:[a-zA-Z0-9-]*[a-zA-Z0-9])?)*|\[[0-9a-fA-F:]+\])"
)
_REGISTRY: Final = re.compile(rf"{_HOST}(?::[0-9]+)?", re.ASCII)
_REPOSITORY: Final = re.compile(rf"{_COMPONENT}(?:/{_COMPONENT})*", re.ASCII)
_TAG: Final = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}", re.ASCII)
_DIGEST: Final = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}", re.ASCII)

DEFAULT_REGISTRY: Final = "docker.io"


@attrs.frozen(kw_only=True)
class Reference:
    """An image reference in full: `docker.io/library/ubuntu:22.04`.

    Attributes:
        registry: The host of the registry, with the port if there is one.
        repository: The path inside the registry.
        tag: The tag; empty for a reference by digest alone.
        digest: `sha256:...`; empty for a reference that is not pinned.
    """

    registry: str
    repository: str
    tag: str = ""
    digest: str = ""

    @property
    def name(self) -> str:
        """The reference without tag and digest."""
        return f"{self.registry}/{self.repository}"

    def __str__(self) -> str:
        tag = f":{self.tag}" if self.tag else ""
        digest = f"@{self.digest}" if self.digest else ""
        return f"{self.name}{tag}{digest}"


def parse_reference(text: str) -> Reference:
    """Parse an image reference; Docker's defaults (docker.io, library/, latest) are filled in.

    Raises:
        InvalidInputError: *text* is not a reference.
    """

    def refuse(why: str) -> InvalidInputError:
        return InvalidInputError(
            f"{text!r} is not an image reference: {why}",
            hint="write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]",
        )

    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise refuse(f"{digest!r} is not a digest")
    head, slash, tail = rest.rpartition("/")
    tail, colon, tag = tail.partition(":")
    if colon and not _TAG.fullmatch(tag):
        raise refuse(f"{tag!r} is not a tag")
    path = head + slash + tail
    first, slash, remainder = path.partition("/")
    if slash and (first == "localhost" or any(c in first for c in ".:") or first != first.lower()):
        registry, repository = first, remainder
    else:
        registry, repository = DEFAULT_REGISTRY, path
    if registry in {"docker.io", "index.docker.io"}:
        registry = DEFAULT_REGISTRY
        repository = repository if "/" in repository or not repository else f"library/{repository}"
    if not _REGISTRY.fullmatch(registry):
        raise refuse(f"{registry!r} is not a registry")
    if not _REPOSITORY.fullmatch(repository) or len(repository) > 255:  # noqa: PLR2004 - the specification's limit
        raise refuse("the repository is empty" if not repository else f"{repository!r} is not a repository")
    return Reference(registry=registry, repository=repository, tag=tag or ("" if digest else "latest"), digest=digest)


def parse_registry(text: str) -> str:
    """Return *text*, a registry with an optional path (`nvcr.io/nvidia`, `localhost:5000`), without a final slash.

    Raises:
        InvalidInputError: *text* is not a registry.
    """
    trimmed = text.removesuffix("/")
    host, _, path = trimmed.partition("/")
    if not _REGISTRY.fullmatch(host) or (path and not _REPOSITORY.fullmatch(path)):
        _, scheme, rest = trimmed.partition("://")
        hint = f"leave the scheme out: {rest}" if scheme else "write it as HOST[:PORT][/PATH], as in nvcr.io/nvidia"
        raise InvalidInputError(f"{text!r} is not a registry", hint=hint)
    return trimmed


def is_digest(text: str) -> bool:
    """Whether *text* is a digest in full: algorithm, colon, lower-case hex."""
    return _DIGEST.fullmatch(text) is not None


_ARCHITECTURES: Final = {"x86_64": "amd64", "x86-64": "amd64", "aarch64": "arm64", "arm64/v8": "arm64"}
_PLATFORM: Final = r"[a-z0-9]+/[a-z0-9_]+(?:/v[0-9]+)?"


def parse_platform(text: str) -> str:
    """Parse a platform and return it as `os/arch[/variant]`, in the spelling of the OCI image index.

    An architecture alone means Linux. `x86_64` and `aarch64` are accepted as architectures.

    Raises:
        InvalidInputError: *text* is not a platform.
    """
    spelled = text.lower() if text.isascii() else text
    os, slash, architecture = spelled.partition("/")
    if not slash:
        os, architecture = "linux", spelled
    platform = f"{os}/{_ARCHITECTURES.get(architecture, architecture)}"
    if not re.fullmatch(_PLATFORM, platform, re.ASCII):
        raise InvalidInputError(f"{text!r} is not a platform", hint="write it as OS/ARCH[/VARIANT], as in linux/arm64")
    return platform
