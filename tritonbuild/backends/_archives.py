"""An OCI archive out of a docker archive, for an engine that can save nothing else."""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Iterable
from typing import IO, Any, Final

from tritonbuild.errors import TritonBuildError
from tritonbuild.reference import parse_reference

_CHUNK: Final = 1 << 20
_SUFFIXES: Final = {b"\x1f\x8b": "+gzip", b"\x28\xb5": "+zstd"}
"""What a layer's media type ends in, by the first bytes of the layer."""
_TYPES: Final = "application/vnd.oci.image"


def oci_archive(saved: str, target: str, names: Iterable[str]) -> None:
    """Write the image of the docker archive *saved* to the OCI archive *target*, under *names*.

    The configuration stays as it is, byte for byte, and so does the image's id. Layers stay as they are stored.

    Raises:
        TritonBuildError: *saved* is not an archive of one image.
        OSError: One of the files cannot be read or written.
    """
    import tarfile  # noqa: PLC0415 - not needed to write a Containerfile, which imports no archive code

    try:
        with tarfile.open(saved) as source, tarfile.open(target, "w") as archive:
            (image,) = json.load(_member(source, "manifest.json"))
            layers = [_add_layer(archive, source, name) for name in image["Layers"]]
            config = _member(source, image["Config"]).read()
            manifest = _json(
                schemaVersion=2,
                mediaType=f"{_TYPES}.manifest.v1+json",
                config=_add(archive, config, f"{_TYPES}.config.v1+json"),
                layers=layers,
            )
            entry = _add(archive, manifest, f"{_TYPES}.manifest.v1+json")
            entries = [{**entry, "annotations": _name(name)} for name in names] or [entry]
            index = _json(schemaVersion=2, mediaType=f"{_TYPES}.index.v1+json", manifests=entries)
            _add_file(archive, "index.json", io.BytesIO(index), len(index))
            layout = _json(imageLayoutVersion="1.0.0")
            _add_file(archive, "oci-layout", io.BytesIO(layout), len(layout))
    except (tarfile.TarError, ValueError, KeyError) as error:
        raise TritonBuildError(f"the engine saved no docker archive of one image: {error}") from error


def _member(archive: Any, name: str) -> IO[bytes]:
    # docker writes a layer that occurs twice as a link within the archive, which extractfile follows.
    member: IO[bytes] | None = archive.extractfile(name)
    if member is None:
        raise ValueError(f"{name!r} is not a file")
    return member


def _add_layer(archive: Any, source: Any, name: str) -> dict[str, Any]:
    member = _member(source, name)
    digest, size, start = hashlib.sha256(), 0, b""
    while chunk := member.read(_CHUNK):
        digest.update(chunk)
        start, size = start or chunk[:2], size + len(chunk)
    text = f"sha256:{digest.hexdigest()}"
    blob = f"blobs/sha256/{digest.hexdigest()}"
    if blob not in archive.getnames():
        _add_file(archive, blob, _member(source, name), size)
    return {"mediaType": f"{_TYPES}.layer.v1.tar{_SUFFIXES.get(start, '')}", "digest": text, "size": size}


def _add(archive: Any, content: bytes, media_type: str) -> dict[str, Any]:
    hexadecimal = hashlib.sha256(content).hexdigest()
    _add_file(archive, f"blobs/sha256/{hexadecimal}", io.BytesIO(content), len(content))
    return {"mediaType": media_type, "digest": f"sha256:{hexadecimal}", "size": len(content)}


def _add_file(archive: Any, name: str, content: IO[bytes], size: int) -> None:
    import tarfile  # noqa: PLC0415 - see oci_archive

    entry = tarfile.TarInfo(name)
    entry.size = size
    entry.mode = 0o644
    archive.addfile(entry, content)


def _name(name: str) -> dict[str, str]:
    reference = parse_reference(name)
    return {"io.containerd.image.name": str(reference), "org.opencontainers.image.ref.name": reference.tag}


def _json(**fields: object) -> bytes:
    return json.dumps(fields, separators=(",", ":")).encode()
