"""Damaged documents: whatever others write is read, or is reported as damaged; nothing else is ever raised."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.oci.mutation import mutations
from tests.oci.samples import DIFF_ID, LAYER, Layout, opened
from tests.replica import oci
from tritonbuild.embedded.request import Request
from tritonbuild.embedded.result import compose
from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci import documents
from tritonbuild.oci.descriptors import Descriptor, to_json
from tritonbuild.oci.images import SourceImage
from tritonbuild.oci.layouts import LayoutTarget
from tritonbuild.oci.targets import Image

RUNTIME = {
    "Env": ["A=b"],
    "Labels": {"a": "b"},
    "Entrypoint": ["/a"],
    "Cmd": ["b"],
    "User": "me",
    "WorkingDir": "/w",
    "ExposedPorts": {"80/tcp": {}},
    "Volumes": {"/v": {}},
    "StopSignal": "TERM",
    "OnBuild": ["RUN x"],
}
CONFIG = {
    "os": "linux",
    "architecture": "amd64",
    "variant": "v1",
    "created": "2024-10-24T00:00:00Z",
    "config": RUNTIME,
    "rootfs": {"type": "layers", "diff_ids": [DIFF_ID]},
    "history": [{"created": "2024-10-24T00:00:00Z", "created_by": "x", "empty_layer": False}],
}


@attrs.frozen(kw_only=True)
class Planned:
    """The fields of a plan that `compose` reads."""

    request: Request = attrs.field(factory=lambda: Request(full="a", base="b", ports=["1/tcp"], volumes=["/x"]))
    created: int = 0
    env: dict[str, str] = attrs.field(factory=dict)
    labels: dict[str, str] = attrs.field(factory=dict)
    layers: tuple[()] = ()


def use(found: SourceImage) -> None:
    """Use what a build uses of an image."""
    assert isinstance(found.created, int)
    planned = Planned(env=found.env, labels=found.labels)
    made = compose(planned, found, (), annotations={})  # type: ignore[arg-type]  # it has all that is read
    assert made.config_content.decode().startswith("{")


class Tally:
    """Counts what came of mutations; an error that is not ours fails the test."""

    def __init__(self) -> None:
        self.counts: Counter[str] = Counter()

    def run(self, content: bytes, action: Callable[[], Any]) -> None:
        try:
            action()
        except InvalidInputError:
            self.counts["refused"] += 1
        except TritonBuildError as error:
            if "is damaged: " not in str(error):
                raise
            self.counts["damaged"] += 1
        except Exception as error:
            raise AssertionError(content[:2000]) from error
        else:
            self.counts["read"] += 1


def test_manifests_indexes_and_configurations(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    entry = layout.image("linux/amd64", config=CONFIG)
    manifest = oci.read_json(layout.folder, entry["digest"])
    index = {"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": [{**entry, "annotations": {"a": "b"}}]}
    tally = Tally()

    def named(document: bytes, kind: str) -> str:
        """Write the mutated document and the ones above it; return the name of the layout."""
        found = layout.blob(document, oci.CONFIG_TYPE if kind == "config" else oci.MANIFEST_TYPE)
        if kind == "config":
            found = layout.json({**manifest, "config": found}, oci.MANIFEST_TYPE)
        return layout.write(found)

    for kind, document in {"config": CONFIG, "manifest": manifest, "index": index}.items():
        for content in mutations(document):
            name = named(content, kind)
            tally.run(content, lambda name=name: use(opened(name)))  # type: ignore[misc]
    assert tally.counts["damaged"] >= 100
    assert tally.counts["read"] > 100


def test_index_files_of_layouts(tmp_path: Path) -> None:
    layout = Layout(tmp_path / "l")
    image = {**layout.image("linux/amd64"), "annotations": {oci.REFERENCE: "a:1", "io.containerd.image.name": "b/a:1"}}
    name, file = layout.write(image), layout.folder / "index.json"
    tally = Tally()
    for content in mutations(json.loads(file.read_bytes())):
        file.write_bytes(content)
        tally.run(content, lambda: use(opened(f"{name}:a:1")))
    assert min(tally.counts["damaged"], tally.counts["read"]) >= 10


def test_manifests_of_docker_archives(tmp_path: Path) -> None:
    folder = tmp_path / "archive"
    folder.mkdir()
    (folder / "layer").write_bytes(LAYER)
    (folder / "config").write_bytes(oci.to_json(CONFIG))
    document = [{"Config": "config", "RepoTags": ["a:1"], "Layers": ["layer"]}]
    tally = Tally()
    for content in mutations(document):
        (folder / "manifest.json").write_bytes(content)
        tally.run(content, lambda: use(opened(f"docker-archive:{folder}")))
    assert min(tally.counts["damaged"], tally.counts["read"]) >= 10


def test_index_files_of_targets(tmp_path: Path) -> None:
    """A build that finds another's layout damaged leaves it as it is."""
    content = b"{}"
    blob = Descriptor(media_type=oci.CONFIG_TYPE, digest=f"sha256:{hashlib.sha256(content).hexdigest()}", size=2)
    image = Image(
        manifest=blob, manifest_content=content, config=blob, config_content=content, base_layers=(), new_layers=()
    )
    target = LayoutTarget(tmp_path / "l")
    target.publish(image, ["b:1"])
    tally, file = Tally(), tmp_path / "l" / "index.json"
    document = json.loads(file.read_bytes())
    for mutated in mutations(document):
        file.write_bytes(mutated)

        def publish(mutated: bytes = mutated) -> None:
            try:
                target.publish(image, ["c:1"])
            except TritonBuildError:
                assert file.read_bytes() == mutated
                raise
            target.attach(blob, content, [])

        tally.run(mutated, publish)
    assert min(tally.counts["damaged"], tally.counts["read"]) >= 10


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"nonsense", "the file is damaged: it is not JSON"),
        (b"[]", "the file is damaged: it is not a JSON object"),
        (b'{"a": NaN}', "the file is damaged: it has a number that is not finite"),
        (b'{"a": [1e999]}', "the file is damaged: it has a number that is not finite"),
        (b'{"a": "\\ud800"}', "the file is damaged: it has half of a surrogate pair"),
        (b'{"a": ' + b"[" * 70 + b"]" * 70 + b"}", "the file is damaged: it is nested more than 64 deep"),
    ],
)
def test_not_a_document(content: bytes, message: str) -> None:
    with pytest.raises(TritonBuildError) as caught:
        documents.parse(content, "the file")
    assert str(caught.value) == message


def test_messages_name_the_path() -> None:
    document = documents.parse(to_json({"a": [{"b": {"c": 5, "d": -1, "e": True}}]}), "the file")
    inner = document.objects("a")[0].object("b")
    for read, message in (
        (lambda: inner.text("c"), "the file is damaged: a[0].b.c is not a string"),
        (lambda: inner.number("d"), "the file is damaged: a[0].b.d is out of range"),
        (lambda: inner.number("e"), "the file is damaged: a[0].b.e is not an integer"),
        (lambda: inner.object("c"), "the file is damaged: a[0].b.c is not an object"),
        (lambda: inner.texts("c"), "the file is damaged: a[0].b.c is not a list"),
        (lambda: inner.digest("x"), "the file is damaged: a[0].b.x is not a digest: ''"),
        (lambda: document.texts("a"), "the file is damaged: a is not a list of strings"),
    ):
        with pytest.raises(TritonBuildError) as caught:
            read()
        assert str(caught.value) == message


def test_null_is_absent() -> None:
    document = documents.parse(b'{"a": null}', "the file")
    assert (document.text("a"), document.number("a"), document.objects("a"), document.strings("a")) == (
        "",
        None,
        (),
        {},
    )
