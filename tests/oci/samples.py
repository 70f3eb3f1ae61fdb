"""Small images with odd but legal parts, as OCI layouts and docker archives."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from tests.replica import oci
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.images import SourceImage, open_image
from tritonbuild.oci.registry import Registries

LAYER: Final = gzip.compress(tarfile.TarInfo("file").tobuf() + bytes(1024), mtime=0)
DIFF_ID: Final = f"sha256:{hashlib.sha256(gzip.decompress(LAYER)).hexdigest()}"


def digest_of(content: bytes, algorithm: str = "sha256") -> str:
    return f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"


class Layout:
    """An OCI layout that is written blob by blob."""

    def __init__(self, folder: Path, algorithm: str = "sha256") -> None:
        self.folder = folder
        self.algorithm = algorithm
        (folder / "blobs" / algorithm).mkdir(parents=True)

    def blob(self, content: bytes, media_type: str) -> dict[str, Any]:
        digest = digest_of(content, self.algorithm)
        (self.folder / "blobs" / digest.replace(":", "/")).write_bytes(content)
        return {"mediaType": media_type, "digest": digest, "size": len(content)}

    def json(self, document: object, media_type: str) -> dict[str, Any]:
        return self.blob(oci.to_json(document), media_type)

    def image(self, platform: str = "", *, config: Mapping[str, Any] | None = None, **manifest: Any) -> dict[str, Any]:
        """Write an image; its configuration has the platform, and its descriptor does as well."""
        named = dict(zip(("os", "architecture", "variant"), platform.split("/"), strict=False)) if platform else {}
        document = {
            "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
            "history": [{"created_by": "test"}],
            **named,
            **(config or {}),
        }
        layer = self.blob(LAYER, oci.LAYER_TYPE)
        found = {
            "schemaVersion": 2,
            "mediaType": oci.MANIFEST_TYPE,
            "config": self.json(document, oci.CONFIG_TYPE),
            "layers": [layer],
            **manifest,
        }
        return {**self.json(found, oci.MANIFEST_TYPE), **({"platform": named} if platform else {})}

    def index(self, *entries: Mapping[str, Any]) -> dict[str, Any]:
        document = {"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": entries}
        return self.json(document, oci.INDEX_TYPE)

    def write(self, *entries: Mapping[str, Any]) -> str:
        """Write index.json; return the name of the layout."""
        (self.folder / "oci-layout").write_text('{"imageLayoutVersion":"1.0.0"}')
        (self.folder / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": entries}))
        return f"oci:{self.folder}"


def docker_archive(path: Path, files: Mapping[str, bytes]) -> str:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            archive.addfile(member, io.BytesIO(content))
    return f"docker-archive:{path}"


def opened(name: str, platform: str = "linux/amd64") -> SourceImage:
    return open_image(name, Registries(TransportSettings()), platform=platform)
