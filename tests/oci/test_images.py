"""Source images as others write them: indexes, digests, platforms and archives of every legal kind."""

from __future__ import annotations

import gzip
import hashlib
import json
from pathlib import Path
from typing import Any

import pytest
import zstandard

from tests.oci.samples import DIFF_ID, LAYER, Layout, digest_of, docker_archive, opened
from tests.replica import oci
from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci import descriptors, platforms
from tritonbuild.oci.images import SourceImage


def test_the_variant_that_fits_best(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    offered = ("linux/amd64/v4", "linux/amd64/v2", "linux/amd64/v3", "linux/amd64", "linux/arm/v5", "linux/arm/v6")
    entries = {platform: layout.image(platform) for platform in offered}
    name = layout.write(layout.index(*entries.values()))
    for wanted, best in {
        "linux/amd64": "linux/amd64",
        "linux/amd64/v2": "linux/amd64/v2",
        "linux/amd64/v3": "linux/amd64/v3",
        "linux/arm/v7": "linux/arm/v6",
        "linux/arm": "linux/arm/v6",
        "linux/arm/v5": "linux/arm/v5",
    }.items():
        found = opened(name, wanted)
        assert (found.platform, found.manifest.digest) == (best, entries[best]["digest"]), wanted


@pytest.mark.parametrize(
    ("offered", "wanted", "distance"),
    [
        ("linux/amd64", "linux/amd64", 0),
        ("linux/amd64/v2", "linux/amd64/v3", 100),
        ("linux/amd64/v3", "linux/amd64/v2", None),
        ("linux/amd64/v3", "linux/amd64", 10_200),
        ("linux/arm64", "linux/arm64/v9", 5),
        ("linux/arm64/v8.5", "linux/arm64/v9", 0),
        ("linux/arm64/v8.6", "linux/arm64/v9", None),
        ("linux/arm", "linux/arm/v7", 0),
        ("linux/arm/v8", "linux/arm/v7", None),
        ("linux/arm/v7", "linux/arm64", None),
        ("linux/riscv64", "linux/riscv64", 0),
        ("linux/ppc64le/power9", "linux/ppc64le", 1),
        ("windows/amd64", "linux/amd64", None),
    ],
)
def test_distances(offered: str, wanted: str, distance: int | None) -> None:
    assert platforms.distance(offered, wanted) == distance


def test_a_newer_variant_is_the_last_resort(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    name = layout.write(layout.index(layout.image("linux/amd64/v3")))
    assert opened(name, "linux/amd64").platform == "linux/amd64/v3"
    with pytest.raises(InvalidInputError, match=r"has no image for linux/amd64/v2") as caught:
        opened(name, "linux/amd64/v2")
    assert caught.value.hint == "its platforms: linux/amd64/v3"


def test_artifacts_of_an_index_are_no_images(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    image = layout.image("linux/amd64")
    artifact = {**layout.image("linux/amd64", config={"note": "x"}), "artifactType": "application/vnd.example"}
    attestation = {**layout.image(config={"note": "y"}), "platform": {"os": "unknown", "architecture": "unknown"}}
    chart = {**layout.image(config={"note": "z"}), "mediaType": "application/vnd.example.chart"}
    assert opened(layout.write(layout.index(artifact, attestation, chart, image))).manifest.digest == image["digest"]
    # An index of referrers names the configuration's type as the type of an image.
    marked = {**image, "artifactType": oci.CONFIG_TYPE}
    assert opened(layout.write(layout.index(artifact, marked))).manifest.digest == image["digest"]


def test_an_entry_without_platform_has_that_of_its_configuration(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    arm, amd = layout.image("linux/arm64"), layout.image("linux/amd64")
    bare = [{key: value for key, value in one.items() if key != "platform"} for one in (arm, amd)]
    name = layout.write(layout.index(*bare))
    assert opened(name).manifest.digest == amd["digest"]
    assert opened(name, "linux/arm64").manifest.digest == arm["digest"]
    with pytest.raises(InvalidInputError, match="has no image for linux/s390x"):
        opened(name, "linux/s390x")
    nested = layout.write(layout.index(layout.index(*bare)))
    assert opened(nested, "linux/arm64").manifest.digest == arm["digest"]


def test_indexes_that_lead_to_indexes(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    entry = layout.image("linux/amd64")
    for _ in range(5):
        entry = layout.index(entry)
    with pytest.raises(TritonBuildError, match=r"is damaged: its indexes are nested more than 3 deep"):
        opened(layout.write(entry))


def test_a_digest_of_an_unknown_algorithm_is_skipped(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    image = layout.image("linux/amd64")
    unknown = {**image, "digest": "blake3:" + "0" * 64}
    found = opened(layout.write(layout.index(unknown, image)))
    assert found.manifest.digest == image["digest"]
    assert found.notes == ("the entry blake3:000000000000 of its index has an unknown digest algorithm",)
    with pytest.raises(TritonBuildError, match=r"manifests\[0\]\.digest is not a digest: 'blake3'"):
        opened(layout.write(layout.index({**image, "digest": "blake3"}, image)))


def test_sha512(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l", "sha512")
    image = layout.image("linux/amd64", config={"rootfs": {"diff_ids": [digest_of(gzip.decompress(LAYER), "sha512")]}})
    found = opened(layout.write(layout.index(image)))
    assert found.manifest.digest == image["digest"]
    assert b"".join(found.origin.read(found.layers[0], 0, found.layers[0].size)) == LAYER


def test_no_platform_is_the_one_that_is_asked_for(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    name = layout.write(layout.image())
    assert opened(name, "linux/arm64").platform == "linux/arm64"


def test_the_variant_of_the_index_completes_the_configuration(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    entry = layout.image(config={"os": "linux", "architecture": "arm"})
    entry["platform"] = {"os": "linux", "architecture": "arm", "variant": "v6"}
    assert opened(layout.write(layout.index(entry)), "linux/arm/v7").platform == "linux/arm/v6"


@pytest.mark.parametrize(
    "history",
    [None, [], [{"created_by": "a"}, {"created_by": "b"}], [{"created_by": "a", "empty_layer": True}]],
    ids=["null", "empty", "too long", "of no layer"],
)
def test_a_history_that_does_not_fit_the_layers(history: Any, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    found = opened(layout.write(layout.image("linux/amd64", config={"history": history})))
    assert found.history == ({"comment": f"layer of oci:{tmp_path / 'l'}"},)


def test_a_history_that_fits(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    history = [{"created_by": "a"}, {"created_by": "b", "empty_layer": True}]
    found = opened(layout.write(layout.image("linux/amd64", config={"history": history})))
    assert list(found.history) == history


@pytest.mark.parametrize("ending", ["", ".gzip", ".zstd"])
def test_layers_get_the_media_types_of_oci(ending: str, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    layer = layout.blob(LAYER, f"application/vnd.docker.image.rootfs.diff.tar{ending}")
    found = opened(layout.write(layout.image("linux/amd64", layers=[layer])))
    assert found.layers[0].media_type == f"application/vnd.oci.image.layer.v1.tar{ending.replace('.', '+')}"


def test_triggers_are_left_out_with_a_note(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    runtime = {"OnBuild": ["RUN reboot"], "Env": ["A=b"]}
    found = opened(layout.write(layout.image("linux/amd64", config={"config": runtime})))
    assert found.runtime == {"Env": ["A=b"]}
    assert found.notes == ("its ONBUILD instructions do not run, and the result does not have them",)


@pytest.mark.parametrize("diff_id", ["../../x", "", "sha256:00", 5])
def test_diff_ids_are_digests(diff_id: Any, tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    name = layout.write(layout.image("linux/amd64", config={"rootfs": {"diff_ids": [diff_id]}}))
    with pytest.raises(TritonBuildError, match=r"the configuration of .* is damaged: rootfs\.diff_ids "):
        opened(name)


# --- docker archives ---


def content(found: SourceImage) -> bytes:
    (layer,) = found.layers
    read = b"".join(found.origin.read(layer, 0, layer.size))
    assert layer.digest == f"sha256:{hashlib.sha256(read).hexdigest()}"
    return read


def archived(path: Path, layer: bytes, name: str, config_name: str = "config.json") -> SourceImage:
    config = oci.to_json({"os": "linux", "architecture": "amd64", "rootfs": {"diff_ids": [DIFF_ID]}})
    manifest = [{"Config": config_name, "RepoTags": None, "Layers": [name]}]
    return opened(docker_archive(path, {config_name: config, name: layer, "manifest.json": oci.to_json(manifest)}))


def test_an_archive_as_crane_pulls_it(tmp_path: Path) -> None:
    hexadecimal = hashlib.sha256(LAYER).hexdigest()
    found = archived(tmp_path / "a.tar", LAYER, f"{hexadecimal}.tar.gz", f"sha256:{'1' * 64}")
    assert found.layers[0].media_type == descriptors.LAYER_GZIP
    assert content(found) == LAYER
    assert found.diff_ids == (DIFF_ID,)


def test_a_compressed_layer_of_another_name(tmp_path: Path) -> None:
    packed = zstandard.compress(gzip.decompress(LAYER))
    for layer, kind in ((LAYER, descriptors.LAYER_GZIP), (packed, descriptors.LAYER_ZSTD)):
        found = archived(tmp_path / "a.tar", layer, "0/layer.tar")
        assert (found.layers[0].media_type, content(found)) == (kind, layer)


def test_a_layer_that_is_not_compressed(tmp_path: Path) -> None:
    plain = gzip.decompress(LAYER)
    found = archived(tmp_path / "a.tar", plain, "0/layer.tar")
    assert (found.layers[0].media_type, found.layers[0].digest) == (descriptors.LAYER, DIFF_ID)
    assert content(found) == plain


@pytest.mark.parametrize("name", ["../secret", "/etc/passwd", "a/../../b"])
def test_a_name_outside_of_the_archive(name: str, tmp_path: Path) -> None:
    folder = tmp_path / "unpacked"
    folder.mkdir()
    (tmp_path / "secret").write_text("{}")
    (folder / "manifest.json").write_text(json.dumps([{"Config": name, "Layers": []}]))
    with pytest.raises(TritonBuildError, match=r"is damaged: .* is outside of it"):
        opened(f"docker-archive:{folder}")
