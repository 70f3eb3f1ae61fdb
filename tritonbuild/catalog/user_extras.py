"""The extras of a user's component entry: a table of tables, checked and turned into rows of the catalog."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, Final

from tritonbuild.catalog.names import is_name
from tritonbuild.catalog.tables import Row
from tritonbuild.errors import InvalidInputError, UnknownNameError

_FILE: Final = re.compile(r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._+*?-]+(?:/[A-Za-z0-9._+*?-]+)*")
_LIBRARY: Final = re.compile(r"[A-Za-z0-9_*?][A-Za-z0-9._+*?-]*")


def _like(pattern: re.Pattern[str]) -> Callable[[str], bool]:
    return lambda text: pattern.fullmatch(text) is not None


_LISTS: Final[Mapping[str, tuple[str, Callable[[str], bool]]]] = {
    "dlopen": ("a list of names of libraries", _like(_LIBRARY)),
    "files": ("a list of paths below the component's directory", _like(_FILE)),
    "libraries": ("a list of names of libraries", _like(_LIBRARY)),
    "requires": ("a list of names of extras", is_name),
}


def rows(title: str, value: object) -> tuple[Row, ...]:
    """Return the rows of the extras *value*, a table of tables.

    Raises:
        UnknownNameError: A key of an extra, or an extra that it requires, does not exist.
        InvalidInputError: A name or a value has the wrong form.
    """
    if not isinstance(value, Mapping):
        raise _wrong(title, "extras", value, "a table with a table for each extra")
    for name, extra in value.items():
        if not (isinstance(name, str) and is_name(name)):
            raise _wrong(title, "extras", name, "names of lower-case letters, digits, '-' and '_'")
        if not isinstance(extra, Mapping):
            raise _wrong(title, f"extras.{name}", extra, "a table")
        for key, texts in extra.items():
            _check(f"extra {name!r} of {title}", key, texts)
        for other in extra.get("requires", ()):
            if other not in value:
                raise UnknownNameError("extra", other, value, where=f"in extra {name!r} of {title}")
    return tuple({"name": name, **extra} for name, extra in value.items())


def _check(title: str, key: object, value: object) -> None:
    """Raise an error if *key* is not one of an extra, or *value* is not one of the key."""
    if not (isinstance(key, str) and key in _LISTS):
        raise UnknownNameError("key", str(key), _LISTS, where=f"in {title}")
    expected, matches = _LISTS[key]
    if not isinstance(value, (list, tuple)):
        raise _wrong(title, key, value, expected)
    for text in value:
        if not (isinstance(text, str) and matches(text)):
            raise _wrong(title, key, text, expected)


def _wrong(title: str, key: str, value: Any, expected: str) -> InvalidInputError:
    return InvalidInputError(f"{title}: {key} cannot be {value!r}", hint=f"{key} takes {expected}")
