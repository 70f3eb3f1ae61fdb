"""Names and their forms: kinds, components, releases, platforms, registries."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Final

from tritonbuild.errors import InvalidInputError, UnknownNameError

KINDS: Final[Mapping[str, str]] = {"backend": "Triton backend", "repoagent": "repository agent", "cache": "cache"}
"""The kinds of component, and how messages call them."""

FOLDERS: Final[Mapping[str, str]] = {"backend": "backends", "repoagent": "repoagents", "cache": "caches"}
"""The folder below `/opt/tritonserver` that holds a kind."""

ARCHITECTURES: Final[Mapping[str, str]] = {"linux/amd64": "x86_64", "linux/arm64": "aarch64"}
"""The platforms that Triton has images for, and what its build scripts call them."""

_NAME = re.compile(r"[a-z0-9][a-z0-9_-]{0,127}")
_RELEASE = re.compile(r"[0-9]{2}\.(?:0[1-9]|1[0-2])")
_REGISTRY = re.compile(r"[a-z0-9][a-z0-9.-]*(?::[0-9]{1,5})?(?:/[a-z0-9]+(?:[._-]+[a-z0-9]+)*)*", re.IGNORECASE)


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
    elif is_name(name.strip().lower()):
        hint = f"did you mean {name.strip().lower()!r}?"
    raise InvalidInputError(f"{name!r} is not a component name", hint=hint)


def is_release(text: str) -> bool:
    """Tell whether *text* has the form of a release, `YY.MM`."""
    return _RELEASE.fullmatch(text) is not None


def check_platform(platform: str) -> str:
    """Return *platform* without the variant that says nothing.

    Raises:
        InvalidInputError: Triton has no images for it.
    """
    plain = platform.removesuffix("/v8") if platform.startswith("linux/arm64") else platform
    if plain not in ARCHITECTURES:
        hint = f"there are images for {' and '.join(ARCHITECTURES)}"
        raise InvalidInputError(f"triton has no images for platform {platform!r}", hint=hint)
    return plain


def platform_of(arch: str) -> str:
    """Return the platform of *arch*, which is `x86_64`, `aarch64` or what platforms call them.

    Raises:
        InvalidInputError: Triton has no images for it.
    """
    for platform, machine in ARCHITECTURES.items():
        if arch in (machine, platform, platform.partition("/")[2]):
            return platform
    hint = f"there are images for {' and '.join(ARCHITECTURES.values())}"
    raise InvalidInputError(f"triton has no images for architecture {arch!r}", hint=hint)


def check_registry(registry: str) -> str:
    """Return *registry*, a host with a path or without, less slashes at its end.

    Raises:
        InvalidInputError: It is something else.
    """
    plain = registry.rstrip("/")
    if _REGISTRY.fullmatch(plain):
        return plain
    hint = "give a host and a path, as in registry.example.com/mirror"
    if "://" in plain:
        hint = f"leave the scheme out: {plain.partition('://')[2]}"
    raise InvalidInputError(f"{registry!r} is not a registry", hint=hint)
