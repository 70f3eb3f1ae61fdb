"""Decompressors that take a layer piece by piece: gzip of one or several members, zstd, none."""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Any, Final

import zstandard
from isal import isal_zlib

from tritonbuild.layers.deflate import Point, joined, restart
from tritonbuild.oci.descriptors import broken

GZIP: Final = b"\x1f\x8b"
ZSTD: Final = re.compile(rb"\x28\xb5\x2f\xfd|[\x50-\x5f]\x2a\x4d\x18", re.DOTALL)
"""The start of a zstd frame, or of a skippable one (RFC 8878)."""

LARGEST_PIECE: Final = 1 << 20
_STEP: Final = 1 << 18
"""Bytes that are decompressed at once: their output should fit into the processor's cache."""

_ZSTD_STEP: Final = 1 << 12
"""Bytes of zstd that are decompressed at once; a block of four bytes can hold 128 KiB."""

_LONGEST_HEADER: Final = 1 << 16
_TRAILER: Final = 8
ERRORS: Final[tuple[type[Exception], ...]] = (isal_zlib.error, zlib.error)  # type: ignore[assignment]  # its stub has no class


def compression(start: bytes) -> str:
    """Return the compression of a blob by its first bytes, which are more reliable than its media type."""
    if start.startswith(GZIP):
        return "gzip"
    return "zstd" if ZSTD.match(start) else ""


class Plain:
    """A decompressor of a layer without compression."""

    ended = True

    def feed(self, stream: bytes) -> Iterator[bytes]:
        """Yield *stream*."""
        if stream:
            yield stream


class Zstd:
    """A decompressor of zstd; skippable frames yield nothing."""

    ended = True

    def __init__(self, *, what: str) -> None:
        self.what = what
        self._frame: Any = zstandard.ZstdDecompressor(max_window_size=1 << 27).decompressobj(read_across_frames=True)

    def feed(self, stream: bytes) -> Iterator[bytes]:
        """Decompress *stream*."""
        for start in range(0, len(stream), _ZSTD_STEP):
            try:
                plain = self._frame.decompress(stream[start : start + _ZSTD_STEP])
            except zstandard.ZstdError as error:
                raise broken(self.what, f"it cannot be decompressed: {error}") from error
            if plain:
                yield plain


class Gzip:
    """A decompressor of gzip.

    Args:
        what: The name of the layer in messages.
        point: The restart point at which the stream begins; None for the start of a file.
    """

    def __init__(self, *, what: str, point: Point | None = None) -> None:
        self.what = what
        self._header: bytes | None = b""
        self._trailer: bytes | None = None
        self._sums: tuple[int, int] | None = (0, 0) if point is None else None
        self._lead: tuple[bytes, int] | None = None
        self._inflater: Any = None
        self.members = 0
        if point is not None:
            self._inflater, lead, mask = restart(point)
            self._lead = (lead, mask)
            self._header = None

    @property
    def ended(self) -> bool:
        """Whether the stream may end: a member is complete."""
        return self._inflater is None and self._header == b"" and self._trailer is None and self.members > 0

    @property
    def inside(self) -> bool:
        """Whether the next byte is one of a deflate stream."""
        return self._inflater is not None

    def feed(self, stream: bytes) -> Iterator[bytes]:
        """Decompress *stream*, in pieces of a megabyte at most."""
        if self._lead and stream:
            stream = joined(*self._lead, stream)
            self._lead = None
        view = memoryview(stream)
        for start in range(0, len(view), _STEP):
            yield from self._step(view[start : start + _STEP])

    def _step(self, stream: bytes | memoryview) -> Iterator[bytes]:
        while stream:
            if self._trailer is not None:
                step = _TRAILER - len(self._trailer)
                self._trailer += stream[:step]
                stream = stream[step:]
                self._check()
            elif self._inflater is None:
                stream = self._start(stream)
            else:
                yield from self._body(stream)
                stream = self._inflater.unused_data
                if self._inflater.eof:
                    self._inflater, self._header, self._trailer = None, b"", b""
                    self.members += 1
                else:
                    return

    def _body(self, stream: bytes | memoryview) -> Iterator[bytes]:
        inflater = self._inflater
        while True:
            try:
                plain = inflater.decompress(stream, LARGEST_PIECE)
            except ERRORS as error:
                raise broken(self.what, f"it cannot be decompressed: {error}") from error
            if plain:
                if self._sums:
                    self._sums = isal_zlib.crc32(plain, self._sums[0]), self._sums[1] + len(plain)
                yield plain
            stream = inflater.unconsumed_tail
            if inflater.eof or (not stream and len(plain) < LARGEST_PIECE):
                return

    def _check(self) -> None:
        """Check a complete trailer against its member, unless the member was read from its middle."""
        if self._trailer is None or len(self._trailer) < _TRAILER:
            return
        crc, size = (int.from_bytes(self._trailer[start : start + 4], "little") for start in (0, 4))
        if self._sums and (crc, size) != (self._sums[0], self._sums[1] & 0xFFFFFFFF):
            raise broken(self.what, "its gzip checksum does not match")
        self._trailer, self._sums = None, (0, 0)

    def _start(self, stream: bytes | memoryview) -> bytes:
        """Take the header of a member; return the bytes behind it."""
        self._header = (self._header or b"") + stream
        if self.members and not self._header.strip(b"\0"):
            self._header = b""  # padding behind the last member
            return b""
        length = _header_length(self._header)
        if length is None:
            if len(self._header) > _LONGEST_HEADER:
                raise broken(self.what, "it is not gzip")
            return b""
        if length < 0:
            raise broken(self.what, "it is not gzip")
        rest = self._header[length:]
        self._header, self._inflater = None, isal_zlib.decompressobj(-15)
        return rest


def _header_length(start: bytes) -> int | None:
    """Return the length of the gzip header at the start: None if it is incomplete, -1 if it is not one."""
    if not GZIP.startswith(start[:2]):
        return -1
    if len(start) < 10:  # noqa: PLR2004 - the fixed part
        return None
    if start[2] != 8:  # noqa: PLR2004 - deflate
        return -1
    flags, end = start[3], 10
    if flags & 4:
        if len(start) < end + 2:
            return None
        end += 2 + int.from_bytes(start[end : end + 2], "little")
    for flag in (8, 16):
        if flags & flag:
            zero = start.find(b"\0", end)
            if zero < 0:
                return None
            end = zero + 1
    end += 2 if flags & 2 else 0
    return end if len(start) >= end else None


def inflater(kind: str, *, what: str, point: Point | None = None) -> Gzip | Zstd | Plain:
    """Return the decompressor for a compression, from *point* on."""
    if kind == "gzip":
        return Gzip(what=what, point=point)
    return Zstd(what=what) if kind == "zstd" else Plain()
