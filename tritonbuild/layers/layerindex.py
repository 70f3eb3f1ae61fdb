"""The index of a layer: its entries, ELF metadata, and restart points."""

from __future__ import annotations

from array import array
from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs
from blake3 import blake3

from tritonbuild.layers.deflate import Point
from tritonbuild.layers.elf import Elf
from tritonbuild.layers.entry import Entry

GRAIN: Final = 1 << 20
"""Bytes of a blob for which there is a digest, so that a piece of the blob can be verified.

The digest is BLAKE3, which takes a quarter of the time of SHA-256; it appears in no image.
"""

NUMBERS: Final = ("mode", "uid", "gid", "mtime", "size", "offset")
"""The numeric columns: attributes of `Entry`."""


@attrs.frozen
class FolderSums:
    """The precomputed sums of a component's own layer (see `component`).

    Attributes:
        first: Number of the first entry of the component's folder in the source layer.
        last: Number of the last one.
        diff_id: Digest of the tar.
        crc: CRC-32 of the tar.
        size: Bytes of the tar.
    """

    first: int
    last: int
    diff_id: str
    crc: int
    size: int


@attrs.frozen(kw_only=True)
class LayerIndex:
    """The index of a layer. Entries are numbered in the order of the tar, from 0.

    Attributes:
        digest: Digest of the blob.
        blob_size: Bytes of the blob.
        size: Bytes of the uncompressed layer.
        diff_id: Digest of the uncompressed layer; empty if it was not computed.
        compression: "gzip", "zstd" or empty.
        grains: BLAKE3 digests of every `GRAIN` bytes of the blob, concatenated.
        points: Restart points, in order.
        paths: Paths of the entries.
        kinds: Kinds of the entries, a character each.
        targets: Number of an entry -> target of the link.
        numbers: The columns `NUMBERS`, by name.
        elves: Number of an entry -> its ELF metadata.
        attributes: Number of an entry -> its extended attributes.
        contents: Path -> content of a small file that planning reads.
        folders: Folder of a component -> the sums of its own layer.
        opened: Number of an entry -> names of libraries that its file may open.
    """

    digest: str
    blob_size: int
    size: int
    diff_id: str
    compression: str
    grains: bytes
    points: tuple[Point, ...] = attrs.field(repr=False)
    paths: Sequence[str] = attrs.field(repr=False)
    kinds: str = attrs.field(repr=False)
    targets: Mapping[int, str] = attrs.field(repr=False)
    numbers: Mapping[str, array[int]] = attrs.field(repr=False)
    elves: Mapping[int, Elf] = attrs.field(repr=False)
    attributes: Mapping[int, Mapping[str, str]] = attrs.field(repr=False)
    contents: Mapping[str, bytes] = attrs.field(repr=False)
    folders: Mapping[str, FolderSums] = attrs.field(factory=dict, repr=False)
    opened: Mapping[int, tuple[str, ...]] = attrs.field(factory=dict, repr=False)

    def entry(self, number: int) -> Entry:
        """Return an entry by its number."""
        return Entry(
            path=self.paths[number],
            kind=self.kinds[number],
            target=self.targets.get(number, ""),
            attributes=self.attributes.get(number, {}),
            **{name: self.numbers[name][number] for name in NUMBERS},
        )

    def __len__(self) -> int:
        return len(self.kinds)


class Grains:
    """A digester of a blob in pieces: BLAKE3 of every `GRAIN` bytes."""

    def __init__(self) -> None:
        self._digests = bytearray()
        self._grain, self._left = blake3(), GRAIN

    def add(self, piece: bytes) -> None:
        """Take the next bytes."""
        rest = memoryview(piece)
        while rest:
            part = rest[: self._left]
            self._grain.update(part)
            self._left -= len(part)
            rest = rest[len(part) :]
            if not self._left:
                self._digests += self._grain.digest()
                self._grain, self._left = blake3(), GRAIN

    def digests(self) -> bytes:
        """Return the digests, concatenated; the last grain may be shorter."""
        return bytes(self._digests) + (self._grain.digest() if self._left != GRAIN else b"")


class Columns:
    """A growing table of entries, column by column."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.kinds: list[str] = []
        self.targets: dict[int, str] = {}
        self.numbers: dict[str, array[int]] = {name: array("q") for name in NUMBERS}
        self.attributes: dict[int, Mapping[str, str]] = {}

    def __len__(self) -> int:
        return len(self.kinds)

    def add(self, entry: Entry) -> int:
        """Add *entry*; return its number."""
        number = len(self.kinds)
        self.paths.append(entry.path)
        self.kinds.append(entry.kind)
        for name, column in self.numbers.items():
            column.append(getattr(entry, name))
        if entry.target:
            self.targets[number] = entry.target
        if entry.attributes:
            self.attributes[number] = entry.attributes
        return number

    def index(self, *, elves: Mapping[int, Elf], **known: Any) -> LayerIndex:
        """Return the index of a layer that has these entries.

        Args:
            elves: Number of an entry -> its ELF metadata.
            known: Other fields of `LayerIndex`; without them it is the index of a layer that has no blob.
        """
        nothing: dict[str, Any] = {
            **dict.fromkeys(("digest", "diff_id", "compression"), ""),
            **dict.fromkeys(("blob_size", "size"), 0),
            "grains": b"",
            "points": (),
            "contents": {},
        }
        return LayerIndex(
            paths=self.paths,
            kinds="".join(self.kinds),
            targets=self.targets,
            numbers=self.numbers,
            elves=elves,
            attributes=self.attributes,
            **{**nothing, **known},
        )
