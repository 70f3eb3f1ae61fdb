"""The order inside a build of the embedded engine: sources, layer indexes, plan, new layers, image."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import attrs

from tritonbuild.embedded import result
from tritonbuild.embedded.delivery import Delivery
from tritonbuild.embedded.plan import Begun, ImagePlan, plan
from tritonbuild.embedded.request import SCRATCH, Request
from tritonbuild.embedded.sources import Source
from tritonbuild.errors import InvalidInputError
from tritonbuild.layers import indexing, reading
from tritonbuild.layers.cache import Cache
from tritonbuild.layers.layerindex import LayerIndex
from tritonbuild.layers.reading import Layer
from tritonbuild.layers.writing import GZIP, Written
from tritonbuild.oci import images
from tritonbuild.oci.descriptors import Descriptor, broken
from tritonbuild.oci.images import SourceImage
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.targets import Image, Target
from tritonbuild.rootfs.view import View
from tritonbuild.threads.pools import CORES, pool, results

Say = Callable[[str], None]


@attrs.frozen(kw_only=True)
class Built:
    """The result of a build.

    Attributes:
        image: The documents of the image.
        plan: The plan of the image.
        written: The new layers, in the plan's order.
        moved: Bytes transferred to targets.
    """

    image: Image
    plan: ImagePlan
    written: tuple[Written, ...]
    moved: int


class Builder:
    """Builds images from source images; to be used inside the cache's context.

    Args:
        cache: The cache of indexes and layers.
        registries: Access to registries.
        say: Receives lines of progress.
        compression: The compression of new layers.
        use_cache: Whether layers of the cache are used again.
        context: The build context; None without one.
        scratch: An empty folder for unpacked wheels.
    """

    def __init__(  # noqa: PLR0913 - the settings of a build
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
        """Return the full image and the base image."""
        platform = request.platform or images.default_platform()
        if request.base == SCRATCH:
            full = images.open_image(request.full, self.registries, platform=platform)
            self._introduce("full", full)
            return full, images.empty_image(SCRATCH, platform=full.platform)
        with pool(2) as finders:
            full, base = results(
                [
                    finders.submit(images.open_image, name, self.registries, platform=platform)
                    for name in (request.full, request.base)
                ]
            )
        self._introduce("full", full)
        self._introduce("base", base)
        return full, base

    def _introduce(self, name: str, image: SourceImage) -> None:
        self._report(f"{name}: {image.name} is {image.manifest.digest[:19]}, {len(image.layers)} layers")
        for note in image.notes:
            self._report(f"{name}: {note}")

    def plan(
        self,
        request: Request,
        full: SourceImage,
        base: SourceImage,
        *,
        created: int | None = None,
        begun: Begun | None = None,
    ) -> ImagePlan:
        """Return the plan of the image; index the layers that have no index yet."""
        indexed = self._indexed(full, base)
        sources = self._source(full, indexed), self._source(base, indexed)
        return plan(request, *sources, context=self.context, scratch=self.scratch, created=created, begun=begun)

    def _source(self, image: SourceImage, indexed: Mapping[str, LayerIndex]) -> Source:
        layers = [Layer(blob=blob, origin=image.origin, index=indexed[blob.digest]) for blob in image.layers]
        return Source(view=View(layers), env=image.env, labels=image.labels, created=image.created)

    def _indexed(self, full: SourceImage, base: SourceImage) -> dict[str, LayerIndex]:
        """Return the indexes of all layers by digest, those of the base verified against its diff IDs.

        Raises:
            TritonBuildError: A layer of the base has another diff ID than its configuration says.
        """
        wanted = {blob.digest: (blob, image) for image in (full, base) for blob in image.layers}
        diff_ids = dict(zip((blob.digest for blob in base.layers), base.diff_ids, strict=True))
        indexed = {digest: found for digest in wanted if (found := self._known(digest, diff_ids.get(digest, "")))}
        todo = sorted((one for digest, one in wanted.items() if digest not in indexed), key=lambda one: -one[0].size)
        if todo:
            self._report(f"reading {len(todo)} layers, {sum(blob.size for blob, _ in todo) >> 20} MiB")
        with pool(CORES) as readers:
            running = [readers.submit(self._index, blob, image, diff_ids.get(blob.digest, "")) for blob, image in todo]
            for found in results(running):
                indexed[found.digest] = found
        for blob, diff_id in zip(base.layers, base.diff_ids, strict=True):
            if indexed[blob.digest].diff_id != diff_id:
                why = f"the diff ID of its layer {blob.digest[:19]} is {indexed[blob.digest].diff_id}, not {diff_id}"
                raise broken(base.name, why)
        return indexed

    def _known(self, digest: str, diff_id: str) -> LayerIndex | None:
        """Return the index of a layer in the cache, unless it lacks a diff ID of the algorithm of *diff_id*."""
        found = self.cache.index(digest)
        algorithm = diff_id.partition(":")[0]
        return found if found is not None and found.diff_id.startswith(algorithm) else None

    def _index(self, blob: Descriptor, image: SourceImage, diff_id: str) -> LayerIndex:
        with self.cache.alone(blob.digest.replace(":", "-")):
            known = self._known(blob.digest, diff_id)
            if known is not None:
                return known
            what = f"layer {blob.digest[:19]} of {image.name}"
            content, algorithm = image.origin.read(blob, 0, blob.size), diff_id.partition(":")[0]
            found, late = indexing.index_layer(blob, content, what=what, diff_algorithm=algorithm)
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
        """Build the image and store it in *targets*.

        Args:
            request: The requested image.
            targets: The targets that receive the image.
            tags: The names of the image.
            annotations: Annotations that are added to the manifest.
            created: The time of the image, seconds since 1970; by default that of the newest source.

        Raises:
            TritonBuildError: The build failed; then no target has the image.
        """
        full, base = self.sources(request)
        if base.platform != full.platform:
            raise InvalidInputError(
                f"the full image is for {full.platform}, but the base image is for {base.platform}",
                hint="use source images for one platform",
            )
        delivery = Delivery(
            self.cache, targets, compression=self.compression, use_cache=self.use_cache, report=self._report
        )
        with delivery:
            # Layers of the base do not wait for the plan; layers of components do not wait for all of it.
            delivery.take_over(base)
            planned = self.plan(request, full, base, created=created, begun=delivery.begin)
            self._report(
                f"planned {len(planned.layers)} new layers, {sum(one.size for one in planned.layers) >> 20} MiB"
            )
            for excused in planned.excused:
                self._report(str(excused))
            written = delivery.write(planned.layers)
            image = result.compose(planned, base, written, annotations=annotations or {})
            delivery.take(image.config, image.config_content)
            delivery.wait()
        for target in targets:
            target.publish(image, tags)
        self._report(f"wrote {image.manifest.digest}, {delivery.moved >> 10} KiB moved")
        return Built(image=image, plan=planned, written=tuple(written), moved=delivery.moved)
