"""The manifest and the configuration of the composed image: the base's, with the plan's additions."""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from tritonbuild.embedded.plan import ImagePlan
from tritonbuild.layers.writing import Written
from tritonbuild.oci import descriptors
from tritonbuild.oci.descriptors import Descriptor, digest_of, platform_document, to_json
from tritonbuild.oci.images import SourceImage
from tritonbuild.oci.targets import Image

BASE_NAME: Final = "org.opencontainers.image.base.name"
BASE_DIGEST: Final = "org.opencontainers.image.base.digest"
CREATED: Final = "org.opencontainers.image.created"


def moment(seconds: int) -> str:
    """Return seconds since 1970 in the form of RFC 3339."""
    return time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(seconds))


def compose(
    plan: ImagePlan,
    base: SourceImage,
    written: Sequence[Written],
    *,
    annotations: Mapping[str, str],
) -> Image:
    """Return the documents of the image: the same bytes for equal arguments.

    Args:
        plan: The plan of the image.
        base: The base image.
        written: The written layers of *plan*, in its order.
        annotations: Annotations that are added to the manifest.
    """
    when = moment(plan.created)
    new = tuple(Descriptor(media_type=one.media_type, digest=one.digest, size=one.size) for one in written)
    below = tuple(attrs.evolve(one, annotations={}) for one in base.layers)
    config_content = to_json(_config(plan, base, written, when))
    config = Descriptor(media_type=descriptors.CONFIG, digest=digest_of(config_content), size=len(config_content))
    manifest_content = to_json(
        {
            "schemaVersion": 2,
            "mediaType": descriptors.MANIFEST,
            "config": config.document(),
            "layers": [one.document() for one in (*below, *new)],
            "annotations": {CREATED: when, **_origin(base), **annotations},
        }
    )
    manifest = Descriptor(
        media_type=descriptors.MANIFEST,
        digest=digest_of(manifest_content),
        size=len(manifest_content),
        platform=base.platform,
    )
    return Image(
        manifest=manifest,
        manifest_content=manifest_content,
        config=config,
        config_content=config_content,
        base_layers=below,
        new_layers=new,
    )


def _origin(base: SourceImage) -> dict[str, str]:
    """Return the annotations that name the base image; none for an image on scratch."""
    if not base.manifest.digest:
        return {}
    name = {BASE_NAME: str(base.reference)} if base.reference is not None else {}
    return {BASE_DIGEST: base.manifest.digest, **name}


def _config(plan: ImagePlan, base: SourceImage, written: Sequence[Written], when: str) -> dict[str, Any]:
    request = plan.request
    runtime = dict(base.runtime)
    runtime["Env"] = [f"{name}={value}" for name, value in plan.env.items()]
    runtime["WorkingDir"] = request.workdir
    labels = {**base.labels, **plan.labels, **_origin(base)}
    runtime["Labels"] = dict(sorted(labels.items()))
    if request.entrypoint is not None:
        # As in a Containerfile, a new entrypoint removes the base's command.
        runtime["Entrypoint"] = list(request.entrypoint)
        runtime.pop("Cmd", None)
    if request.cmd is not None:
        runtime["Cmd"] = list(request.cmd)
    replaced = {"User": request.run_as, "StopSignal": request.stop_signal}
    runtime |= {name: value for name, value in replaced.items() if value}
    for name, more in (("ExposedPorts", request.ports), ("Volumes", request.volumes)):
        if more:
            runtime[name] = dict(sorted({**(runtime.get(name) or {}), **{one: {} for one in more}}.items()))
    history = [dict(one) for one in base.history]
    history += [
        {"created": when, "created_by": f"tritonbuild: {layer.title}", "comment": request.title}
        for layer in plan.layers
    ]
    facts = {name: base.config[name] for name in ("variant", "os.version") if base.config.get(name)}
    facts |= platform_document(base.platform)
    return {
        **facts,
        "created": when,
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": [*base.diff_ids, *(one.diff_id for one in written)]},
        "history": history,
    }
