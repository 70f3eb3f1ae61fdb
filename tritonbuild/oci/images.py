"""Source images: references and on-disk names resolved to manifests, configurations and layers."""

from __future__ import annotations

import calendar
import platform as machine
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, TypeAlias

import attrs

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci import descriptors
from tritonbuild.oci.archives import DockerOrigin, open_origin
from tritonbuild.oci.descriptors import Descriptor, Origin, broken, descriptor, from_json, platform_text, whole
from tritonbuild.oci.files import open_files
from tritonbuild.oci.layouts import LayoutOrigin
from tritonbuild.oci.registry import Registries, RepositoryOrigin
from tritonbuild.reference import Reference, parse_platform, parse_reference

DISK_TRANSPORTS: Final = ("oci:", "oci-archive:", "docker-archive:")
"""The prefixes of images on disk, `oci:PATH[:NAME]`, as in containers-transports(5)."""

_MOST_INDEXES: Final = 3

_ImageOrigin: TypeAlias = LayoutOrigin | DockerOrigin | RepositoryOrigin


@attrs.frozen(kw_only=True)
class SourceImage:
    """A source image.

    Attributes:
        name: The name as given by the user.
        origin: The registry, layout or archive that has the image.
        reference: The reference in a registry; None for an image on disk.
        manifest: The descriptor of the manifest.
        config: The configuration, as it is.
        layers: The layers, from the lowest to the highest.
        diff_ids: The digests of the uncompressed layers.
        platform: The platform of the image.
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
        """The execution parameters, `config` of the configuration."""
        found = self.config.get("config")
        return found if isinstance(found, Mapping) else {}

    @property
    def env(self) -> dict[str, str]:
        """The environment variables."""
        pairs = (str(one).partition("=") for one in self.runtime.get("Env") or ())
        return {name: value for name, _, value in pairs}

    @property
    def labels(self) -> dict[str, str]:
        """The labels."""
        return {str(name): str(value) for name, value in (self.runtime.get("Labels") or {}).items()}

    @property
    def created(self) -> int:
        """The time of creation in seconds since 1970; 0 if the configuration has none."""
        return seconds(str(self.config.get("created") or ""))


def seconds(moment: str) -> int:
    """Return an RFC 3339 time as seconds since 1970, without fractions; 0 if it cannot be parsed."""
    try:
        return max(0, calendar.timegm(time.strptime(moment[:19], "%Y-%m-%dT%H:%M:%S")))
    except ValueError:
        return 0


def default_platform() -> str:
    """Return the platform of this machine; the operating system is Linux, as containers run on it."""
    return parse_platform(machine.machine() or "amd64")


def open_image(name: str, registries: Registries, *, platform: str) -> SourceImage:
    """Return the image *name* for a platform.

    Args:
        name: A reference, or an image on disk (`DISK_TRANSPORTS`).
        registries: The registries of references.
        platform: The platform, `os/arch[/variant]`.

    Raises:
        InvalidInputError: The image does not exist, or not for the platform.
        TritonBuildError: The image cannot be read.
    """
    for transport in DISK_TRANSPORTS:
        if name.startswith(transport):
            path, wanted = _split(name[len(transport) :])
            return _select(name, open_origin(open_files(path)), None, wanted, platform)
    reference = parse_reference(name)
    return _select(name, registries.origin(reference), reference, reference.digest or reference.tag, platform)


def _split(text: str) -> tuple[Path, str]:
    """Return path and name of `PATH[:NAME]` or `PATH@DIGEST`; colons of an existing path are part of the path."""
    if Path(text).exists():
        return Path(text), ""
    path, at, digest = text.partition("@")
    if at:
        return Path(path), digest
    # Path and name may both have colons: the longest prefix that exists is the path.
    parts = text.split(":")
    for number in range(len(parts) - 1, 0, -1):
        candidate = Path(":".join(parts[:number]))
        if candidate.exists():
            return candidate, ":".join(parts[number:])
    return Path(text), ""


def _select(name: str, origin: _ImageOrigin, reference: Reference | None, wanted: str, platform: str) -> SourceImage:
    """Return the image for *platform*, which may be part of nested indexes."""
    for _ in range(_MOST_INDEXES):
        found, content = origin.manifest(wanted)
        document = from_json(content, what=f"the manifest of {name}")
        if "manifests" not in document:
            return _image(name, origin, reference, found, document, platform)
        candidates = [descriptor(one, what=name) for one in document["manifests"]]
        fitting = [one for one in candidates if _fits(one.platform, platform)] or [
            one for one in candidates if not one.platform
        ]
        if not fitting:
            known = ", ".join(sorted({one.platform for one in candidates if one.platform != "unknown/unknown"}))
            raise InvalidInputError(f"{name} has no image for {platform}", hint=f"its platforms: {known or 'none'}")
        wanted = fitting[0].digest
    raise broken(name, f"its indexes are nested more than {_MOST_INDEXES} deep")


def _fits(offered: str, wanted: str) -> bool:
    return offered == wanted or (offered.startswith(f"{wanted}/") and wanted.count("/") == 1)


def _image(  # noqa: PLR0913, PLR0917 - the facts of one image
    name: str,
    origin: _ImageOrigin,
    reference: Reference | None,
    found: Descriptor,
    document: Mapping[str, Any],
    platform: str,
) -> SourceImage:
    if document.get("schemaVersion") == 1:
        raise TritonBuildError(
            f"{name} has a manifest of schema version 1, which is not supported", hint="push the image again"
        )
    what = f"the manifest of {name}"
    configuration = descriptor(document.get("config"), what=what)
    layers = tuple(descriptor(one, what=what) for one in document.get("layers") or ())
    what = f"the configuration of {name}"
    content = whole(origin.read(configuration, 0, configuration.size), configuration, what=what)
    config = from_json(content, what=what)
    diff_ids = tuple(str(one) for one in (config.get("rootfs") or {}).get("diff_ids") or ())
    if len(diff_ids) != len(layers) or not layers:
        raise broken(name, f"it has {len(layers)} layers and {len(diff_ids)} diff IDs")
    offered = platform_text(config)
    if not _fits(offered, platform) and offered != "/":
        raise InvalidInputError(f"{name} is for {offered}, not for {platform}", hint=f"add --platform {offered}")
    return SourceImage(
        name=name,
        origin=origin,
        reference=reference,
        manifest=attrs.evolve(found, media_type=found.media_type or descriptors.MANIFEST),
        config=config,
        layers=layers,
        diff_ids=diff_ids,
        platform=offered if offered != "/" else platform,
    )
