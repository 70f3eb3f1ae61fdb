"""An entry of a layer: a file, folder, link or device, as a tar header describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

FILE, HARD_LINK, SYMLINK, FOLDER = "0", "1", "2", "5"
"""Kinds of entries: the type flags of a tar header."""

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"


@attrs.frozen(kw_only=True)
class Entry:
    """An entry of a layer.

    Attributes:
        path: From the root, without a leading slash; the root itself is the empty path.
        kind: The type flag of its tar header.
        mtime: Whole seconds since 1970.
        size: Bytes of a file's content.
        offset: Offset of the content in the uncompressed layer.
        target: The target of a link.
        attributes: Extended attributes: name -> value in base64.
    """

    path: str
    kind: str
    mode: int
    uid: int
    gid: int
    mtime: int
    size: int
    offset: int
    target: str = ""
    attributes: Mapping[str, str] = attrs.field(factory=dict)
