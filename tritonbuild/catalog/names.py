"""Names of component kinds, components, releases and platforms: their forms and checks."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.reference import parse_platform

KINDS: Final[Mapping[str, str]] = {"backend": "Triton backend", "repoagent": "repository agent", "cache": "cache"}
"""The kinds of component, and the noun for each in messages."""

ARCHITECTURES: Final[Mapping[str, str]] = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""The platforms of Triton's images, and their architectures in the spelling of Triton's build scripts."""

_NAME: Final = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")
_RELEASE: Final = re.compile(r"[0-9]{2}\.(?:0[1-9]|1[0-2])")


def check_kind(kind: str) -> str:
    """Return *kind*.

    Raises:
        UnknownNameError: It is none of `KINDS`.
    """
    if kind not in KINDS:
        raise UnknownNameError("kind of component", kind, KINDS)
    return kind


def is_name(text: str) -> bool:
    """Tell whether *text* has the form of a component's name."""
    return _NAME.fullmatch(text) is not None


def check_name(kind: str, name: str) -> str:
    """Return *name*, which has the form of a component's name: it becomes part of paths and Containerfiles.

    Raises:
        InvalidInputError: It has another form.
    """
    if is_name(name):
        return name
    parts = [part.strip() for part in name.split(",")]
    hint = "names are lower-case letters, digits, '-' and '_'"
    if len(parts) > 1 and all(is_name(part) for part in parts):
        hint = f"give --{kind} once for each: {' '.join(f'--{kind} {part}' for part in parts)}"
    elif set(name) & set("[]"):
        hint = "write extras as NAME[EXTRA,...]"
    elif is_name(name.strip().lower()):
        hint = f"did you mean {name.strip().lower()!r}?"
    raise InvalidInputError(f"{name!r} is not a component name", hint=hint)


def is_release(text: str) -> bool:
    """Tell whether *text* has the form of a release, `YY.MM`."""
    return _RELEASE.fullmatch(text) is not None


def check_platform(text: str) -> str:
    """Return the platform that *text* spells (`linux/arm64`, `arm64`, `aarch64`), a key of `ARCHITECTURES`.

    Raises:
        InvalidInputError: *text* is not a platform, or Triton has no images for it.
    """
    platform = parse_platform(text)
    if platform not in ARCHITECTURES:
        hint = f"there are images for {' and '.join(ARCHITECTURES)}"
        raise InvalidInputError(f"triton has no images for platform {text!r}", hint=hint)
    return platform
