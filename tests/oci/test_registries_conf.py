"""Mirrors, locations and insecure registries that `registries.conf` names."""

from __future__ import annotations

from pathlib import Path

import pytest

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.registries_conf import config_files, read_rules
from tritonbuild.oci.registry import Registries
from tritonbuild.reference import parse_reference

CONF = """
unqualified-search-registries = ["docker.io"]

[[registry]]
location = "r.example"
insecure = true
[[registry.mirror]]
location = "mirror.example:5000/cache"
insecure = true
[[registry.mirror]]
location = "digests.example"
pull-from-mirror = "digest-only"

[[registry]]
prefix = "r.example/team"
location = "inner.example/other"

[[registry]]
prefix = "*.wild.example"
location = "inner.example"

[[registry]]
prefix = "bad.example"
blocked = true
"""

DIGEST = f"sha256:{'0' * 64}"

NAMES = {
    "r.example/x:1": ["mirror.example:5000/cache/x", "r.example/x"],
    f"r.example/x@{DIGEST}": ["mirror.example:5000/cache/x", "digests.example/x", "r.example/x"],
    "r.example/team/x:1": ["inner.example/other/x"],
    "r.example/teams/x:1": ["mirror.example:5000/cache/teams/x", "r.example/teams/x"],
    "a.wild.example:5000/x:1": ["inner.example/x"],
    "wild.example/x:1": ["wild.example/x"],
    "other.example/x:1": ["other.example/x"],
}


def registries(folder: Path) -> Registries:
    path = folder / "registries.conf"
    path.write_text(CONF)
    return Registries(TransportSettings(), read_rules([path]))


@pytest.mark.parametrize("reference", NAMES)
def test_names(reference: str, tmp_path: Path) -> None:
    origin = registries(tmp_path).origin(parse_reference(reference))
    assert [one.full_name for one in origin.repositories] == NAMES[reference]


def test_insecure_and_blocked(tmp_path: Path) -> None:
    found = registries(tmp_path)
    assert found.settings.insecure == {"r.example", "mirror.example:5000"}
    with pytest.raises(TritonBuildError, match=r"registries\.conf blocks bad\.example/x"):
        found.origin(parse_reference("bad.example/x:1"))


@pytest.mark.parametrize("text", ["[[registry", "registry = 1", "[[registry]]\nlocation = 1", "[[registry]]", "a = \0"])
def test_damage(text: str, tmp_path: Path) -> None:
    (tmp_path / "x.conf").write_text(text)
    with pytest.raises(TritonBuildError, match=r"x\.conf"):
        read_rules([tmp_path / "x.conf"])


def test_files(tmp_path: Path) -> None:
    folder = tmp_path / "containers"
    (folder / "registries.conf.d").mkdir(parents=True)
    (folder / "registries.conf").touch()
    (folder / "registries.conf.d" / "a.conf").touch()
    found = config_files({"XDG_CONFIG_HOME": str(tmp_path), "HOME": str(tmp_path)})
    mine = [path for path in found if path.is_relative_to(tmp_path)]
    assert mine == [folder / "registries.conf", folder / "registries.conf.d" / "a.conf"]
    assert found[0] == mine[0]
    assert config_files({"CONTAINERS_REGISTRIES_CONF": "/a"}) == [Path("/a")]


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    assert read_rules([tmp_path / "none"]) == ()
