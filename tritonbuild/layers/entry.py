"""An entry of a layer: a file, folder or link, as a tar header describes it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

FILE, HARD_LINK, SYMLINK, FOLDER = "0", "1", "2", "5"
"""Kinds of entries, as a tar spells them."""

WHITEOUT: Final = ".wh."
OPAQUE: Final = ".wh..wh..opq"


@attrs.frozen(kw_only=True)
class Entry:
    """A file, folder, link or device of a layer.

    Attributes:
        path: From the root, without a leading slash.
        kind: As a tar spells it: "0" is a file.
        mtime: Whole seconds since 1970.
        size: Bytes of a file's content.
        offset: Where the content begins in the uncompressed layer.
        target: What a link names.
        attributes: Extended attributes, by name, base64.
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
