"""Restart points of a deflate stream, from which a layer can be read without its beginning.

A block of a deflate stream begins at any bit and refers to the 32 KiB before it, so a restart point is the position of
a block with those 32 KiB. Decompressors for Python do not report where blocks begin; `find` searches for them: the
header of a block with its own Huffman codes (nearly all blocks of a layer) has a code whose lengths fill the code space
exactly, which is true by chance for one bit position in some thousand. All positions of 8 KiB are tested at once, each
by a bit of large integers; the remaining ones are decompressed, and the result is compared with that of the whole
stream. RFC 1951 describes the format.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final

import attrs
from isal import isal_zlib

WINDOW: Final = 1 << 15
"""Bytes before a block that it can refer to."""

_LONGEST_HEADER: Final = 17 + 19 * 3
_CODE_LENGTHS: Final = 19
_LOOKED: Final = 1 << 13
"""Bytes whose positions are tested at once; a block of a layer has some ten thousand bytes."""

_OVERLAP: Final = (_LONGEST_HEADER + 7) // 8
_TRIED: Final = 2048
_CONVINCING: Final = 1 << 15
"""Bytes that must decompress for a position to be accepted; their content is compared later."""
_NOT_ZERO: Final = re.compile(rb"[^\0]")


@attrs.frozen(kw_only=True)
class Point:
    """A restart point: a position in a stream from which it can be decompressed.

    Attributes:
        byte: Offset in the compressed stream of the byte in which the block begins.
        bit: Number of the bit in that byte, 0 for the lowest.
        offset: Offset of the block's content in the uncompressed stream.
        window: Up to 32 KiB of uncompressed bytes before it.
        member: Number of the member of a gzip file that has it, from 0.
    """

    byte: int
    bit: int
    offset: int
    window: bytes
    member: int = 0


def block_starts(piece: bytes) -> Iterator[int]:
    """Yield the bit positions in *piece* at which a block may begin, in order; not those of fixed codes."""
    stream = int.from_bytes(piece, "little")
    positions = len(piece) * 8 - _LONGEST_HEADER
    if positions <= 0:
        return
    every = (1 << positions) - 1
    bit = [(stream >> shift) & every for shift in range(_LONGEST_HEADER)]
    # Not the last block; type 2; at most 286 literal and 30 distance codes.
    mask = every & ~bit[0] & ~bit[1] & bit[2]
    mask &= ~(bit[4] & bit[5] & bit[6] & bit[7])
    mask &= ~(bit[9] & bit[10] & bit[11] & bit[12])
    mask &= _complete(bit, every)
    mask |= _stored(stream, len(piece)) & every
    for found in _NOT_ZERO.finditer(mask.to_bytes((positions + 7) // 8, "little")):
        value = found.group()[0]
        for low in range(8):
            if value >> low & 1:
                yield found.start() * 8 + low


def _stored(stream: int, length: int) -> int:
    """Return where a stored block may begin: three zeros, and at the next byte its length, plain and inverted.

    Zeros may fill the bits up to that byte; the last three of them are taken for the header.
    """
    differ = stream ^ (stream >> 16)
    for shift in (1, 2, 4, 8):
        differ &= differ >> shift
    differ &= int.from_bytes(b"\x01" * (length - 4), "little")
    return (differ >> 3) & ~(stream | stream >> 1 | stream >> 2)


def _complete(bit: list[int], every: int) -> int:
    """Return the positions whose code for code lengths fills its space: the sum of 128 >> length is 128."""
    count = bit[13:17]
    total = [0] * 8
    over = 0
    for code in range(_CODE_LENGTHS):
        used = _at_least(count, code - 3, every) if code > 3 else every  # noqa: PLR2004 - the first four are always used
        low, middle, high = (bit[17 + 3 * code + digit] & used for digit in range(3))
        lengths = _one_hot(low, middle, high)
        carry = 0
        for digit in range(7):
            addend, before = lengths[7 - digit], total[digit]
            total[digit] = before ^ addend ^ carry
            carry = (before & addend) | (carry & (before ^ addend))
        over |= total[7] & carry
        total[7] ^= carry
    rest = over
    for digit in range(7):
        rest |= total[digit]
    return total[7] & ~rest


def _one_hot(low: int, middle: int, high: int) -> list[int]:
    """Return for each length from 0 to 7 the positions at which three bits are that number."""
    both, neither, first, second = low & middle, ~(low | middle), low & ~middle, middle & ~low
    return [0, first & ~high, second & ~high, both & ~high, high & neither, high & first, high & second, high & both]


def _at_least(count: list[int], least: int, every: int) -> int:
    """Return the positions at which the four bits of *count* are at least *least*."""
    greater, equal = 0, every
    for digit in (3, 2, 1, 0):
        if least >> digit & 1:
            equal &= count[digit]
        else:
            greater |= equal & count[digit]
            equal &= ~count[digit]
    return greater | equal


# Two empty blocks, of 10 and of 91 bits. Some of them in front let a block begin at the same bit of a byte as before.
_SHORT: Final = (0b0000000_01_0, 10)


def _empty_block() -> tuple[int, int]:
    bits, length = 0, 0

    def put(value: int, width: int) -> None:
        nonlocal bits, length
        bits |= value << length
        length += width

    put(0b10_0, 3)  # not the last, codes of its own
    put(0, 5)  # 257 literal codes
    put(0, 5)  # 1 distance code
    put(14, 4)  # 18 lengths of codes for lengths, in the order of RFC 1951
    for symbol in (16, 17, 18, 0, 8, 7, 9, 6, 10, 5, 11, 4, 12, 3, 13, 2, 14, 1):
        put(1 if symbol in {1, 18} else 0, 3)
    for zeros in (138, 117):
        put(1, 1)
        put(zeros - 11, 7)
    for _ in (255, 256, "distance"):
        put(0, 1)
    put(1, 1)  # the end of the block, 256
    return bits, length


_LONG: Final = _empty_block()


def _lead(bit: int) -> tuple[bytes, int]:
    bits, length = _LONG if bit % 2 else (0, 0)
    while length % 8 != bit:
        bits |= _SHORT[0] << length
        length += _SHORT[1]
    return bits.to_bytes((length + 7) // 8, "little"), (1 << bit) - 1


_LEADS: Final = tuple(_lead(bit) for bit in range(8))


def lead(bit: int) -> tuple[bytes, int]:
    """Return the lead of a block that begins at a bit of a byte: empty blocks, and the mask of their last bits."""
    return _LEADS[bit]


def restart(point: Point) -> tuple[isal_zlib.Decompress, bytes, int]:
    """Return a decompressor for the stream from *point* on, with the lead and the mask of `lead`.

    The first bytes it gets are `joined(lead, mask, stream)`.
    """
    before, mask = _LEADS[point.bit]
    inflater = isal_zlib.decompressobj(wbits=-15, zdict=point.window) if point.window else isal_zlib.decompressobj(-15)
    return inflater, before, mask


def joined(before: bytes, mask: int, stream: bytes) -> bytes:
    """Return *before* followed by *stream*, whose first byte has the last bits of *before* in *mask*."""
    if not mask:
        return before + stream
    return before[:-1] + bytes([before[-1] & mask | stream[0] & ~mask & 0xFF]) + stream[1:]


def find(piece: bytes) -> int | None:
    """Return the first bit position in *piece* from which it decompresses, or None."""
    return next((position for position in _candidates(piece) if _decompresses(piece, position)), None)


def _candidates(piece: bytes) -> Iterator[int]:
    """Yield the positions of `block_starts` lazily; a few come twice."""
    for start in range(0, len(piece), _LOOKED):
        for position in block_starts(piece[start : start + _LOOKED + _OVERLAP]):
            yield 8 * start + position


def _decompresses(piece: bytes, position: int) -> bool:
    """Whether *piece* can be decompressed from the bit *position* on."""
    inflater = zlib.decompressobj(-zlib.MAX_WBITS, zdict=bytes(WINDOW))
    before, mask = _LEADS[position % 8]
    first, rest = position // 8, position // 8 + _TRIED
    try:
        inflater.decompress(joined(before, mask, piece[first:rest]))
        for start in range(rest, min(len(piece), first + _CONVINCING), _TRIED):
            inflater.decompress(piece[start : start + _TRIED])
    except zlib.error:
        return False
    return True
