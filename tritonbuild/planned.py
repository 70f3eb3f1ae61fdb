"""The contents of an image before it is written, as an engine that can plan reports them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attrs


@attrs.frozen(kw_only=True)
class PlannedLayer:
    """A layer that a build would write.

    Attributes:
        title: Its content, in words.
        size: Bytes of its files.
        files: Path -> bytes of all its entries; folders and links have none.
    """

    title: str
    size: int
    files: Mapping[str, int] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class PlannedLibrary:
    """A library that is brought because a file names it, to open it at run time.

    Attributes:
        name: The name that the file has.
        path: The path of the library.
        file: The file that names it.
    """

    name: str
    path: str
    file: str


@attrs.frozen(kw_only=True)
class ExcusedLibrary:
    """A library that a file needs and the image does not have, which is no fault.

    Attributes:
        name: The name of the library, or the version of symbols.
        file: The file that needs it.
        reason: The reason, in words.
    """

    name: str
    file: str
    reason: str


@attrs.frozen(kw_only=True)
class PlannedContents:
    """The contents of an image: its new layers, and the libraries that need an explanation."""

    layers: tuple[PlannedLayer, ...]
    opened: tuple[PlannedLibrary, ...]
    excused: tuple[ExcusedLibrary, ...]


def from_document(document: Mapping[str, Any]) -> PlannedContents:
    """Return the contents that the document of an engine with a `plan_option` describes."""
    return PlannedContents(
        layers=tuple(
            PlannedLayer(
                title=layer["title"], size=layer["size"], files={file["path"]: file["size"] for file in layer["files"]}
            )
            for layer in document["layers"]
        ),
        opened=tuple(PlannedLibrary(**one) for one in document.get("opened", ())),
        excused=tuple(ExcusedLibrary(**one) for one in document.get("excused", ())),
    )
