"""Parse the arguments of compose.py's command line that typer cannot express."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Final

from tritonbuild.errors import InvalidInputError

_WORDS: Final = {"true": "--enable-gpu", "1": "--enable-gpu", "yes": "--enable-gpu", "on": "--enable-gpu"}
_WORDS_OFF: Final = dict.fromkeys(("false", "0", "no", "off"), "--no-enable-gpu")


def normalized(argv: Sequence[str]) -> list[str]:
    """Return *argv* with compose.py's `--enable-gpu[=BOOL]` and `--enable-gpu BOOL` as plain switches.

    Raises:
        InvalidInputError: The value is neither true nor false; compose.py took such a value for false.
    """
    words = {**_WORDS, **_WORDS_OFF}
    result: list[str] = []
    for token in argv:
        name, equals, value = token.partition("=")
        if name == "--enable-gpu" and equals:
            if value.lower() not in words:
                raise InvalidInputError(f"--enable-gpu={value!s} is neither true nor false", hint="use true or false")
            result.append(words[value.lower()])
        elif result and result[-1] == "--enable-gpu" and token.lower() in words:
            result[-1] = words[token.lower()]
        else:
            result.append(token)
    return result


def source_images(values: Iterable[str]) -> dict[str, str]:
    """Return the source images of `--image NAME,REFERENCE`, by name.

    Raises:
        InvalidInputError: A value is not of that form, or a name is given twice.
    """
    images: dict[str, str] = {}
    for value in values:
        name, comma, reference = value.partition(",")
        if not comma or not reference:
            raise InvalidInputError(
                f"--image {value!r} is not NAME,REFERENCE", hint="write --image min,REGISTRY/NAME:TAG"
            )
        if name in images:
            raise InvalidInputError(f"--image {name!r} is given twice", hint="give each source image once")
        images[name] = reference
    return images
