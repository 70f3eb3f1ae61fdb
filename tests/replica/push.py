"""Pushing an OCI layout to a registry of this machine, over plain HTTP and without a program."""

import http.client
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final
from urllib.parse import urlencode, urlsplit

from tests.replica import oci
from tests.replica.errors import ReplicaError

BLOCK: Final = 1 << 20
TIMEOUT: Final = 60


def push(layout: Path, registry: str, manifests: Mapping[str, str]) -> None:
    """Push *manifests* (`REPOSITORY:TAG` -> digest in *layout*) to *registry* (`HOST:PORT`)."""
    connection = http.client.HTTPConnection(registry, timeout=TIMEOUT, blocksize=BLOCK)
    try:
        for reference, digest in manifests.items():
            repository, _, tag = reference.rpartition(":")
            manifest = oci.read_json(layout, digest)
            for descriptor in (manifest["config"], *manifest["layers"]):
                put_blob(connection, repository, layout, descriptor)
            content = (layout / "blobs" / digest.replace(":", "/")).read_bytes()
            request(
                connection,
                "PUT",
                f"/v2/{repository}/manifests/{tag}",
                body=content,
                headers={"Content-Type": manifest["mediaType"]},
            )
    except (OSError, http.client.HTTPException) as failure:
        raise ReplicaError(f"cannot push to the registry {registry}: {failure}") from failure
    finally:
        connection.close()


def put_blob(connection: http.client.HTTPConnection, repository: str, layout: Path, descriptor: Any) -> None:
    """Upload the blob of *descriptor*, unless the repository has it."""
    digest = descriptor["digest"]
    status, _ = request(connection, "HEAD", f"/v2/{repository}/blobs/{digest}", accepted=(200, 404))
    if status == http.client.OK:
        return
    _, location = request(connection, "POST", f"/v2/{repository}/blobs/uploads/")
    parts = urlsplit(location)
    query = "&".join(part for part in (parts.query, urlencode({"digest": digest})) if part)
    headers = {"Content-Type": "application/octet-stream", "Content-Length": str(descriptor["size"])}
    with (layout / "blobs" / digest.replace(":", "/")).open("rb") as blob:
        request(connection, "PUT", f"{parts.path}?{query}", body=blob, headers=headers)


def request(
    connection: http.client.HTTPConnection,
    method: str,
    path: str,
    *,
    body: bytes | BinaryIO | None = None,
    headers: Mapping[str, str] | None = None,
    accepted: tuple[int, ...] = (200, 201, 202),
) -> tuple[int, str]:
    """Return the status and the Location of the answer; raise if the status is not *accepted*."""
    connection.request(method, path, body, dict(headers or {}))
    response = connection.getresponse()
    content = response.read()
    if response.status not in accepted:
        raise ReplicaError(
            f"{method} {path} at {connection.host}:{connection.port} gave {response.status}: {reason(content)}"
        )
    return response.status, response.headers.get("Location", "")


def reason(content: bytes) -> str:
    """Return a registry's error messages in one line."""
    try:
        return "; ".join(str(error["message"]) for error in json.loads(content)["errors"])
    except (ValueError, KeyError, TypeError):
        return content[:200].decode(errors="replace").strip()
