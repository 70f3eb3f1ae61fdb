"""Targets: the destinations of a result image."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs

from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.reference import Reference

Content = Callable[[], Iterator[bytes]]
"""A function that opens a blob's content; each call starts at the first byte."""


@attrs.frozen(kw_only=True)
class Image:
    """A result image: its manifest, its configuration, and its layers from the lowest to the highest."""

    manifest: Descriptor
    manifest_content: bytes = attrs.field(repr=False)
    config: Descriptor
    config_content: bytes = attrs.field(repr=False)
    base_layers: tuple[Descriptor, ...]
    new_layers: tuple[Descriptor, ...]

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """All layers, from the lowest to the highest."""
        return (*self.base_layers, *self.new_layers)


class Target(Protocol):
    """A destination of images: a registry's repository, a layout or an archive."""

    def store(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Store a blob; return the bytes transferred.

        Args:
            blob: The blob's descriptor.
            content: The blob's content, not verified.
            source: A repository that has the blob.
            verify: Verify the content even if the target does so as well.
        """
        ...

    def publish(self, image: Image, tags: Sequence[str]) -> None:
        """Store the manifest under *tags*, after all blobs, the configuration among them."""
        ...

    def locations(self, tags: Sequence[str]) -> list[str]:
        """Return the names by which podman and skopeo find an image with *tags*: `oci:FOLDER:NAME`."""
        ...
