"""The embedded engine as the library drives it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests import replica
from tritonbuild.backends import _options, _probe, embedded
from tritonbuild.composition import Composition
from tritonbuild.embedded import arguments
from tritonbuild.embedded.request import Request, from_document
from tritonbuild.engine import probe
from tritonbuild.errors import BuildFailedError, InvalidInputError
from tritonbuild.oci.descriptors import from_json
from tritonbuild.run_build import Job, run

TOKENS: dict[str, tuple[dict[str, Any], list[str]]] = {
    "what every engine gets": (
        {"context_path": "/c", "file": "/f", "iidfile": "/i", "network": "none", "pull": True, "tag": ("a:1", "b:2")},
        ["--context=/c", "--file=/f", "--iidfile=/i", "--tag=a:1", "--tag=b:2"],
    ),
    "switches that are off": ({"push": False, "no_cache": False, "sbom": False}, []),
    "switches": ({"push": True, "no_cache": True}, ["--no-cache", "--push"]),
    "an archive": ({"output": {"type": "docker", "dest": "/x"}}, ["--output=type=docker-archive,dest=/x"]),
    "mirrors": ({"mirror": {"docker.io": "localhost:5000"}}, ["--mirror=docker.io=localhost:5000"]),
}


@pytest.mark.parametrize("name", TOKENS)
def test_tokens(name: str) -> None:
    options, tokens = TOKENS[name]
    assert embedded.construct_build_args(**options) == tokens


@pytest.mark.parametrize("option", [{"network": "host"}, {"pull": False}, {"compression": "xz"}, {"load": "skopeo"}])
def test_refused(option: dict[str, Any]) -> None:
    with pytest.raises(InvalidInputError):
        embedded.construct_build_args(**option)


@pytest.mark.parametrize(
    ("what", "option"),
    [
        ("annotation", {"annotation": {"a": "b"}}),
        ("metadata_file", {"metadata_file": "/x"}),
        ("output type=docker", {"output": "type=docker,dest=/x"}),
        ("output type=oci", {"output": "type=oci,dest=/x"}),
        ("push", {"push": True}),
    ],
)
def test_it_is_among_the_engines_that_can(what: str, option: dict[str, Any]) -> None:
    assert "embedded" in _options.engines_that_can(what)
    tokens = embedded.construct_build_args(file="/f", iidfile="/i", tag=("a:1",), **option)
    arguments.parser().parse_args(tokens)


def test_what_others_can_is_theirs() -> None:
    with pytest.raises(InvalidInputError, match="engine 'embedded' cannot do cache_to") as caught:
        embedded.construct_build_args(cache_to="type=registry,ref=a/b")
    assert caught.value.hint == "engines that can: buildah, buildctl, buildx, nerdctl, podman"


def test_it_is_not_among_those_that_can_what_it_cannot() -> None:
    for what in ("cache_from", "cache_to", "load", "load=False", "progress=tty", "several platforms"):
        assert "embedded" not in _options.engines_that_can(what)


def test_the_request_is_the_composition() -> None:
    composition = Composition(backends=["python"], caches=["local"], container_version="24.10")
    text = embedded.document(composition)
    request = from_document(from_json(text.encode(), what="x"))
    assert request.to_json().decode() == text == embedded.document(composition)
    assert {component.title for component in request.components} == {"backend python", "cache local"}
    assert request.full == "nvcr.io/nvidia/tritonserver:24.10-py3"
    assert "/opt/tritonserver/include" not in request.core


def requested(**keywords: Any) -> Request:
    composition = Composition(container_version="24.10", **keywords)
    return from_document(from_json(embedded.document(composition).encode(), what="x"))


def test_features() -> None:
    found = requested(backends=["python"], features=("headers", "dcgm", "sources"))
    assert {"/opt/tritonserver/include", "/opt/tritonserver/third-party-src"} <= {*found.core}
    assert "libdcgm*.so*" in found.opened
    assert "/usr/bin/dcgmi" in found.read


def test_what_users_add(tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.py").touch()
    found = requested(
        backends=[f"mine={tmp_path / 'mine'}"], models=[tmp_path], models_folder="/more", environment={"A": "$HOME"}
    )
    assert {one.title: one.context for one in found.components} == {
        "backend mine": "backends/mine",
        "backend python": "",
    }
    assert [(one.folder, one.context) for one in found.additions] == [("/more", "models")]
    assert found.environment == {"A": "$HOME"}
    assert "A" not in found.env


NOT_DONE: dict[str, dict[str, Any]] = {
    "the runtime 'install'": {"runtime": "install"},
    "pip packages other than wheels": {"pip": ["numpy"]},
    "the feature 'clients'": {"features": ["clients"]},
}


@pytest.mark.parametrize("what", NOT_DONE)
def test_what_takes_a_command_is_refused(what: str) -> None:
    with pytest.raises(
        InvalidInputError, match=f"only copies files from the full image, so it does not support {what}"
    ):
        requested(backends=["python"], **NOT_DONE[what])


def test_it_is_healthy_where_there_is_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "not" / "there"))
    assert embedded.health().ok
    monkeypatch.setattr(_probe, "LOW_SPACE", 1 << 60)
    health = probe(embedded.ENGINE)
    assert health.reason.startswith(f"the disk of its storage {tmp_path} is nearly full: ")
    assert health.hint == "free some space, or set XDG_CACHE_HOME"


@pytest.mark.integration
def test_a_build(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    try:
        source = replica.make()
    except replica.ReplicaError as error:
        pytest.skip(str(error))
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    composition = Composition(backends=["python"], container_version="24.10")
    places = {name: f"oci:{source.layout}:{source.references[name]}" for name in ("full", "min")}
    job = Job(engine=embedded.ENGINE, document=embedded.document(composition), tags=("my/triton:1",))
    result = run(
        attrs.evolve(job, options={"source": places, "output": {"type": "oci-layout", "dest": str(tmp_path / "out")}})
    )
    index = json.loads((tmp_path / "out" / "index.json").read_bytes())
    assert index["manifests"][0]["digest"] == result.digest
    assert result.image_id.startswith("sha256:")
    assert result.log.stat().st_size
    with pytest.raises(BuildFailedError) as caught:
        run(
            attrs.evolve(
                job,
                options={
                    "source": {**places, "full": places["min"]},
                    "output": {"type": "oci", "dest": str(tmp_path / "x")},
                },
            )
        )
    assert any("the full image has no /opt/tritonserver/LICENSE" in line for line in caught.value.tail)
