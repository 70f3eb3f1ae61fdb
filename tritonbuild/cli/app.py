"""The commands and their options."""

from __future__ import annotations

import json
import os
import shlex
import sys
from collections.abc import Sequence
from importlib import metadata
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import typer

from tritonbuild import api, backends, flags
from tritonbuild.cli import arguments
from tritonbuild.composition import NVIDIA_REGISTRY, Composition
from tritonbuild.engine import Health
from tritonbuild.errors import InvalidInputError, UnhealthyEngineError

_WHAT: Final = "What is in the image"
_SOURCE: Final = "Where it comes from"
_HOW: Final = "How it is built"
_SHOWN: Final = "What is shown"

app = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode=None,
)


def _out(text: str) -> None:
    print(text, flush=True)  # noqa: T201 - a result


def _err(text: str) -> None:
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - everything else


def _version(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked:
        _out(f"tritonbuild {metadata.version('tritonbuild')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def build(  # noqa: PLR0913 - one parameter for each option
    context: typer.Context,
    *,
    backend: Annotated[
        list[str], typer.Option(metavar="NAME", help="A Triton backend; repeatable.", rich_help_panel=_WHAT)
    ] = [],  # noqa: B006 - typer copies it
    repoagent: Annotated[
        list[str], typer.Option(metavar="NAME", help="A repository agent; repeatable.", rich_help_panel=_WHAT)
    ] = [],  # noqa: B006
    cache: Annotated[
        list[str], typer.Option(metavar="NAME", help="A response cache; repeatable.", rich_help_panel=_WHAT)
    ] = [],  # noqa: B006
    enable_gpu: Annotated[
        bool, typer.Option("--enable-gpu/--no-enable-gpu", help="For GPU or for CPU.", rich_help_panel=_WHAT)
    ] = True,
    container_version: Annotated[
        str, typer.Option(metavar="YY.MM", help="NVIDIA's release; the newest by default.", rich_help_panel=_SOURCE)
    ] = "",
    image: Annotated[
        list[str],
        typer.Option(
            metavar="NAME,REF", help="A source image: full,REF and min,REF; repeatable.", rich_help_panel=_SOURCE
        ),
    ] = [],  # noqa: B006
    registry: Annotated[
        str, typer.Option(metavar="HOST/PATH", help="A mirror of NVIDIA's registry.", rich_help_panel=_SOURCE)
    ] = NVIDIA_REGISTRY,
    skip_pull: Annotated[
        bool, typer.Option("--skip-pull", help="Use source images the engine has.", rich_help_panel=_SOURCE)
    ] = False,
    exempt_library: Annotated[
        list[str],
        typer.Option(metavar="PATTERN", help="A library that may be missing; repeatable.", rich_help_panel=_SOURCE),
    ] = [],  # noqa: B006
    engine: Annotated[
        str,
        typer.Option(
            metavar="NAME",
            envvar="TRITONBUILD_ENGINE",
            help="The engine that builds; auto takes the first healthy one.",
            rich_help_panel=_HOW,
        ),
    ] = backends.AUTO,
    output_name: Annotated[
        list[str],
        typer.Option("--output-name", "-t", metavar="NAME", help="The image's name; repeatable.", rich_help_panel=_HOW),
    ] = [],  # noqa: B006
    opt: Annotated[
        list[str],
        typer.Option(metavar="KEY[=VALUE]", help="An option of the engine; repeatable.", rich_help_panel=_HOW),
    ] = [],  # noqa: B006
    work_dir: Annotated[
        str, typer.Option(metavar="DIR", help=f"Keep {api.CONTAINERFILE_NAME} in DIR.", rich_help_panel=_HOW)
    ] = "",
    timeout: Annotated[
        float | None, typer.Option(metavar="SECONDS", min=0.001, help="Stop a build after.", rich_help_panel=_HOW)
    ] = None,
    dry_run: Annotated[
        bool,
        typer.Option("--dry-run", help=f"Write {api.CONTAINERFILE_NAME} and build nothing.", rich_help_panel=_HOW),
    ] = False,
    quiet: Annotated[
        bool, typer.Option("-q", "--quiet", help="Show the result only.", rich_help_panel=_SHOWN)
    ] = False,
    verbose: Annotated[
        bool, typer.Option("-v", "--verbose", help="Show the commands that are run.", rich_help_panel=_SHOWN)
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The result as JSON.", rich_help_panel=_SHOWN)] = False,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Compose an image with exactly the Triton components you choose."""
    if context.invoked_subcommand is not None:
        return
    composition = Composition(
        backends=tuple(backend),
        repoagents=tuple(repoagent),
        caches=tuple(cache),
        container_version=container_version,
        enable_gpu=enable_gpu,
        images=arguments.source_images(image),  # type: ignore[arg-type] - the converter takes str
        registry=registry,
        exempt_libraries=tuple(exempt_library),
    )
    for note in composition.notes if not quiet else ():
        _err(f"tritonbuild: {note}")
    if dry_run:
        folder = Path(work_dir or ".")
        if not folder.is_dir():
            raise InvalidInputError(f"work folder {work_dir!r} does not exist", hint="make it, or name another")
        _out(str(api.write_containerfile(api.get_containerfile(composition), folder)))
        return
    asked: dict[str, Any] = {} if engine == backends.AUTO else _engine_options(engine, opt)
    if engine == backends.AUTO and opt:
        raise InvalidInputError("--opt is given without an engine", hint="name it with --engine; options differ by engine")
    if skip_pull:
        asked.setdefault("pull", False)

    def started(health: Health, argv: Sequence[str]) -> None:
        if engine == backends.AUTO and not quiet:
            _err(f"tritonbuild: engine {health.engine} {health.version}, the first that is healthy")
        if verbose:
            _err(f"+ {shlex.join(argv)}")

    result = api.build(
        composition,
        engine,
        tuple(output_name) or None,
        timeout=timeout,
        echo=None if quiet else sys.stderr.fileno(),
        on_start=started,
        work_dir=work_dir or None,
        **asked,
    )
    if as_json:
        record = attrs.asdict(result, filter=lambda field, _: field.name != "containerfile")
        _out(json.dumps({**record, "log": str(result.log)}))
    else:
        _out(result.image_id)
    if verbose:
        _err(f"tritonbuild: log in {os.fspath(result.log)}")


def _engine_options(engine: str, values: Sequence[str]) -> dict[str, Any]:
    record = backends.get_backend(engine)
    return flags.parse(record.options, values, engine=engine)


@app.command()
def engines(
    *, as_json: Annotated[bool, typer.Option("--json", help="As JSON: a list, one object for each engine.")] = False
) -> None:
    """Show every engine and whether it can build."""
    answers = backends.probe_all()
    if as_json:
        records = [
            {
                "engine": health.engine,
                "ok": health.ok,
                "version": health.version,
                "reason": health.reason,
                "hint": health.hint,
                "seconds": round(health.seconds, 3),
                "features": sorted(health.features),
            }
            for health in answers
        ]
        _out(json.dumps(records))
        return
    rows = [("ENGINE", "HEALTHY", "VERSION", "REASON")]
    rows += [(h.engine, "yes" if h.ok else "no", h.version or "-", h.reason or "-") for h in answers]
    widths = [max(len(row[column]) for row in rows) for column in range(3)]
    for *cells, reason in rows:
        _out("  ".join((*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), reason)))
    for health in answers:
        if health.hint:
            _err(f"hint: {health.engine}: {health.hint}")


@app.command()
def health(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="The engine's name.")],
    *,
    verbose: Annotated[bool, typer.Option("-v", "--verbose", help="Say the version, or the reason.")] = False,
) -> None:
    """Exit with 0 when ENGINE can build and with 3 when it cannot; silent unless told otherwise."""
    answer = api.probe(engine)
    if not answer.ok:
        if verbose:
            raise UnhealthyEngineError(answer.reason, engine=engine, hint=answer.hint)
        raise typer.Exit(UnhealthyEngineError.exit_code)
    if verbose:
        _err(f"tritonbuild: engine {engine} {answer.version} can build")
