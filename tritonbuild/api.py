"""The library's functions: resolve what is wanted, probe the engine, run it, return the result."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import backends, source_check
from tritonbuild import engine as engines
from tritonbuild.composition import RUNTIMES, Composition, sources
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import InvalidInputError
from tritonbuild.reference import parse_reference
from tritonbuild.run_build import BuildResult, build_text, write_containerfile

DEFAULT_TAG: Final = "tritonserver"
"""The image's name where none is given, as with compose.py."""


def get_containerfile(
    composition: Composition | None = None,
    output_path: str | os.PathLike[str] | None = None,
    enable_buildkit: bool = True,  # noqa: ARG001, FBT001, FBT002 - bentoml.container's signature; one text suits both
    features: Sequence[str] | None = None,
    **keywords: Any,
) -> str:
    """Return the Containerfile of a composition: the same text for an equal composition, on every machine.

    Args:
        composition: What is wanted; or its keywords instead (`backends=["python"]`).
        output_path: A file to write it to, or a folder, which gets a `Dockerfile.compose`. It is written whole or
            not at all.
        enable_buildkit: Accepted for what `bentoml.container` calls it. The text is one that builders with and
            without BuildKit take.
        features: What to add that is not needed to run; see `Composition`.
        keywords: Fields of `Composition`.

    Raises:
        InvalidInputError: The composition cannot be used, or *output_path* cannot be written to.
    """
    wanted, rest = _split(composition, features, keywords)
    if rest:
        raise InvalidInputError(
            f"get_containerfile takes no {next(iter(rest))!r}", hint="see the fields of Composition"
        )
    text = _containerfile(wanted)
    if output_path is not None:
        write_containerfile(text, Path(output_path))
    return text


@attrs.frozen(kw_only=True)
class PlannedLayer:
    """A layer that a build would write.

    Attributes:
        title: What is in it, in words.
        size: Bytes of its files.
        files: Path -> bytes of everything in it; folders and links have none.
    """

    title: str
    size: int
    files: Mapping[str, int] = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class Plan:
    """What a build would do: found out without a network, and without an engine unless one is named.

    Attributes:
        composition: What is wanted, with everything filled in.
        images: The source images by name: all that a mirror has to hold.
        network: Whether the build itself needs a network.
        context: Paths in the build context, and what goes there.
        layers: The layers that the engine would write; None where no engine is named that can tell.
    """

    composition: Composition
    images: Mapping[str, str]
    network: bool
    context: tuple[tuple[str, Path], ...]
    layers: tuple[PlannedLayer, ...] | None = None


def plan(
    composition: Composition | None = None,
    features: Sequence[str] | None = None,
    *,
    backend: str = "",
    echo: int | None = None,
    **keywords: Any,
) -> Plan:
    """Return what a build of *composition* would take.

    Args:
        composition: What is wanted; or its keywords instead.
        features: What to add that is not needed to run.
        backend: An engine; one that can tell beforehand what it would write (the embedded engine) is asked, and reads
            the source images for that.
        echo: A file descriptor that gets the engine's output as it comes.
        keywords: Fields of `Composition`, and options of such an engine.

    Raises:
        InvalidInputError: The composition or an option cannot be used.
        BuildFailedError: The engine finds that the image would lack a library, or cannot read a source image.
    """
    wanted, rest = _split(composition, features, keywords)
    engine = backends.get_backend(backend) if backend else None
    if rest and not (engine and engine.plan_option):
        raise InvalidInputError(f"plan takes no {next(iter(rest))!r}", hint="see the fields of Composition")
    images = {name: str(reference) for name, reference in sources(wanted).items()}
    found = Plan(composition=wanted, images=images, network=wanted.network, context=wanted.context())
    if engine is None or not engine.plan_option:
        return found
    return attrs.evolve(found, layers=_layers(engine, wanted, rest, echo))


def _layers(
    engine: Engine, wanted: Composition, options: Mapping[str, Any], echo: int | None
) -> tuple[PlannedLayer, ...]:
    with tempfile.TemporaryDirectory(prefix="tritonbuild-") as folder:
        told = Path(folder) / "plan"
        build_text(
            engine,
            functools.partial(engine.document or _containerfile, wanted),
            (DEFAULT_TAG,),
            context=wanted.context(),
            network=wanted.network,
            platform=wanted.platform,
            echo=echo,
            measure=False,
            options={**options, engine.plan_option: str(told)},
        )
        document = json.loads(told.read_bytes())
    return tuple(
        PlannedLayer(
            title=layer["title"], size=layer["size"], files={file["path"]: file["size"] for file in layer["files"]}
        )
        for layer in document["layers"]
    )


def probe(backend: str) -> Health:
    """Ask an engine whether a build would work, and why not.

    Raises:
        UnknownNameError: No engine of that name is registered.
    """
    return engines.probe(backends.get_backend(backend))


def health(backend: str) -> bool:
    """Whether a build would work with that engine; never raises for an unhealthy one.

    Raises:
        UnknownNameError: No engine of that name is registered.
    """
    return probe(backend).ok


def build(  # noqa: PLR0913 - DESIGN's signature, and what concerns the run
    composition: Composition | None = None,
    backend: str = backends.AUTO,
    image_tag: str | Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    *,
    timeout: float | None = None,
    echo: int | None = None,
    on_start: Callable[[Health, Sequence[str]], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    measure: bool = True,
    **options: Any,
) -> BuildResult:
    """Compose an image.

    The order: the composition is validated, the command constructed (a bad option fails without an engine), the
    engine probed, the Containerfile written, the source images that are named looked at, the engine run, its result
    collected, temporary files removed.

    Args:
        composition: What is wanted; or its keywords instead (`backends=["python"]`).
        backend: The engine's name; `auto` takes the first healthy one.
        image_tag: The name or names of the image; `tritonserver` by default.
        features: What to add that is not needed to run; see `Composition`.
        timeout: Seconds the engine may take; then its processes are stopped.
        echo: A file descriptor that gets the engine's output as it comes, say 2; none by default.
        on_start: Called once before the engine runs, with the probe's answer and the command, credentials masked.
        on_note: Called before that for what is worth saying about the source images that *composition* names.
        work_dir: A folder for the Containerfile, which stays there; a temporary one by default.
        measure: Whether to ask the engine for the image's size, which is one more command.
        options: The engine's options (`no_cache=True`), and fields of `Composition`.

    Raises:
        InvalidInputError: The composition, an option or the engine's name cannot be used.
        UnhealthyEngineError: The engine's probe says why it cannot build.
        BuildFailedError: The engine ended without an image; the error has its command and last lines.
    """
    wanted, engine_options = _split(composition, features, options)
    tags = _tags(image_tag, engine_options)
    if backend == backends.AUTO:
        engine, answer = backends.choose()
    else:
        engine, answer = backends.get_backend(backend), None

    def starts(health: Health, argv: Sequence[str]) -> None:
        if source_check.named(wanted):
            environments = source_check.read(wanted, engine, engine_options, {**engine.env, **health.env})
            for note in source_check.check(wanted, environments):
                if on_note:
                    on_note(note)
        if on_start:
            on_start(health, argv)

    return build_text(
        engine,
        functools.partial(engine.document or _containerfile, wanted),
        tags,
        context=wanted.context(),
        network=wanted.network,
        platform=wanted.platform,
        health=answer,
        timeout=timeout,
        echo=echo,
        on_start=starts,
        work_dir=work_dir,
        measure=measure,
        options=engine_options,
    )


def _containerfile(composition: Composition) -> str:
    from tritonbuild import recipe  # noqa: PLC0415 - so that a build loads it while the engine's probe goes on

    return recipe.containerfile(composition)


def _split(
    composition: Composition | None, features: Sequence[str] | None, keywords: Mapping[str, Any]
) -> tuple[Composition, dict[str, Any]]:
    """Return the composition that is meant, and the keywords that are not fields of one.

    Two names are options of engines too: `runtime` is the composition's where its value is one of ours (podman's is
    a program), and `platform` where it is a single one.
    """
    names = {field.name for field in attrs.fields(Composition) if field.init}
    if not isinstance(keywords.get("platform", ""), str) or "," in keywords.get("platform", ""):
        names.discard("platform")
    if keywords.get("runtime", RUNTIMES[0]) not in RUNTIMES:
        names.discard("runtime")
    own = {name: value for name, value in keywords.items() if name in names}
    if features is not None:
        own["features"] = tuple(features)
    rest = {name: value for name, value in keywords.items() if name not in names}
    if composition is None:
        return Composition(**own), rest
    if not isinstance(composition, Composition):
        raise InvalidInputError(f"composition is {composition!r}, not a Composition", hint="pass Composition(...)")
    return attrs.evolve(composition, **own) if own else composition, rest


def _tags(image_tag: str | Sequence[str] | None, options: dict[str, Any]) -> tuple[str, ...]:
    """Return the image's names, from *image_tag* or the options `tag` and `image_tag`, each a valid reference."""
    value = image_tag or options.pop("tag", None) or DEFAULT_TAG
    tags = (value,) if isinstance(value, str) else tuple(value)
    for tag in tags:
        if parse_reference(tag).digest:
            raise InvalidInputError(f"{tag!r} names an image by digest", hint="give the new image a name with a tag")
    return tags
