"""A target of an image, and the image that goes there: its documents and descriptors."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import Protocol

import attrs

from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.reference import Reference

Content = Callable[[], Iterator[bytes]]
"""Gives a blob's bytes, anew each time."""


@attrs.frozen(kw_only=True)
class Image:
    """The result: its documents, and its layers from the lowest on."""

    manifest: Descriptor
    manifest_content: bytes = attrs.field(repr=False)
    config: Descriptor
    config_content: bytes = attrs.field(repr=False)
    base_layers: tuple[Descriptor, ...]
    new_layers: tuple[Descriptor, ...]

    @property
    def layers(self) -> tuple[Descriptor, ...]:
        """All layers, the lowest first."""
        return (*self.base_layers, *self.new_layers)


class Target(Protocol):
    """Where a result goes."""

    def take(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Have a blob; return how many bytes were moved.

        Args:
            blob: What it is.
            content: Its bytes, not verified.
            source: A repository of a registry that has it.
            verify: Whether they have to be verified even where whoever gets them does so.
        """
        ...

    def finish(self, image: Image, tags: Sequence[str]) -> None:
        """Have the image itself, once all of its blobs are there, the configuration among them."""
        ...

    def places(self, tags: Sequence[str]) -> list[str]:
        """Return where an image with these *tags* is, as podman and skopeo say it: `oci:FOLDER:NAME`."""
        ...
