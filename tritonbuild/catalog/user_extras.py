"""The extras of a user's component entry: a table of tables, checked and turned into rows of the catalog."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

from tritonbuild.catalog.forms import LIBRARIES, Form, check_list, like, wrong
from tritonbuild.catalog.names import is_name
from tritonbuild.catalog.tables import Row
from tritonbuild.errors import UnknownNameError

_FILE: Final = r"(?!.*(?:^|/)\.\.?(?:/|$))[A-Za-z0-9._+*?-]+(?:/[A-Za-z0-9._+*?-]+)*"

_LISTS: Final[Mapping[str, Form]] = {
    "dlopen": LIBRARIES,
    "files": Form("paths below the component's directory", like(_FILE)),
    "libraries": LIBRARIES,
    "requires": Form("names of extras", is_name),
}


def rows(title: str, value: object) -> tuple[Row, ...]:
    """Return the rows of the extras *value*, a table of tables.

    Raises:
        UnknownNameError: A key of an extra, or an extra that it requires, does not exist.
        InvalidInputError: A name or a value has the wrong form.
    """
    if not isinstance(value, Mapping):
        raise wrong(title, "extras", value, "a table with a table for each extra")
    for name, extra in value.items():
        if not (isinstance(name, str) and is_name(name)):
            raise wrong(title, "extras", name, "names of lower-case letters, digits, '-' and '_'")
        if not isinstance(extra, Mapping):
            raise wrong(title, f"extras.{name}", extra, "a table")
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
    check_list(title, key, value, _LISTS[key])
