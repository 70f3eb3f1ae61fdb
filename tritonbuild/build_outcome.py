"""The outcome of a build: image id, digest, destinations and size, from the files that the engine wrote."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from tritonbuild import engine as engines
from tritonbuild import flags
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import BuildFailedError, excerpt
from tritonbuild.masking import mask
from tritonbuild.reference import is_digest

_LONG: Final = 60
"""Characters of an instruction that are kept where an engine quotes it."""


def last_lines(output: str, document: str) -> list[str]:
    """Return the lines of an engine's output, without the instructions of the document that it quotes.

    podman and buildah print a whole instruction, several kilobytes of shell, before the cause of its failure.
    """
    instructions = [line for line in document.replace("\\\n", "").splitlines() if len(line) > _LONG]
    lines = []
    for line in output.splitlines():
        for instruction in instructions:
            line = line.replace(instruction, f"{instruction[:_LONG]}...")  # noqa: PLW2901 - each replacement in turn
        lines.append(excerpt(line))
    return lines


def facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the content of the engine's metadata file; empty without one."""
    try:
        found = json.loads(Path(options["metadata_file"]).read_bytes())
    except (KeyError, OSError, ValueError, TypeError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def identity(
    engine: Engine,
    argv: Sequence[str],
    options: Mapping[str, Any],
    metadata: Mapping[str, Any],
) -> tuple[str, str]:
    """Return image id and manifest digest from the files that the engine was to write; never from its output.

    Raises:
        BuildFailedError: The command asks for an image id, and there is none.
    """
    image_id, digest = _digests(metadata)
    if (iidfile := options.get("iidfile")) and not image_id:
        with contextlib.suppress(OSError):
            image_id = Path(iidfile).read_text(encoding="ascii", errors="replace").strip()
    image_id = image_id if ":" in image_id or not image_id else f"sha256:{image_id}"
    files = [str(options[name]) for name in ("metadata_file", "iidfile") if options.get(name)]
    asked = any(path in token for path in files for token in argv)
    if (asked or engine.options) and engine.makes_image(options) and not is_digest(image_id):
        raise BuildFailedError(
            f"the build with engine {engine.name!r} ended with success, but without an image id",
            argv=mask(argv),
            returncode=0,
            hint="it may have been stopped by another program; see the log",
        )
    return image_id, digest


def check_files(engine: Engine, argv: Sequence[str], options: Mapping[str, Any]) -> None:
    """Require the files and folders that a build with these options writes.

    Raises:
        BuildFailedError: One is missing.
    """
    for path in engine.files(options):
        if not Path(path).exists():
            raise BuildFailedError(
                f"the build with engine {engine.name!r} ended with success, but without the file {path!r}",
                argv=mask(argv),
                returncode=0,
                hint="see the log",
            )


def is_list(engine: Engine, options: Mapping[str, Any]) -> bool:
    """Return whether the result is a list of images in the engine's storage."""
    return bool(engine.platforms_query) and flags.has_several_platforms(options)


def check_platforms(
    engine: Engine,
    argv: Sequence[str],
    options: Mapping[str, Any],
    env: Mapping[str, str],
    *,
    otherwise: Callable[[], None],
) -> None:
    """Compare the platforms of the list of images that a build made with those that were requested.

    Args:
        engine: The engine.
        argv: The command of the build.
        options: The options of the build.
        env: Environment variables to add for the engine.
        otherwise: Called if a platform is missing.

    Raises:
        BuildFailedError: A platform is missing.
    """
    if not is_list(engine, options):
        return
    requested = flags.each(flags.canonical(options)["platform"])
    try:
        document = json.loads(engines.ask(engine, engine.platforms_query, str(options["manifest"]), options, env))
        found = [entry["platform"] for entry in document["manifests"]]
    except (ValueError, KeyError, TypeError):
        found = []
    names = {_system(str(one)) for one in requested}
    missing = names - {_system(f"{one.get('os')}/{one.get('architecture')}") for one in found}
    if missing:
        otherwise()
        raise BuildFailedError(
            f"the image that engine {engine.name!r} built lacks the platform {' and '.join(sorted(missing))}",
            argv=mask(argv),
            returncode=0,
            hint="build without the cache (no_cache=True): old versions take steps of other platforms from it",
        )


def _system(platform: str) -> str:
    """Return the system and the architecture of a platform, without a variant."""
    return "/".join(platform.split("/")[:2])


def _digests(metadata: Mapping[str, Any]) -> tuple[str, str]:
    """Return image id and manifest digest from BuildKit's metadata; empty where they are absent.

    An image in a storage that keeps no manifests has none: its digest there is its id, by either name.
    """
    digest = str(metadata.get("containerimage.digest", ""))
    image_id = str(metadata.get("containerimage.config.digest", "")) or digest
    has_manifest = "containerimage.descriptor" in metadata or digest != image_id
    return image_id, digest if has_manifest else ""


def destinations(metadata: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the destinations of the image besides the engine's storage, for an engine whose metadata has them."""
    found = metadata.get("tritonbuild.locations")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def sizes(
    engine: Engine, image_id: str, options: Mapping[str, Any], env: Mapping[str, str], health: Health
) -> tuple[int | None, int | None]:
    """Return the bytes of the image's files and of its packed layers; None where unknown, as of a list of images."""
    asked = engine.size_query and not is_list(engine, options)
    answer = engines.ask(engine, engine.size_query, image_id, options, env) if asked else ""
    found = int(answer) if answer.isascii() and answer.isdigit() else None
    return (None, found) if "containerd-store" in health.features else (found, None)


def pushed_digest(
    engine: Engine, image_id: str, options: Mapping[str, Any], env: Mapping[str, str], scratch: Path
) -> str:
    """Return the manifest digest after the follow-up commands; empty where it is unknown."""
    if options.get("push") and engine.digest_query:
        answer = engines.ask(engine, engine.digest_query, image_id, options, env)
        return answer.partition("\n")[0].rpartition("@")[2]
    with contextlib.suppress(OSError):
        return (scratch / "digest").read_text(encoding="ascii", errors="replace").strip()
    return ""
