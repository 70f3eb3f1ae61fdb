"""An OCI image layout: configs, manifests and the index around layers."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tests.replica.layers import Layer

CREATED: Final = "2024-10-24T00:00:00Z"
REFERENCE: Final = "org.opencontainers.image.ref.name"
CONFIG_TYPE: Final = "application/vnd.oci.image.config.v1+json"
INDEX_TYPE: Final = "application/vnd.oci.image.index.v1+json"
LAYER_TYPE: Final = "application/vnd.oci.image.layer.v1.tar+gzip"
MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"


@attrs.frozen(kw_only=True)
class ImageConfig:
    layers: Sequence[Layer]
    env: Mapping[str, str]
    labels: Mapping[str, str] = attrs.field(factory=dict)
    entrypoint: Sequence[str] = ()
    cmd: Sequence[str] = ()
    working_dir: str = ""


def to_json(value: object) -> bytes:
    return json.dumps(value, sort_keys=True, separators=(",", ":")).encode()


def put(layout: Path, value: object, media_type: str) -> dict[str, Any]:
    """Write *value* as a blob and return its descriptor."""
    blob = to_json(value)
    digest = hashlib.sha256(blob).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(blob)
    return {"mediaType": media_type, "digest": f"sha256:{digest}", "size": len(blob)}


def put_image(layout: Path, image: ImageConfig) -> dict[str, Any]:
    """Write config and manifest of *image*, whose layers exist; return the manifest's descriptor."""
    runtime: dict[str, Any] = {"Env": [f"{name}={value}" for name, value in image.env.items()]}
    runtime |= {"Labels": dict(image.labels)} if image.labels else {}
    runtime |= {"Entrypoint": list(image.entrypoint)} if image.entrypoint else {}
    runtime |= {"Cmd": list(image.cmd)} if image.cmd else {}
    runtime |= {"WorkingDir": image.working_dir} if image.working_dir else {}
    config = {
        "architecture": "amd64",
        "os": "linux",
        "created": CREATED,
        "config": runtime,
        "rootfs": {"type": "layers", "diff_ids": [layer.diff_id for layer in image.layers]},
        "history": [{"created": CREATED, "created_by": layer.created_by} for layer in image.layers],
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": MANIFEST_TYPE,
        "config": put(layout, config, CONFIG_TYPE),
        "layers": [{"mediaType": LAYER_TYPE, "digest": layer.digest, "size": layer.size} for layer in image.layers],
    }
    return put(layout, manifest, MANIFEST_TYPE) | {"platform": {"architecture": "amd64", "os": "linux"}}


def write_index(layout: Path, images: Mapping[str, ImageConfig]) -> None:
    """Make *layout* an OCI layout of *images* by reference; index.json is written last."""
    manifests = [
        put_image(layout, image) | {"annotations": {REFERENCE: reference}} for reference, image in images.items()
    ]
    (layout / "oci-layout").write_bytes(to_json({"imageLayoutVersion": "1.0.0"}))
    index = {"schemaVersion": 2, "mediaType": INDEX_TYPE, "manifests": manifests}
    (layout / "index.json").write_bytes(to_json(index))


def read_json(layout: Path, digest: str) -> Any:
    """Read the blob named *digest* (`sha256:HEX`)."""
    return read_json_file(layout / "blobs" / digest.replace(":", "/"))


def read_json_file(path: Path) -> Any:
    return json.loads(path.read_bytes())
