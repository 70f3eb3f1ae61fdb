"""Images on disk: OCI layouts (a folder, a tar) and docker's archives, read without unpacking them.

https://github.com/opencontainers/image-spec/blob/main/image-layout.md
"""

from __future__ import annotations

import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO, Final, Protocol

from tritonbuild.errors import InvalidInputError
from tritonbuild.oci import descriptors
from tritonbuild.oci.descriptors import REF_NAME, Descriptor, broken, descriptor, from_json, to_json

_CHUNK: Final = 1 << 20


class Files(Protocol):
    """Files by name, in a folder or an archive."""

    path: Path

    def size(self, name: str) -> int | None:
        """Return a file's size; None if there is none of that name."""
        ...

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a file's bytes."""
        ...


def _chunks(file: BinaryIO, start: int, stop: int) -> Iterator[bytes]:
    file.seek(start)
    while start < stop and (chunk := file.read(min(_CHUNK, stop - start))):
        start += len(chunk)
        yield chunk


class Folder:
    """The files of a folder."""

    def __init__(self, path: Path) -> None:
        self.path = path

    def size(self, name: str) -> int | None:
        """Return a file's size; None if there is none of that name."""
        try:
            return (self.path / name).stat().st_size
        except OSError:
            return None

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a file's bytes."""
        with (self.path / name).open("rb") as file:
            yield from _chunks(file, start, stop)


class Archive:
    """The files of a tar, read in place."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._files: dict[str, tuple[int, int]] = {}
        links = {}
        try:
            with tarfile.open(path, "r:") as archive:
                for member in archive:
                    name = member.name.removeprefix("./")
                    if member.isreg():
                        self._files[name] = (member.offset_data, member.size)
                    elif member.issym() or member.islnk():
                        # docker wrote links for layers that several images have; they lead to files of the archive.
                        links[name] = _joined(name, member.linkname) if member.issym() else member.linkname
        except (OSError, tarfile.TarError) as error:
            raise InvalidInputError(f"{str(path)!r} is not a tar archive: {error}", hint="name another file") from error
        for name, target in links.items():
            if target in self._files:
                self._files[name] = self._files[target]

    def size(self, name: str) -> int | None:
        """Return a file's size; None if there is none of that name."""
        return self._files[name][1] if name in self._files else None

    def read(self, name: str, start: int, stop: int) -> Iterator[bytes]:
        """Yield a file's bytes."""
        offset, size = self._files[name]
        with self.path.open("rb") as file:
            yield from _chunks(file, offset + start, offset + min(stop, size))


def _joined(name: str, target: str) -> str:
    parts: list[str] = name.split("/")[:-1]
    for part in target.split("/"):
        if part == "..":
            parts = parts[:-1]
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def open_files(path: Path) -> Files:
    """Return the files of a folder or an archive.

    Raises:
        InvalidInputError: It is neither.
    """
    if path.is_dir():
        return Folder(path)
    if not path.exists():
        raise InvalidInputError(f"{str(path)!r} does not exist", hint="name a layout or an archive that exists")
    return Archive(path)


class LayoutOrigin:
    """Images of a layout or archive.

    Args:
        files: Its files.
    """

    def __init__(self, files: Files) -> None:
        self.files = files
        self.name = str(files.path)
        self._names: dict[str, str] = {}
        self._documents: dict[str, bytes] = {}

    def _whole(self, name: str) -> bytes | None:
        size = self.files.size(name)
        if size is None:
            return None
        if size > descriptors.LARGEST_DOCUMENT:
            raise broken(f"{name} of {self.name}", f"{size} bytes are too many")
        return b"".join(self.files.read(name, 0, size))

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        """Yield the bytes of *blob* from *start* up to *stop*."""
        if blob.digest in self._documents:
            yield self._documents[blob.digest][start:stop]
            return
        name = self._names.get(blob.digest, f"blobs/{blob.digest.replace(':', '/')}")
        if self.files.size(name) is None:
            raise broken(self.name, f"it has no blob {blob.digest}")
        yield from self.files.read(name, start, stop)

    def find(self, wanted: str) -> Descriptor:
        """Return the descriptor of the image *wanted*: a tag, a name, a digest; empty for the only one.

        Raises:
            InvalidInputError: There is none, or more than one.
        """
        content = self._whole("index.json")
        found = self._of_index(content) if content is not None else self._of_docker()
        if wanted:
            chosen = [one for one, names in found if one.digest == wanted or wanted in names]
        else:
            chosen = [one for one, _ in found]
        if len({one.digest for one in chosen}) != 1:
            known = ", ".join(sorted({name for _, names in found for name in names})) or "no names"
            what = f"no image {wanted!r}" if wanted else f"{len(chosen)} images"
            raise InvalidInputError(f"{self.name!r} has {what}", hint=f"it has {known}")
        return chosen[0]

    def _of_index(self, content: bytes) -> list[tuple[Descriptor, set[str]]]:
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

    def _of_docker(self) -> list[tuple[Descriptor, set[str]]]:
        """Return the images of an archive that `docker save` before version 25 wrote, as if it were a layout."""
        content = self._whole("manifest.json")
        if content is None:
            raise InvalidInputError(f"{self.name!r} is neither an OCI layout nor a docker archive", hint="name another")
        entries = from_json(b'{"images":' + content + b"}", what=f"manifest.json of {self.name}")["images"]
        return [(self._docker_image(entry), set(entry.get("RepoTags") or ())) for entry in entries]

    def _docker_image(self, entry: Mapping[str, Any]) -> Descriptor:
        config_name, layers = str(entry.get("Config", "")), entry.get("Layers") or []
        raw = self._whole(config_name)
        if raw is None:
            raise broken(self.name, f"it has no {config_name!r}")
        config = from_json(raw, what=f"{config_name} of {self.name}")
        diff_ids = (config.get("rootfs") or {}).get("diff_ids") or []
        if len(diff_ids) != len(layers):
            raise broken(self.name, "its configuration does not fit its layers")
        blobs = []
        for name, diff_id in zip(layers, diff_ids, strict=True):
            size = self.files.size(name)
            if size is None:
                raise broken(self.name, f"it has no {name!r}")
            document = {"mediaType": descriptors.LAYER, "digest": diff_id, "size": size}
            blob = descriptor(document, what=self.name)
            self._names[blob.digest] = name
            blobs.append(blob.document())
        digest = self._document(raw)
        manifest = {
            "schemaVersion": 2,
            "mediaType": descriptors.MANIFEST,
            "config": {"mediaType": descriptors.CONFIG, "digest": digest, "size": len(raw)},
            "layers": blobs,
        }
        content = to_json(manifest)
        return Descriptor(media_type=descriptors.MANIFEST, digest=self._document(content), size=len(content))

    def _document(self, content: bytes) -> str:
        digest = descriptors.digest_of(content)
        self._documents[digest] = content
        return digest
