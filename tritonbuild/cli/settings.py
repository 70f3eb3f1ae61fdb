"""The user's settings: the config file, and the environment variables of the command line.

engine = "podman"
registry = "mirror.example/nvidia"

[[component]]
name = "my_backend"
requires = ["python"]
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import dirs
from tritonbuild.catalog import BUILTIN, Catalog
from tritonbuild.errors import InvalidInputError, UnknownNameError

VARIABLE: Final = "TRITONBUILD_CONFIG"
"""The environment variable that names another config file."""
ENGINE_VARIABLE: Final = "TRITONBUILD_ENGINE"
"""The environment variable that names the engine, in place of the config file's."""

_TEXTS: Final = ("engine", "registry")
KEYS: Final = (*_TEXTS, "component", "plugins")


@attrs.frozen(kw_only=True)
class Settings:
    """The settings; empty texts where the user has none.

    Attributes:
        engine: The engine that builds.
        registry: The registry of the release's images.
        plugins: Modules and files that register engines; relative paths start at the config file's folder.
        catalog: The catalog with the components of the file.
    """

    engine: str = ""
    registry: str = ""
    plugins: tuple[str, ...] = ()
    catalog: Catalog = BUILTIN


def path() -> Path:
    """Return the path of the config file, which need not exist."""
    if named := os.environ.get(VARIABLE):
        return Path(named)
    return dirs.config() / "config.toml"


def read() -> Settings:
    """Read the settings.

    Raises:
        InvalidInputError: The config file is not TOML, has an unknown key or value, or is named and does not exist.
    """
    found = _read_file()
    return attrs.evolve(found, engine=os.environ.get(ENGINE_VARIABLE) or found.engine)


def _read_file() -> Settings:
    file = path()
    try:
        document = _parsed(file.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if VARIABLE in os.environ:
            raise InvalidInputError(f"config file {str(file)!r} does not exist", hint=f"correct {VARIABLE}") from None
        return Settings()
    except (OSError, ValueError, RecursionError) as error:
        reason = error.strerror if isinstance(error, OSError) else error
        raise InvalidInputError(f"config file {str(file)!r} cannot be read: {reason}", hint="fix the file") from error
    return _settings(document, file)


def _parsed(text: str) -> dict[str, Any]:
    # Slow to import, and not needed where there is no config file.
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415
    else:
        import tomli as tomllib  # noqa: PLC0415
    document: dict[str, Any] = tomllib.loads(text)
    return document


def _settings(document: Mapping[str, Any], file: Path) -> Settings:
    for key in document:
        if key not in KEYS:
            raise UnknownNameError("key", key, KEYS, where=f"in config file {str(file)!r}")
    for key in _TEXTS:
        if not isinstance(document.get(key, ""), str):
            raise InvalidInputError(f"{key} in config file {str(file)!r} is {document[key]!r}, not text")
    entries = document.get("component", [])
    if not isinstance(entries, list):
        raise InvalidInputError(
            f"component in config file {str(file)!r} is not a list of tables", hint="write [[component]]"
        )
    plugins = document.get("plugins", [])
    if not isinstance(plugins, list) or not all(isinstance(plugin, str) for plugin in plugins):
        raise InvalidInputError(f"plugins in config file {str(file)!r} is not a list of texts")
    return Settings(
        plugins=tuple(str(file.parent / plugin) if plugin.endswith(".py") else plugin for plugin in plugins),
        engine=document.get("engine", ""),
        registry=document.get("registry", ""),
        catalog=BUILTIN.extended(entries) if entries else BUILTIN,
    )
