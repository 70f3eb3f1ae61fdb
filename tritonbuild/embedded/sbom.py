"""The bill of materials of a composed image, as CycloneDX, and the manifest that attaches it to the image.

It lists the distribution's packages of the base; those of the full image from which files were brought, by dpkg's
lists; Python packages by their metadata; the server and its components. https://cyclonedx.org
"""

from __future__ import annotations

import email.parser
import re
import uuid
from collections.abc import Iterable, Iterator, Mapping
from datetime import datetime, timezone
from typing import Any, Final

from tritonbuild.embedded.plan import ImagePlan
from tritonbuild.oci import descriptors
from tritonbuild.oci.descriptors import Descriptor, digest_of, to_json
from tritonbuild.oci.targets import Image
from tritonbuild.rootfs.view import View

MEDIA_TYPE: Final = "application/vnd.cyclonedx+json"
_SPACE: Final = uuid.UUID("6ba7b811-9dad-11d1-80b4-00c04fd430c8")
_METADATA: Final = re.compile(r"\.dist-info/METADATA$|\.egg-info(?:/PKG-INFO)?$")


def packages(view: View) -> dict[str, tuple[str, str]]:
    """Return the distribution's packages of an image: name -> version and architecture."""
    paths = ["var/lib/dpkg/status", *(f"var/lib/dpkg/status.d/{name}" for name in view.names("var/lib/dpkg/status.d"))]
    found = {}
    for path in paths:
        text = (view.content(path) or b"").decode("utf-8", "replace")
        for block in text.split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line and line[:1] != " ")
            if "Package" in fields and "Version" in fields and " not-installed" not in fields.get("Status", ""):
                found[fields["Package"]] = (fields["Version"], fields.get("Architecture", ""))
    return found


def owners(view: View) -> dict[str, str]:
    """Return the distribution's package of each path of an image."""
    found = {}
    for name in view.names("var/lib/dpkg/info"):
        if name.endswith(".list"):
            text = (view.content(f"var/lib/dpkg/info/{name}") or b"").decode("utf-8", "surrogateescape")
            package = name.removesuffix(".list").partition(":")[0]
            for line in text.splitlines():
                folder, _, last = line.strip("/").rpartition("/")
                real = view.resolve(folder)
                found[f"{real}/{last}" if real else last] = package
    return found


def _distribution(view: View) -> tuple[str, str]:
    text = (view.content("etc/os-release") or view.content("usr/lib/os-release") or b"").decode("utf-8", "replace")
    fields = {k: v.strip('"') for k, _, v in (line.partition("=") for line in text.splitlines())}
    return fields.get("ID", "linux"), fields.get("VERSION_ID", "")


def _python(view: View, paths: Iterable[str]) -> Iterator[tuple[str, str]]:
    for path in paths:
        if _METADATA.search(path):
            text = (view.content(path) or b"").decode("utf-8", "replace").partition("\n\n")[0]
            fields = email.parser.HeaderParser().parsestr(text)
            if fields["Name"] and fields["Version"]:
                yield re.sub(r"[-_.]+", "-", fields["Name"]).lower(), fields["Version"]


def document(plan: ImagePlan, image: Image) -> bytes:
    """Return the bill of materials: the same bytes for equal images."""
    # The library takes half a second to import, and most builds have no bill of materials.
    from cyclonedx.model.bom import Bom  # noqa: PLC0415
    from cyclonedx.model.component import Component, ComponentType  # noqa: PLC0415
    from cyclonedx.output.json import JsonV1Dot5  # noqa: PLC0415
    from packageurl import PackageURL  # noqa: PLC0415

    base, full = plan.base.view, plan.full.view
    kind, release = _distribution(base if base.layers else full)
    listed: dict[str, Component] = {}

    def add(purl: PackageURL, component_type: ComponentType = ComponentType.LIBRARY) -> None:
        text = purl.to_string()
        listed[text] = Component(type=component_type, name=purl.name, version=purl.version, purl=purl, bom_ref=text)

    def deb(name: str, facts: tuple[str, str]) -> None:
        qualifiers = {"arch": facts[1], "distro": f"{kind}-{release}"}
        add(PackageURL("deb", kind, name, facts[0], qualifiers={k: v for k, v in qualifiers.items() if v}))

    for name, facts in packages(base).items():
        deb(name, facts)
    brought = [item.entry.path for layer in plan.layers for item in layer.items]
    owning, installed = owners(full), packages(full)
    for name in sorted({owning[path] for path in brought if path in owning}):
        if name in installed:
            deb(name, installed[name])
    for name, version in {*_python(full, brought), *_python(base, base)}:
        add(PackageURL("pypi", None, name, version))
    version = str(plan.labels.get("com.nvidia.tritonserver.version", ""))
    add(PackageURL("generic", "nvidia", "tritonserver", version or None), ComponentType.APPLICATION)
    for one in plan.request.components:
        title, _, extras = one.title.replace(" ", "-").partition("[")
        qualifiers = {"extras": extras.rstrip("]")} if extras else None
        published = PackageURL("generic", "nvidia", title, version or None, qualifiers=qualifiers)
        add(PackageURL("generic", None, title) if one.context else published, ComponentType.APPLICATION)
    bom = Bom(components=[listed[text] for text in sorted(listed)])
    bom.serial_number = uuid.uuid5(_SPACE, image.manifest.digest)
    bom.metadata.timestamp = datetime.fromtimestamp(plan.created, tz=timezone.utc)
    bom.metadata.component = Component(
        type=ComponentType.CONTAINER,
        name=plan.request.title,
        version=image.manifest.digest,
        bom_ref=image.manifest.digest,
    )
    bom.register_dependency(bom.metadata.component, bom.components)
    return JsonV1Dot5(bom).output_as_string().encode()


def referrer(image: Image, content: bytes, annotations: Mapping[str, str] | None = None) -> tuple[Any, ...]:
    """Return the manifest that attaches *content* to the image: its descriptor, its content, and its blobs."""
    empty = b"{}"
    blob = Descriptor(media_type=MEDIA_TYPE, digest=digest_of(content), size=len(content))
    config = Descriptor(media_type=descriptors.EMPTY, digest=digest_of(empty), size=len(empty))
    manifest = to_json(
        {
            "schemaVersion": 2,
            "mediaType": descriptors.MANIFEST,
            "artifactType": MEDIA_TYPE,
            "config": config.document(),
            "layers": [blob.document()],
            "subject": {
                "mediaType": image.manifest.media_type,
                "digest": image.manifest.digest,
                "size": image.manifest.size,
            },
            "annotations": dict(annotations or {}),
        }
    )
    referring = Descriptor(
        media_type=descriptors.MANIFEST, digest=digest_of(manifest), size=len(manifest), artifact_type=MEDIA_TYPE
    )
    return referring, manifest, ((config, empty), (blob, content))
