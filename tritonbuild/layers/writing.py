"""Writing a layer: its tar is compressed on all cores, and both of its digests are computed."""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Generator, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Final, Protocol

import attrs
import zstandard
from isal import isal_zlib

from tritonbuild.layers import component, splice
from tritonbuild.layers.items import NewLayer
from tritonbuild.layers.layerindex import FolderSums
from tritonbuild.layers.splice import Plain, Taken
from tritonbuild.layers.tarstream import stream
from tritonbuild.oci import descriptors
from tritonbuild.threads import ahead

UNIT: Final = 2 << 20
"""Bytes that are compressed independently, so that any number of cores gives the same result."""

GZIP, ZSTD = "gzip", "zstd"
COMPRESSIONS: Final = (GZIP, ZSTD)
_LEVELS: Final = {GZIP: 1, ZSTD: 3}
_UNDERWAY: Final = 4
_STORED: Final = 32
"""Bytes at the start of a unit that are stored, and are the dictionary for the rest."""

_GZIP_HEAD: Final = b"\x1f\x8b\x08\0\0\0\0\0\0\xff"
_LAST_BLOCK: Final = b"\x03\0"
MEDIA_TYPES: Final = {GZIP: descriptors.LAYER_GZIP, ZSTD: descriptors.LAYER_ZSTD}


@attrs.frozen(kw_only=True)
class Written:
    """A written layer: its blob, and digest and size of the uncompressed layer."""

    media_type: str
    digest: str
    diff_id: str
    size: int
    unpacked: int


def deflated(unit: bytes) -> bytes:
    """Return *unit* as deflate blocks that refer to nothing before them and end on a byte boundary.

    A stream that ISA-L begins without history files its third position under a hash of the stream's address (the
    label `write_first_byte` of igzip_icf_body_h1_gr_bt.asm), so the same bytes compress differently at one address
    in some thousand. A stream that begins with a dictionary does not take that path. The dictionary is the start of
    the unit, which stands in front as a stored block.
    """
    start = unit[:_STORED]
    length = len(start).to_bytes(2, "little") + (len(start) ^ 0xFFFF).to_bytes(2, "little")
    packer = isal_zlib.compressobj(_LEVELS[GZIP], isal_zlib.DEFLATED, -15, zdict=start)
    rest = packer.compress(memoryview(unit)[len(start) :]) + packer.flush(isal_zlib.Z_FULL_FLUSH)
    return b"\0" + length + start + rest


def _zstd(unit: bytes) -> bytes:
    return zstandard.ZstdCompressor(_LEVELS[ZSTD]).compress(unit)


def _units(pieces: Iterable[bytes]) -> Iterator[bytes]:
    """Yield *pieces* as units of equal size; the cuts depend on the content alone."""
    held = bytearray()
    for piece in pieces:
        held += piece
        while len(held) >= UNIT:
            yield bytes(memoryview(held)[:UNIT])
            del held[:UNIT]
    if held:
        yield bytes(held)


def _packed(units: Iterable[bytes], pool: Executor, compression: str, sums: _Sums) -> Iterator[bytes]:
    pack = deflated if compression == GZIP else _zstd
    underway: deque[Future[bytes]] = deque()
    if compression == GZIP:
        yield _GZIP_HEAD
    for unit in units:
        underway.append(pool.submit(pack, unit))
        sums.add(unit)
        if len(underway) >= _UNDERWAY:
            yield underway.popleft().result()
    while underway:
        yield underway.popleft().result()
    if compression == GZIP:
        yield _LAST_BLOCK + sums.crc.to_bytes(4, "little") + (sums.size & 0xFFFFFFFF).to_bytes(4, "little")


class Out(Protocol):
    """A receiver of bytes."""

    def write(self, chunk: bytes, /) -> object:
        """Take the next bytes."""
        ...


class _Sums:
    def __init__(self) -> None:
        self.sha256 = hashlib.sha256()
        self.crc = 0
        self.size = 0

    def add(self, unit: bytes) -> None:
        self.sha256.update(unit)
        self.crc = isal_zlib.crc32(unit, self.crc)
        self.size += len(unit)


def write(layer: NewLayer, out: Out, pool: Executor, compression: str = GZIP) -> Written:
    """Write *layer* to *out*.

    Args:
        layer: The layer.
        out: The receiver of the compressed bytes.
        pool: The threads that compress.
        compression: "gzip" or "zstd".

    Raises:
        TritonBuildError: A source layer has changed since it was indexed, or an item cannot be part of a layer.
    """
    source = component.source_of(layer) if compression == GZIP else None
    sums, packed, size = _Sums(), hashlib.sha256(), 0
    if source is None:
        units: Generator[Any, None, None] = ahead(_units(stream(layer)), depth=2)
        chunks = _packed(units, pool, compression, sums)
    else:
        units = ahead(_cut(splice.parts(layer, source.layer)), depth=4)
        chunks = _spliced(units, pool, source.sums)
        sums.size = source.sums.size
    try:
        for chunk in chunks:
            packed.update(chunk)
            size += len(chunk)
            out.write(chunk)
    finally:
        units.close()
    return Written(
        media_type=MEDIA_TYPES[compression],
        digest=f"sha256:{packed.hexdigest()}",
        diff_id=source.sums.diff_id if source else f"sha256:{sums.sha256.hexdigest()}",
        size=size,
        unpacked=sums.size,
    )


def _cut(parts: Iterable[Plain | Taken]) -> Iterator[Plain | Taken]:
    """Yield *parts* with the uncompressed bytes in units of equal size; each taken stretch begins a new unit."""
    held = bytearray()
    for part in parts:
        if isinstance(part, Taken):
            if held:
                yield Plain(bytes(held))
                held.clear()
            yield part
            continue
        held += part.content
        while len(held) >= UNIT:
            yield Plain(bytes(memoryview(held)[:UNIT]))
            del held[:UNIT]
    if held:
        yield Plain(bytes(held))


def _spliced(parts: Iterable[Plain | Taken], pool: Executor, sums: FolderSums) -> Iterator[bytes]:
    underway: deque[Future[bytes] | bytes] = deque()
    yield _GZIP_HEAD
    for part in parts:
        underway.append(pool.submit(deflated, part.content) if isinstance(part, Plain) else part.content)
        if len(underway) >= _UNDERWAY:
            yield _done(underway.popleft())
    while underway:
        yield _done(underway.popleft())
    yield _LAST_BLOCK + sums.crc.to_bytes(4, "little") + (sums.size & 0xFFFFFFFF).to_bytes(4, "little")


def _done(one: Future[bytes] | bytes) -> bytes:
    return one if isinstance(one, bytes) else one.result()
