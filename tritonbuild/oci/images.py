"""Source images: references and on-disk names resolved to manifests, configurations and layers."""

from __future__ import annotations

import calendar
import contextlib
import platform as machine
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Protocol

import attrs

from tritonbuild.errors import InvalidInputError
from tritonbuild.oci import descriptors, documents, platforms
from tritonbuild.oci.archives import open_origin
from tritonbuild.oci.descriptors import Descriptor, Nowhere, Origin, broken, whole
from tritonbuild.oci.documents import Document
from tritonbuild.oci.files import open_files
from tritonbuild.oci.registry import Registries
from tritonbuild.reference import Reference, parse_platform, parse_reference

DISK_TRANSPORTS: Final = ("oci:", "oci-archive:", "docker-archive:")
"""The prefixes of images on disk, `oci:PATH[:NAME]`, as in containers-transports(5)."""

_MOST_INDEXES: Final = 3


class ImageOrigin(Origin, Protocol):
    """A source of images; `open_image` selects one by the form of a reference."""

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """Return the manifest or index of the image *wanted*: a tag, a name, a digest, or empty for the only one."""
        ...


class _OtherPlatformError(InvalidInputError):
    """The image exists, but not for the platform that is asked for."""


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
        notes: Sentences for the user: parts of the image that are left out.
    """

    name: str
    origin: Origin
    reference: Reference | None
    manifest: Descriptor
    config: Mapping[str, Any] = attrs.field(repr=False)
    layers: tuple[Descriptor, ...]
    diff_ids: tuple[str, ...]
    platform: str
    notes: tuple[str, ...] = ()

    @property
    def runtime(self) -> dict[str, Any]:
        """The execution parameters, `config` of the configuration, without the triggers of ONBUILD."""
        return {name: value for name, value in (self.config.get("config") or {}).items() if name != "OnBuild"}

    @property
    def history(self) -> tuple[Mapping[str, Any], ...]:
        """The history; an entry for each layer if the configuration has none, or one that does not fit the layers."""
        found = tuple(self.config.get("history") or ())
        layers = sum(not one.get("empty_layer") for one in found)
        return found if layers == len(self.layers) else ({"comment": f"layer of {self.name}"},) * len(self.layers)

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


def empty_image(name: str, *, platform: str) -> SourceImage:
    """Return an image without layers and configuration, which no registry has."""
    return SourceImage(
        name=name,
        origin=Nowhere(name),
        reference=None,
        manifest=Descriptor(media_type="", digest="", size=0),
        config={},
        layers=(),
        diff_ids=(),
        platform=platform,
    )


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
            origin = open_origin(open_files(path))
            return _Search(name=name, origin=origin, reference=None, platform=platform).find(wanted)
    reference = parse_reference(name)
    search = _Search(name=name, origin=registries.origin(reference), reference=reference, platform=platform)
    return search.find(reference.digest or reference.tag)


def _split(text: str) -> tuple[Path, str]:
    """Return path and name of `PATH[:NAME]` or `PATH@DIGEST`; colons of an existing path are part of the path."""
    if Path(text).exists():
        return Path(text), ""
    path, at, digest = text.partition("@")
    if at and Path(path).exists():
        return Path(path), digest
    # Path and name may both have colons: the longest prefix that exists is the path.
    parts = text.split(":")
    for number in range(len(parts) - 1, 0, -1):
        candidate = Path(":".join(parts[:number]))
        if candidate.exists():
            return candidate, ":".join(parts[number:])
    return Path(text), ""


@attrs.frozen(kw_only=True)
class _Search:
    """The way from a name to the image for a platform, through indexes.

    Attributes:
        name: The name as given by the user.
        origin: The registry, layout or archive that has the image.
        reference: The reference in a registry; None for an image on disk.
        platform: The platform that is asked for.
        notes: Remarks about entries and instructions that are left out.
    """

    name: str
    origin: ImageOrigin
    reference: Reference | None
    platform: str
    notes: list[str] = attrs.field(factory=list)

    def find(self, wanted: str, declared: str = "", depth: int = 0) -> SourceImage:
        """Return the image.

        Args:
            wanted: The tag, name or digest of a manifest or index.
            declared: The platform that an index gives for it; empty for none.
            depth: The number of indexes on the way.
        """
        if depth > _MOST_INDEXES:
            raise broken(self.name, f"its indexes are nested more than {_MOST_INDEXES} deep")
        found, content = self.origin.manifest(wanted)
        document = documents.parse(content, f"the manifest of {self.name}")
        if "manifests" in document.value:
            return self._best(document, depth)
        return self._image(found, document, declared)

    def _best(self, index: Document, depth: int) -> SourceImage:
        """Return the image of the entry of *index* that fits the platform best."""
        entries, unknown = documents.index_entries(index)
        self.notes.extend(f"the entry {digest[:19]} of its index has an unknown digest algorithm" for digest in unknown)
        images = [one for one in entries if _is_image(one)]
        ranked = [(platforms.distance(one.platform, self.platform), one) for one in images if one.platform]
        fitting = [(distance, one) for distance, one in ranked if distance is not None]
        if fitting:
            _, best = min(fitting, key=lambda one: one[0])
            return self.find(best.digest, best.platform, depth + 1)
        for entry in images:
            if not entry.platform:
                with contextlib.suppress(_OtherPlatformError):
                    return self.find(entry.digest, "", depth + 1)
        known = ", ".join(sorted({one.platform for one in images if one.platform}))
        raise _OtherPlatformError(
            f"{self.name} has no image for {self.platform}", hint=f"its platforms: {known or 'none'}"
        )

    def _image(self, found: Descriptor, document: Document, declared: str) -> SourceImage:
        """Return the image of a manifest."""
        if document.number("schemaVersion") == 1:
            raise InvalidInputError(
                f"{self.name} has a manifest of schema version 1, which is not supported", hint="push the image again"
            )
        blob = documents.descriptor(document.object("config"))
        what = f"the configuration of {self.name}"
        config = documents.parse(whole(self.origin.read(blob, 0, blob.size), blob, what=what), what)
        layers = tuple(_oci_layer(documents.descriptor(one)) for one in document.objects("layers"))
        diff_ids = config.object("rootfs").digests("diff_ids")
        if len(diff_ids) != len(layers) or not layers:
            raise broken(self.name, f"it has {len(layers)} layers and {len(diff_ids)} diff IDs")
        _check(config)
        if config.object("config").value.get("OnBuild"):
            self.notes.append("its ONBUILD instructions do not run, and the result does not have them")
        return SourceImage(
            name=self.name,
            origin=self.origin,
            reference=self.reference,
            manifest=attrs.evolve(found, media_type=found.media_type or descriptors.MANIFEST),
            config=config.value,
            layers=layers,
            diff_ids=diff_ids,
            platform=self._platform(config, declared),
            notes=tuple(self.notes),
        )

    def _platform(self, config: Document, declared: str) -> str:
        """Return the platform of a configuration; a part that it lacks is taken from the index or the request.

        Raises:
            InvalidInputError: It is not the platform that is asked for.
        """
        offered = documents.platform(config)
        if not offered:
            return declared or self.platform
        if declared.startswith(f"{offered}/"):
            offered = declared
        if platforms.distance(offered, self.platform) is None:
            raise _OtherPlatformError(
                f"{self.name} is for {offered}, not for {self.platform}", hint=f"add --platform {offered}"
            )
        return offered


def _is_image(entry: Descriptor) -> bool:
    """Whether an entry of an index is an image or an index, and not an artifact such as an attestation."""
    return (
        entry.media_type in {"", *descriptors.MANIFESTS, *descriptors.INDEXES}
        and entry.artifact_type in {"", *descriptors.CONFIGS}
        and entry.platform != "unknown/unknown"
    )


def _oci_layer(layer: Descriptor) -> Descriptor:
    return attrs.evolve(layer, media_type=descriptors.OCI_LAYERS.get(layer.media_type, layer.media_type))


def _check(config: Document) -> None:
    """Raise unless the parts of a configuration that a result takes over have the types of the specification."""
    runtime = config.object("config")
    for key in ("User", "WorkingDir", "StopSignal"):
        runtime.text(key)
    for key in ("Env", "Entrypoint", "Cmd"):
        runtime.texts(key)
    for key in ("ExposedPorts", "Volumes"):
        runtime.object(key)
    runtime.strings("Labels")
    config.objects("history")
    for key in ("created", "variant", "os.version"):
        config.text(key)
