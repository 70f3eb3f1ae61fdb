"""Option tables: render an engine's options as command-line tokens.

An engine's table gives for each option the Python values that it takes and the flag that it becomes (`kinds.py`); one
renderer serves all engines. `True` is the bare flag, `False` is `--flag=false`, `None` omits the flag. Every flag is
one token: where a value is optional (podman's `--pull`), a separate token would be read as the build context.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable, Mapping
from typing import Final

from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.flags.kinds import (
    Kind,
    Table,
    absolute,
    attestation,
    cgroup,
    choice,
    credentials,
    decryption_keys,
    duration,
    each,
    fields,
    hosts,
    inner,
    integer,
    joined,
    key,
    limits,
    named,
    pairs,
    path,
    paths,
    plain_fields,
    quoted,
    repeated,
    scalar,
    single,
    switch,
    text,
    triples,
    word,
)
from tritonbuild.masking import MASK, looks_like_credential, mask_token

__all__ = [
    "ALIASES",
    "LISTS",
    "Kind",
    "Table",
    "absolute",
    "attestation",
    "canonical",
    "cgroup",
    "check_versions",
    "choice",
    "credentials",
    "decryption_keys",
    "duration",
    "each",
    "fields",
    "hosts",
    "inner",
    "integer",
    "items",
    "joined",
    "key",
    "limits",
    "named",
    "pairs",
    "parse",
    "path",
    "paths",
    "plain_fields",
    "quoted",
    "render",
    "repeated",
    "scalar",
    "single",
    "switch",
    "text",
    "triples",
    "version_numbers",
    "word",
]

ALIASES: Final = {"image_tag": "tag"}
"""Other names of options, as BentoML has them."""

LISTS: Final = frozenset({"platform", "tag"})
"""The options whose value is a list of names: `"a,b"`, `("a", "b")` and `("a,b",)` mean the same."""


def items(value: object) -> object:
    """Return a list of names in one form: a tuple of texts without commas, or the value itself if it has no comma."""
    if not any(isinstance(one, str) and "," in one for one in each(value)):
        return value
    return tuple(part for one in each(value) for part in (one.split(",") if isinstance(one, str) else [one]))


def canonical(options: Mapping[str, object]) -> dict[str, object]:
    """Return the given options in their canonical form.

    An option that is None is omitted, `image_tag` and `tag` become one `tag`, and a text with commas becomes a list in
    the options whose value is a list of names (`LISTS`).
    """
    merged: dict[str, object] = {}
    for given, written in options.items():
        name = ALIASES.get(given, given)
        value = items(written) if name in LISTS and written is not None else written
        if value is not None:
            merged[name] = (*each(merged[name]), *each(value)) if name in merged else value
    return merged


def has_several_platforms(options: Mapping[str, object]) -> bool:
    """Return whether a build is for several platforms."""
    return len(each(canonical(options).get("platform") or ())) > 1


def render(table: Table, options: Mapping[str, object], *, engine: str) -> list[str]:
    """Return the tokens for the options, in the table's order.

    Raises:
        UnknownNameError: If the table lacks an option.
        InvalidInputError: If a value is not what its option expects.
    """
    for name in options:
        _kind(table, name, engine=engine)
    given = canonical(options)
    tokens = []
    for name, kind in table.items():
        if name in given:
            flag = kind.spelling(name)
            equals = "" if flag.endswith(("=", ":", "--")) else "="
            tokens += [f"{flag}{equals}{t}" if t else flag for t in _texts(kind, name, given[name], engine=engine)]
    return tokens


def check_versions(table: Table, options: Mapping[str, object], *, engine: str, version: str) -> None:
    """Raise `InvalidInputError` if an option needs another version of the engine.

    A version that has no number passes, and so does an option that is not in the table: an engine may translate it.
    """
    found = version_numbers(version)
    for name in canonical(options) if found else ():
        kind = table.get(name)
        if kind is None:
            continue
        if kind.since and found < version_numbers(kind.since):
            needs = f"needs {engine} {kind.since} or newer"
        elif kind.until and found >= version_numbers(kind.until):
            needs = f"needs {engine} older than {kind.until}"
        else:
            continue
        raise InvalidInputError(
            f"option {name!r} of engine {engine!r} {needs}, and this is {version}",
            hint="leave the option out, or use another version of the engine",
        )


def parse(table: Table, texts: Iterable[str], *, engine: str) -> dict[str, object]:
    """Return the options written as `KEY[=VALUE]`; values stay text, and a repeated key collects them in a tuple.

    Raises:
        UnknownNameError: If the table lacks an option.
        InvalidInputError: If a key has no value, and its option is not a switch.
    """
    collected: dict[str, list[object]] = {}
    for written in texts:
        name, equals, rest = written.partition("=")
        name = ALIASES.get(name.replace("-", "_"), name.replace("-", "_"))
        kind = _kind(table, name, engine=engine)
        value: object = rest
        if rest in {"true", "false"} and not _takes(kind, rest) and _takes(kind, True):  # noqa: FBT003 - any value
            value = rest == "true"
        elif not equals and not _takes(kind, value := True):
            message = f"option {name!r} of engine {engine!r} needs a value: {kind.expects}"
            raise InvalidInputError(message, hint=f"write {name}=VALUE")
        collected.setdefault(name, []).append(value)
    return {name: tuple(values) if len(values) > 1 else values[0] for name, values in collected.items()}


def _takes(kind: Kind, value: object) -> bool:
    try:
        kind.texts(value)
    except (TypeError, ValueError):
        return False
    return True


def _kind(table: Table, name: str, *, engine: str) -> Kind:
    try:
        return table[ALIASES.get(name, name)]
    except KeyError:
        raise UnknownNameError("option", name, table, where=f"for engine {engine!r}") from None


def _texts(kind: Kind, name: str, value: object, *, engine: str) -> list[str]:
    try:
        texts = kind.texts(value)
        for one in texts:
            one.encode("utf-8", "surrogateescape")  # the encoding of process arguments
            if any(unicodedata.category(c) in {"Cc", "Zl", "Zp"} for c in one):
                raise ValueError("it has a control character")  # noqa: TRY301 - one handler writes all messages
    except (TypeError, ValueError) as error:
        got = f"a {type(value).__name__} that is not shown" if kind.secret else _shown(value)
        reason = "" if isinstance(error, UnicodeError | TypeError) else str(error)
        raise InvalidInputError(
            f"option {name!r} of engine {engine!r} expects {kind.expects}, not {got}{reason and ': ' + reason}"
        ) from None
    return texts


def version_numbers(version: str) -> tuple[int, ...]:
    """Return the first three numbers of a version: `20.10.24+dfsg1` is (20, 10, 24); none where it has no number."""
    found = re.search(r"[0-9]+(?:\.[0-9]+)+", version) or re.search(r"[0-9]+", version)
    numbers = tuple(int(n) for n in found[0].split(".")) if found else ()
    return (*numbers, 0, 0, 0)[:3] if numbers else ()


def _shown(value: object) -> str:
    shown = repr(_masked(value))
    return shown if len(shown) <= 120 else f"{shown[:117]}..."  # noqa: PLR2004 - one line of a terminal


def _masked(value: object) -> object:
    match value:
        case Mapping():
            return {_masked(k): MASK if looks_like_credential(str(k)) else _masked(v) for k, v in value.items()}
        case tuple() | list():
            return type(value)(map(_masked, value))
        case str():
            return mask_token(value)
        case _:
            return value
