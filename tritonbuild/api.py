"""The library's functions: build, plan and render compositions, and probe engines."""

from __future__ import annotations

import functools
import json
import os
import tempfile
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import backends, flags, parameters, planned, source_check
from tritonbuild import engine as engines
from tritonbuild.build_command import write_containerfile
from tritonbuild.composition import Composition, sources
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import InvalidInputError
from tritonbuild.keywords import DEFAULT_TAG, check_collisions, split, tags
from tritonbuild.planned import ExcusedLibrary, PlannedContents, PlannedLayer, PlannedLibrary, PlannedPart
from tritonbuild.run_build import BuildResult, Job, run
from tritonbuild.run_build import check as check_job

_TAKES: Final[Mapping[str, parameters.Takes]] = {
    "composition": parameters.optional(parameters.record(Composition)),
    "backend": parameters.TEXT,
    "image_tag": parameters.optional(parameters.TEXTS),
    "features": parameters.optional(parameters.TEXTS),
    "options": parameters.optional(parameters.OPTIONS),
    "timeout": parameters.optional(parameters.NUMBER),
    "echo": parameters.optional(parameters.WHOLE),
    "on_start": parameters.optional(parameters.FUNCTION),
    "on_note": parameters.optional(parameters.FUNCTION),
    "work_dir": parameters.optional(parameters.PATH),
    "measure": parameters.SWITCH,
    "output_path": parameters.optional(parameters.PATH),
    "enable_buildkit": parameters.SWITCH,
}
"""The parameters of the functions here, and the types that they take."""


def get_containerfile(
    composition: Composition | None = None,
    output_path: str | os.PathLike[str] | None = None,
    enable_buildkit: bool = True,  # noqa: FBT001, FBT002 - bentoml.container's signature
    features: Sequence[str] | None = None,
    **keywords: Any,
) -> str:
    """Return the Containerfile of a composition: the same text for an equal composition, on every machine.

    Args:
        composition: The composition; or its fields as keywords (`backends=["python"]`).
        output_path: A file to write it to, or a folder, which gets a `Dockerfile.compose`. It is written whole or
            not at all.
        enable_buildkit: Whether scripts are heredocs, which people can read, for BuildKit and other builders that know
            them; else every builder accepts the text. Both forms build the same files.
        features: Optional parts of the release; see `Composition`.
        keywords: Fields of `Composition`.

    Raises:
        InvalidInputError: The composition cannot be used, or *output_path* cannot be written to.
    """
    parameters.check(locals(), _TAKES)
    wanted, rest = split(composition, features, None, keywords)
    if rest:
        raise InvalidInputError(
            f"get_containerfile takes no {next(iter(rest))!r}", hint="see the fields of Composition"
        )
    text = _containerfile(wanted, heredocs=enable_buildkit)
    if output_path is not None:
        write_containerfile(text, Path(output_path))
    return text


@attrs.frozen(kw_only=True)
class Plan:
    """The plan of a build, made without a network, and without an engine unless one is named.

    Attributes:
        composition: The composition, with all defaults filled in.
        images: The source images by name: all that a mirror has to hold.
        network: Whether the build itself needs a network.
        context: The build context: the paths in it, and the files and folders to put at them.
        layers: The layers that the engine would write; None without an engine that can plan.
        opened: Libraries that are brought because a file names them, to open them at run time.
        excused: Libraries that a file needs and that may be missing, as in the full image.
        parts: Extras of the components, and libraries for single architectures of GPUs, each with its size.
    """

    composition: Composition
    images: Mapping[str, str]
    network: bool
    context: tuple[tuple[str, Path], ...]
    layers: tuple[PlannedLayer, ...] | None = None
    opened: tuple[PlannedLibrary, ...] = ()
    excused: tuple[ExcusedLibrary, ...] = ()
    parts: tuple[PlannedPart, ...] = ()


def plan(
    composition: Composition | None = None,
    features: Sequence[str] | None = None,
    *,
    backend: str = "",
    options: Mapping[str, Any] | None = None,
    echo: int | None = None,
    **keywords: Any,
) -> Plan:
    """Return the plan of a build of *composition*.

    Args:
        composition: The composition; or its fields as keywords.
        features: Optional parts of the release; see `Composition`.
        backend: An engine. One that can plan (the embedded engine) reads the source images and lists its layers.
        options: Options of such an engine, passed on as they are.
        echo: A file descriptor that gets the engine's output as it comes.
        keywords: Fields of `Composition`, and options of such an engine; see `build`.

    Raises:
        InvalidInputError: The composition or an option cannot be used.
        BuildFailedError: The engine finds that the image would lack a library, or cannot read a source image.
    """
    parameters.check(locals(), _TAKES)
    wanted, rest = split(composition, features, options, keywords)
    engine = backends.get_backend(backend) if backend else None
    if rest and not (engine and engine.plan_option):
        raise InvalidInputError(f"plan takes no {next(iter(rest))!r}", hint="see the fields of Composition")
    if engine and engine.plan_option:
        wanted, _ = source_check.for_release(wanted, engine, rest)
    images = {name: str(reference) for name, reference in sources(wanted).items()}
    found = Plan(composition=wanted, images=images, network=wanted.network, context=wanted.context())
    if engine is None or not engine.plan_option:
        return found
    check_collisions(wanted, engine, rest)
    contents = _contents(attrs.evolve(_job(engine, wanted, rest), echo=echo))
    return attrs.evolve(found, **attrs.asdict(contents, recurse=False))


def check(
    composition: Composition, backend: str, image_tag: Sequence[str] | None, *, options: Mapping[str, Any]
) -> None:
    """Check the engine's name, its options and the image's names as `build` does, without the engine's program.

    Raises:
        InvalidInputError: One of them cannot be used.
    """
    given = dict(options)
    names = tags(image_tag, given)
    if backend != backends.AUTO:
        engine = backends.get_backend(backend)
        check_collisions(composition, engine, given)
        check_job(attrs.evolve(_job(engine, composition, given), tags=names))


def _contents(job: Job) -> PlannedContents:
    """Run the engine of *job* to plan the build, without building."""
    with tempfile.TemporaryDirectory(prefix="tritonbuild-") as folder:
        file = Path(folder) / "plan"
        run(attrs.evolve(job, measure=False, options={**job.options, job.engine.plan_option: str(file)}))
        return planned.from_document(json.loads(file.read_bytes()))


def probe(backend: str) -> Health:
    """Ask an engine whether a build would work, and if not, why.

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


def build(  # noqa: PLR0913 - the signature of bentoml.container.build, and the parameters of a run
    composition: Composition | None = None,
    backend: str = backends.AUTO,
    image_tag: str | Sequence[str] | None = None,
    features: Sequence[str] | None = None,
    *,
    options: Mapping[str, Any] | None = None,
    timeout: float | None = None,
    echo: int | None = None,
    on_start: Callable[[Health, Sequence[str]], None] | None = None,
    on_note: Callable[[str], None] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    measure: bool = True,
    **keywords: Any,
) -> BuildResult:
    """Compose an image.

    The order: the composition is validated, the command constructed (an invalid option fails without an engine), the
    engine probed, the Containerfile written, the user's source images inspected, the engine run, its result collected,
    temporary files removed.

    Args:
        composition: The composition; or its fields as keywords (`backends=["python"]`).
        backend: The engine's name; `auto` takes the first healthy one.
        image_tag: The name or names of the image; `tritonserver` by default.
        features: Optional parts of the release; see `Composition`.
        options: Options of the engine, passed on as they are: `{"no_cache": True}`.
        timeout: Seconds that the engine may take; then its processes are stopped.
        echo: A file descriptor that gets the engine's output as it comes, say 2; none by default.
        on_start: Called once before the engine runs, with the probe's answer and the command, credentials masked.
        on_note: Called before that with remarks about the source images that *composition* names.
        work_dir: A folder for the Containerfile, which is kept; a temporary one by default.
        measure: Whether to ask the engine for the image's size, which is one more command.
        keywords: Fields of `Composition`, and options of the engine. A name that both have (`platform`, `runtime`) is
            the composition's; the engine's is given in *options*.

    Raises:
        InvalidInputError: The composition, an option or the engine's name cannot be used.
        UnhealthyEngineError: The engine's probe says why it cannot build.
        BuildFailedError: The engine ended without an image; the error has its command and last lines.
    """
    parameters.check(locals(), _TAKES)
    wanted, engine_options = split(composition, features, options, keywords)
    names = tags(image_tag, engine_options)
    if timeout is not None and not timeout > 0:
        raise InvalidInputError(f"timeout {timeout} is not a number of seconds above 0")
    if backend == backends.AUTO:
        engine, answer = backends.choose(engine_options)
    else:
        engine, answer = backends.get_backend(backend), None
    check_collisions(wanted, engine, engine_options)
    wanted, early = source_check.for_release(wanted, engine, engine_options, on_note)
    wanted = _for_platforms(wanted, engine_options)

    def inspects(health: Health) -> str:
        environments = early or source_check.read(wanted, engine, engine_options, {**engine.env, **health.env})
        for note in source_check.check(wanted, environments):
            if on_note:
                on_note(note)
        if engine.document or not environments.get("full"):
            return ""
        return _containerfile(wanted, environments["full"], heredocs="heredocs" in health.features)

    job = _job(engine, wanted, engine_options)
    return run(
        attrs.evolve(
            job,
            tags=names,
            health=answer,
            timeout=timeout,
            echo=echo,
            inspect=inspects if source_check.named(wanted) else None,
            on_start=on_start,
            work_dir=work_dir,
            measure=measure,
        )
    )


def _for_platforms(composition: Composition, options: Mapping[str, Any]) -> Composition:
    """Return the composition for the platforms of the engine's option, each checked against the catalog.

    Raises:
        InvalidInputError: The catalog lacks something for a platform, or the platforms need different Containerfiles.
    """
    value = options.get("platform")
    names = [name for name in flags.each(flags.items(value)) if isinstance(name, str)] if value is not None else []
    each = [attrs.evolve(composition, platform=name) for name in names]
    if len(each) <= 1:
        return each[0] if each else composition
    texts = {_containerfile(one, heredocs=False).replace(f"# For {one.platform}.", "") for one in each}
    if len(texts) > 1:
        raise InvalidInputError(
            f"the Containerfiles for {' and '.join(names)} differ", hint="build each platform separately"
        )
    return composition


def _job(engine: Engine, composition: Composition, options: Mapping[str, Any]) -> Job:
    """Return the job that builds *composition*."""
    request = engine.document
    return Job(
        engine=engine,
        document=functools.partial(_containerfile, composition)
        if request is None
        else lambda **_: request(composition),
        tags=(DEFAULT_TAG,),
        options=options,
        context=composition.context(),
        network=composition.network,
        platform=composition.platform,
    )


def _containerfile(composition: Composition, full_env: Mapping[str, str] | None = None, *, heredocs: bool) -> str:
    from tritonbuild import recipe  # noqa: PLC0415 - so that a build loads it while the engine's probe goes on

    return recipe.containerfile(composition, full_env, heredocs=heredocs)
