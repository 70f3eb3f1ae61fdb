"""Challenges of `WWW-Authenticate` headers.

https://www.rfc-editor.org/rfc/rfc9110#section-11.6.1
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from typing import Final

import attrs

_LONGEST: Final = 1 << 16
"""Characters of a header that are read; http.client accepts as many in a line."""

# Each alternative begins with another character, so that a header is read once from left to right.
_LEXEME: Final = re.compile(r"""[!#$%&'*+.^_`|~0-9A-Za-z/-]+|"(?:[^"\\]|\\.)*"?|[=,]|[ \t]+|.""", re.DOTALL)


@attrs.frozen
class Challenge:
    """An authentication scheme and its parameters, with names in lower case."""

    scheme: str
    parameters: Mapping[str, str]


def parse_challenges(headers: Iterable[str]) -> list[Challenge]:
    """Return the challenges of `WWW-Authenticate` headers; each may hold several.

    Text that does not follow the grammar is skipped. The time is linear in the length of the headers.
    """
    return [challenge for header in headers for challenge in _parse(header[:_LONGEST])]


def _parse(header: str) -> Iterator[Challenge]:
    lexemes = [lexeme for lexeme in _LEXEME.findall(header) if lexeme.strip()]
    scheme = ""
    parameters: dict[str, str] = {}
    for position, lexeme in enumerate(lexemes):
        if not _is_token(lexeme) or (position and lexemes[position - 1] == "="):
            continue
        following = lexemes[position + 1] if position + 1 < len(lexemes) else ""
        if following != "=":
            if position and lexemes[position - 1] != ",":
                # Neither a scheme nor a parameter: credentials of a scheme that is not used here.
                continue
            if scheme:
                yield Challenge(scheme, parameters)
            scheme, parameters = lexeme.lower(), {}
        elif scheme and position + 2 < len(lexemes):
            parameters.setdefault(lexeme.lower(), _unquote(lexemes[position + 2]))
    if scheme:
        yield Challenge(scheme, parameters)


def _is_token(lexeme: str) -> bool:
    return lexeme[0] not in '",=' and (lexeme[0].isalnum() or lexeme[0] in "!#$%&'*+.^_`|~/-")


def _unquote(lexeme: str) -> str:
    if not lexeme.startswith('"'):
        return lexeme if _is_token(lexeme) else ""
    return re.sub(r"\\(.)", r"\1", lexeme[1:].removesuffix('"'), flags=re.DOTALL)
