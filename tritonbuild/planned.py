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

    def __str__(self) -> str:
        return f"{self.file} needs {self.name}, {self.reason}"


@attrs.frozen(kw_only=True)
class PlannedPart:
    """A part that the image can do without: an extra of a component, or libraries for one architecture of GPUs.

    Attributes:
        name: Its name: `backend onnxruntime[cuda]`, `gpu-arch 8.0`.
        kept: Whether the image has it.
        size: The bytes that the image has more with it than without it; None if it cannot be without it.
        reason: The reason why it cannot; empty if *size* is known.
    """

    name: str
    kept: bool
    size: int | None
    reason: str = ""


@attrs.frozen(kw_only=True)
class PlannedContents:
    """The contents of an image: its new layers, the libraries that need an explanation, and its optional parts."""

    layers: tuple[PlannedLayer, ...]
    opened: tuple[PlannedLibrary, ...]
    excused: tuple[ExcusedLibrary, ...]
    parts: tuple[PlannedPart, ...]


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
        parts=tuple(PlannedPart(**one) for one in document.get("parts", ())),
    )
