"""The forms of values in user entries: descriptions for messages, and checks."""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import attrs

from tritonbuild.errors import InvalidInputError


@attrs.frozen
class Form:
    """The form of a key's value: its description for messages, and the check of one text."""

    expected: str
    matches: Callable[[str], bool]


def like(pattern: str) -> Callable[[str], bool]:
    """Return a check of a whole text against a regular expression."""
    return lambda text: re.fullmatch(pattern, text) is not None


LIBRARIES: Final = Form("names of libraries", like(r"[A-Za-z0-9_*?][A-Za-z0-9._+*?-]*"))


def check_list(title: str, key: str, value: object, form: Form) -> None:
    """Raise an InvalidInputError if *value* is not a list of texts of that form."""
    expected = f"a list of {form.expected}"
    if not isinstance(value, (list, tuple)):
        raise wrong(title, key, value, expected)
    for text in value:
        if not (isinstance(text, str) and form.matches(text)):
            raise wrong(title, key, text, expected)


def wrong(title: str, key: str, value: object, expected: str) -> InvalidInputError:
    """Return the error for the value of a key of the entry *title*."""
    return InvalidInputError(f"{title}: {key} cannot be {value!r}", hint=f"{key} takes {expected}")
