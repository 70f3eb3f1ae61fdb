"""Layers on their way: what targets have, and when."""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from tests.layers.test_writing import FOLDER, component, source
from tests.replica.layers import file
from tests.tiny import images as tiny
from tritonbuild.embedded import delivery
from tritonbuild.embedded.delivery import Delivery
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers.cache import Cache
from tritonbuild.layers.items import NewLayer
from tritonbuild.oci.descriptors import Descriptor, digest_of
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.images import SourceImage
from tritonbuild.oci.layouts import LayoutTarget
from tritonbuild.oci.push import Push
from tritonbuild.oci.targets import Target


class Recording:
    """A target that reads what it is given, and says so."""

    def __init__(self) -> None:
        self.stored: list[str] = []
        self.begun = threading.Event()

    def store(self, blob: Descriptor, content: Callable[[], Iterator[bytes]], **_: Any) -> int:
        size = 0
        for chunk in content():
            self.begun.set()
            size += len(chunk)
        self.stored.append(blob.digest)
        return size

    def publish(self, *_: Any) -> None:
        raise NotImplementedError

    def locations(self, *_: Any) -> list[str]:
        raise NotImplementedError


class Uploads:
    """A repository that takes what is streamed."""

    def __init__(self) -> None:
        self.connection = SimpleNamespace(settings=TransportSettings())
        self.sent = 0
        self.whole = threading.Event()
        self.ended: list[str] = []

    def has(self, _digest: str) -> bool:
        return True

    def stream(self, chunks: Iterator[bytes]) -> str:
        self.sent = sum(map(len, chunks))
        self.whole.set()
        return "/upload"

    def end_upload(self, _location: str, digest: str) -> None:
        self.ended.append(digest)


@pytest.fixture
def cache(tmp_path: Path) -> Iterator[Cache]:
    with Cache(tmp_path / "cache") as found:
        yield found


@pytest.fixture
def layer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> NewLayer:
    monkeypatch.setattr(delivery, "STREAMED", 1)
    return component(source({f"{FOLDER}/model.bin": file(tiny.noise(1, 3_000_000))}, tmp_path / "source", level=6))


def started(cache: Cache, *targets: Target) -> Delivery:
    return Delivery(cache, targets, compression="gzip", use_cache=True, report=lambda _: None)


@contextlib.contextmanager
def abandoned(cache: Cache, *targets: Target) -> Iterator[Delivery]:
    """Yield a delivery that ends with an error."""
    with contextlib.suppress(NotImplementedError), started(cache, *targets) as running:
        yield running
        raise NotImplementedError


def test_no_target_has_a_layer_before_all_is_planned(cache: Cache, layer: NewLayer) -> None:
    disk, repository = Recording(), Uploads()
    small = Descriptor(media_type="", digest=digest_of(b"x"), size=1)
    with started(cache, disk, Push(repository)) as running:  # type: ignore[arg-type]
        running.begin([layer])
        assert repository.whole.wait(60)
        # All of it was sent. Other blobs are taken, also when the layer has had its time.
        running.take(small, b"x")
        time.sleep(0.5)
        assert (disk.stored, repository.ended) == ([small.digest], [])
        (done,) = running.write([layer])
        running.wait()
    assert (disk.stored, repository.ended) == ([small.digest, done.digest], [done.digest])
    assert repository.sent == done.size
    assert running.moved == 2 * done.size + 1


def test_a_layer_that_was_begun_in_vain(cache: Cache, layer: NewLayer) -> None:
    disk, repository = Recording(), Uploads()
    with abandoned(cache, disk, Push(repository)) as running:  # type: ignore[arg-type]
        running.begin([layer])
        assert repository.whole.wait(60)
    assert (disk.stored, repository.ended) == ([], [])
    assert [*(cache.folder / "new").iterdir()] == []
    for thread in threading.enumerate():
        if thread.name == "upload":
            thread.join(60)
            assert not thread.is_alive()


def test_a_layer_that_is_damaged_in_the_cache_is_written_once_more(
    cache: Cache, layer: NewLayer, tmp_path: Path
) -> None:
    with started(cache) as running:
        (first,) = running.write([layer])
    content = cache.blob(first.digest).read_bytes()
    cache.blob(first.digest).write_bytes(content[:-1] + bytes([content[-1] ^ 1]))
    lines: list[str] = []
    targets = [LayoutTarget(tmp_path / name) for name in ("one", "two", "three")]
    with Delivery(cache, targets, compression="gzip", use_cache=True, report=lines.append) as running:
        assert running.write([layer]) == [first]
        running.wait()
    assert [target.path(first.digest).read_bytes() for target in targets] == [content] * 3
    assert cache.blob(first.digest).read_bytes() == content
    assert [line.partition(":")[0] for line in lines] == [
        f"the layer {layer.title} in the cache is damaged",
        f"wrote {layer.title}",
    ]


def test_a_failure_of_the_target_does_not_write_a_layer_again(cache: Cache, layer: NewLayer) -> None:
    class Full:
        def store(self, *_: Any, **__: Any) -> int:
            message = "no room"
            raise TritonBuildError(message)

    lines: list[str] = []
    target: Any = Full()
    with Delivery(cache, [target], compression="gzip", use_cache=True, report=lines.append) as running:
        running.write([layer])
        with pytest.raises(TritonBuildError, match=r"^no room$"):
            running.wait()
    assert [line.partition(":")[0] for line in lines] == [f"wrote {layer.title}"]


def test_what_is_under_way_is_abandoned(cache: Cache) -> None:
    class Endless:
        name = "endless"

        def read(self, _blob: Descriptor, _start: int, _stop: int) -> Iterator[bytes]:
            while True:
                time.sleep(0.01)
                yield b"more"

    blob = Descriptor(media_type="", digest="sha256:" + 64 * "0", size=1)
    image = SourceImage(
        name="",
        origin=Endless(),
        reference=None,
        manifest=blob,
        config={},
        layers=(blob,),
        diff_ids=("",),
        platform="linux/amd64",
    )
    disk = Recording()
    with abandoned(cache, disk) as running:
        running.take_over(image)
        assert disk.begun.wait(60)
    assert disk.stored == []
