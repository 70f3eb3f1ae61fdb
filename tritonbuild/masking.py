"""Credentials, masked in everything that is shown or logged: commands, messages, and the output of engines.

A credential is recognized by its name. In doubt a value is masked.
"""

from __future__ import annotations

import csv
import io
import re
from collections.abc import Iterable
from typing import Final

MASK: Final = "***"

# Each expression reads a text once: none of its parts can match in two ways.
_WORDS: Final = re.compile(r"([\s'\"]+)")
_AT: Final = re.compile(r"@(?!sha[0-9]+:)")
"""The end of a user part; an image's digest follows its `@`."""
_USER: Final = re.compile(r"[^/:@,=](:)(?!//).", re.DOTALL)
"""The colon between user and password."""
_PARAMETER: Final = re.compile(r"([?&][^=&?\s]+=)[^&\s'\"]+")
_LONGEST_WORD: Final = 1 << 16
_VISIBLE: Final = bytes(range(0x21, 0x100))
"""The bytes of words, which space and control characters end."""
_CREDENTIAL: Final = re.compile(r"token(?!i[sz])|passw(or)?d|passphrase|secret|credential|apikey", re.IGNORECASE)
_CREDENTIAL_WORDS: Final = frozenset({"auth", "creds", "key", "pass", "pat", "pwd"})
_NO_CREDENTIAL_FLAGS: Final = frozenset({"--registry-auth-tlscontext", "--secret"})  # they name files and variables


def mask(argv: Iterable[str]) -> list[str]:
    """Return the tokens with credentials masked, to be shown or logged.

    The values of flags and keys that look like credentials are masked, also in a token that is a list of `KEY=VALUE`,
    and so are the user part and such query parameters of URLs.
    """
    masked: list[str] = []
    after = ""
    for token in argv:
        hidden = _names_credential(after) and not token.startswith("-")
        masked.append(MASK if hidden else mask_token(token))
        after = token if token.startswith("-") and "=" not in token else ""
    return masked


def looks_like_credential(name: str) -> bool:
    """Return whether a variable or key of that name probably holds a credential."""
    words = re.split(r"[^a-z0-9]+", re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).lower())
    return bool(_CREDENTIAL.search(name)) or not _CREDENTIAL_WORDS.isdisjoint(words)


def _names_credential(flag: str) -> bool:
    return flag not in _NO_CREDENTIAL_FLAGS and looks_like_credential(flag)


def mask_token(token: str) -> str:
    """Return a token or other text with its credentials masked."""
    flag, equals, rest = token.partition("=") if token.startswith("-") else ("", "", token)
    if equals and _names_credential(flag):
        return f"{flag}={MASK}"
    name, found, _ = rest.partition("=")
    if found and looks_like_credential(name):
        rest = f"{name}={MASK}"
    elif found:
        try:
            items = csv_items(rest)
        except ValueError:
            items = rest.split(",")
        shown = [_mask_field(item) for item in items]
        rest = rest if shown == items else csv_line(shown)
    return f"{flag}{equals}{mask_text(rest)}"


def mask_text(text: str) -> str:
    """Return a text with the user parts of its addresses masked, and query parameters that look like credentials.

    The time is linear in the length of the text.
    """
    if "@" in text:
        text = "".join(map(_mask_user, _WORDS.split(text)))
    return _PARAMETER.sub(lambda match: match[1] + MASK if looks_like_credential(match[1]) else match[0], text)


def _mask_user(word: str) -> str:
    """Return a word with `USER:PASSWORD@` masked, and with all before the last `@` where a scheme precedes it."""
    *before, last = _AT.split(word)
    start = "@".join(before).find("://")
    if start >= 0:
        return f"{word[: start + 3]}{MASK}@{last}"
    return "@".join([*map(_mask_password, before), last])


def _mask_password(part: str) -> str:
    found = _USER.search(part)
    if found is None:
        return part
    return part[: max(part.rfind(mark, 0, found.start(1)) for mark in "/:@,=") + 1] + MASK


class OutputMask:
    """Masks the output of a program, which comes in pieces; the last word of a piece is held back until it is whole."""

    def __init__(self) -> None:
        self._rest = b""

    def mask(self, piece: bytes) -> bytes:
        """Return the part of the output that is whole; an empty piece is the end."""
        data = self._rest + piece
        end = data[-_LONGEST_WORD:]
        word = len(end) - len(end.rstrip(_VISIBLE)) if piece else 0
        cut = len(data) - (word if word < _LONGEST_WORD else 0)
        self._rest = data[cut:]
        return mask_text(data[:cut].decode("utf-8", "surrogateescape")).encode("utf-8", "surrogateescape")


def _mask_field(item: str) -> str:
    name, equals, _ = item.partition("=")
    return f"{name}={MASK}" if equals and looks_like_credential(name) else item


def csv_line(texts: Iterable[str]) -> str:
    """Return the texts as one line of CSV, quoted as Go's encoding/csv reads it, and so BuildKit and pflag."""
    line = io.StringIO()
    try:
        csv.writer(line, lineterminator="").writerow(texts)
    except csv.Error:  # a NUL, to Python 3.10
        raise ValueError("it has a control character") from None
    return line.getvalue()


def csv_items(line: str) -> list[str]:
    """Parse a line of CSV."""
    try:
        (items,) = csv.reader([line], strict=True)
    except csv.Error:
        raise ValueError("it is no line of CSV") from None
    return items
