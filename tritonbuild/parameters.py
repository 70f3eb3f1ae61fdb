"""Parameters of public functions: a value of a wrong type is an error that names the parameter."""

from __future__ import annotations

import os
from collections.abc import Callable, Collection, Mapping
from typing import Final

import attrs

from tritonbuild.errors import InvalidInputError


@attrs.frozen
class Takes:
    """The type of a parameter.

    Attributes:
        words: The accepted values in words, for the message.
        wrong: Returns the part of a value whose type is wrong, in a tuple; nothing for an accepted value.
    """

    words: str
    wrong: Callable[[object], tuple[object, ...]]


def check(given: Mapping[str, object], table: Mapping[str, Takes]) -> None:
    """Compare the values of parameters with the types that they take. An unset attrs default passes.

    Raises:
        InvalidInputError: A value has a wrong type. The message has no value, which may be a credential.
    """
    for name, takes in table.items():
        value = given.get(name, attrs.NOTHING)
        if value is not attrs.NOTHING and (wrong := takes.wrong(value)):
            inside = "" if wrong[0] is value else "has an element that "
            raise InvalidInputError(
                f"{name} {inside}is of type {type(wrong[0]).__name__}", hint=f"{name} takes {takes.words}"
            )


def _is(*types: type) -> Callable[[object], tuple[object, ...]]:
    return lambda value: () if isinstance(value, types) else (value,)


def _each(*types: type) -> Callable[[object], tuple[object, ...]]:
    """Accept one value, or a collection that can be read twice; a mapping is not a collection of its keys."""

    def wrong(value: object) -> tuple[object, ...]:
        if isinstance(value, types):
            return ()
        if isinstance(value, (str, bytes, bytearray, Mapping)) or not isinstance(value, Collection):
            return (value,)
        return tuple(element for element in value if not isinstance(element, types))

    return wrong


def _mapping(*types: type) -> Callable[[object], tuple[object, ...]]:
    def wrong(value: object) -> tuple[object, ...]:
        if not isinstance(value, Mapping):
            return (value,)
        keys = tuple(key for key in value if not isinstance(key, str))
        return keys or tuple(element for element in value.values() if not isinstance(element, types))

    return wrong


def optional(takes: Takes) -> Takes:
    """Return a parameter that accepts None, too."""
    return Takes(f"{takes.words} or None", lambda value: () if value is None else takes.wrong(value))


def record(kind: type) -> Takes:
    """Return a parameter that takes an instance of *kind*."""
    return Takes(f"a {kind.__name__}", _is(kind))


def text_or(kind: type) -> Takes:
    """Return a parameter that takes text or an instance of *kind*."""
    return Takes(f"text or a {kind.__name__}", _is(str, kind))


def texts_or(kind: type) -> Takes:
    """Return a parameter that takes a mapping of names to texts or to instances of *kind*."""
    return Takes(f"a mapping of names to texts or to a {kind.__name__}", _mapping(str, kind))


FUNCTION: Final = Takes("a callable", lambda value: () if callable(value) else (value,))
NUMBER: Final = Takes(
    "a number", lambda value: () if isinstance(value, (int, float)) and not isinstance(value, bool) else (value,)
)
OPTIONS: Final = Takes("a mapping of names to values", _mapping(object))
PATH: Final = Takes("a path", _is(str, os.PathLike))
PATHS: Final = Takes("a path or a list of paths", _each(str, os.PathLike))
SWITCH: Final = Takes("True or False", _is(bool))
TEXT: Final = Takes("text", _is(str))
TEXTS: Final = Takes("text or a list of texts", _each(str))
VARIABLES: Final = Takes("a mapping of names to texts", _mapping(str))
WHOLE: Final = Takes(
    "a whole number", lambda value: () if isinstance(value, int) and not isinstance(value, bool) else (value,)
)
