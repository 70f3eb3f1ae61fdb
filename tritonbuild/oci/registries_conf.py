"""Registries that Podman's `registries.conf` describes: mirrors, other locations, insecure and blocked registries.

https://github.com/containers/image/blob/main/docs/containers-registries.conf.5.md
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import attrs

from tritonbuild import dirs
from tritonbuild.errors import InvalidInputError
from tritonbuild.oci.descriptors import broken


@attrs.frozen(kw_only=True)
class RegistryRule:
    """A `[[registry]]` table.

    Attributes:
        prefix: The names it is for: a host, a part of a registry, or `*.DOMAIN`.
        location: The part of a registry that stands in for *prefix*.
        mirrors: Parts of registries that are asked first, each with the references it is asked for: `all`,
            `digest-only` or `tag-only`.
        insecure: Hosts of these that may be without TLS.
        blocked: Whether images of *prefix* are not read.
    """

    prefix: str
    location: str
    mirrors: tuple[tuple[str, str], ...] = ()
    insecure: frozenset[str] = frozenset()
    blocked: bool = False

    def matches(self, name: str) -> bool:
        """Return whether the rule is for an image's name, `HOST/REPOSITORY`."""
        if self.prefix.startswith("*."):
            return name.partition("/")[0].partition(":")[0].endswith(self.prefix[1:])
        return f"{name}/".startswith(f"{self.prefix}/")

    def rewrite(self, name: str, location: str) -> str:
        """Return *name* with *location* in place of the prefix."""
        if not location:
            return name
        if self.prefix.startswith("*."):
            return f"{location}/{name.partition('/')[2]}"
        return location + name[len(self.prefix) :]

    def names(self, name: str, *, by_digest: bool) -> tuple[str, ...]:
        """Return the names under which an image is looked for, in order."""
        kinds = {"all", "digest-only" if by_digest else "tag-only"}
        mirrors = [self.rewrite(name, mirror) for mirror, kind in self.mirrors if kind in kinds]
        return (*mirrors, self.rewrite(name, self.location))


def config_files(env: Mapping[str, str] | None = None) -> list[Path]:
    """Return the configuration files, those that count more last."""
    env = os.environ if env is None else env
    if env.get("CONTAINERS_REGISTRIES_CONF"):
        return [Path(env["CONTAINERS_REGISTRIES_CONF"])]
    home = Path(env["HOME"]) if env.get("HOME") else dirs.home()
    user = Path(env.get("XDG_CONFIG_HOME") or home / ".config") / "containers"
    system = Path("/etc/containers")
    main = next((path for folder in (user, system) if (path := folder / "registries.conf").exists()), None)
    parts = [part for folder in (system, user) for part in sorted((folder / "registries.conf.d").glob("*.conf"))]
    return [*([main] if main else []), *parts]


def read_rules(paths: list[Path]) -> tuple[RegistryRule, ...]:
    """Return the rules of configuration files, those with the longest prefix first; a later file overrides.

    Raises:
        InvalidInputError: A file cannot be read or is not TOML.
        TritonBuildError: A value has the wrong type.
    """
    rules: dict[str, RegistryRule] = {}
    for path in paths:
        for rule in _parse(path):
            rules[rule.prefix] = rule
    return tuple(sorted(rules.values(), key=lambda rule: -len(rule.prefix)))


def _parse(path: Path) -> Iterator[RegistryRule]:
    if sys.version_info >= (3, 11):
        import tomllib  # noqa: PLC0415 - only where such a file exists
    else:
        import tomli as tomllib  # noqa: PLC0415
    try:
        document = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return
    except (OSError, ValueError, RecursionError) as error:
        raise InvalidInputError(f"cannot read {str(path)!r}: {error}", hint="fix the file") from error
    for table in _tables(document, "registry", path):
        location, prefix = _text(table, "location", path), _text(table, "prefix", path)
        if not (prefix or location):
            raise broken(str(path), "a registry has neither prefix nor location")
        mirrors = _tables(table, "mirror", path)
        kind = "digest-only" if table.get("mirror-by-digest-only") is True else "all"
        hosts = [(one, _text(one, "location", path)) for one in mirrors] + [(table, location or prefix)]
        yield RegistryRule(
            prefix=prefix or location,
            location=location,
            mirrors=tuple(
                (_text(one, "location", path), _text(one, "pull-from-mirror", path) or kind) for one in mirrors
            ),
            insecure=frozenset(name.partition("/")[0] for one, name in hosts if one.get("insecure") is True),
            blocked=table.get("blocked") is True,
        )


def _tables(table: Mapping[str, Any], key: str, path: Path) -> list[dict[str, Any]]:
    found = table.get(key, [])
    if not isinstance(found, list) or not all(isinstance(one, dict) for one in found):
        raise broken(str(path), f"{key} is not a list of tables")
    return found


def _text(table: Mapping[str, Any], key: str, path: Path) -> str:
    found = table.get(key, "")
    if not isinstance(found, str):
        raise broken(str(path), f"{key} is not a string")
    return found.rstrip("/")
