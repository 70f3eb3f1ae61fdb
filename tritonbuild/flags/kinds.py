"""Kinds of options: which Python values an option takes, and how they become the texts after its flag.

Nothing is guessed: text stays as it is, a path object or the value of an option that is always a path becomes absolute
from the current directory, and whether a file of some name exists plays no part. A dict is rendered in the order of its
keys (`type` first), so that equal requests give equal commands; a tuple keeps its order.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeAlias

from attrs import evolve, frozen

from tritonbuild.masking import csv_line, mask_token


@frozen(kw_only=True)
class Kind:
    """A kind of option: the values that it takes, and their conversion to tokens.

    Attributes:
        expects: The accepted values in words, for messages and for the documentation.
        texts: From a value to what follows the flag, one text for each time the flag is given; an empty text is the
            bare flag. Raises `ValueError`, with the reason where it is not plain, or `TypeError`.
        flag: The spelling, where it is not `--` and the option's name; one that ends in `=`, `:` or `--` is a prefix
            of the text.
        since: The engine's version from which on the flag exists; empty if all versions that we know have it.
        until: The engine's version that no longer has it.
        secret: Whether the whole value is a credential.
    """

    expects: str
    texts: Callable[[Any], list[str]]
    flag: str = ""
    since: str = ""
    until: str = ""
    secret: bool = False

    def spelling(self, name: str) -> str:
        """Return the flag of the option *name*."""
        return self.flag or "--" + name.replace("_", "-")


Table: TypeAlias = Mapping[str, Kind]


# --- from values to texts


def each(value: object) -> Sequence[object]:
    """Return the elements of a tuple or list, and anything else as the only element."""
    return value if isinstance(value, tuple | list) else (value,)


def text(value: object) -> str:
    """Return a str or an int as text, and a path object as an absolute path."""
    if isinstance(value, os.PathLike):
        return absolute(value)
    if isinstance(value, bool) or not isinstance(value, str | int):
        raise TypeError
    if value == "":
        raise ValueError("it is empty")
    return str.__str__(value) if isinstance(value, str) else int.__repr__(value)  # an enum's value, not its name


def word(value: object) -> str:
    """Return a str, as it is."""
    if not isinstance(value, str):
        raise TypeError
    return text(value)


def absolute(value: object) -> str:
    """Return a path as text, absolute from the current directory; `..` stays, since it may follow a symlink."""
    path = os.fspath(value) if isinstance(value, os.PathLike) else value
    if not isinstance(path, str):
        raise TypeError
    if not path:
        raise ValueError("it is empty")
    return str(Path.cwd() / path)


def inner(value: object) -> str:
    """Return the value of a key: like `text`, but it may be empty, and a bool is `true` or `false`."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return "" if value == "" else text(value)


def key(name: object, *, without: str = "=") -> str:
    """Return the key of a dict, if it can stand before a value."""
    if not isinstance(name, str):
        raise TypeError
    if not name or any(c in name for c in without):
        raise ValueError(f"{mask_token(name)!r} cannot be a key")
    return name


def _switch(value: object) -> list[str]:
    if not isinstance(value, bool):
        raise TypeError
    return ["" if value else "false"]


def _integer(value: object) -> list[str]:
    if not re.fullmatch(r"-?[0-9]+", text(value)):
        raise ValueError
    return [text(value)]


def _pairs(value: object, separator: str = "=", *, alone: bool = True) -> list[str]:
    if isinstance(value, Mapping):
        keys = sorted(key(k, without=separator) for k in value)
        texts = [k if value[k] is None else f"{k}{separator}{inner(value[k])}" for k in keys]
    else:
        texts = [f"{key(t[:1], without=separator)}{t[1:]}" for t in map(word, each(value))]
    if not alone and not all(separator in t for t in texts):
        raise ValueError("it has a key without a value")
    return texts


def _fields(value: object, *, quote: bool = True) -> list[str]:
    texts = []
    for one in each(value):
        if not isinstance(one, Mapping):
            texts.append(absolute(one) if isinstance(one, os.PathLike) else word(one))
            continue
        keys = sorted((key(k, without='=,"') for k in one), key=lambda k: (k != "type", k))
        items = [f"{k}={inner(one[k])}" for k in keys if one[k] is not None]
        if not items:
            raise ValueError("it has no fields")
        if not quote and any(c in item for item in items for c in ',"'):
            raise ValueError("this engine has no way to quote a comma or a quotation mark")
        texts.append(csv_line(items))
    return texts


def _limits(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return _pairs(value, alone=False)
    limits = ((key(name), each(value[name])) for name in sorted(value))
    return [f"{name}={':'.join(_integer(n)[0] for n in _parts(bounds, 1, 2))}" for name, bounds in limits]


def _parts(value: Sequence[object], least: int, most: int) -> Sequence[object]:
    if not least <= len(value) <= most:
        raise ValueError(f"it has {len(value)} parts")
    return value


def _triples(value: object) -> list[str]:
    # A tuple of str is one triple, unless one of them has a colon and so is a triple itself.
    if isinstance(value, tuple | list) and not any(isinstance(v, tuple | list) or ":" in text(v) for v in value):
        return [":".join(map(text, _parts(value, 1, 3)))] if value else []
    return [":".join(map(text, _parts(each(v), 1, 3))) for v in each(value)]


def _login(value: object) -> list[str]:
    if isinstance(value, Mapping):
        value = next(iter(_parts([*value.items()], 1, 1)))
    user, *password = map(text, _parts(each(value), 1, 2))
    if password and ":" in user:
        raise ValueError("the user has a colon")
    return [":".join((user, *password))]


def _keys(value: object) -> list[str]:
    if not isinstance(value, Mapping):
        return [text(v) for v in each(value)]
    return sorted(text(k) if value[k] is None else f"{text(k)}:{text(value[k])}" for k in value)


# --- the kinds


def choice(*names: str, bare: bool = False) -> Kind:
    """Return a kind that takes one of *names*; with *bare* also `True`, the bare flag, and `False`."""

    def texts(value: object) -> list[str]:
        if bare and isinstance(value, bool):
            return _switch(value)
        if not isinstance(value, str) or value not in names:
            raise ValueError
        return [value]

    expects = f"one of {', '.join(map(repr, names))}"
    return Kind(expects=f"True, False or {expects}" if bare else expects, texts=texts)


def joined(kind: Kind, separator: str = ",") -> Kind:
    """Return *kind* for a flag that takes all its values in one token."""
    return evolve(kind, texts=lambda value: [separator.join(t)] if (t := kind.texts(value)) else [])


def quoted(kind: Kind) -> Kind:
    """Return *kind* for a flag that reads its value as CSV (pflag's `strings`), where a comma is part of the value."""
    return evolve(kind, texts=lambda value: [csv_line([t]) for t in kind.texts(value)])


def single(kind: Kind) -> Kind:
    """Return *kind* for a flag of which only the last one counts: a tuple of one element, but not of two."""

    def texts(value: object) -> list[str]:
        found = kind.texts(value[0] if isinstance(value, tuple | list) and len(value) == 1 else value)
        if len(found) > 1:
            raise ValueError("the engine takes only one")
        return found

    return evolve(kind, expects=f"{kind.expects}, only one", texts=texts)


cgroup: Final = Kind(expects="a cgroup as text or path object", texts=lambda value: [text(os.fspath(value))])
credentials: Final = Kind(
    expects="'USER:PASSWORD', a tuple of both, or a dict {user: password}", texts=_login, secret=True
)
decryption_keys: Final = Kind(
    expects="'KEY[:PASSPHRASE]', a tuple of these, or a dict {key: passphrase}", texts=_keys, secret=True
)
duration: Final = Kind(
    expects="seconds as a whole number, or text like '2m30s'",
    texts=lambda value: [f"{text(value)}s" if isinstance(value, int) else text(value)],
)
fields: Final = Kind(expects="'K=V,K=V', a dict, or a tuple of these", texts=_fields)
plain_fields: Final = evolve(fields, texts=lambda value: _fields(value, quote=False))
attestation: Final = Kind(
    expects="True, False, 'K=V,K=V' or a dict",
    texts=lambda value: [inner(value)] if isinstance(value, bool) else _fields(value),
)
hosts: Final = Kind(
    expects="'HOST:IP', a tuple of these, or a dict {host: ip}", texts=lambda value: _pairs(value, ":", alone=False)
)
integer: Final = Kind(expects="a whole number", texts=_integer)
limits: Final = Kind(expects="'NAME=SOFT[:HARD]', a tuple of these, or a dict {name: (soft, hard)}", texts=_limits)
named: Final = Kind(expects="'K=V', a tuple of these, or a dict", texts=lambda value: _pairs(value, alone=False))
pairs: Final = Kind(expects="'K=V', a tuple of these, or a dict; a key whose value is None stands alone", texts=_pairs)
path: Final = Kind(expects="a path", texts=lambda value: [absolute(value)])
paths: Final = Kind(expects="a path or a tuple of paths", texts=lambda value: [absolute(v) for v in each(value)])
repeated: Final = Kind(expects="text or a tuple of texts", texts=lambda value: [text(v) for v in each(value)])
scalar: Final = Kind(expects="text, a whole number or a path object", texts=lambda value: [text(value)])
switch: Final = Kind(expects="True or False", texts=_switch)
triples: Final = Kind(expects="'A:B:C', a tuple of the three parts, or a tuple of several of these", texts=_triples)
