"""Typed access to JSON documents of others: manifests, indexes, configurations, error bodies.

A value of another type than the specification's is damage, reported with the path of the value. `null` counts as
absent, since programs in Go write it for empty lists and objects.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from typing import Any, Final, NoReturn, TypeVar

import attrs

from tritonbuild.oci.descriptors import Descriptor, broken, from_json, platform_text
from tritonbuild.reference import is_digest

T = TypeVar("T")

DEEPEST: Final = 64
"""The limit of objects and lists inside each other; manifests and configurations have five."""
_LARGEST_NUMBER: Final = 1 << 63
_DIGEST: Final = re.compile(r"[a-z0-9]+(?:[+._-][a-z0-9]+)*:[a-zA-Z0-9=_-]+", re.ASCII)
_ALGORITHMS: Final = {"sha256", "sha512"}


@attrs.frozen
class Document:
    """A JSON object, with a method for each type of value.

    Attributes:
        value: The object.
        name: The name for messages: "the manifest of X".
        path: The path of the object in the document.
    """

    value: Mapping[str, Any]
    name: str
    path: str = ""

    def fail(self, why: str) -> NoReturn:
        """Raise the error for a damaged document."""
        raise broken(self.name, why)

    def _get(self, key: str, kind: type[T], noun: str) -> T | None:
        found = self.value.get(key)
        if found is None:
            return None
        if not isinstance(found, kind) or (isinstance(found, bool) and kind is not bool):
            self.fail(f"{self.path}{key} is not {noun}")
        return found

    def text(self, key: str) -> str:
        """Return a string; empty if absent."""
        return self._get(key, str, "a string") or ""

    def number(self, key: str) -> int | None:
        """Return an integer from 0 up to the largest file size; None if absent."""
        found = self._get(key, int, "an integer")
        if found is not None and not 0 <= found < _LARGEST_NUMBER:
            self.fail(f"{self.path}{key} is out of range")
        return found

    def digest(self, key: str) -> str:
        """Return a digest, which must not be absent."""
        found = self.text(key)
        if not is_digest(found):
            self.fail(f"{self.path}{key} is not a digest: {found[:80]!r}")
        return found

    def object(self, key: str) -> Document:
        """Return an object; empty if absent."""
        found = self._get(key, dict, "an object") or {}
        return Document(found, self.name, f"{self.path}{key}.")

    def objects(self, key: str) -> tuple[Document, ...]:
        """Return a list of objects; empty if absent."""
        found = self._get(key, list, "a list") or []
        return tuple(_object(one, self.name, f"{self.path}{key}[{number}]") for number, one in enumerate(found))

    def texts(self, key: str) -> tuple[str, ...]:
        """Return a list of strings; empty if absent."""
        found = self._get(key, list, "a list") or []
        if not all(isinstance(one, str) for one in found):
            self.fail(f"{self.path}{key} is not a list of strings")
        return tuple(found)

    def digests(self, key: str) -> tuple[str, ...]:
        """Return a list of digests; empty if absent."""
        found = self.texts(key)
        for one in found:
            if not is_digest(one):
                self.fail(f"{self.path}{key} has {one[:80]!r}, which is not a digest")
        return found

    def strings(self, key: str) -> dict[str, str]:
        """Return an object whose values are strings; empty if absent."""
        found = self._get(key, dict, "an object") or {}
        if not all(isinstance(one, str) for one in found.values()):
            self.fail(f"{self.path}{key} has a value that is not a string")
        return dict(found)


def _object(value: object, name: str, path: str) -> Document:
    if not isinstance(value, dict):
        raise broken(name, f"{path} is not an object")
    return Document(value, name, f"{path}.")


def parse(content: bytes, name: str) -> Document:
    """Parse *content*, the bytes of the document *name*.

    Raises:
        TritonBuildError: It is not a JSON object, or nested deeper than `DEEPEST`.
    """
    document = from_json(content, what=name)
    _check(document, content, name)
    return Document(document, name)


def parse_list(content: bytes, name: str) -> tuple[Document, ...]:
    """Parse *content*, the bytes of the document *name*, as a list of objects.

    Raises:
        TritonBuildError: It is not such a list.
    """
    return parse(b'{"list":' + content + b"}", name).objects("list")


def _check(document: object, content: bytes, name: str) -> None:
    """Raise unless *document* can be written as JSON again, whatever the depth of the stack then."""
    level = [document]
    for _ in range(DEEPEST):
        values = [value for one in level for value in (one.values() if isinstance(one, dict) else one)]  # type: ignore[attr-defined]
        if any(isinstance(value, float) and not math.isfinite(value) for value in values):
            raise broken(name, "it has a number that is not finite")
        level = [value for value in values if isinstance(value, (dict, list))]
        if not level:
            break
    else:
        raise broken(name, f"it is nested more than {DEEPEST} deep")
    if rb"\u" in content:
        try:
            json.dumps(document, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise broken(name, "it has half of a surrogate pair") from error


def descriptor(document: Document) -> Descriptor:
    """Return the descriptor that *document* is.

    Raises:
        TritonBuildError: *document* is not a descriptor.
    """
    digest, size = document.digest("digest"), document.number("size")
    if size is None:
        document.fail(f"{document.path}size is absent")
    return Descriptor(
        media_type=document.text("mediaType"),
        digest=digest,
        size=size,
        annotations=document.strings("annotations"),
        platform=platform(document.object("platform")),
        artifact_type=document.text("artifactType"),
    )


def index_entries(document: Document) -> tuple[list[Descriptor], list[str]]:
    """Return the descriptors of an index, and the digests of those whose algorithm is unknown, which are left out.

    Raises:
        TritonBuildError: *document* is not an index.
    """
    known, unknown = [], []
    for entry in document.objects("manifests"):
        digest = entry.text("digest")
        if _DIGEST.fullmatch(digest) and digest.partition(":")[0] not in _ALGORITHMS:
            unknown.append(digest)
        else:
            known.append(descriptor(entry))
    return known, unknown


def platform(document: Document) -> str:
    """Return a platform object as `os/arch[/variant]`; empty if it names neither."""
    parts = {key: document.text(key) for key in ("os", "architecture", "variant")}
    for key, part in parts.items():
        if not all(one.isalnum() or one in "._-" for one in part):
            document.fail(f"{document.path}{key} is not a name: {part[:80]!r}")
    return platform_text(parts) if parts["os"] or parts["architecture"] else ""
