"""User entries: components that a user describes as mappings, checked key by key and turned into catalog rows."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from tritonbuild.catalog import user_extras
from tritonbuild.catalog.forms import LIBRARIES, Form, check_list, like, wrong
from tritonbuild.catalog.names import ARCHITECTURES, check_kind, is_name, is_release
from tritonbuild.catalog.tables import Row, load_table
from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.wellknown import COMPONENT_FOLDERS, SERVER, VARIABLE

_SEGMENT = r"(?!\.\.?(?:/|$))[A-Za-z0-9._+-]+"


_LISTS: Final[Mapping[str, Form]] = {
    "aliases": Form("component names", is_name),
    "apt": Form("names of distribution packages", like(r"[a-z0-9][a-z0-9+.-]+(?:=[A-Za-z0-9.+:~-]+)?")),
    "dlopen": LIBRARIES,
    "images": Form("names of image variants", is_name),
    "notes": Form("lines of text", str.isprintable),
    "pip": Form("pip requirements", like(r"[A-Za-z0-9][\x20-\x7e]*")),
    "platforms": Form(f"platforms: {', '.join(ARCHITECTURES)}", ARCHITECTURES.__contains__),
    "requires": Form("names of Triton backends", is_name),
}
_TEXTS: Final[Mapping[str, Form]] = {
    "description": Form("a line of text", str.isprintable),
    "directory": Form(f"a path below {SERVER}", like(rf"{_SEGMENT}(?:/{_SEGMENT})*")),
    "from": Form("a release, YY.MM", is_release),
    "name": Form("a component name", is_name),
    "to": Form("a release, YY.MM", is_release),
    "version": Form("a line of text", str.isprintable),
}
_SWITCHES: Final = ("cpu", "gpu", "replace")
KEYS: Final = tuple(sorted([*_LISTS, *_TEXTS, *_SWITCHES, "env", "extras", "kind"]))
"""All keys of an entry."""


def rows(entries: Iterable[Mapping[str, Any]]) -> tuple[Row, ...]:
    """Return *entries* as rows of the catalog.

    Raises:
        UnknownNameError: A key, a kind of component or an image variant is not known.
        InvalidInputError: A value does not have the form of its key, or an entry has no name.
    """
    return tuple(_row(entry, number) for number, entry in enumerate(entries, 1))


def title_of(row: Row) -> str:
    """Return the title of the entry in *row*, for messages."""
    return f"component entry {row['name']}"


def _row(entry: Mapping[str, Any], number: int) -> Row:
    if not isinstance(entry, Mapping):
        raise InvalidInputError(f"component entry {number} is not a table: {entry!r}")
    name = entry.get("name")
    title = f"component entry {name if isinstance(name, str) and is_name(name) else number}"
    _check(title, entry)
    kind = entry.get("kind", "backend")
    lists = {key: tuple(entry.get(key, ())) for key in _LISTS}
    devices = " ".join(device for device in ("gpu", "cpu") if entry.get(device, True))
    platforms = lists["platforms"] if "platforms" in entry else tuple(ARCHITECTURES)
    if not devices or not platforms:
        lacking = "platform" if devices else "device"
        raise InvalidInputError(f"{title} has no {lacking}", hint="set gpu or cpu to true and name a platform")
    if entry.get("from", "") > entry.get("to", "99.99"):
        raise InvalidInputError(f"{title}: from {entry['from']} is later than to {entry['to']}")
    bounds = {key: entry[key] for key in ("from", "to") if key in entry}
    return {
        **bounds,
        "custom": True,
        "replace": entry.get("replace", False),
        "kind": kind,
        "name": name,
        "aliases": lists["aliases"],
        "description": entry.get("description", ""),
        "directory": [{"value": entry.get("directory", f"{COMPONENT_FOLDERS[kind]}/{name}")}],
        "on": dict.fromkeys(platforms, devices),
        "images": lists["images"] or ("full",),
        "requires": lists["requires"],
        "framework_version": entry.get("version"),
        "env": [{"name": key, "value": value} for key, value in entry.get("env", {}).items()],
        "apt": [{"value": lists["apt"]}],
        "pip": [{"value": lists["pip"]}] if lists["pip"] else [],
        "dlopen": lists["dlopen"],
        "notes": [{"value": text} for text in lists["notes"]],
        "extras": user_extras.rows(title, entry.get("extras", {})),
    }


def _check(title: str, entry: Mapping[str, Any]) -> None:
    """Raise an error for the first key or value of *entry* that is unknown or malformed."""
    for key in entry:
        if key not in KEYS:
            raise UnknownNameError("key", str(key), KEYS, where=f"in {title}")
    if "name" not in entry:
        raise InvalidInputError(f"{title} has no name", hint='give it one: name = "..."')
    for key, value in entry.items():
        if key in _LISTS:
            check_list(title, key, value, _LISTS[key])
        elif key == "env":
            _check_env(title, value)
        elif key != "extras":
            _check_one(title, key, value)
    variants = load_table("releases")["variants"]
    for name in entry.get("images", ()):
        if name not in variants:
            raise UnknownNameError("image variant", name, variants, where=f"in {title}")


def _check_one(title: str, key: str, value: object) -> None:
    if key == "kind":
        check_kind(str(value))
    elif key in _SWITCHES:
        if not isinstance(value, bool):
            raise wrong(title, key, value, "true or false")
    elif not (isinstance(value, str) and _TEXTS[key].matches(value)):
        raise wrong(title, key, value, _TEXTS[key].expected)


def _check_env(title: str, value: object) -> None:
    expected = "a table of variables, each with a line of text"
    if not isinstance(value, Mapping):
        raise wrong(title, "env", value, expected)
    is_variable = like(VARIABLE)
    for name, text in value.items():
        if not (isinstance(name, str) and is_variable(name) and isinstance(text, str) and text.isprintable()):
            raise wrong(title, "env", {name: text}, expected)
