"""Source images: where they are, and what their manifests and configurations say."""

from __future__ import annotations

import calendar
import platform as machine
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci import descriptors
from tritonbuild.oci.archives import DockerOrigin, open_origin
from tritonbuild.oci.descriptors import Descriptor, Origin, broken, descriptor, from_json, platform_text, whole
from tritonbuild.oci.files import open_files
from tritonbuild.oci.layouts import LayoutOrigin
from tritonbuild.oci.registry import Registries, RepositoryOrigin
from tritonbuild.reference import Reference, parse_platform, parse_reference

ON_DISK: Final = ("oci:", "oci-archive:", "docker-archive:")
"""How places on disk are spelled: `oci:PATH[:NAME]`, as skopeo and podman do."""

_MOST_INDEXES: Final = 3


@attrs.frozen(kw_only=True)
class SourceImage:
    """An image that is read.

    Attributes:
        name: What it was asked for as.
        origin: Where it is read from.
        reference: Its repository in a registry; None on disk.
        manifest: Its manifest.
        config: Its configuration, as it is.
        layers: Its layers, the lowest first.
        diff_ids: The digests of what is compressed in them.
        platform: What it is for.
    """

    name: str
    origin: Origin
    reference: Reference | None
    manifest: Descriptor
    config: Mapping[str, Any] = attrs.field(repr=False)
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    platform: str

    @property
    def runtime(self) -> Mapping[str, Any]:
        """What the configuration says about running it."""
        found = self.config.get("config")
        return found if isinstance(found, Mapping) else {}

    @property
    def env(self) -> dict[str, str]:
        """Its environment."""
        pairs = (str(one).partition("=") for one in self.runtime.get("Env") or ())
        return {name: value for name, _, value in pairs}

    @property
    def labels(self) -> dict[str, str]:
        """Its labels."""
        return {str(name): str(value) for name, value in (self.runtime.get("Labels") or {}).items()}

    @property
    def created(self) -> int:
        """When it was made, in seconds since 1970; 0 if it does not say so."""
        return seconds(str(self.config.get("created") or ""))


def seconds(moment: str) -> int:
    """Return a moment of RFC 3339 as seconds since 1970, fractions left out; 0 if it cannot be read."""
    try:
        return max(0, calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0


def default_platform() -> str:
    """Return this machine's platform; what runs in containers is Linux."""
    return parse_platform(machine.machine() or "amd64")


def find(place: str, registries: Registries, *, platform: str) -> SourceImage:
    """Return the image at *place*: a reference, or on disk (`ON_DISK`).

    Raises:
        InvalidInputError: There is no such image.
        TritonBuildError: It cannot be read.
    """
    for kind in ON_DISK:
        if place.startswith(kind):
            path, name = _split(place[len(kind) :])
            layout = open_origin(open_files(path))
            found = layout.find(name)
            content = whole(layout.read(found, 0, found.size), found, what=f"the manifest of {place}")
            return _chosen(place, layout, None, found, content, platform)
    reference = parse_reference(place)
    origin = registries.origin(reference)
    found, content = origin.manifest(reference.digest or reference.tag)
    return _chosen(place, origin, reference, found, content, platform)


def _split(text: str) -> tuple[Path, str]:
    """Return path and name of `PATH[:NAME]` or `PATH@DIGEST`; a path that exists has its colons for itself."""
    if Path(text).exists():
        return Path(text), ""
    path, at, digest = text.partition("@")
    if at:
        return Path(path), digest
    # The name may have a colon itself: the path is what exists.
    parts = text.split(":")
    for number in range(len(parts) - 1, 0, -1):
        candidate = Path(":".join(parts[:number]))
        if candidate.exists():
            return candidate, ":".join(parts[number:])
    return Path(text), ""


def _chosen(  # noqa: PLR0913, PLR0917 - the facts of one image
    place: str,
    origin: LayoutOrigin | DockerOrigin | RepositoryOrigin,
    reference: Reference | None,
    found: Descriptor,
    content: bytes,
    platform: str,
) -> SourceImage:
    """Return the image of that platform, going through indexes."""
    for _ in range(_MOST_INDEXES):
        document = from_json(content, what=f"the manifest of {place}")
        if "manifests" not in document:
            return _image(place, origin, reference, found, document, platform)
        candidates = [descriptor(one, what=place) for one in document["manifests"]]
        fitting = [one for one in candidates if _fits(one.platform, platform)] or [
            one for one in candidates if not one.platform
        ]
        if not fitting:
            there = ", ".join(sorted({one.platform for one in candidates if one.platform != "unknown/unknown"}))
            raise InvalidInputError(
                f"{place} is not there for {platform}", hint=f"it is there for {there or 'nothing'}"
            )
        found = fitting[0]
        if not isinstance(origin, RepositoryOrigin):
            content = whole(origin.read(found, 0, found.size), found, what=f"the manifest of {place}")
        else:
            found, content = origin.manifest(found.digest)
    raise broken(place, "its indexes lead to indexes")


def _fits(there: str, wanted: str) -> bool:
    return there == wanted or (there.startswith(f"{wanted}/") and wanted.count("/") == 1)


def _image(  # noqa: PLR0913, PLR0917 - the facts of one image
    place: str,
    origin: LayoutOrigin | DockerOrigin | RepositoryOrigin,
    reference: Reference | None,
    found: Descriptor,
    document: Mapping[str, Any],
    platform: str,
) -> SourceImage:
    if document.get("schemaVersion") == 1:
        raise TritonBuildError(f"{place} is of a format that was given up in 2017", hint="push it anew")
    configuration = descriptor(document.get("config"), what=f"the manifest of {place}")
    content = whole(
        origin.read(configuration, 0, configuration.size), configuration, what=f"the configuration of {place}"
    )
    config = from_json(content, what=f"the configuration of {place}")
    layers = tuple(descriptor(one, what=f"the manifest of {place}") for one in document.get("layers") or ())
    diff_ids = tuple(str(one) for one in (config.get("rootfs") or {}).get("diff_ids") or ())
    if len(diff_ids) != len(layers) or not layers:
        raise broken(place, f"it has {len(layers)} layers and {len(diff_ids)} digests of them")
    own = platform_text(config)
    if not _fits(own, platform) and own != "/":
        raise InvalidInputError(f"{place} is for {own}, not for {platform}", hint=f"add --platform {own}")
    media_type = found.media_type or descriptors.MANIFEST
    return SourceImage(
        name=place,
        origin=origin,
        reference=reference,
        manifest=attrs.evolve(found, media_type=media_type),
        config=config,
        layers=layers,
        diff_ids=diff_ids,
        platform=own if own != "/" else platform,
    )
