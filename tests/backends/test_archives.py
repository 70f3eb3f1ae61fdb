"""An OCI archive out of a docker archive."""

from __future__ import annotations

import gzip
import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tritonbuild.backends import _archives
from tritonbuild.errors import TritonBuildError


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def saved(path: Path, layers: dict[str, bytes], *, linked: bool = False) -> bytes:
    """Write a docker archive as docker 20.10 does; return its configuration."""
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers"}}).encode()
    with tarfile.open(path, "w") as archive:
        add(archive, "c.json", config)
        for name, content in layers.items():
            add(archive, f"{name}/layer.tar", content)
        names = [f"{name}/layer.tar" for name in layers]
        if linked:
            link = tarfile.TarInfo("again/layer.tar")
            link.type, link.linkname = tarfile.SYMTYPE, f"../{names[0]}"
            archive.addfile(link)
            names.append("again/layer.tar")
        add(archive, "manifest.json", json.dumps([{"Config": "c.json", "RepoTags": None, "Layers": names}]).encode())
    return config


def read(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        names = archive.getnames()
        assert len(names) == len(set(names))
        return {name: file.read() for name in names if (file := archive.extractfile(name))}


def digest(content: bytes) -> str:
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def blob(files: dict[str, bytes], descriptor: dict[str, Any]) -> bytes:
    content = files[f"blobs/{descriptor['digest'].replace(':', '/')}"]
    assert (digest(content), len(content)) == (descriptor["digest"], descriptor["size"])
    return content


def test_the_image_stays_as_it_is(tmp_path: Path) -> None:
    layers = {"one": b"1" * 3000, "two": gzip.compress(b"2", mtime=0), "three": b"\x28\xb5\x2f\xfd"}
    config = saved(tmp_path / "saved", layers, linked=True)
    _archives.oci_archive(str(tmp_path / "saved"), str(tmp_path / "oci"), ["a", "reg:5/b:1"])
    files = read(tmp_path / "oci")
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    first, second = json.loads(files["index.json"])["manifests"]
    assert [entry["annotations"] for entry in (first, second)] == [
        {"io.containerd.image.name": "docker.io/library/a:latest", "org.opencontainers.image.ref.name": "latest"},
        {"io.containerd.image.name": "reg:5/b:1", "org.opencontainers.image.ref.name": "1"},
    ]
    assert first["digest"] == second["digest"]
    manifest = json.loads(blob(files, first))
    assert blob(files, manifest["config"]) == config
    assert [blob(files, layer) for layer in manifest["layers"]] == [*layers.values(), layers["one"]]
    assert [layer["mediaType"].partition("layer.v1.")[2] for layer in manifest["layers"]] == [
        "tar",
        "tar+gzip",
        "tar+zstd",
        "tar",
    ]


@pytest.mark.parametrize("content", [b"no tar", b""])
def test_what_is_no_archive(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "saved").write_bytes(content)
    with pytest.raises(TritonBuildError, match="the engine saved no docker archive of one image: "):
        _archives.oci_archive(str(tmp_path / "saved"), str(tmp_path / "oci"), [])


def test_an_archive_of_two_images(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "saved", "w") as archive:
        add(archive, "manifest.json", b"[{}, {}]")
    with pytest.raises(TritonBuildError, match="the engine saved no docker archive of one image: "):
        _archives.oci_archive(str(tmp_path / "saved"), str(tmp_path / "oci"), [])
