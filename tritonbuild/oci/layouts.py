"""OCI image layouts: folders or tar archives of them as origins, folders as targets.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import fcntl
import os
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.oci import descriptors, documents
from tritonbuild.oci.descriptors import REF_NAME, Descriptor, broken, to_json, verified, whole
from tritonbuild.oci.documents import Document
from tritonbuild.oci.files import FileSource, document_of, is_whole, no_room, sweep, temporary_file
from tritonbuild.oci.targets import Content, Image
from tritonbuild.reference import Reference, is_digest, parse_reference

INDEX_FILE: Final = "index.json"
LAYOUT_FILE: Final = "oci-layout"
LAYOUT: Final = to_json({"imageLayoutVersion": "1.0.0"})
"""The content of a layout's `oci-layout` file."""
_IMAGE_NAME: Final = "io.containerd.image.name"


def blob_name(digest: str) -> str:
    """Return the path of a blob inside a layout."""
    return f"blobs/{digest.replace(':', '/')}"


def choose(images: Sequence[tuple[Descriptor, set[str]]], wanted: str, *, name: str) -> Descriptor:
    """Return the image with the tag, name or digest *wanted*, or the only image if *wanted* is empty.

    Args:
        images: Descriptors, each with the image's names.
        wanted: A tag, a name, a digest, or the empty string.
        name: The path of the layout or archive, for messages.

    Raises:
        InvalidInputError: No image or more than one image matches.
    """
    if wanted:
        chosen = [one for one, names in images if one.digest == wanted or wanted in names]
    else:
        chosen = [one for one, _ in images]
    if len({one.digest for one in chosen}) != 1:
        known = ", ".join(sorted({found for _, names in images for found in names})) or "no names"
        what = f"no image {wanted!r}" if wanted else f"{len(chosen)} images"
        raise InvalidInputError(f"{name!r} has {what}", hint=f"its images: {known}")
    return chosen[0]


class LayoutOrigin:
    """The images of an OCI layout.

    Args:
        files: The files of the layout.
    """

    def __init__(self, files: FileSource) -> None:
        self.files = files
        self.name = str(files.path)

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of *blob* from *start* up to *stop*."""
        name = blob_name(blob.digest)
        if self.files.size(name) is None:
            raise broken(self.name, f"it has no blob {blob.digest}")
        yield from self.files.read(name, start, stop)

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """Return a verified manifest or index.

        Args:
            wanted: A tag, a name or a digest; the empty string for the only image.

        Raises:
            InvalidInputError: No image or more than one image matches.
        """
        found = self._blob(wanted) or choose(self._images(), wanted, name=self.name)
        return found, whole(self.read(found, 0, found.size), found, what=f"the manifest {found.digest} of {self.name}")

    def _blob(self, digest: str) -> Descriptor | None:
        """Return the blob *digest*, which need not be in `index.json`: it may be a part of an index there."""
        size = self.files.size(blob_name(digest)) if is_digest(digest) else None
        return None if size is None else Descriptor(media_type="", digest=digest, size=size)

    def _images(self) -> list[tuple[Descriptor, set[str]]]:
        content = document_of(self.files, INDEX_FILE)
        if content is None:
            raise broken(self.name, "it has no index.json")
        entries, _ = documents.index_entries(documents.parse(content, f"index.json of {self.name}"))
        return [(one, _names(one)) for one in entries]


def _names(image: Descriptor) -> set[str]:
    """Return the names by which users may choose an image: the full ones, and their tags."""
    names = {image.annotations.get(REF_NAME, ""), image.annotations.get(_IMAGE_NAME, "")} - {""}
    return names | {name.rpartition(":")[2] for name in names if "/" not in name.rpartition(":")[2]}


class LayoutTarget:
    """An OCI layout in a folder, which may have images already.

    Args:
        folder: The folder of the layout; created if it does not exist.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(error, folder) from error
        for blobs in (folder, *(folder / "blobs").iterdir()):
            sweep(blobs)

    def path(self, digest: str) -> Path:
        """Return the path of a blob."""
        return self.folder / blob_name(digest)

    def store(
        self,
        blob: Descriptor,
        content: Content,
        *,
        source: Reference | None = None,  # noqa: ARG002 - a layout mounts no blobs
        verify: bool = True,  # noqa: ARG002 - a layout verifies every blob
    ) -> int:
        """Store a blob, unless the layout has it undamaged; return the bytes transferred."""
        path = self.path(blob.digest)
        if self._has(blob) and is_whole(blob, path):
            return 0
        self._write(path, verified(content(), blob, what=f"the blob {blob.digest[:19]}"))
        return blob.size

    def _has(self, blob: Descriptor) -> bool:
        """Whether the layout has a blob of that digest and size, damaged or not."""
        try:
            return self.path(blob.digest).stat().st_size == blob.size
        except OSError:
            return False

    def _write(self, path: Path, content: Iterable[bytes]) -> None:
        try:
            # Without parents: a layout that was deleted meanwhile is an error.
            if path.parent != self.folder:
                path.parent.mkdir(exist_ok=True)
            with temporary_file(path.parent) as out:
                for chunk in content:
                    out.write(chunk)
                out.flush()
                Path(out.name).replace(path)
        except OSError as error:
            raise no_room(error, self.folder) from error

    def publish(self, image: Image, tags: Sequence[str]) -> None:
        """Store the manifest under *tags*; another image that had one of them loses it."""
        for layer in image.layers:
            if not self._has(layer):
                raise TritonBuildError(
                    f"the layer {layer.digest[:19]} is gone from {str(self.folder)!r}", hint="build again"
                )
        # Written again even if the files exist: they may be damaged.
        for blob, content in ((image.config, image.config_content), (image.manifest, image.manifest_content)):
            self._write(self.path(blob.digest), [content])
        self._write(self.folder / LAYOUT_FILE, [LAYOUT])
        added = named(image.manifest, tags)
        with self._locked():
            others = [one for one in self._entries() if one.strings("annotations").get(REF_NAME) not in tags]
            kept = [one.value for one in others if one.value not in added]
            self._write(self.folder / INDEX_FILE, [index_of([*kept, *added])])

    @contextlib.contextmanager
    def _locked(self) -> Iterator[None]:
        """Lock the layout's index against other builds on this machine."""
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def locations(self, tags: Sequence[str]) -> list[str]:
        """Return the names by which podman and skopeo find the image."""
        return [f"oci:{self.folder.absolute()}{f':{tag}' if tag else ''}" for tag in tags or [""]]

    def attach(self, manifest: Descriptor, content: bytes, blobs: Sequence[tuple[Descriptor, bytes]]) -> None:
        """Store a manifest that refers to an image of the layout, and its blobs."""
        for blob, part in (*blobs, (manifest, content)):
            self._write(self.path(blob.digest), [part])
        with self._locked():
            entries = [one.value for one in self._entries() if one.text("digest") != manifest.digest]
            self._write(self.folder / INDEX_FILE, [index_of([*entries, manifest.document()])])

    def _entries(self) -> tuple[Document, ...]:
        path = self.folder / INDEX_FILE
        return documents.parse(path.read_bytes(), str(path)).objects("manifests") if path.exists() else ()


def index_of(manifests: Sequence[Mapping[str, Any]]) -> bytes:
    """Return an image index of *manifests*."""
    return to_json({"schemaVersion": 2, "mediaType": descriptors.INDEX, "manifests": manifests})


def manifests_of(index: bytes, *, what: str) -> list[dict[str, Any]]:
    """Return the descriptors of an image index, as JSON objects."""
    return [dict(one.value) for one in documents.parse(index, what).objects("manifests")]


def named(manifest: Descriptor, tags: Sequence[str]) -> list[dict[str, Any]]:
    """Return the entries of a layout's index for an image: one for each tag, or one without a name."""
    entry = manifest.document()
    names = [{REF_NAME: tag, _IMAGE_NAME: str(parse_reference(tag))} for tag in tags]
    return [{**entry, "annotations": annotations} for annotations in names] or [entry]
