"""The file of a layer index: a magic line, the SHA-256 of the rest, then JSON and columns, compressed together."""

from __future__ import annotations

import hashlib
import json
import zlib
from array import array
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs
from isal import isal_zlib

from tritonbuild.layers.deflate import WINDOW, Point
from tritonbuild.layers.elf import Elf
from tritonbuild.layers.headers import LAYER_FORMAT
from tritonbuild.layers.inflate import ERRORS
from tritonbuild.layers.layerindex import GRAIN, NUMBERS, FolderSums, LayerIndex
from tritonbuild.oci.descriptors import broken, from_json

_VERSION: Final = 11
"""The version of the file; `LAYER_FORMAT` is beside it, because an index holds digests of layers yet to be written."""

_MAGIC: Final = b"tritonbuild layer index %d, layers %d\n" % (_VERSION, LAYER_FORMAT)
_MOST_BYTES: Final = 2 << 30
_ELF_FIELDS: Final = len(attrs.fields(Elf))
_MALFORMED: Final[tuple[type[Exception], ...]] = (
    ValueError,
    KeyError,
    IndexError,
    TypeError,
    AttributeError,
    *ERRORS,
)


class _Elves(Mapping[int, Elf]):
    """ELF metadata made on demand: planning asks for some hundred of many thousand.

    Args:
        rows: Number of an entry -> the values of an `Elf`.
    """

    def __init__(self, rows: Mapping[int, list[Any]]) -> None:
        self._rows = rows
        self._records: dict[int, Elf] = {}

    def __getitem__(self, number: int) -> Elf:
        if number not in self._records:
            self._records[number] = Elf.from_row(self._rows[number])
        return self._records[number]

    def __iter__(self) -> Iterator[int]:
        return iter(self._rows)

    def __len__(self) -> int:
        return len(self._rows)


def to_bytes(index: LayerIndex) -> bytes:
    """Return *index* as the content of a file that carries its own digest."""
    blobs = [
        "\0".join(index.paths).encode("utf-8", "surrogateescape"),
        *(_little(index.numbers[name]).tobytes() for name in NUMBERS),
        index.grains,
        *(point.window for point in index.points),
        *index.contents.values(),
    ]
    head = {
        "digest": index.digest,
        "blob_size": index.blob_size,
        "size": index.size,
        "diff_id": index.diff_id,
        "compression": index.compression,
        "kinds": index.kinds,
        "targets": index.targets,
        "elves": {number: attrs.astuple(elf, recurse=False) for number, elf in index.elves.items()},
        "attributes": {number: dict(found) for number, found in index.attributes.items()},
        "points": [[point.byte, point.bit, point.offset, point.member] for point in index.points],
        "folders": {path: attrs.astuple(sums) for path, sums in index.folders.items()},
        "opened": index.opened,
        "contents": list(index.contents),
        "lengths": [len(blob) for blob in blobs],
    }
    # ASCII, because names in Linux are bytes and need not be UTF-8: lone surrogates survive as escapes.
    text = json.dumps(head, sort_keys=True, separators=(",", ":")).encode()
    payload = zlib.compress(len(text).to_bytes(8, "little") + text + b"".join(blobs), 1)
    return _MAGIC + hashlib.sha256(payload).digest() + payload


def from_bytes(content: bytes, *, what: str) -> LayerIndex:
    """Return the index in *content*, which `to_bytes` wrote.

    Raises:
        TritonBuildError: It is damaged, or of another version.
    """
    start = len(_MAGIC)
    payload = content[start + 32 :]
    if content[:start] != _MAGIC or hashlib.sha256(payload).digest() != content[start : start + 32]:
        raise broken(what, "its digest does not match, or its version is another")
    try:
        index = _index(isal_zlib.decompressobj().decompress(payload, _MOST_BYTES), what)
        consistent = _is_consistent(index)
    except _MALFORMED as error:
        raise broken(what, "its content is malformed") from error
    if not consistent:
        raise broken(what, "its columns do not fit together")
    return index


def _index(plain: bytes, what: str) -> LayerIndex:
    start = 8 + int.from_bytes(plain[:8], "little")
    head = from_json(plain[8:start], what=what)
    blobs = []
    for size in head["lengths"]:
        blobs.append(plain[start : start + size])
        start += size
    paths, *rest = blobs
    numbers = {name: _column(rest[position]) for position, name in enumerate(NUMBERS)}
    grains, *rest = rest[len(NUMBERS) :]
    points = tuple(
        Point(byte=byte, bit=bit, offset=offset, window=window, member=member)
        for (byte, bit, offset, member), window in zip(head["points"], rest, strict=False)
    )
    return LayerIndex(
        digest=head["digest"],
        blob_size=head["blob_size"],
        size=head["size"],
        diff_id=head["diff_id"],
        compression=head["compression"],
        grains=grains,
        points=points,
        paths=paths.decode("utf-8", "surrogateescape").split("\0") if head["kinds"] else [],
        kinds=head["kinds"],
        targets={int(number): target for number, target in head["targets"].items()},
        numbers=numbers,
        elves=_Elves({int(number): _elf_row(row) for number, row in head["elves"].items()}),
        attributes={int(number): found for number, found in head["attributes"].items()},
        contents=dict(zip(head["contents"], rest[len(points) :], strict=True)),
        folders={path: FolderSums(*sums) for path, sums in head["folders"].items()},
        opened={int(number): tuple(names) for number, names in head["opened"].items()},
    )


def _elf_row(row: list[Any]) -> list[Any]:
    if len(row) != _ELF_FIELDS:
        raise ValueError(row)
    return row


def _is_consistent(index: LayerIndex) -> bool:
    """Whether the columns are equally long and the positions are inside the blob."""
    texts = (index.digest, index.diff_id, index.compression, index.kinds, *index.targets.values())
    return (
        all(isinstance(text, str) for text in texts)
        and {len(index.paths), *map(len, index.numbers.values())} == {len(index)}
        and len(index.grains) == -(-index.blob_size // GRAIN) * 32
        and all(
            point.byte < index.blob_size and point.bit in range(8) and len(point.window) <= WINDOW
            for point in index.points
        )
    )


def _little(column: array[int]) -> array[int]:
    """Return *column* in little-endian order, from or for this machine's."""
    if array("q", [1]).tobytes()[0] == 1:
        return column
    swapped = array("q", column)
    swapped.byteswap()
    return swapped


def _column(raw: bytes) -> array[int]:
    column = array("q")
    column.frombytes(raw)
    return _little(column)
