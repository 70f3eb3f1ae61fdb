"""Mutations of JSON documents: every value replaced by odd ones, every part removed."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from typing import Any, Final

ODD: Final[tuple[Any, ...]] = (
    *(None, True, False, 0, -1, 1, 1.5, 1 << 70, 10**400, float("nan"), float("inf")),
    *("", "x", "\0", "\ud800", "a\nb", "../../x", "sha256:", f"sha256:{'0' * 64}", "é" * 300),
    *([], {}, [None], [[]], [{}], ["x"], {"": None}, {"x": []}),
)


def _paths(document: Any, path: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield path
    children = document.items() if isinstance(document, dict) else enumerate(document)
    for key, value in children:
        if isinstance(value, (dict, list)):
            yield from _paths(value, (*path, key))
        else:
            yield (*path, key)


def _changed(document: Any, path: tuple[str | int, ...], value: Any, *, remove: bool) -> Any:
    if not path:
        return value
    found = copy.deepcopy(document)
    inner = found
    for key in path[:-1]:
        inner = inner[key]
    if remove:
        del inner[path[-1]]
    else:
        inner[path[-1]] = value
    return found


def mutations(document: Any) -> Iterator[bytes]:
    """Yield the JSON of *document* with each of its values replaced and removed in turn, and what is no JSON at all."""
    for path in _paths(document):
        for value in ODD:
            yield json.dumps(_changed(document, path, value, remove=False)).encode()
        if path:
            yield json.dumps(_changed(document, path, None, remove=True)).encode()
        nested: Any = 1
        for _ in range(100):
            nested = [nested]
        yield json.dumps(_changed(document, path, nested, remove=False)).encode()
    whole = json.dumps(document).encode()
    yield from (b"", b"{", b"\xff", b"[" * 100_000, b'{"a":' * 100_000, whole + b"x", whole[:-1], b"9" * 5000)
    yield whole.decode().encode("utf-16")
