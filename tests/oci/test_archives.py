"""Archives: what `docker save` wrote, as an OCI layout."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from pathlib import Path
from typing import Any

import pytest

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import archives


def add(archive: tarfile.TarFile, name: str, content: bytes) -> None:
    entry = tarfile.TarInfo(name)
    entry.size = len(content)
    archive.addfile(entry, io.BytesIO(content))


def saved(path: Path, layers: dict[str, bytes], *, linked: bool = False) -> bytes:
    """Write a docker archive as docker 20.10 does; return its configuration."""
    contents = [*layers.values(), *([*layers.values()][:1] if linked else [])]
    rootfs = {"type": "layers", "diff_ids": [digest(content) for content in contents]}
    config = json.dumps({"os": "linux", "rootfs": rootfs}).encode()
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
    layers = {"one": b"1" * 3000, "two": b"2", "three": b""}
    config = saved(tmp_path / "saved", layers, linked=True)
    archives.to_layout(tmp_path / "saved", tmp_path / "oci", ["a", "reg:5/b:1"])
    files = read(tmp_path / "oci")
    assert json.loads(files["oci-layout"]) == {"imageLayoutVersion": "1.0.0"}
    first, second = json.loads(files["index.json"])["manifests"]
    assert [entry["annotations"] for entry in (first, second)] == [
        {"io.containerd.image.name": "docker.io/library/a:latest", "org.opencontainers.image.ref.name": "a"},
        {"io.containerd.image.name": "reg:5/b:1", "org.opencontainers.image.ref.name": "reg:5/b:1"},
    ]
    assert first["digest"] == second["digest"]
    manifest = json.loads(blob(files, first))
    assert blob(files, manifest["config"]) == config
    assert [blob(files, layer) for layer in manifest["layers"]] == [*layers.values(), layers["one"]]
    assert {layer["mediaType"] for layer in manifest["layers"]} == {"application/vnd.oci.image.layer.v1.tar"}


def test_a_layer_that_is_not_the_configurations_is_refused(tmp_path: Path) -> None:
    config = saved(tmp_path / "saved", {"one": b"1"})
    with tarfile.open(tmp_path / "saved", "w") as archive:
        add(archive, "c.json", config)
        add(archive, "layer.tar", b"2")
        add(archive, "manifest.json", b'[{"Config": "c.json", "Layers": ["layer.tar"]}]')
    with pytest.raises(TritonBuildError, match="its digest is sha256:"):
        archives.to_layout(tmp_path / "saved", tmp_path / "oci", [])


def test_an_archive_that_is_an_oci_layout_stays_as_it_is(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "saved", "w") as archive:
        add(archive, "index.json", b"{}")
        add(archive, "manifest.json", b"[{}]")
    content = (tmp_path / "saved").read_bytes()
    archives.to_layout(tmp_path / "saved", tmp_path / "oci", ["a"])
    assert (tmp_path / "oci").read_bytes() == content


def test_a_file_that_is_not_an_archive_is_refused(tmp_path: Path) -> None:
    (tmp_path / "saved").write_bytes(b"no tar")
    with pytest.raises(TritonBuildError, match="is not a tar archive"):
        archives.to_layout(tmp_path / "saved", tmp_path / "oci", [])


def test_an_archive_of_two_images(tmp_path: Path) -> None:
    with tarfile.open(tmp_path / "saved", "w") as archive:
        for name in ("one", "two"):
            add(archive, name, json.dumps({"name": name}).encode())
        add(archive, "manifest.json", b'[{"Config": "one"}, {"Config": "two"}]')
    with pytest.raises(TritonBuildError, match="has 2 images"):
        archives.to_layout(tmp_path / "saved", tmp_path / "oci", [])
