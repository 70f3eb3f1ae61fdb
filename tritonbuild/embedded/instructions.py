"""The user's instructions of a Containerfile that set the configuration of an image and run nothing.

https://docs.docker.com/reference/dockerfile/: ENV, LABEL, USER, WORKDIR, ENTRYPOINT, CMD, EXPOSE, VOLUME, STOPSIGNAL.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from tritonbuild import fragment
from tritonbuild.embedded.request import Request
from tritonbuild.errors import InvalidInputError

KNOWN: Final = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")

# A text can match each of these expressions in one way only, so that they take time in proportion to its length.
_WORD: Final = r"[^}$]*(?:\$(?!\{)[^}$]*)*"
_VARIABLE: Final = re.compile(
    rf"\$(?:\{{(?P<name>\w+)(?::(?P<sign>[+-])(?P<word>{_WORD}))?\}}|(?P<bare>[A-Za-z_]\w*))", re.ASCII
)
"""The references that ENV expands: `$NAME`, `${NAME}`, `${NAME:+WORD}`, `${NAME:-WORD}`."""
_REFERENCE: Final = rf"(?a:\$(?:\{{\w+(?::[+-]{_WORD})?\}}|[A-Za-z_]\w*(?!\w)))"
_PIECE: Final = re.compile(
    rf"""(?P<blank>\s+)|'(?P<literal>[^']*)'|"(?P<quoted>(?:{_REFERENCE}|(?!{_REFERENCE})\$|\\.|[^"\\$])*)"|\\(?P<escaped>.)"""
    rf"""|(?P<reference>{_REFERENCE})|(?P<plain>[^\s'"])""",
    re.DOTALL,
)
"""A piece of an argument; only a quotation without an end matches nothing."""
_IN_QUOTES: Final = re.compile(rf"""\\(?P<escaped>["$\\])|(?P<reference>{_REFERENCE})|(?P<plain>.)""", re.DOTALL)
_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII | re.IGNORECASE)
_HIGHEST_PORT: Final = 65535
_MOST_PORTS: Final = 4 * _HIGHEST_PORT
_LONGEST: Final = 1 << 17
"""Characters of a word: Linux takes no longer argument or variable. References may double a value in each line."""
_FIELDS: Final = {"STOPSIGNAL": "stop_signal", "USER": "run_as", "WORKDIR": "workdir"}
"""Instruction with one word -> the field of the request that it sets."""


def expanded(env: Mapping[str, str], onto: Mapping[str, str]) -> dict[str, str]:
    """Return *onto* with *env* added; references in its values are replaced by the values of *onto*."""
    return {**onto, **{name: _VARIABLE.sub(lambda match: _referred(match, onto), text) for name, text in env.items()}}


def _referred(match: re.Match[str], env: Mapping[str, str]) -> str:
    value = env.get(match["name"] or match["bare"], "")
    if not match["sign"] or (match["sign"] == "-" and value):
        return value
    if bool(value) != (match["sign"] == "+"):
        return ""
    return _VARIABLE.sub(lambda inner: _referred(inner, env), match["word"])


def parse(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of *text*: the name in capitals, and its argument.

    Raises:
        InvalidInputError: An instruction is not among `KNOWN`.
    """
    for name, rest in fragment.instructions(text):
        if name not in KNOWN:
            raise InvalidInputError(
                f"the embedded engine runs no command in the image, so it cannot apply {name} of a fragment",
                hint=f"use another engine, or instructions that run nothing: {', '.join(KNOWN)}",
            )
        yield name, rest


def applied(text: str, request: Request, env: Mapping[str, str]) -> tuple[Request, dict[str, str]]:
    """Return *request* and the image's environment after the instructions of *text*.

    Raises:
        InvalidInputError: An instruction cannot be read.
    """
    values, labels = dict(env), dict(request.labels)
    ports, volumes = [*request.ports], [*request.volumes]
    changes: dict[str, Any] = {}
    user = ""
    for name, rest in parse(text):
        if not rest:
            raise InvalidInputError(f"{name} of the fragment has no argument", hint="add one")
        if name == "ENV":
            values |= _pairs(name, rest, values)
        elif name == "LABEL":
            labels |= _pairs(name, rest, values)
        elif name in {"CMD", "ENTRYPOINT"}:
            words = _json(rest)
            changes[name.lower()] = ("/bin/sh", "-c", rest) if words is None else words
        elif name == "EXPOSE":
            ports += _exposed(rest, values, _MOST_PORTS - len(ports))
        elif name == "VOLUME":
            volumes += _json(rest) or [word for word, _ in _words(rest, values)]
        else:
            word = _only(name, rest, values)
            if name == "WORKDIR":
                word = posixpath.normpath(posixpath.join("/", changes.get("workdir", request.workdir), word))
                changes["workdir_user"] = user
            else:
                user = word if name == "USER" else user
            changes[_FIELDS[name]] = word
    return attrs.evolve(request, labels=labels, ports=tuple(ports), volumes=tuple(volumes), **changes), values


def _json(text: str) -> list[str] | None:
    """Return the words of the JSON form; None for another form."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def _words(text: str, env: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the words of *text*, without their quotes, and the offset of the first `=` in each (-1 without)."""
    found: list[tuple[str, int]] = []
    parts: list[str] = []
    equals, length = -1, 0
    for kind, piece in _pieces(text, env):
        if kind == "blank":
            found += [("".join(parts), equals)] if parts else []
            parts, equals, length = [], -1, 0
            continue
        if kind == "plain" and equals < 0 and "=" in piece:
            equals = length + piece.index("=")
        parts.append(piece)
        length += len(piece)
        if length > _LONGEST:
            raise InvalidInputError(f"the fragment has a word of more than {_LONGEST} characters", hint="shorten it")
    return [*found, ("".join(parts), equals)] if parts else found


def _pieces(text: str, env: Mapping[str, str]) -> Iterator[tuple[str, str]]:
    """Yield the pieces of *text*: `blank` between words, `plain` as written, `value` of a reference or an escape."""
    end = 0
    while end < len(text):
        match = _PIECE.match(text, end)
        if match is None:
            raise InvalidInputError(f"the fragment has {text!r}, in which a quotation does not end", hint="close it")
        end = match.end()
        kind = match.lastgroup or ""
        if kind == "quoted":
            yield "plain", ""
            for inner in _IN_QUOTES.finditer(match[kind]):
                yield _piece(inner, env)
        else:
            yield _piece(match, env)


def _piece(match: re.Match[str], env: Mapping[str, str]) -> tuple[str, str]:
    kind = match.lastgroup or ""
    if kind == "reference":
        return "value", _VARIABLE.sub(lambda found: _referred(found, env), match[kind])
    return {"escaped": "value", "literal": "plain"}.get(kind, kind), match[kind]


def _only(name: str, text: str, env: Mapping[str, str]) -> str:
    words = _words(text, env)
    if len(words) != 1:
        raise InvalidInputError(f"{name} of the fragment takes one word, not {text!r}", hint="quote it")
    return words[0][0]


def _pairs(name: str, text: str, env: Mapping[str, str]) -> dict[str, str]:
    words = _words(text, env)
    first, _, rest = text.partition(" ")
    if "=" not in first and rest.strip():
        # The old form: a name, and the rest of the line.
        return {words[0][0]: " ".join(word for word, _ in words[1:])}
    if any(equals < 1 for _, equals in words):
        raise InvalidInputError(f"{name} {text} of the fragment is not NAME=VALUE", hint="quote values with blanks")
    return {word[:equals]: word[equals + 1 :] for word, equals in words}


def _exposed(text: str, env: Mapping[str, str], most: int) -> list[str]:
    """Return the ports in the argument of EXPOSE, *most* at most."""
    found: list[str] = []
    for word, _ in _words(text, env):
        found += _ports(word)
        if len(found) > most:
            raise InvalidInputError("the fragment exposes too many ports", hint="name each port once")
    return found


def _ports(text: str) -> Iterator[str]:
    match = _PORT.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if match is None or not 0 < first <= last <= _HIGHEST_PORT:
        raise InvalidInputError(f"EXPOSE of the fragment has {text!r}", hint="write a port, say 8000/tcp")
    for port in range(first, last + 1):
        yield f"{port}/{(match[3] or 'tcp').lower()}"
