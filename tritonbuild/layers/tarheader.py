"""Tar headers of source layers: the fields of a header block and its extensions to an entry.

Formats: ustar, GNU (long names, base-256 numbers), pax. Numbers are those that a signed integer of 64 bits holds, as
in Go's archive/tar, which writes nearly all layers.
"""

from __future__ import annotations

import base64
import re
from collections.abc import Mapping
from typing import Final

import attrs

from tritonbuild.errors import TritonBuildError
from tritonbuild.layers.entry import FILE, FOLDER, HARD_LINK, SYMLINK, WHITEOUT, Entry
from tritonbuild.oci.descriptors import broken

EXTENSIONS: Final = frozenset("xgLK")
"""Type flags of headers that extend the next one: pax, pax for all that follow, GNU long name, GNU long target."""

_XATTR: Final = "SCHILY.xattr."
_SPARSE: Final = "GNU.sparse."
_SPARSE_NAME: Final = "GNU.sparse.name"
"""The name of a sparse file; the name of its entry has a folder inserted."""
_KINDS: Final = frozenset("0123456")
_LARGEST: Final = (1 << 63) - 1
_DECIMAL: Final = re.compile(r"[0-9]{1,19}", re.ASCII)
_TIME: Final = re.compile(r"(-?[0-9]{1,19})(?:\.([0-9]*))?", re.ASCII)


@attrs.define
class Extensions:
    """The values from extension headers that apply to the next entry."""

    pax: Mapping[str, str] = attrs.field(factory=dict)
    name: str | None = None
    target: str | None = None


def entry_of(header: bytes, more: Extensions, offset: int, *, what: str) -> Entry:
    """Return the entry that a header block describes.

    Args:
        header: The block, with a valid checksum.
        more: Values from the extension headers before it.
        offset: Offset of the content in the uncompressed layer.
        what: The name of the layer in messages.

    Raises:
        TritonBuildError: A field is malformed, or the entry cannot be part of a layer.
    """
    pax = more.pax
    kind = chr(header[156])
    if kind in {"\0", "7"}:
        kind = FILE
    name = pax.get("path") or more.name or _ustar_name(header)
    if kind == FILE and name.endswith("/"):
        kind = FOLDER
    if kind not in _KINDS or any(key.startswith(_SPARSE) for key in pax):
        form = "a sparse file" if kind in {FILE, "S"} else f"an entry of type {kind!r}"
        raise TritonBuildError(
            f"{what} has {form}, which cannot be read: {pax.get(_SPARSE_NAME, name)!r}",
            hint="sparse files and multi-volume archives are not supported; build the image again",
        )
    return Entry(
        path=_entry_path(name, kind, what=what),
        kind=kind,
        mode=number(header[100:108], what=what) & 0o7777,
        uid=_decimal(pax["uid"], what) if "uid" in pax else number(header[108:116], what=what),
        gid=_decimal(pax["gid"], what) if "gid" in pax else number(header[116:124], what=what),
        mtime=_time(pax["mtime"], what) if "mtime" in pax else number(header[136:148], what=what, least=-_LARGEST),
        size=_size(header, pax, what) if kind == FILE else 0,
        offset=offset,
        target=_target(pax.get("linkpath") or more.target or text(header[157:257]), kind, what),
        attributes={
            key[len(_XATTR) :]: base64.b64encode(value.encode("utf-8", "surrogateescape")).decode()
            for key, value in pax.items()
            if key.startswith(_XATTR)
        },
    )


def _ustar_name(header: bytes) -> str:
    name = text(header[:100])
    if header[257:262] == b"ustar" and header[257:265] != b"ustar  \0" and header[345]:
        return f"{text(header[345:500])}/{name}"
    return name


def _size(header: bytes, pax: Mapping[str, str], what: str) -> int:
    return _decimal(pax["size"], what) if "size" in pax else number(header[124:136], what=what)


def _target(target: str, kind: str, what: str) -> str:
    if kind == HARD_LINK:
        return inside(target, what=what)
    return target if kind == SYMLINK else ""


def _entry_path(name: str, kind: str, *, what: str) -> str:
    path = inside(name, what=what)
    if not path and kind != FOLDER:
        raise broken(what, f"its root is not a folder: {name!r}")
    last = path.rpartition("/")[2]
    if last.startswith(WHITEOUT) and last[len(WHITEOUT) :] in {"", ".", ".."}:
        raise broken(what, f"it has a whiteout that names nothing: {name!r}")
    return path


def inside(name: str, *, what: str) -> str:
    """Return the normalized path of an archive's *name*: without `.`, `..` and empty parts.

    Raises:
        TritonBuildError: It leads out of the archive's root.
    """
    parts: list[str] = []
    for part in name.split("/"):
        if part == ".." and parts:
            parts.pop()
        elif part == ".." or "\0" in part:
            raise TritonBuildError(f"{what} has an entry outside of its root: {name!r}", hint="do not use this image")
        elif part not in {"", "."}:
            parts.append(part)
    return "/".join(parts)


def text(raw: bytes) -> str:
    """Return a field up to its first zero."""
    return raw.partition(b"\0")[0].decode("utf-8", "surrogateescape")


def number(field: bytes, *, what: str, least: int = 0) -> int:
    """Return a numeric field: octal digits, or base-256 where the first bit is set.

    Raises:
        TritonBuildError: It is malformed, below *least*, or needs more than 64 bits.
    """
    if field[0] & 0x80:
        # The bit below the marker is the sign.
        value = int.from_bytes(bytes([field[0] & 0x7F | (field[0] & 0x40) << 1]) + field[1:], "big", signed=True)
    else:
        digits = field.strip(b" \0")
        if digits.strip(b"01234567"):
            raise broken(what, f"{digits!r} in its tar is not a number")
        value = int(digits, 8) if digits else 0
    if not least <= value <= _LARGEST:
        raise broken(what, f"the number {value} in its tar is out of range")
    return value


def _decimal(digits: str, what: str) -> int:
    if not _DECIMAL.fullmatch(digits) or int(digits) > _LARGEST:
        raise broken(what, f"{digits[:40]!r} in its tar is not a number of 64 bits")
    return int(digits)


def _time(seconds: str, what: str) -> int:
    found = _TIME.fullmatch(seconds)
    if not found or abs(int(found[1])) > _LARGEST:
        raise broken(what, f"{seconds[:40]!r} in its tar is not a time")
    # Down to the whole second, also before 1970.
    below = seconds.startswith("-") and (found[2] or "").strip("0") != ""
    return int(found[1]) - below


def pax_records(raw: bytes, *, what: str) -> dict[str, str]:
    """Return the records of a pax header; one without a value takes back an earlier one, and is left out.

    Raises:
        TritonBuildError: A record is malformed.
    """
    records: dict[str, str] = {}
    start = 0
    while start < len(raw) and raw[start]:
        blank = raw.find(b" ", start, start + 20)
        digits = raw[start:blank]
        if blank < 0 or not digits.isdigit() or int(digits) <= len(digits) + 2 or start + int(digits) > len(raw):
            raise broken(what, "a pax header in its tar is malformed")
        record = raw[blank + 1 : start + int(digits) - 1]
        name, _, value = record.partition(b"=")
        records[name.decode("utf-8", "surrogateescape")] = value.decode("utf-8", "surrogateescape")
        start += int(digits)
    return {name: value for name, value in records.items() if value}
