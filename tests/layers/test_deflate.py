from __future__ import annotations

import zlib

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from tests.tiny import images as tiny
from tritonbuild.layers import deflate
from tritonbuild.layers.deflate import Point
from tritonbuild.layers.inflate import Gzip


def packed(plain: bytes, level: int) -> bytes:
    packer = zlib.compressobj(level, zlib.DEFLATED, -15)
    return packer.compress(plain) + packer.flush()


@pytest.mark.parametrize("level", [1, 3, 6, 9])
@pytest.mark.parametrize("start", [100_000, 400_001, 999_999])
def test_a_block_is_found_and_decompressed_from(level: int, start: int) -> None:
    plain = tiny.noise(7, 4_000_000)
    stream = packed(plain, level)
    bit = deflate.find(stream[start : start + (1 << 17)])
    assert bit is not None
    cut = start + (bit + 7) // 8
    offset = len(zlib.decompressobj(-15).decompress(stream[:cut]))
    point = Point(byte=start + bit // 8, bit=bit % 8, offset=offset, window=plain[offset - deflate.WINDOW : offset])
    found = b"".join(Gzip(what="", point=point).feed(stream[point.byte :]))
    assert found == plain[offset:]


@pytest.mark.parametrize("bit", range(8))
def test_every_bit_can_be_begun_at(bit: int) -> None:
    plain = b"hello, layers " * 50
    body = packed(plain, 6)
    # What stands before the block in its first byte is of no meaning.
    shifted = (int.from_bytes(body, "little") << bit | (0x5A & ((1 << bit) - 1))).to_bytes(len(body) + 1, "little")
    point = Point(byte=0, bit=bit, offset=0, window=b"")
    assert b"".join(Gzip(what="", point=point).feed(shifted)) == plain


@settings(max_examples=40, deadline=None)
@given(st.binary(max_size=3000))
def test_noise_does_no_harm(noise: bytes) -> None:
    found = deflate.find(noise)
    assert found is None or 0 <= found < len(noise) * 8


def test_too_little_to_hold_a_header() -> None:
    assert deflate.find(b"") is None
    assert deflate.find(b"\x04" * 9) is None


@pytest.mark.parametrize("level", [1, 6])
def test_windows_lose_no_position(level: int) -> None:
    piece = packed(tiny.noise(9, 200_000), level)[:60_001] + bytes(20) + tiny.noise(3, 30_000)
    assert {*deflate._candidates(piece)} == {*deflate.block_starts(piece)}
