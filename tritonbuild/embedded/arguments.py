"""The command line of the embedded engine, which tritonbuild renders from `backends.embedded.OPTIONS`."""

from __future__ import annotations

import argparse
import csv
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Final, NoReturn

from tritonbuild.errors import InvalidInputError
from tritonbuild.layers import cache
from tritonbuild.layers.writing import COMPRESSIONS, GZIP
from tritonbuild.oci.http.settings import TRIES
from tritonbuild.reference import parse_registry

OUTPUT_TYPES: Final = ("docker-archive", "oci", "oci-layout", "registry")
_UNITS: Final = {"": 1, "k": 1 << 10, "m": 1 << 20, "g": 1 << 30, "t": 1 << 40}


class _Parser(argparse.ArgumentParser):
    def error(self, message: str) -> NoReturn:
        raise InvalidInputError(message, hint="see docs/embedded.md")


def parser() -> argparse.ArgumentParser:
    """Return the parser of the command line."""
    found = _Parser(prog="python -m tritonbuild.embedded", description=__doc__, allow_abbrev=False)
    add = found.add_argument
    add("--annotation", action="append", default=[], metavar="NAME=VALUE", help="annotation of the manifest")
    add("--authfile", metavar="FILE", help="file with logins, in place of podman's and docker's")
    add("--cache-dir", metavar="FOLDER", help="folder of layer indexes and layers")
    add("--cache-size", metavar="BYTES", default=str(cache.LARGEST), help="the most bytes kept in the cache, say 20g")
    add("--ca-file", metavar="FILE", default="", help="certificates to trust, besides the system's")
    add("--compression", choices=COMPRESSIONS, default=GZIP, help="compression of new layers")
    add("--context", metavar="FOLDER", help="the build context")
    add("--file", metavar="FILE", required=True, help="the request")
    add("--iidfile", metavar="FILE", help="write the digest of the configuration to FILE")
    add("--insecure-registry", action="append", default=[], metavar="HOST", help="registry that may be without TLS")
    add("--label", action="append", default=[], metavar="NAME=VALUE", help="label of the image")
    add("--load", metavar="PROGRAM", help="load the image with PROGRAM load --input FILE")
    add("--metadata-file", metavar="FILE", help="write the digests to FILE, as JSON")
    add("--mirror", action="append", default=[], metavar="HOST=MIRROR", help="registry that is tried first for reading")
    add("--no-cache", action="store_true", help="write all layers again")
    add(
        "--output", action="append", default=[], metavar="type=TYPE,dest=PATH", help=f"one of {', '.join(OUTPUT_TYPES)}"
    )
    add("--plan-file", metavar="FILE", help="write the plan to FILE, as JSON, and build nothing")
    add("--platform", default="", help="os/arch[/variant]")
    add("--push", action="store_true", help="push to the registries in the tags")
    add("--quiet", action="store_true", help="print no progress")
    add("--retry", type=int, default=TRIES, metavar="TIMES", help="most attempts for a request")
    add("--sbom", action="store_true", help="attach a bill of materials")
    add("--source", action="append", default=[], metavar="NAME=IMAGE", help="another full or base image")
    add("--tag", action="append", default=[], metavar="NAME", help="name of the image")
    return found


def pairs(texts: Sequence[str], *, what: str) -> dict[str, str]:
    """Return `NAME=VALUE` texts as a dict."""
    found = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidInputError(f"{text!r} is not {what}", hint="write NAME=VALUE")
        found[name] = value
    return found


def mirrors(texts: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Return the mirrors of each host from `HOST=MIRROR` texts, in their order."""
    found: dict[str, tuple[str, ...]] = {}
    for text in texts:
        ((host, mirror),) = pairs([text], what="a mirror").items()
        found[host] = (*found.get(host, ()), parse_registry(mirror))
    return found


def size(text: str) -> int:
    """Return a number of bytes, written with or without a unit: `20g`."""
    number, unit = (text[:-1], text[-1:].lower()) if text[-1:].isalpha() else (text, "")
    if not re.fullmatch("[0-9]{1,18}", number) or unit not in _UNITS:
        raise InvalidInputError(f"{text!r} is not a number of bytes", hint="write it like 500m or 20g")
    return int(number) * _UNITS[unit]


def output(text: str) -> tuple[str, Path | None]:
    """Return type and destination of `type=TYPE,dest=PATH`."""
    fields = {}
    for field in next(csv.reader([text]), []):
        name, equals, value = field.partition("=")
        if not equals or name not in {"type", "dest", "push", "name"}:
            raise InvalidInputError(
                f"output {text!r} has the unknown field {field!r}", hint="write type=TYPE,dest=PATH"
            )
        fields[name] = value
    kind = fields.get("type", "")
    if kind == "image" and fields.get("push") == "true":
        kind = "registry"
    if kind not in OUTPUT_TYPES:
        raise InvalidInputError(
            f"the embedded engine has no output type {kind!r}", hint=f"types: {', '.join(OUTPUT_TYPES)}"
        )
    if kind != "registry" and not fields.get("dest"):
        raise InvalidInputError(f"output {text!r} has no destination", hint=f"write type={kind},dest=PATH")
    return kind, Path(fields["dest"]) if fields.get("dest") else None
