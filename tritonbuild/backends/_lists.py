"""Builds of podman for several platforms: the list of their images gets the names, and is pushed and saved whole."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tritonbuild import flags
from tritonbuild.atomic import replacing
from tritonbuild.backends import _leftovers, _options
from tritonbuild.reference import parse_reference


def named(options: dict[str, Any]) -> dict[str, Any]:
    """Return the options of a build with a name for the list of its images, which no other build has."""
    if not flags.has_several_platforms(options) or options.get("manifest"):
        return options
    return {**options, "manifest": own_name(options)}


def own_name(options: Mapping[str, Any]) -> str:
    """Return the name for the list of a build's images if the user gives none."""
    return f"localhost/{_leftovers.mark(options['context_path'])}"


def finish(*, scratch: Path, tokens: Sequence[str], options: dict[str, Any], engine: str) -> Iterator[list[str]]:
    """Yield the commands that name the list of a build's images, save it and push it.

    The list goes by its name: its id can stand for the image for the platform of this machine.
    """
    destination, given = _options.stored(flags.canonical(options), engine=engine)
    tags = _options.tags(given)
    image = options["manifest"]
    yield ["tag", image, *tags]
    for output in destination.outputs:
        name = "".join(f":{parse_reference(tag)}" for tag in tags[:1])  # such an archive holds one name
        with replacing(Path(output.dest)) as target:
            yield ["manifest", "push", "--all", image, f"oci-archive:{target}{name}"]
    quiet = ["--quiet"] if given.get("quiet") else []
    digest = f"--digestfile={scratch / 'digest'}"
    for tag in tags if destination.push else ():
        yield ["manifest", "push", "--all", *quiet, *tokens, digest, image, f"docker://{tag}"]
    if image == own_name(options):
        yield ["manifest", "rm", image]
