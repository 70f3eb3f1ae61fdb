"""Odd but legal images, made from the small images of a registry."""

from __future__ import annotations

import gzip
import hashlib
import json
from collections.abc import Callable, Mapping
from typing import Any, Final, TypeAlias

import zstandard

from tests.lab.odd import OddRegistry
from tests.replica import oci

REPOSITORY: Final = "src/tiny"
LAYER: Final = "application/vnd.oci.image.layer.v1.tar"
DOCKER: Final = "application/vnd.docker."
DOCKER_TYPES: Final = {
    oci.MANIFEST_TYPE: f"{DOCKER}distribution.manifest.v2+json",
    oci.CONFIG_TYPE: f"{DOCKER}container.image.v1+json",
    oci.LAYER_TYPE: f"{DOCKER}image.rootfs.diff.tar.gzip",
}

Json: TypeAlias = dict[str, Any]
Images: TypeAlias = Callable[[OddRegistry], None]
"""Changes the images of a registry."""


def _put(registry: OddRegistry, document: Json, media_type: str, algorithm: str = "sha256") -> Json:
    content = oci.to_json(document)
    digest = registry.put_blob(REPOSITORY, content, algorithm)
    return {"mediaType": media_type, "digest": digest, "size": len(content)}


def changed(change: Callable[[OddRegistry, Json, Json], Json]) -> Images:
    """Return a function that replaces the manifest of each image by what *change* returns.

    Args:
        change: Takes the registry, the manifest and the configuration, both of which it may change.
    """

    def images(registry: OddRegistry) -> None:
        for tag in ("full", "base"):
            _, content = registry.manifests[REPOSITORY, tag]
            manifest = json.loads(content)
            config = json.loads(registry.blobs[manifest["config"]["digest"]])
            found = change(registry, manifest, config)
            registry.put_manifest(REPOSITORY, tag, found["mediaType"], oci.to_json(found))

    return images


def with_config(**values: object) -> Images:
    """Return a function that gives the configurations these values; None removes one."""

    def change(registry: OddRegistry, manifest: Json, config: Json) -> Json:
        kept = {name: value for name, value in {**config, **values}.items() if value is not None}
        return {**manifest, "config": _put(registry, kept, manifest["config"]["mediaType"])}

    return changed(change)


def with_triggers(registry: OddRegistry, manifest: Json, config: Json) -> Json:
    config["config"]["OnBuild"] = ["RUN false"]
    return {**manifest, "config": _put(registry, config, oci.CONFIG_TYPE)}


def of_docker(registry: OddRegistry, manifest: Json, _config: Json) -> Json:
    layers = [{**one, "mediaType": DOCKER_TYPES[one["mediaType"]]} for one in manifest["layers"]]
    config = {**manifest["config"], "mediaType": DOCKER_TYPES[oci.CONFIG_TYPE]}
    return {**manifest, "mediaType": DOCKER_TYPES[oci.MANIFEST_TYPE], "config": config, "layers": layers}


def packed_by(pack: Callable[[bytes], bytes], media_type: str) -> Images:
    """Return a function that compresses the layers in another way."""

    def change(registry: OddRegistry, manifest: Json, _config: Json) -> Json:
        layers = []
        for one in manifest["layers"]:
            content = pack(gzip.decompress(registry.blobs[one["digest"]]))
            digest = registry.put_blob(REPOSITORY, content)
            layers.append({"mediaType": media_type, "digest": digest, "size": len(content)})
        return {**manifest, "layers": layers}

    return changed(change)


def skippable_zstd(content: bytes) -> bytes:
    """Compress *content* as zstd that begins with a skippable frame, as chunked archives do."""
    return b"\x50\x2a\x4d\x18\x04\0\0\0test" + zstandard.compress(content)


def with_sha512(registry: OddRegistry, manifest: Json, config: Json) -> Json:
    layers = [
        {**one, "digest": registry.put_blob(REPOSITORY, registry.blobs[one["digest"]], "sha512")}
        for one in manifest["layers"]
    ]
    return {**manifest, "config": _put(registry, config, oci.CONFIG_TYPE, "sha512"), "layers": layers}


def with_diff_ids(change: Callable[[str], str]) -> Images:
    def with_other(registry: OddRegistry, manifest: Json, config: Json) -> Json:
        config["rootfs"]["diff_ids"] = [change(one) for one in config["rootfs"]["diff_ids"]]
        return {**manifest, "config": _put(registry, config, oci.CONFIG_TYPE)}

    return changed(with_other)


def in_index(*entries: Mapping[str, Any]) -> Images:
    """Return a function that puts each image into an index.

    Args:
        entries: The entries, by the values of their descriptors: one without a digest gets that of an image for its
            platform, which has the label `entry`: `other`, or `wanted` if the entry says so.
    """

    def change(registry: OddRegistry, manifest: Json, config: Json) -> Json:
        found = []
        for given in entries:
            entry = {name: value for name, value in given.items() if name != "wanted"}
            if "digest" not in entry:
                labels = {"entry": "wanted" if "wanted" in given else "other"}
                own = {**config, "config": {**config["config"], "Labels": labels}}
                own |= {name: value for name, value in entry.get("platform", {}).items() if value != "unknown"}
                image = {**manifest, "config": _put(registry, own, oci.CONFIG_TYPE)}
                content = oci.to_json(image)
                digest = registry.put_manifest(
                    REPOSITORY, f"sha256:{hashlib.sha256(content).hexdigest()}", oci.MANIFEST_TYPE, content
                )
                entry |= {"digest": digest, "size": len(content)}
            found.append({"mediaType": oci.MANIFEST_TYPE, **entry})
        return {"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": found}

    return changed(change)


def platform(architecture: str, variant: str = "", os: str = "linux") -> Json:
    return {"os": os, "architecture": architecture, **({"variant": variant} if variant else {})}
