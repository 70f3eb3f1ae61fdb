"""Docker archives as origins, and as targets that are OCI layouts as well.

https://github.com/moby/docker-image-spec/blob/main/spec.md#combined-image-json--filesystem-changeset-format
"""

from __future__ import annotations

import contextlib
import hashlib
import re
import tarfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import BinaryIO, Final

from tritonbuild.errors import InvalidInputError
from tritonbuild.oci import descriptors, documents
from tritonbuild.oci.descriptors import Descriptor, broken, to_json, verified
from tritonbuild.oci.documents import Document
from tritonbuild.oci.files import FileSource, chunks, document_of, no_room, open_files, sweep, temporary_folder
from tritonbuild.oci.layouts import (
    INDEX_FILE,
    LAYOUT,
    LAYOUT_FILE,
    LayoutOrigin,
    LayoutTarget,
    blob_name,
    choose,
    index_of,
    named,
)
from tritonbuild.oci.targets import Content, Image
from tritonbuild.reference import Reference, parse_reference

_BLOCK: Final = 512
_MANIFEST: Final = "manifest.json"
_COMPRESSED: Final = {b"\x1f\x8b": descriptors.LAYER_GZIP, b"\x28\xb5\x2f\xfd": descriptors.LAYER_ZSTD}
"""The first bytes of compressed layers."""
_CRANE: Final = re.compile(r"(?:sha256:)?([0-9a-f]{64})\.tar\.gz", re.ASCII)


def open_origin(files: FileSource) -> LayoutOrigin | DockerOrigin:
    """Open an OCI layout or a docker archive.

    Raises:
        InvalidInputError: *files* is neither.
    """
    if files.size(INDEX_FILE) is not None:
        return LayoutOrigin(files)
    if files.size(_MANIFEST) is not None:
        return DockerOrigin(files)
    raise InvalidInputError(
        f"{str(files.path)!r} is neither an OCI layout nor a docker archive", hint="name a layout or an archive"
    )


class DockerOrigin:
    """The images of a docker archive, as `docker save` wrote it before version 25, seen as an OCI layout.

    Args:
        files: The files of the archive.
    """

    def __init__(self, files: FileSource) -> None:
        self.name = str(files.path)
        self._files = files
        self._names: dict[str, str] = {}
        self._digests: dict[str, str] = {}
        self._documents: dict[str, bytes] = {}

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of *blob* from *start* up to *stop*."""
        if blob.digest in self._documents:
            yield self._documents[blob.digest][start:stop]
            return
        if blob.digest not in self._names:
            raise broken(self.name, f"it has no blob {blob.digest}")
        yield from self._files.read(self._names[blob.digest], start, stop)

    def manifest(self, wanted: str) -> tuple[Descriptor, bytes]:
        """Return the manifest of an image.

        Args:
            wanted: A tag, a name or a digest; the empty string for the only image.

        Raises:
            InvalidInputError: No image or more than one image matches.
        """
        found = choose(self._images(), wanted, name=self.name)
        return found, self._documents[found.digest]

    def _images(self) -> list[tuple[Descriptor, set[str]]]:
        content = document_of(self._files, _MANIFEST) or b""
        entries = documents.parse_list(content, f"{_MANIFEST} of {self.name}")
        return [(self._image(entry), {*entry.texts("RepoTags")}) for entry in entries]

    def _image(self, entry: Document) -> Descriptor:
        """Return the descriptor of a manifest that is made for the image *entry*."""
        config_name, names = entry.text("Config"), entry.texts("Layers")
        raw = document_of(self._files, _inside(entry, config_name))
        if raw is None:
            raise broken(self.name, f"it has no {config_name!r}")
        config = documents.parse(raw, f"{config_name} of {self.name}")
        diff_ids = config.object("rootfs").digests("diff_ids")
        if len(diff_ids) != len(names):
            raise broken(self.name, f"it lists {len(names)} layers, and {len(diff_ids)} diff IDs")
        layers = [self._layer(_inside(entry, name), diff_id) for name, diff_id in zip(names, diff_ids, strict=True)]
        manifest = {
            "schemaVersion": 2,
            "mediaType": descriptors.MANIFEST,
            "config": {"mediaType": descriptors.CONFIG, "digest": self._document(raw), "size": len(raw)},
            "layers": [layer.document() for layer in layers],
        }
        content = to_json(manifest)
        return Descriptor(media_type=descriptors.MANIFEST, digest=self._document(content), size=len(content))

    def _layer(self, name: str, diff_id: str) -> Descriptor:
        """Return the descriptor of the layer in the file *name*, which is a tar, or one that is compressed."""
        size = self._files.size(name)
        if size is None:
            raise broken(self.name, f"it has no {name!r}")
        start = b"".join(self._files.read(name, 0, min(size, 4)))
        media_type = next((kind for magic, kind in _COMPRESSED.items() if start.startswith(magic)), descriptors.LAYER)
        digest = diff_id if media_type == descriptors.LAYER else self._digest(name, size)
        self._names[digest] = name
        return Descriptor(media_type=media_type, digest=digest, size=size)

    def _digest(self, name: str, size: int) -> str:
        """Return the digest of the compressed layer *name*: crane's file name has it; other layers are read."""
        named = _CRANE.fullmatch(name)
        if named:
            return f"sha256:{named[1]}"
        if name not in self._digests:
            digest = hashlib.sha256()
            for chunk in self._files.read(name, 0, size):
                digest.update(chunk)
            self._digests[name] = f"sha256:{digest.hexdigest()}"
        return self._digests[name]

    def _document(self, content: bytes) -> str:
        digest = descriptors.digest_of(content)
        self._documents[digest] = content
        return digest


def to_layout(saved: Path, target: Path, tags: Sequence[str]) -> None:
    """Write what `docker save` wrote to *saved* to *target*, as an archive of an OCI layout, the image under *tags*.

    The configuration and the layers stay byte for byte. Since version 25 docker saves such archives itself; these are
    moved.

    Raises:
        TritonBuildError: *saved* is not an archive of one image.
        OSError: One of the files cannot be read or written.
    """
    origin = open_origin(open_files(saved))
    if isinstance(origin, LayoutOrigin):
        saved.replace(target)
        return
    manifest, content = origin.manifest("")
    document = documents.parse(content, origin.name)
    blobs = [documents.descriptor(one) for one in (document.object("config"), *document.objects("layers"))]
    with target.open("wb") as out:
        for blob in {blob.digest: blob for blob in (*blobs, manifest)}.values():
            content_of = verified(origin.read(blob, 0, blob.size), blob, what=f"{blob.digest[:19]} of {origin.name}")
            _member(out, blob_name(blob.digest), content_of, blob.size)
        for name, content in ((LAYOUT_FILE, LAYOUT), (INDEX_FILE, index_of(named(manifest, tags)))):
            _member(out, name, [content], len(content))
        out.write(bytes(2 * _BLOCK))


def _inside(entry: Document, name: str) -> str:
    """Return *name*, a file of the archive; it may be a folder on disk, whose files alone count."""
    if name.startswith("/") or ".." in name.split("/"):
        entry.fail(f"{name!r} is outside of it")
    return name


class ArchiveTarget:
    """A tar archive that is an OCI layout and a docker archive at once.

    Args:
        path: The path of the archive, which is replaced in one step.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        if path.is_dir():
            raise InvalidInputError(f"{str(path)!r} is a folder", hint="name a file")
        self._stack = contextlib.ExitStack()
        try:
            sweep(path.parent, path.name)
            self._scratch = self._stack.enter_context(temporary_folder(path.parent, path.name))
        except OSError as error:
            raise no_room(error, path.parent) from error
        # Below the folder that is locked: publishing locks the folder of the layout.
        self._layout = LayoutTarget(self._scratch / "layout")

    def store(self, blob: Descriptor, content: Content, *, source: Reference | None = None, verify: bool = True) -> int:
        """Store a blob; return the bytes transferred."""
        return self._layout.store(blob, content, source=source, verify=verify)

    def publish(self, image: Image, tags: Sequence[str]) -> None:
        """Write the archive, with the image under *tags*."""
        self._layout.publish(image, tags)
        repositories = [str(parse_reference(tag)) for tag in tags]
        manifest = [
            {
                "Config": blob_name(image.config.digest),
                "RepoTags": repositories,
                "Layers": [blob_name(layer.digest) for layer in image.layers],
            }
        ]
        content = to_json(manifest)
        new = self._scratch / "archive"
        try:
            with new.open("wb") as out:
                _member(out, _MANIFEST, [content], len(content))
                for path in sorted(self._layout.folder.rglob("*")):
                    if path.is_file():
                        _member(out, str(path.relative_to(self._layout.folder)), chunks(path), path.stat().st_size)
                out.write(bytes(2 * _BLOCK))
            new.replace(self.path)
        except OSError as error:
            raise no_room(error, self.path.parent) from error

    def locations(self, tags: Sequence[str]) -> list[str]:  # noqa: ARG002 - the name of the archive is enough
        """Return the name by which podman and skopeo find the archive."""
        return [f"docker-archive:{self.path.absolute()}"]

    def close(self) -> None:
        """Remove the temporary folder."""
        self._stack.close()


def _member(out: BinaryIO, name: str, content: Iterable[bytes], size: int) -> None:
    member = tarfile.TarInfo(name)
    member.size, member.mode = size, 0o644
    out.write(member.tobuf(tarfile.PAX_FORMAT))
    out.writelines(content)
    out.write(bytes(-size % _BLOCK))
