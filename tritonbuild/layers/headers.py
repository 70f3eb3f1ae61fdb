"""Tar headers of new layers: equal bytes for equal entries, on every machine and with every Python.

The format is ustar, with a pax header in front where a ustar field is too small. There are no user names and no
fractions of seconds.
"""

from __future__ import annotations

import base64
import zlib
from collections.abc import Iterable
from typing import Final

import attrs

from tritonbuild.errors import TritonBuildError
from tritonbuild.layers.entry import FILE, FOLDER, HARD_LINK, SYMLINK, Entry

LAYER_FORMAT: Final = 5
"""The version of the bytes of new layers.

Raise it with every change after which equal items give other bytes: in this module, in the order of `items.arranged` or
`component`, in the compression of `writing` and `splice`. Cached layers and indexes of another version are not used.
"""

BLOCK: Final = 512
_LARGEST_ID: Final = 0o7777777
_LARGEST_SIZE: Final = 0o77777777777
_WRITTEN: Final = frozenset({FILE, FOLDER, HARD_LINK, SYMLINK})


def _octal(value: int, width: int) -> bytes:
    return f"{value:0{width - 1}o}\0".encode()


def _header(name: bytes, entry: Entry, kind: bytes, size: int, target: bytes) -> bytes:
    fields = b"".join(
        (
            name[:100].ljust(100, b"\0"),
            _octal(entry.mode, 8),
            _octal(min(entry.uid, _LARGEST_ID), 8),
            _octal(min(entry.gid, _LARGEST_ID), 8),
            _octal(min(size, _LARGEST_SIZE), 12),
            _octal(min(max(entry.mtime, 0), _LARGEST_SIZE), 12),
            b" " * 8,
            kind,
            target[:100].ljust(100, b"\0"),
            b"ustar\x0000",
        )
    ).ljust(BLOCK, b"\0")
    return fields[:148] + f"{checksum(fields):06o}\0 ".encode() + fields[156:]


def checksum(header: bytes) -> int:
    """Return the checksum of a header: the sum of its bytes, with blanks in the field of the checksum."""
    # The lower half of Adler-32 is 1 + the sum of the bytes modulo 65521, and the sum of half a header is smaller.
    halves = header[:148] + b" " * 8 + header[156:256], header[256:]
    return sum((zlib.adler32(half) & 0xFFFF) - 1 for half in halves)


def _pax(records: Iterable[tuple[str, bytes]]) -> bytes:
    out = b""
    for name, value in records:
        rest = b" " + name.encode("utf-8", "surrogateescape") + b"=" + value + b"\n"
        length = len(rest)
        while length != len(str(length)) + len(rest):
            length = len(str(length)) + len(rest)
        out += str(length).encode() + rest
    return out


def headers(entry: Entry) -> bytes:
    """Return the headers of an entry: everything before its content.

    Raises:
        TritonBuildError: The entry is neither a file nor a folder nor a link.
    """
    if entry.kind not in _WRITTEN:
        raise TritonBuildError(
            f"{entry.path!r} is a device or a FIFO, which a new layer cannot hold", hint="use another full image"
        )
    name = entry.path.encode("utf-8", "surrogateescape") + (b"/" if entry.kind == FOLDER else b"")
    target = entry.target.encode("utf-8", "surrogateescape")
    records = []
    if len(name) > 100:  # noqa: PLR2004 - the field's width
        records.append(("path", name))
    if len(target) > 100:  # noqa: PLR2004 - the field's width
        records.append(("linkpath", target))
    numbers = (("uid", entry.uid, _LARGEST_ID), ("gid", entry.gid, _LARGEST_ID), ("size", entry.size, _LARGEST_SIZE))
    records += [(key, str(value).encode()) for key, value, largest in numbers if value > largest]
    if not 0 <= entry.mtime <= _LARGEST_SIZE:
        records.append(("mtime", str(entry.mtime).encode()))
    records += [(f"SCHILY.xattr.{key}", base64.b64decode(value)) for key, value in sorted(entry.attributes.items())]
    out = b""
    if records:
        body = _pax(sorted(records))
        plain = attrs.evolve(entry, mode=0o644, uid=0, gid=0, mtime=0)
        out = _header(b"PaxHeaders/" + name.strip(b"/")[-80:], plain, b"x", len(body), b"") + padded(body)
    return out + _header(name, entry, entry.kind.encode(), entry.size if entry.kind == FILE else 0, target)


def padded(content: bytes) -> bytes:
    """Return *content* with zeros up to the end of its last block."""
    return content + bytes(-len(content) % BLOCK)
