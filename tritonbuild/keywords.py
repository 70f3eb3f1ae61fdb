"""Keywords of the library's functions: the fields of a composition apart from the options of an engine.

A name that only one of the two has belongs to that one. A name that both have (`platform`, `runtime`) belongs to the
composition; the engine's option of that name is given in `options`. No value decides where a keyword goes.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

import attrs

from tritonbuild import parameters
from tritonbuild.composition import Composition
from tritonbuild.engine import Engine
from tritonbuild.errors import InvalidInputError
from tritonbuild.reference import parse_platform, parse_reference

DEFAULT_TAG: Final = "tritonserver"
"""The image's name where none is given, as with compose.py."""

_FIELDS: Final = {field.name: field for field in attrs.fields(Composition) if field.init}
_TAG_OPTIONS: Final = ("tag", "image_tag")


def split(
    composition: Composition | None,
    features: Sequence[str] | None,
    options: Mapping[str, Any] | None,
    keywords: Mapping[str, Any],
) -> tuple[Composition, dict[str, Any]]:
    """Return the composition, and the options of the engine.

    Raises:
        InvalidInputError: The composition cannot be used, or an option is given twice with different values.
    """
    chosen = {name: value for name, value in keywords.items() if name in _FIELDS}
    if features is not None:
        chosen["features"] = features
    rest = dict(options or {})
    for name, value in keywords.items():
        if name in _FIELDS:
            continue
        if name in rest and not _equal(rest[name], value):
            raise InvalidInputError(
                f"option {name!r} is given twice with different values", hint="give it once, as a keyword or in options"
            )
        rest[name] = value
    if composition is None:
        return Composition(**chosen), rest
    if composition.release_is_assumed:
        chosen = {"container_version": "", **chosen} if chosen else {}
    return attrs.evolve(composition, **chosen) if chosen else composition, rest


def check_collisions(composition: Composition, engine: Engine, options: Mapping[str, Any]) -> None:
    """Compare the options with the fields of the composition that have the same name.

    Raises:
        InvalidInputError: Both are given, with different values.
    """
    for name in sorted({"platform", *(_FIELDS.keys() & engine.options.keys())} & options.keys()):
        field, value = getattr(composition, name), options[name]
        if value is None or field == _FIELDS[name].default or field == _comparable(name, value):
            continue
        raise InvalidInputError(
            f"{name} is {field!r}, and the option {name!r} of engine {engine.name!r} has another value",
            hint=f"give the {name} of the composition, or the engine's option",
        )


def tags(image_tag: str | Sequence[str] | None, options: dict[str, Any]) -> tuple[str, ...]:
    """Return the names of the image, each a valid reference; the options that name it are removed from *options*.

    Raises:
        InvalidInputError: A name is not a reference, or is one by digest, or the names differ by their source.
    """
    given = [image_tag, *(options.pop(name, None) for name in _TAG_OPTIONS)]
    values = [(value,) if isinstance(value, str) else value for value in given if value]
    for value in values:
        parameters.check({"image_tag": value}, {"image_tag": parameters.TEXTS})
    names = [tuple(value) for value in values] or [(DEFAULT_TAG,)]
    if any(other != names[0] for other in names):
        raise InvalidInputError(
            "the image's name is given twice with different values", hint="give all names as image_tag (--output-name)"
        )
    for tag in names[0]:
        if parse_reference(tag).digest:
            raise InvalidInputError(f"{tag!r} names an image by digest", hint="give the new image a name with a tag")
    return names[0]


def _comparable(name: str, value: object) -> object:
    """Return an option's value in the form that a composition has it."""
    if name != "platform":
        return value
    one = value[0] if isinstance(value, (tuple, list)) and len(value) == 1 else value
    try:
        return parse_platform(one) if isinstance(one, str) else one
    except InvalidInputError:
        return one


def _equal(first: object, second: object) -> bool:
    try:
        return bool(first == second)
    except Exception:  # noqa: BLE001 - a value of a custom engine's may be anything
        return first is second
