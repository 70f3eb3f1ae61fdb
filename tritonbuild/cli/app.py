"""The commands that build and that check engines: build, engines, health."""

from __future__ import annotations

import json
import shlex
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any, Final

import attrs
import typer

import tritonbuild
from tritonbuild import api, backends, build_command, flags
from tritonbuild.backends import _plugins
from tritonbuild.cli import options, output, settings, show
from tritonbuild.cli.composing import Wanted, composing
from tritonbuild.composition import Composition
from tritonbuild.engine import Health
from tritonbuild.errors import InvalidInputError, UnhealthyEngineError

app: Final = typer.Typer(
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    pretty_exceptions_enable=False,
    rich_markup_mode="rich",
)


def _version(asked: bool) -> None:  # noqa: FBT001 - typer's callback
    if asked:
        output.result(f"tritonbuild {tritonbuild.__version__}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
@composing
def build(  # noqa: PLR0913 - one parameter for each option
    context: typer.Context,
    *,
    wanted: Wanted,
    skip_pull: options.SkipPull = False,
    engine: options.EngineName = "",
    plugin: options.Plugins = [],  # noqa: B006
    output_name: options.OutputNames = [],  # noqa: B006
    opt: options.EngineOptions = [],  # noqa: B006
    push: options.Push = False,
    load: options.Load = False,
    no_cache: options.NoCache = False,
    sbom: options.Sbom = False,
    work_dir: options.WorkDir = "",
    timeout: options.Timeout = None,
    dry_run: options.DryRun = False,
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
    version: Annotated[  # noqa: ARG001 - handled by its callback
        bool, typer.Option("--version", is_eager=True, callback=_version, help="Show the version.")
    ] = False,
) -> None:
    """Compose an image with exactly the Triton components you choose."""
    if context.invoked_subcommand is not None and context.obj is None:
        raise InvalidInputError(
            f"build takes no command, and {context.invoked_subcommand!r} is one", hint="give options only"
        )
    if context.invoked_subcommand == _BUILD:
        return
    config = settings.read()
    _load((*config.plugins, *plugin))
    if context.invoked_subcommand is not None:
        options.pass_on(context, context.invoked_subcommand)
        return
    composition, notes = wanted.composition(config)
    name = engine or config.engine or backends.AUTO
    switches = {"push": push, "load": load, "no_cache": no_cache, "sbom": sbom}
    asked = _with_switches(_engine_options(name, opt), switches)
    if skip_pull:
        asked.setdefault("pull", False)
    if dry_run:
        api.check(composition, name, tuple(output_name) or None, options=asked)
    output.notes(notes if not quiet else ())
    if dry_run:
        _write(composition, Path(work_dir or "."))
        return
    started = _Announcer(auto=name == backends.AUTO and not quiet, command=verbose)
    result = api.build(
        composition,
        name,
        tuple(output_name) or None,
        timeout=timeout,
        echo=None if quiet else sys.stderr.fileno(),
        on_start=started,
        on_note=None if quiet else output.note,
        work_dir=work_dir or None,
        measure=as_json,
        options=asked,
    )
    if as_json:
        record = attrs.asdict(result, filter=lambda field, _: field.name != "containerfile")
        output.result(json.dumps({**record, "log": str(result.log)}))
    else:
        output.result(result.image_id)
    for location in result.locations if not quiet else ():
        output.note(f"the image is in {location}")
    if verbose:
        output.note(f"log in {result.log}")


def _write(composition: Composition, folder: Path) -> None:
    """Write the Containerfile of a build, without building: the form for any builder, as no engine is asked."""
    if not folder.is_dir():
        raise InvalidInputError(f"work folder {str(folder)!r} does not exist", hint="create it, or name another folder")
    text = api.get_containerfile(composition, enable_buildkit=False)
    output.result(str(build_command.write_containerfile(text, folder)))


def _load(plugins: Sequence[str]) -> None:
    for name in plugins:
        _plugins.load(name)


@attrs.frozen(kw_only=True)
class _Announcer:
    """A callback that reports the start of a build: the chosen engine, and its command."""

    auto: bool
    command: bool

    def __call__(self, health: Health, argv: Sequence[str]) -> None:
        if self.auto:
            reason = f"; {health.reason}" if health.reason else ""
            output.note(f"engine {health.engine} {health.version}, the first that is healthy{reason}")
        if self.command:
            output.line(f"+ {shlex.join(argv)}")


def _engine_options(engine: str, values: Sequence[str]) -> dict[str, Any]:
    """Return the options of `--opt`; an engine without a table takes any names, with the values as they are written."""
    if engine == backends.AUTO:
        if values:
            hint = "name it with --engine; options differ by engine"
            raise InvalidInputError("--opt is given without an engine", hint=hint)
        return {}
    record = backends.get_backend(engine)
    if record.options:
        return flags.parse(record.options, values, engine=engine)
    pairs = (value.partition("=") for value in values)
    return {key.replace("-", "_"): value if equals else True for key, equals, value in pairs}


def _with_switches(values: dict[str, Any], switches: Mapping[str, bool]) -> dict[str, Any]:
    """Return the options of `--opt` and those that have a switch.

    Raises:
        InvalidInputError: `--opt` gives another value to an option whose switch is given.
    """
    for name, given in switches.items():
        if given and values.setdefault(name, True) is not True:
            switch = f"--{name.replace('_', '-')}"
            raise InvalidInputError(f"{switch} and --opt {name} have different values", hint=f"give --opt {name} alone")
    return values


_BUILD: Final = "build"


@app.command(
    _BUILD,
    context_settings={
        "allow_extra_args": True,
        "allow_interspersed_args": False,
        "ignore_unknown_options": True,
        "help_option_names": [],
    },
)
def build_by_name(context: typer.Context) -> Any:
    """Compose an image: the same as without a command."""
    # The options are the bare form's: to declare them again would make every start slower.
    argv, rest = context.find_root().obj, context.args
    words = [*argv[: len(argv) - len(rest) - 1], *rest]
    return app(args=words, obj=None, prog_name="tritonbuild", standalone_mode=False)


_COMPOSE_ARGUMENTS: Final = {"ignore_unknown_options": True, "help_option_names": []}


@app.command("from-compose", context_settings=_COMPOSE_ARGUMENTS)
def from_compose(
    argv: Annotated[list[str], typer.Argument(metavar="-- ARGS...", help="The arguments of compose.py.")],
) -> None:
    """Show the command that composes the image of NVIDIA's `compose.py ARGS`."""
    from tritonbuild.cli.from_compose import converted  # noqa: PLC0415 - it imports argparse, which is needed only here

    output.result(converted(argv))


app.command()(show.components)
app.command()(show.models)
app.command()(show.plan)
app.command()(show.render)


@app.command()
def engines(
    *,
    plugin: options.Plugins = [],  # noqa: B006
    as_json: options.Json = False,
) -> None:
    """Show every engine and whether it can build."""
    _load(plugin)
    answers = backends.probe_all()
    if as_json:
        output.result(json.dumps([_record(health) for health in answers]))
        return
    rows = [("ENGINE", "HEALTHY", "VERSION", "REASON")]
    rows += [(h.engine, "yes" if h.ok else "no", h.version or "-", h.reason or "-") for h in answers]
    output.table(rows)
    for health in answers:
        if health.hint:
            output.note(f"{health.engine}: {health.hint}", label="hint")


def _record(health: Health) -> dict[str, Any]:
    """Return a probe's answer as a record of the JSON output, which docs/engines.md documents."""
    return {
        "engine": health.engine,
        "ok": health.ok,
        "version": health.version,
        "reason": health.reason,
        "hint": health.hint,
        "seconds": round(health.seconds, 3),
        "features": sorted(health.features),
    }


@app.command()
def health(
    engine: Annotated[str, typer.Argument(metavar="ENGINE", help="The engine's name.")],
    *,
    plugin: options.Plugins = [],  # noqa: B006
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Exit with 0 if ENGINE can build and with 3 if it cannot; silent without --verbose or --json."""
    _load(plugin)
    answer = api.probe(engine)
    if as_json:
        output.result(json.dumps(_record(answer)))
    if not answer.ok:
        if verbose:
            raise UnhealthyEngineError(answer.reason, engine=engine, hint=answer.hint)
        raise typer.Exit(UnhealthyEngineError.exit_code)
    if verbose:
        output.note(f"engine {engine} {answer.version} can build")
