"""Descriptors and media types: the names of blobs in registries, layouts and archives.

https://github.com/opencontainers/image-spec/blob/main/descriptor.md
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Protocol

import attrs

from tritonbuild.errors import TritonBuildError

INDEX: Final = "application/vnd.oci.image.index.v1+json"
MANIFEST: Final = "application/vnd.oci.image.manifest.v1+json"
CONFIG: Final = "application/vnd.oci.image.config.v1+json"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
LAYER_GZIP: Final = f"{LAYER}+gzip"
LAYER_ZSTD: Final = f"{LAYER}+zstd"
EMPTY: Final = "application/vnd.oci.empty.v1+json"
DOCKER_INDEX: Final = "application/vnd.docker.distribution.manifest.list.v2+json"
DOCKER_MANIFEST: Final = "application/vnd.docker.distribution.manifest.v2+json"
_DOCKER_LAYER: Final = "application/vnd.docker.image.rootfs"
OCI_LAYERS: Final = {
    f"{_DOCKER_LAYER}.diff.tar": LAYER,
    f"{_DOCKER_LAYER}.diff.tar.gzip": LAYER_GZIP,
    f"{_DOCKER_LAYER}.diff.tar.zstd": LAYER_ZSTD,
    f"{_DOCKER_LAYER}.foreign.diff.tar": LAYER,
    f"{_DOCKER_LAYER}.foreign.diff.tar.gzip": LAYER_GZIP,
    f"{_DOCKER_LAYER}.foreign.diff.tar.zstd": LAYER_ZSTD,
}
"""Docker's media types of layers, and the media types of the same bytes in an OCI manifest."""

CONFIGS: Final = frozenset({CONFIG, "application/vnd.docker.container.image.v1+json"})
INDEXES: Final = frozenset({INDEX, DOCKER_INDEX})
MANIFESTS: Final = frozenset({MANIFEST, DOCKER_MANIFEST})

REF_NAME: Final = "org.opencontainers.image.ref.name"

LARGEST_DOCUMENT: Final = 16 << 20
"""The size limit of a JSON document in bytes: a manifest has a few kilobytes, a configuration rarely a megabyte."""


@attrs.frozen(kw_only=True)
class Descriptor:
    """A descriptor: media type, digest and size of a blob."""

    media_type: str
    digest: str
    size: int
    annotations: Mapping[str, str] = attrs.field(factory=dict)
    platform: str = ""
    artifact_type: str = ""

    def document(self) -> dict[str, Any]:
        """Return the descriptor as a JSON object."""
        document: dict[str, Any] = {"mediaType": self.media_type, "digest": self.digest, "size": self.size}
        if self.artifact_type:
            document["artifactType"] = self.artifact_type
        if self.platform:
            document["platform"] = platform_document(self.platform)
        if self.annotations:
            document["annotations"] = dict(self.annotations)
        return document


def broken(what: str, why: str) -> TritonBuildError:
    """Return the error for foreign data that cannot be used: *what* is damaged, since *why*."""
    return TritonBuildError(f"{what} is damaged: {why}", hint="fetch it again, or ask its publisher")


def platform_text(document: Mapping[str, Any]) -> str:
    """Return a platform object as `os/arch[/variant]`, without the variant `v8` of arm64, which is its only one."""
    os, arch, variant = (str(document.get(key) or "") for key in ("os", "architecture", "variant"))
    parts = [os, arch] + ([variant] if variant and (arch, variant) != ("arm64", "v8") else [])
    return "/".join(parts)


def platform_document(platform: str) -> dict[str, str]:
    """Return the platform `os/arch[/variant]` as a JSON object."""
    return dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False))


def to_json(document: object) -> bytes:
    """Serialize *document* as JSON; equal documents give equal bytes."""
    return json.dumps(document, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode()


def from_json(content: bytes, *, what: str) -> dict[str, Any]:
    """Parse *content*, the bytes of *what*, as a JSON object.

    Raises:
        TritonBuildError: *content* is not a JSON object.
    """
    try:
        document = json.loads(content)
    except (ValueError, RecursionError) as error:
        raise broken(what, "it is not JSON") from error
    if not isinstance(document, dict):
        raise broken(what, "it is not a JSON object")
    return document


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    """Return the digest of *content*."""
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


def hasher(digest: str) -> Any:
    """Return a hash object for the algorithm of *digest*."""
    return hashlib.new(digest.partition(":")[0])


def verified(chunks: Iterable[bytes], blob: Descriptor, *, what: str) -> Iterator[bytes]:
    """Yield *chunks*, and verify that they are the content of *blob*.

    Raises:
        TritonBuildError: The size or the digest differs. Discard the chunks that were yielded before.
    """
    digest, size = hasher(blob.digest), 0
    for chunk in chunks:
        size += len(chunk)
        if size > blob.size:
            raise broken(what, f"it has more than {blob.size} bytes")
        digest.update(chunk)
        yield chunk
    if size != blob.size:
        raise broken(what, f"it has {size} bytes instead of {blob.size}")
    check_digest(digest, blob.digest, what=what)


def check_digest(digest: Any, expected: str, *, what: str) -> None:
    """Raise `TritonBuildError` unless the hash object *digest* has the value *expected*."""
    found = f"{expected.partition(':')[0]}:{digest.hexdigest()}"
    if found != expected:
        raise broken(what, f"its digest is {found} instead of {expected}")


def whole(chunks: Iterable[bytes], blob: Descriptor, *, what: str) -> bytes:
    """Return the verified content of the small blob *blob*."""
    if blob.size > LARGEST_DOCUMENT:
        raise broken(what, f"it has {blob.size} bytes, more than the limit of {LARGEST_DOCUMENT}")
    return b"".join(verified(chunks, blob, what=what))


class Origin(Protocol):
    """A source of blobs: a registry, a layout or an archive."""

    name: str

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of *blob* from *start* up to *stop*, not verified."""
        ...


@attrs.define
class Nowhere:
    """The origin of an image that has no blobs, or none yet."""

    name: str

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Raise an error: nothing can be read."""
        raise NotImplementedError
