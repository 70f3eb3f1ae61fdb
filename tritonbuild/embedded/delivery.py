"""The delivery of one image: new layers are written on all cores while blobs are transferred to the targets."""

from __future__ import annotations

import contextlib
import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import BinaryIO, Final

from tritonbuild.errors import TritonBuildError
from tritonbuild.layers.cache import Cache
from tritonbuild.layers.items import NewLayer
from tritonbuild.layers.writing import Written, write
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.oci.files import chunks, is_whole
from tritonbuild.oci.images import SourceImage
from tritonbuild.oci.push import Push, Upload
from tritonbuild.oci.targets import Target
from tritonbuild.threads import StoppedError
from tritonbuild.threads.pools import CORES, pool, results

STREAMED: Final = 8 << 20
"""The smallest layer in bytes that is uploaded while it is written; for smaller ones the registry is asked first."""

_MOVERS: Final = 4
"""Blobs that are transferred to one target at the same time."""

_IN_MEMORY: Final = 4 << 20
"""Bytes of a file that is not read soon, after which its pages are released."""


class Delivery:
    """Writes and transfers the blobs of one image; to be used as a context.

    When the block ends with an error, running work is abandoned, and no target has the image.

    Args:
        cache: The cache of new layers.
        targets: The targets that receive every blob.
        compression: The compression of new layers.
        use_cache: Whether layers of the cache are used again.
        report: Receives lines of progress.
    """

    def __init__(
        self,
        cache: Cache,
        targets: Sequence[Target],
        *,
        compression: str,
        use_cache: bool,
        report: Callable[[str], None],
    ) -> None:
        self.cache = cache
        self.targets = targets
        self.compression = compression
        self.use_cache = use_cache
        self.report = report
        self.moved = 0
        self._lock = threading.Lock()
        self._planned = threading.Event()
        self._abandoned = threading.Event()
        self._stack = contextlib.ExitStack()
        self._writing: dict[int, Future[Written]] = {}
        self._transfers: list[Future[None]] = []
        self._rewrites: set[str] = set()
        """Digests of layers that were damaged in the cache, and written again."""

    def __enter__(self) -> Delivery:  # noqa: PYI034 - nothing inherits from it, and Self is of Python 3.11
        """Start the threads."""
        # They end in the opposite order: threads that submit work end before those that do it.
        self._movers = {target: self._stack.enter_context(pool(_MOVERS)) for target in self.targets}
        self._packers = self._stack.enter_context(pool(CORES))
        self._writers = self._stack.enter_context(pool(CORES))
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        """Wait for running work; abandon it after an error."""
        if kind is not None:
            self._abandoned.set()
            self._planned.set()
        self._stack.__exit__(kind, error, trace)  # type: ignore[arg-type]  # a traceback, as it came

    def go_on(self) -> None:
        """Raise `StoppedError` if the delivery is abandoned."""
        if self._abandoned.is_set():
            raise StoppedError

    def take_over(self, base: SourceImage) -> None:
        """Begin to transfer the layers of *base* to the targets."""
        for blob in base.layers:
            for target in self.targets:
                self._move(target, blob, lambda blob=blob: base.origin.read(blob, 0, blob.size), base)  # type: ignore[misc]

    def take(self, blob: Descriptor, content: bytes) -> None:
        """Begin to transfer a small blob to the targets."""
        for target in self.targets:
            self._move(target, blob, lambda: iter([content]))

    def _move(
        self, target: Target, blob: Descriptor, content: Callable[[], Iterator[bytes]], image: SourceImage | None = None
    ) -> None:
        source = image.reference if image else None

        def one() -> None:
            self._count(target.store(blob, self._guarded(content), source=source))

        self._transfers.append(self._movers[target].submit(one))

    def _guarded(self, content: Callable[[], Iterator[bytes]]) -> Callable[[], Iterator[bytes]]:
        """Return *content*, stopped if the delivery is abandoned."""

        def guarded() -> Iterator[bytes]:
            for chunk in content():
                self.go_on()
                yield chunk

        return guarded

    def begin(self, layers: Sequence[NewLayer]) -> None:
        """Begin to write those of *layers* that are not begun yet, the largest first; no target shows one yet."""
        for layer in sorted(layers, key=lambda one: -one.size):
            if id(layer) not in self._writing:
                self._writing[id(layer)] = self._writers.submit(self._one, layer)

    def write(self, layers: Sequence[NewLayer]) -> list[Written]:
        """Write all *layers* of the image and transfer them to the targets; return them as written."""
        self.begin(layers)
        self._planned.set()
        return results([self._writing[id(layer)] for layer in layers])

    def wait(self) -> None:
        """Wait until the targets have all blobs."""
        results(self._transfers)

    def _count(self, moved: int) -> None:
        with self._lock:
            self.moved += moved

    def _one(self, layer: NewLayer) -> Written:
        """Write a layer; begin to transfer it to the targets that did not receive it as a stream."""
        streamed = [target for target in self.targets if isinstance(target, Push) and layer.size >= STREAMED]
        done, uploads = self._layer(layer, streamed)
        for target in self.targets:
            mover = self._movers[target]
            self._transfers.append(mover.submit(self._hand_over, target, layer, done, uploads.get(target)))
        return done

    def _layer(self, layer: NewLayer, streamed: Sequence[Push]) -> tuple[Written, dict[Target, Upload]]:
        """Return the layer, and if it was written now, its finished uploads to *streamed*."""
        key = layer.key(self.compression)
        with self.cache.alone(key):
            known = self.cache.layer(key) if self.use_cache else None
            if known is not None:
                return known, {}
            return self._write(key, layer, streamed)

    def _write(self, key: str, layer: NewLayer, streamed: Sequence[Push]) -> tuple[Written, dict[Target, Upload]]:
        """Write the layer to the cache and to *streamed*; return it and the finished uploads."""
        uploads: dict[Target, Upload] = {target: target.stream() for target in streamed}
        try:
            with self.cache.new() as file:
                out = _Tee(self, file, [*uploads.values()], passing=len(uploads) == len(self.targets))
                done = write(layer, out, self._packers, self.compression)
                self.cache.keep_layer(key, file, done)
            for upload in uploads.values():
                upload.end()
        except BaseException:
            for upload in uploads.values():
                upload.drop()
            raise
        sizes = f"{done.unpacked >> 10} KiB, {done.size >> 10} KiB packed"
        self.report(f"wrote {layer.title}: {sizes}, {done.digest} of {done.diff_id}")
        return done, uploads

    def _hand_over(self, target: Target, layer: NewLayer, done: Written, upload: Upload | None) -> None:
        self._planned.wait()
        self.go_on()
        if upload is not None and upload.finish(done.digest):
            self._count(done.size)
            return
        path = self.cache.blob(done.digest)
        blob = Descriptor(media_type=done.media_type, digest=done.digest, size=done.size)
        try:
            self._count(target.store(blob, self._guarded(lambda: chunks(path)), verify=False))
        except (TritonBuildError, OSError):
            if not self._rewritten(layer, blob):
                raise
            self._count(target.store(blob, self._guarded(lambda: chunks(path)), verify=False))

    def _rewritten(self, layer: NewLayer, blob: Descriptor) -> bool:
        """Write the layer once more if its file in the cache is damaged; return whether this was done, here or before.

        Whatever made a transfer fail, a damaged file must not stay in the cache.
        """
        self.go_on()
        key = layer.key(self.compression)
        with self.cache.alone(key):
            if not is_whole(blob, self.cache.blob(blob.digest)):
                self.report(f"the layer {layer.title} in the cache is damaged: writing it again")
                # The new file replaces the damaged one, which other targets may be reading, in one step.
                done, _ = self._write(key, layer, ())
                if done.digest == blob.digest:
                    self._rewrites.add(blob.digest)
                else:
                    self.cache.forget(blob.digest)
            return blob.digest in self._rewrites


class _Tee:
    """A file together with uploads that receive the same bytes.

    Args:
        delivery: The delivery, which may be abandoned.
        file: The file.
        uploads: The uploads.
        passing: Whether the file is not read soon, so that its pages need not stay in memory.
    """

    def __init__(self, delivery: Delivery, file: BinaryIO, uploads: Sequence[Upload], *, passing: bool) -> None:
        self._delivery = delivery
        self._file = file
        self._uploads = uploads
        self._passing = passing and hasattr(os, "posix_fadvise")
        self._in_memory = 0

    def write(self, chunk: bytes) -> None:
        """Write *chunk* to the file and to all uploads."""
        self._delivery.go_on()
        self._file.write(chunk)
        for upload in self._uploads:
            upload.write(chunk)
        self._in_memory += len(chunk)
        if self._passing and self._in_memory >= _IN_MEMORY:
            # The kernel begins to write the pages, and frees those that are written.
            with contextlib.suppress(OSError):
                os.posix_fadvise(self._file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
            self._in_memory = 0
