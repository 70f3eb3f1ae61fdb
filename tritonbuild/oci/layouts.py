"""OCI layouts, a folder or a tar of one: read in place, and written as a target.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import secrets
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

from tritonbuild.errors import InvalidInputError
from tritonbuild.oci import descriptors
from tritonbuild.oci.descriptors import REF_NAME, Descriptor, broken, descriptor, from_json, to_json, verified
from tritonbuild.oci.files import Files, document_of, no_room
from tritonbuild.oci.targets import Content, Image
from tritonbuild.reference import Reference, parse_reference

INDEX_FILE: Final = "index.json"
LAYOUT: Final = to_json({"imageLayoutVersion": "1.0.0"})
"""The content of a layout's `oci-layout` file."""
_IMAGE_NAME: Final = "io.containerd.image.name"


def blob_name(digest: str) -> str:
    """Return the path of a blob inside a layout."""
    return f"blobs/{digest.replace(':', '/')}"


def choose(images: Sequence[tuple[Descriptor, set[str]]], wanted: str, *, name: str) -> Descriptor:
    """Return the one of *images* with the tag, name or digest *wanted*; the only one if *wanted* is empty.

    Args:
        images: Descriptors, each with the image's names.
        wanted: A tag, a name, a digest, or the empty text.
        name: The layout or archive, for messages.

    Raises:
        InvalidInputError: There is none, or more than one.
    """
    if wanted:
        chosen = [one for one, names in images if one.digest == wanted or wanted in names]
    else:
        chosen = [one for one, _ in images]
    if len({one.digest for one in chosen}) != 1:
        known = ", ".join(sorted({found for _, names in images for found in names})) or "no names"
        what = f"no image {wanted!r}" if wanted else f"{len(chosen)} images"
        raise InvalidInputError(f"{name!r} has {what}", hint=f"it has {known}")
    return chosen[0]


class LayoutOrigin:
    """Images of a layout or archive.

    Args:
        files: Its files.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.name = str(files.path)

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of *blob* from *start* up to *stop*."""
        name = blob_name(blob.digest)
        if self.files.size(name) is None:
            raise broken(self.name, f"it has no blob {blob.digest}")
        yield from self.files.read(name, start, stop)

    def find(self, wanted: str) -> Descriptor:
        """Return the descriptor of the image *wanted*: a tag, a name, a digest; empty for the only one.

        Raises:
            InvalidInputError: There is none, or more than one.
        """
        return choose(self._images(), wanted, name=self.name)

    def _images(self) -> list[tuple[Descriptor, set[str]]]:
        content = document_of(self.files, INDEX_FILE)
        if content is None:
            raise broken(self.name, "it has no index.json")
        document = from_json(content, what=f"index.json of {self.name}")
        entries = document.get("manifests")
        if not isinstance(entries, list):
            raise broken(self.name, "its index has no manifests")
        found = []
        for entry in entries:
            one = descriptor(entry, what=self.name)
            names = {one.annotations.get(REF_NAME, ""), one.annotations.get("io.containerd.image.name", "")} - {""}
            names |= {name.rpartition(":")[2] for name in names if "/" not in name.rpartition(":")[2]}
            found.append((one, names))
        return found


# ruff: noqa: ARG002 - a target is told all there is to know of a blob


class Layout:
    """An OCI layout in a folder, with other images or new.

    Args:
        folder: Where it is; made if need be.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        try:
            (folder / "blobs" / "sha256").mkdir(parents=True, exist_ok=True)
        except OSError as error:
            raise no_room(error, folder) from error

    def path(self, digest: str) -> Path:
        """Return where a blob is."""
        return self.folder / blob_name(digest)

    def take(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Have a blob, whole or not at all."""
        path = self.path(blob.digest)
        with contextlib.suppress(OSError):
            if path.stat().st_size == blob.size:
                return 0
        self._write(path, verified(content(), blob, what=f"the blob {blob.digest[:19]}"))
        return blob.size

    def _write(self, path: Path, content: Iterable[bytes]) -> None:
        new = path.with_name(f".{secrets.token_hex(8)}")
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            with new.open("xb") as out:
                for chunk in content:
                    out.write(chunk)
            new.replace(path)
        except OSError as error:
            raise no_room(error, self.folder) from error
        finally:
            new.unlink(missing_ok=True)

    def finish(self, image: Image, tags: Sequence[str]) -> None:
        """Have the image under *tags*; what had them before loses them."""
        # These are written anew, whatever is there.
        for blob, content in ((image.config, image.config_content), (image.manifest, image.manifest_content)):
            self._write(self.path(blob.digest), [content])
        self._write(self.folder / "oci-layout", [LAYOUT])
        names = [_names(tag) for tag in tags]
        with self._alone():
            kept = [
                one for one in self._entries() if one.get("annotations", {}).get(REF_NAME) not in {n[0] for n in names}
            ]
            entry = image.manifest.document()
            added = [{**entry, "annotations": {REF_NAME: short, _IMAGE_NAME: long}} for short, long in names] or [entry]
            kept = [one for one in kept if one not in added]
            self._write(self.folder / INDEX_FILE, [index_of([*kept, *added])])

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Have the layout's index for oneself, among builds on this machine."""
        lock = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield
        finally:
            os.close(lock)

    def places(self, tags: Sequence[str]) -> list[str]:
        """Return where an image is."""
        return [f"oci:{self.folder.absolute()}{f':{tag}' if tag else ''}" for tag in tags or [""]]

    def attach(self, manifest: Descriptor, content: bytes, blobs: Sequence[tuple[Descriptor, bytes]]) -> None:
        """Have a manifest that refers to an image of the layout."""
        for blob, bytes_ in (*blobs, (manifest, content)):
            self._write(self.path(blob.digest), [bytes_])
        with self._alone():
            entries = [one for one in self._entries() if one.get("digest") != manifest.digest]
            self._write(self.folder / INDEX_FILE, [index_of([*entries, manifest.document()])])

    def _entries(self) -> list[dict[str, Any]]:
        path = self.folder / INDEX_FILE
        return manifests_of(path.read_bytes(), what=str(path)) if path.exists() else []


def index_of(manifests: Sequence[dict[str, Any]]) -> bytes:
    """Return an image index of *manifests*."""
    return to_json({"schemaVersion": 2, "mediaType": descriptors.INDEX, "manifests": manifests})


def manifests_of(index: bytes, *, what: str) -> list[dict[str, Any]]:
    """Return the manifests of an image index."""
    found = from_json(index, what=what).get("manifests")
    return [one for one in found if isinstance(one, dict)] if isinstance(found, list) else []


def _names(tag: str) -> tuple[str, str]:
    reference = parse_reference(tag)
    return tag, str(reference)
