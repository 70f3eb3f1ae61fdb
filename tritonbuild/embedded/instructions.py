"""Instructions of the user's own that say something of an image and run nothing: what of a Containerfile is words.

https://docs.docker.com/reference/dockerfile/: ENV, LABEL, USER, WORKDIR, ENTRYPOINT, CMD, EXPOSE, VOLUME, STOPSIGNAL.
"""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterator, Mapping
from typing import Any, Final

import attrs

from tritonbuild.embedded.request import Request
from tritonbuild.errors import InvalidInputError

KNOWN: Final = ("CMD", "ENTRYPOINT", "ENV", "EXPOSE", "LABEL", "STOPSIGNAL", "USER", "VOLUME", "WORKDIR")

_VARIABLE: Final = re.compile(
    r"\$(?:\{(?P<name>\w+)(?::(?P<sign>[+-])(?P<word>[^}]*))?\}|(?P<bare>[A-Za-z_]\w*))", re.ASCII
)
"""What a Containerfile's ENV takes: `$NAME`, `${NAME}`, `${NAME:+WORD}`, `${NAME:-WORD}`."""
_PORT: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.ASCII | re.IGNORECASE)
_HIGHEST_PORT: Final = 65535
_FIELDS: Final = {"STOPSIGNAL": "stop_signal", "USER": "run_as", "WORKDIR": "workdir"}
"""Instructions with one word -> the request's field that they set."""


def expanded(env: Mapping[str, str], onto: Mapping[str, str]) -> dict[str, str]:
    """Return *onto* with *env* set, references in its values replaced by what *onto* has before."""
    return {**onto, **{name: _VARIABLE.sub(lambda match: _referred(match, onto), text) for name, text in env.items()}}


def _referred(match: re.Match[str], env: Mapping[str, str]) -> str:
    there = env.get(match["name"] or match["bare"], "")
    if not match["sign"] or (match["sign"] == "-" and there):
        return there
    if bool(there) != (match["sign"] == "+"):
        return ""
    return _VARIABLE.sub(lambda inner: _referred(inner, env), match["word"])


def parse(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of *text*: name in capitals, and what follows it.

    Raises:
        InvalidInputError: One is not of those that this module knows.
    """
    held = ""
    for line in text.split("\n"):
        bare = line.strip()
        if bare.startswith("#") or not bare:
            continue
        held += bare
        if held.endswith("\\"):
            held = held[:-1]
            continue
        name, _, rest = held.replace("\t", " ").partition(" ")
        held = ""
        if name.upper() not in KNOWN:
            raise InvalidInputError(
                f"the embedded engine runs nothing inside the image, so it cannot do {name.upper()} of a fragment",
                hint=f"use another engine, or instructions that run nothing: {', '.join(KNOWN)}",
            )
        yield name.upper(), rest.strip()


def applied(text: str, request: Request, env: Mapping[str, str]) -> tuple[Request, dict[str, str]]:
    """Return *request* and the image's environment as the instructions of *text* leave them.

    Raises:
        InvalidInputError: One cannot be read.
    """
    values = dict(env)
    for name, rest in parse(text):
        if not rest:
            raise InvalidInputError(f"{name} of the fragment says nothing", hint="complete it")
        if name == "ENV":
            values |= _pairs(name, rest, values)
        elif name == "LABEL":
            request = attrs.evolve(request, labels={**request.labels, **_pairs(name, rest, values)})
        elif name in {"CMD", "ENTRYPOINT"}:
            words = _json(rest)
            change: dict[str, Any] = {name.lower(): ("/bin/sh", "-c", rest) if words is None else words}
            request = attrs.evolve(request, **change)
        elif name == "EXPOSE":
            ports = [port for word, _ in _words(rest, values) for port in _ports(word)]
            request = attrs.evolve(request, ports=(*request.ports, *ports))
        elif name == "VOLUME":
            volumes = _json(rest) or [word for word, _ in _words(rest, values)]
            request = attrs.evolve(request, volumes=(*request.volumes, *volumes))
        else:
            word = _only(name, rest, values)
            if name == "WORKDIR":
                word = posixpath.normpath(posixpath.join("/", request.workdir, word))
            change = {_FIELDS[name]: word}
            request = attrs.evolve(request, **change)
    return request, values


def _json(text: str) -> list[str] | None:
    """Return the words of the JSON form; None if it is not that."""
    if not text.startswith("["):
        return None
    try:
        found = json.loads(text)
    except ValueError:
        return None
    return found if isinstance(found, list) and all(isinstance(word, str) for word in found) else None


def _words(text: str, env: Mapping[str, str]) -> list[tuple[str, int]]:
    """Return the words of *text*, without their quotes, and where each has its first `=` (-1 without)."""
    found: list[tuple[str, int]] = []
    word, equals, quote, begun, place = "", -1, "", False, 0
    while place < len(text):
        letter, after = text[place], text[place + 1 : place + 2]
        match = _VARIABLE.match(text, place) if letter == "$" and quote != "'" else None
        place += 1
        if match:
            word += _referred(match, env)
            place = match.end()
        elif letter == "\\" and quote != "'" and after:
            word += after if not quote or after in '"$\\' else letter + after
            place += 1
        elif letter == quote:
            quote = ""
        elif letter in "'\"" and not quote:
            quote = letter
        elif letter.isspace() and not quote:
            found += [(word, equals)] if begun else []
            word, equals, begun = "", -1, False
            continue
        else:
            equals = len(word) if letter == "=" and equals < 0 else equals
            word += letter
        begun = True
    if quote:
        raise InvalidInputError(f"the fragment has {text!r}, of which a quotation does not end", hint="end it")
    return [*found, (word, equals)] if begun else found


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


def _ports(text: str) -> Iterator[str]:
    match = _PORT.fullmatch(text)
    first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, -1)
    if match is None or not 0 < first <= last <= _HIGHEST_PORT:
        raise InvalidInputError(f"EXPOSE of the fragment has {text!r}", hint="write a port, say 8000/tcp")
    for port in range(first, last + 1):
        yield f"{port}/{(match[3] or 'tcp').lower()}"
