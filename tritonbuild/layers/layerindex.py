"""What is known of a layer once it has been read: its entries, its ELF files, and where reading can begin again."""

from __future__ import annotations

import hashlib
import zlib
from array import array
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any, Final

import attrs
from blake3 import blake3
from isal import isal_zlib

from tritonbuild.layers.deflate import Point
from tritonbuild.layers.elf import Elf
from tritonbuild.layers.entry import Entry
from tritonbuild.layers.headers import LAYER_FORMAT
from tritonbuild.oci.descriptors import broken, from_json, to_json

GRAIN: Final = 1 << 20
"""Bytes of a blob for which there is a digest, so that a piece of it can be verified.

It is of BLAKE3: nobody else sees it, and it takes a quarter of the time that SHA-256 does.
"""

_FORMAT: Final = 8
"""The format of the file of an index."""
_MAGIC: Final = b"tritonbuild layer index %d, layers %d\n" % (_FORMAT, LAYER_FORMAT)
"""Begins the file. An index holds digests of layers that are still to be written, so it depends on `LAYER_FORMAT`."""
_NUMBERS: Final = ("mode", "uid", "gid", "mtime", "size", "offset")
_MOST_BYTES: Final = 2 << 30


@attrs.frozen
class FolderSums:
    """A component's folder, of which the entries stand together, as a layer of its own.

    Attributes:
        first: The place of its first entry.
        last: The place of its last entry.
        diff_id: The digest of the layer's tar.
        crc: The CRC-32 of it.
        size: The bytes of it.
    """

    first: int
    last: int
    diff_id: str
    crc: int
    size: int


@attrs.frozen(kw_only=True)
class LayerIndex:
    """A layer that has been read.

    Attributes:
        digest: Of the blob.
        blob_size: Bytes of the blob.
        size: Bytes of the uncompressed layer.
        compression: "gzip", "zstd" or empty.
        grains: BLAKE3 of every `GRAIN` bytes of the blob, one after the other.
        points: Where decompression can begin again, in order.
        paths: The entries' paths; the other columns are as long.
        kinds: A letter for each.
        targets: What links name.
        numbers: The other columns, by name.
        elves: Place of an entry -> what the loader reads of it.
        attributes: Place of an entry -> its extended attributes.
        contents: Path -> the content of a small file that planning reads.
        folders: Folder of a component -> what its own layer will be.
        opened: Number of an entry -> names of libraries that its file may open.
    """

    digest: str
    blob_size: int
    size: int
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

    def entry(self, place: int) -> Entry:
        """Return the entry at *place*."""
        return Entry(
            path=self.paths[place],
            kind=self.kinds[place],
            target=self.targets.get(place, ""),
            attributes=self.attributes.get(place, {}),
            **{name: self.numbers[name][place] for name in _NUMBERS},
        )

    def __len__(self) -> int:
        return len(self.kinds)


class Grains:
    """Takes a blob in pieces, and has the BLAKE3 of every `GRAIN` bytes of it."""

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
        """Return the digests, one after the other; the last grain may be shorter."""
        return bytes(self._digests) + (self._grain.digest() if self._left != GRAIN else b"")


class Columns:
    """Entries as they are found in a layer, column by column."""

    def __init__(self) -> None:
        self.paths: list[str] = []
        self.kinds: list[str] = []
        self.targets: dict[int, str] = {}
        self.numbers: dict[str, array[int]] = {name: array("q") for name in _NUMBERS}
        self.attributes: dict[int, Mapping[str, str]] = {}

    def add(self, entry: Entry) -> int:
        """Add *entry*; return its place."""
        place = len(self.kinds)
        self.paths.append(entry.path)
        self.kinds.append(entry.kind)
        for name, column in self.numbers.items():
            column.append(getattr(entry, name))
        if entry.target:
            self.targets[place] = entry.target
        if entry.attributes:
            self.attributes[place] = entry.attributes
        return place

    def index(self, *, elves: Mapping[int, Elf], **known: Any) -> LayerIndex:
        """Return the index of a layer that has these entries.

        Args:
            elves: Place of an entry -> what the loader reads of it.
            known: What else is known of it, fields of `LayerIndex`; by default it has no content that could be read.
        """
        nothing = {"digest": "", "blob_size": 0, "size": 0, "compression": "", "grains": b"", "points": ()}
        return LayerIndex(
            paths=self.paths,
            kinds="".join(self.kinds),
            targets=self.targets,
            numbers=self.numbers,
            elves=elves,
            attributes=self.attributes,
            **{**nothing, "contents": {}, **known},
        )


class _Elves(Mapping[int, Elf]):
    """What the loader reads of ELF files, made when it is asked for: of thousands planning asks for some hundred.

    Args:
        fields: Place of an entry -> what `Elf.fields` gave.
        unescaped: Makes of these what they were.
    """

    def __init__(self, fields: Mapping[int, list[Any]], unescaped: Callable[[Any], Any]) -> None:
        self._fields = fields
        self._unescaped = unescaped
        self._made: dict[int, Elf] = {}

    def __getitem__(self, place: int) -> Elf:
        if place not in self._made:
            self._made[place] = Elf.from_fields(self._unescaped(self._fields[place]))
        return self._made[place]

    def __iter__(self) -> Iterator[int]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def to_bytes(index: LayerIndex) -> bytes:
    """Return *index* as the content of a file that carries its own digest."""
    blobs = [
        "\0".join(index.paths).encode("utf-8", "surrogateescape"),
        *(_little(index.numbers[name]) for name in _NUMBERS),
        index.grains,
        *(point.window for point in index.points),
        *index.contents.values(),
    ]
    head = to_json(
        {
            "digest": index.digest,
            "blob_size": index.blob_size,
            "size": index.size,
            "compression": index.compression,
            "kinds": index.kinds,
            "targets": {str(place): _escaped(target) for place, target in index.targets.items()},
            "elves": {str(place): _escaped_fields(elf.fields()) for place, elf in index.elves.items()},
            "attributes": {str(place): dict(found) for place, found in index.attributes.items()},
            "points": [[point.byte, point.bit, point.offset, point.member] for point in index.points],
            "folders": {_escaped(path): attrs.astuple(sums) for path, sums in index.folders.items()},
            "opened": {str(number): names for number, names in index.opened.items()},
            "contents": list(index.contents),
            "lengths": [len(blob) for blob in blobs],
        }
    )
    payload = zlib.compress(len(head).to_bytes(8, "little") + head + b"".join(blobs), 1)
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def from_bytes(content: bytes, *, what: str) -> LayerIndex:
    """Return the index that `to_bytes` gave *content* for.

    Raises:
        TritonBuildError: It is damaged, or of another version.
    """
    start = len(_MAGIC)
    payload = content[start + 32 :]
    if content[:start] != _MAGIC or hashlib.sha256(payload).digest() != content[start : start + 32]:
        raise broken(what, "its digest is another")
    plain = isal_zlib.decompressobj().decompress(payload, _MOST_BYTES)
    length = int.from_bytes(plain[:8], "little")
    raw = plain[8 : 8 + length]
    head = from_json(raw, what=what)
    unescaped = _unescaped_fields if not raw.isascii() else _as_it_is
    blobs, place = [], 8 + length
    for size in head["lengths"]:
        blobs.append(plain[place : place + size])
        place += size
    paths, *rest = blobs
    numbers = {name: _from_little(rest[number]) for number, name in enumerate(_NUMBERS)}
    grains, *rest = rest[len(_NUMBERS) :]
    points = [
        Point(byte=byte, bit=bit, offset=offset, window=window, member=member)
        for (byte, bit, offset, member), window in zip(head["points"], rest, strict=False)
    ]
    return LayerIndex(
        digest=head["digest"],
        blob_size=head["blob_size"],
        size=head["size"],
        compression=head["compression"],
        grains=grains,
        points=tuple(points),
        paths=paths.decode("utf-8", "surrogateescape").split("\0") if head["kinds"] else [],
        kinds=head["kinds"],
        targets={int(place): _unescaped(target) for place, target in head["targets"].items()},
        numbers=numbers,
        elves=_Elves({int(place): fields for place, fields in head["elves"].items()}, unescaped),
        attributes={int(place): found for place, found in head["attributes"].items()},
        contents=dict(zip(head["contents"], rest[len(points) :], strict=True)),
        folders={_unescaped(path): FolderSums(*sums) for path, sums in head["folders"].items()},
        opened={int(number): tuple(names) for number, names in head["opened"].items()},
    )


def _little(column: array[int]) -> bytes:
    return column.tobytes() if _IS_LITTLE else _swapped(column).tobytes()


def _from_little(raw: bytes) -> array[int]:
    column = array("q")
    column.frombytes(raw)
    return column if _IS_LITTLE else _swapped(column)


def _swapped(column: array[int]) -> array[int]:
    copy = array("q", column)
    copy.byteswap()
    return copy


_IS_LITTLE: Final = array("q", [1]).tobytes()[0] == 1


def _escaped(text: str) -> str:
    """Return *text* so that JSON in UTF-8 takes it: names in Linux are bytes, and need not be UTF-8."""
    return text.encode("utf-8", "surrogateescape").decode("latin-1") if not text.isascii() else text


def _unescaped(text: str) -> str:
    return text.encode("latin-1").decode("utf-8", "surrogateescape") if not text.isascii() else text


def _as_it_is(value: Any) -> Any:
    return value


def _escaped_fields(value: Any) -> Any:
    if isinstance(value, str):
        return _escaped(value)
    return [_escaped_fields(one) for one in value] if isinstance(value, list | tuple) else value


def _unescaped_fields(value: Any) -> Any:
    if isinstance(value, str):
        return _unescaped(value)
    return [_unescaped_fields(one) for one in value] if isinstance(value, list) else value
