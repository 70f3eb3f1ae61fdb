"""The embedded engine's whole way: sources, indexes, plan, layers, result."""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import FIRST_EXCEPTION, Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import BinaryIO, Final, TypeVar

import attrs

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci import images, indexing, reading, result
from tritonbuild.oci.cache import Cache, chunks
from tritonbuild.oci.descriptors import Descriptor, verified
from tritonbuild.oci.images import SourceImage
from tritonbuild.oci.items import NewLayer
from tritonbuild.oci.layerindex import LayerIndex
from tritonbuild.oci.plan import Plan, Source, plan
from tritonbuild.oci.reading import Layer
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.request import Request
from tritonbuild.oci.result import Image
from tritonbuild.oci.targets import Push, Target, Upload
from tritonbuild.oci.view import View
from tritonbuild.oci.writing import GZIP, Written, write

CORES: Final = max(1, min(8, len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1))

T = TypeVar("T")

STREAMED: Final = 8 << 20
"""Bytes from which on a layer is uploaded while it is written; smaller ones are asked for first."""

Say = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Built:
    """What a build gave.

    Attributes:
        image: The result.
        plan: What it holds.
        written: Its new layers, in the plan's order.
        moved: Bytes that went to targets.
    """

    image: Image
    plan: Plan
    written: tuple[Written, ...]
    moved: int


class Builder:
    """Builds images from source images; to be used inside the cache's context.

    Args:
        cache: What is kept between builds.
        registries: How registries are talked to.
        say: Takes a line of progress.
        compression: Of new layers.
        use_cache: Whether layers that were written before are used.
        context: The build context, for requests that take something out of one.
        scratch: An empty folder for what is made of that.
    """

    def __init__(  # noqa: PLR0913 - what a build is told
        self,
        cache: Cache,
        registries: Registries,
        *,
        say: Say,
        compression: str = GZIP,
        use_cache: bool = True,
        context: Path | None = None,
        scratch: Path | None = None,
    ) -> None:
        self.cache = cache
        self.registries = registries
        self.say = say
        self.compression = compression
        self.use_cache = use_cache
        self.context = context
        self.scratch = scratch
        self._started = time.monotonic()

    def _report(self, line: str) -> None:
        self.say(f"[{time.monotonic() - self._started:6.1f} s] {line}")

    def sources(self, request: Request) -> tuple[SourceImage, SourceImage]:
        """Return full and base."""
        platform = request.platform or images.default_platform()
        with ThreadPoolExecutor(2) as pool:
            pending = [
                pool.submit(images.find, place, self.registries, platform=platform)
                for place in (request.full, request.base)
            ]
            full, base = (one.result() for one in pending)
        for name, image in (("full", full), ("base", base)):
            self._report(f"{name}: {image.name} is {image.manifest.digest[:19]}, {len(image.layers)} layers")
        return full, base

    def plan(self, request: Request, full: SourceImage, base: SourceImage, *, created: int | None = None) -> Plan:
        """Return what is to be written, reading the layers that have no index yet."""
        indexed = self._indexed([full, base])
        sources = self._source(full, indexed), self._source(base, indexed)
        return plan(request, *sources, context=self.context, scratch=self.scratch, created=created)

    def _source(self, image: SourceImage, indexed: Mapping[str, LayerIndex]) -> Source:
        layers = [Layer(blob=blob, origin=image.origin, index=indexed[blob.digest]) for blob in image.layers]
        return Source(view=View(layers), env=image.env, labels=image.labels, created=image.created)

    def _indexed(self, sources: Sequence[SourceImage]) -> dict[str, LayerIndex]:
        wanted = {blob.digest: (blob, image) for image in sources for blob in image.layers}
        indexed = {digest: found for digest in wanted if (found := self.cache.index(digest))}
        todo = sorted((one for digest, one in wanted.items() if digest not in indexed), key=lambda one: -one[0].size)
        if todo:
            self._report(f"reading {len(todo)} layers, {sum(blob.size for blob, _ in todo) >> 20} MiB")
        with _pool(CORES) as pool:
            pending = [pool.submit(self._index, blob, image) for blob, image in todo]
            for found in _results(pending):
                indexed[found.digest] = found
        return indexed

    def _index(self, blob: Descriptor, image: SourceImage) -> LayerIndex:
        with self.cache.alone(blob.digest.replace(":", "-")):
            known = self.cache.index(blob.digest)
            if known is not None:
                return known
            what = f"layer {blob.digest[:19]} of {image.name}"
            found, late = indexing.read(blob, image.origin.read(blob, 0, blob.size), what=what)
            if late:
                found = reading.complete(Layer(blob=blob, origin=image.origin, index=found), late)
            self.cache.keep_index(found)
        self._report(f"read {blob.digest[:19]}: {blob.size >> 20} MiB, {len(found)} entries")
        return found

    def build(
        self,
        request: Request,
        targets: Sequence[Target],
        tags: Sequence[str],
        *,
        annotations: Mapping[str, str] | None = None,
        created: int | None = None,
    ) -> Built:
        """Build the image, and give it to *targets*.

        Args:
            request: What is wanted.
            targets: Where it goes.
            tags: The names it gets.
            annotations: To be added to the manifest's.
            created: The moment that it tells, seconds since 1970; the newest source's by default.

        Raises:
            TritonBuildError: It cannot be built. No target has it then.
        """
        full, base = self.sources(request)
        if base.platform != full.platform:
            raise InvalidInputError(
                f"the full image is for {full.platform}, the base for {base.platform}",
                hint="use sources for one platform",
            )
        moved = _Count()
        with _pool(len(targets) * 2) as transfers:
            # Base layers do not wait for the plan.
            pending = [
                transfers.submit(self._transfer_base, target, blob, base, moved)
                for target in targets
                for blob in base.layers
            ]
            planned = self.plan(request, full, base, created=created)
            self._report(
                f"planned {len(planned.layers)} new layers, {sum(one.size for one in planned.layers) >> 20} MiB"
            )
            written = [*self._written(planned, targets, transfers, pending, moved)]
            for _ in _results(pending):
                pass
        image = result.compose(planned, base, written, annotations=annotations or {})
        for target in targets:
            target.finish(image, tags)
        self._report(f"wrote {image.manifest.digest}, {moved.total >> 10} KiB moved")
        return Built(image=image, plan=planned, written=tuple(written), moved=moved.total)

    def _written(
        self,
        planned: Plan,
        targets: Sequence[Target],
        transfers: ThreadPoolExecutor,
        pending: list[Future[None]],
        moved: _Count,
    ) -> Iterator[Written]:
        """Write the new layers, the largest first, and hand each to the targets as soon as it is there."""
        with _pool(CORES) as writers, _pool(CORES) as packers:

            def one(layer: NewLayer) -> tuple[Written, list[Future[None]]]:
                streamed = [target for target in targets if isinstance(target, Push) and layer.size >= STREAMED]
                waiting = [target for target in targets if target not in streamed]
                done, uploads = self._layer(layer, packers, streamed)
                for target in streamed:
                    if target in uploads and uploads[target].finish(done.digest):
                        moved.add(done.size)
                    else:
                        waiting.append(target)
                return done, [transfers.submit(self._transfer, target, done, moved) for target in waiting]

            order = sorted(range(len(planned.layers)), key=lambda number: -planned.layers[number].size)
            started = {number: writers.submit(one, planned.layers[number]) for number in order}
            for _ in _results([*started.values()]):
                pass
        for number in range(len(planned.layers)):
            done, transferring = started[number].result()
            pending += transferring
            yield done

    def _layer(
        self, layer: NewLayer, packers: ThreadPoolExecutor, streamed: Sequence[Push]
    ) -> tuple[Written, dict[Push, Upload]]:
        """Return the layer, and if it was written now, its uploads to *streamed*, which went on meanwhile."""
        key = layer.key(self.compression)
        with self.cache.alone(key):
            known = self.cache.layer(key) if self.use_cache else None
            if known is not None:
                return known, {}
            uploads = {target: target.stream() for target in streamed}
            try:
                with self.cache.new() as file:
                    done = write(layer, _Tee(file, [*uploads.values()]), packers, self.compression)
                    self.cache.keep_layer(key, file, done)
            except BaseException:
                for upload in uploads.values():
                    upload.drop()
                raise
        sizes = f"{done.unpacked >> 10} KiB, {done.size >> 10} KiB packed"
        self._report(f"wrote {layer.title}: {sizes}, {done.digest} of {done.diff_id}")
        return done, uploads

    def _transfer(self, target: Target, done: Written, moved: _Count) -> None:
        path = self.cache.blob(done.digest)
        blob = Descriptor(media_type=done.media_type, digest=done.digest, size=done.size)
        try:
            moved.add(target.take(blob, lambda: chunks(path), file=path))
        except TritonBuildError:
            # Whatever it was, a damaged file must not be found again.
            if not _is_whole(blob, path):
                self.cache.forget(done.digest)
            raise

    def _transfer_base(self, target: Target, blob: Descriptor, base: SourceImage, moved: _Count) -> None:
        moved.add(target.take(blob, lambda: base.origin.read(blob, 0, blob.size), source=base.reference))


def _is_whole(blob: Descriptor, path: Path) -> bool:
    with contextlib.suppress(TritonBuildError, OSError):
        for _ in verified(chunks(path), blob, what="a blob of the cache"):
            pass
        return True
    return False


class _Tee:
    """A file, and uploads that get the same."""

    def __init__(self, file: BinaryIO, uploads: Sequence[Upload]) -> None:
        self._file = file
        self._uploads = uploads

    def write(self, chunk: bytes) -> None:
        """Write *chunk* everywhere."""
        self._file.write(chunk)
        for upload in self._uploads:
            upload.write(chunk)


class _Count:
    """A number that several threads add to."""

    def __init__(self) -> None:
        self.total = 0
        self._lock = threading.Lock()

    def add(self, number: int) -> None:
        """Add *number*."""
        with self._lock:
            self.total += number


@contextlib.contextmanager
def _pool(size: int) -> Iterator[ThreadPoolExecutor]:
    """Yield a pool of threads; what has not begun when something fails does not begin any more."""
    pool = ThreadPoolExecutor(max(1, size))
    try:
        yield pool
    except BaseException:
        pool.shutdown(wait=True, cancel_futures=True)
        raise
    pool.shutdown(wait=True)


def _results(pending: Sequence[Future[T]]) -> Iterator[T]:
    """Yield results once all are there; what one of them raises is raised at once."""
    done, _ = wait(pending, return_when=FIRST_EXCEPTION)
    for one in done:
        one.result()
    for one in pending:
        yield one.result()
