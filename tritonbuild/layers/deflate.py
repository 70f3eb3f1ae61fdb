"""Restart points in a deflate stream, so that a layer can be read from its middle.

A gzip layer has to be read from its start, since a block refers to the 32 KiB before it and begins at any bit. A
restart point is the bit at which a block begins, with those 32 KiB. Decompressors for Python do not tell where blocks
begin, so they are found: the header of a block with its own Huffman codes (nearly all blocks of a layer) has a code
whose lengths fill the code space exactly, which one bit position in some thousand does by chance. All positions of
8 KiB are tested at once, with the bits of one large integer each standing for a position; what is left is
decompressed, and must yield what the whole stream yields there. RFC 1951 describes the format.
"""

from __future__ import annotations

import re
import zlib
from collections.abc import Iterator
from typing import Final

import attrs
from isal import isal_zlib

WINDOW: Final = 1 << 15
"""Bytes that a block can refer back to."""

_LONGEST_HEADER: Final = 17 + 19 * 3
_CODE_LENGTHS: Final = 19
_LOOKED: Final = 1 << 13
"""Bytes of which all positions are tested at once: a block of a layer has some ten thousand."""

_OVERLAP: Final = (_LONGEST_HEADER + 7) // 8
_TRIED: Final = 2048
_CONVINCING: Final = 1 << 15
"""Bytes that have to decompress for a position to count; what they come to is compared later."""
_NOT_ZERO: Final = re.compile(rb"[^\0]")


@attrs.frozen(kw_only=True)
class Point:
    """A place at which decompression can begin.

    Attributes:
        byte: Offset in the compressed stream of the byte in which the block begins.
        bit: The bit of that byte, 0 the lowest.
        offset: How many bytes the stream has yielded before.
        window: The last of these, up to 32 KiB.
        member: Which of the members of a gzip file it is in, the first being 0.
    """

    byte: int
    bit: int
    offset: int
    window: bytes
    member: int = 0


def block_starts(piece: bytes) -> Iterator[int]:
    """Yield the bit positions in *piece* at which a block may begin, in order; one with fixed codes is not found."""
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
    """Return where a block without compression may begin: three zeros, then at a byte its length twice, once inverted.

    There may be zeros up to that byte; the last three of them do as the header.
    """
    differ = stream ^ (stream >> 16)
    for shift in (1, 2, 4, 8):
        differ &= differ >> shift
    differ &= int.from_bytes(b"\x01" * (length - 4), "little")
    return (differ >> 3) & ~(stream | stream >> 1 | stream >> 2)


def _complete(bit: list[int], every: int) -> int:
    """Return where the code for code lengths fills its space: the sum of 128 >> length is 128."""
    count = bit[13:17]
    total = [0] * 8
    over = 0
    for code in range(_CODE_LENGTHS):
        used = _at_least(count, code - 3, every) if code > 3 else every  # noqa: PLR2004 - four are always there
        low, middle, high = (bit[17 + 3 * code + place] & used for place in range(3))
        lengths = _one_hot(low, middle, high)
        carry = 0
        for place in range(7):
            addend, before = lengths[7 - place], total[place]
            total[place] = before ^ addend ^ carry
            carry = (before & addend) | (carry & (before ^ addend))
        over |= total[7] & carry
        total[7] ^= carry
    rest = over
    for place in range(7):
        rest |= total[place]
    return total[7] & ~rest


def _one_hot(low: int, middle: int, high: int) -> list[int]:
    """Return for each length 0 to 7 where the three bits spell it."""
    both, neither, first, second = low & middle, ~(low | middle), low & ~middle, middle & ~low
    return [0, first & ~high, second & ~high, both & ~high, high & neither, high & first, high & second, high & both]


def _at_least(count: list[int], least: int, every: int) -> int:
    """Return where the four bits of *count* spell at least *least*."""
    greater, equal = 0, every
    for place in (3, 2, 1, 0):
        if least >> place & 1:
            equal &= count[place]
        else:
            greater |= equal & count[place]
            equal &= ~count[place]
    return greater | equal


# Two blocks that hold nothing, of 10 and of 91 bits: with some of them in front, a block that begins at any bit of its
# byte begins there again.
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
    """Return what stands before a block that begins at that bit of a byte, and the mask of its last byte's bits."""
    return _LEADS[bit]


def restart(point: Point) -> tuple[isal_zlib.Decompress, bytes, int]:
    """Return what goes on decompressing at *point*: an object, what to give it first, and how to mask the next byte.

    The byte of the stream in which the block begins is to be given as `next byte & ~mask | the lead's last byte`.
    """
    before, mask = _LEADS[point.bit]
    inflater = isal_zlib.decompressobj(wbits=-15, zdict=point.window) if point.window else isal_zlib.decompressobj(-15)
    return inflater, before, mask


def joined(before: bytes, mask: int, stream: bytes) -> bytes:
    """Return *before* followed by *stream*, which begins inside its first byte."""
    if not mask:
        return before + stream
    return before[:-1] + bytes([before[-1] & mask | stream[0] & ~mask & 0xFF]) + stream[1:]


def find(piece: bytes) -> int | None:
    """Return the first bit position in *piece* from which it decompresses, or None."""
    return next((position for position in _candidates(piece) if _decompresses(piece, position)), None)


def _candidates(piece: bytes) -> Iterator[int]:
    """Yield what `block_starts` does, looking no further than is asked; a few positions twice."""
    for start in range(0, len(piece), _LOOKED):
        for position in block_starts(piece[start : start + _LOOKED + _OVERLAP]):
            yield 8 * start + position


def _decompresses(piece: bytes, position: int) -> bool:
    """Whether what follows the bit *position* in *piece* can be decompressed."""
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
