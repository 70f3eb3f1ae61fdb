"""The commands that show without building: components, models, plan, render.

None of them opens a connection, except `plan` with an engine that reads the source images.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Annotated, Any

import attrs
import typer

from tritonbuild import api, backends, build_command, flags
from tritonbuild.backends import _plugins
from tritonbuild.catalog import Catalog, Component
from tritonbuild.cli import options, output, settings
from tritonbuild.cli.composing import Wanted, composing
from tritonbuild.composition import PLATFORM
from tritonbuild.errors import InvalidInputError
from tritonbuild.planned import PlannedLayer, PlannedPart


def components(
    *,
    container_version: options.ContainerVersion = "",
    platform: options.Platform = PLATFORM,
    enable_gpu: options.EnableGpu = True,
    as_json: options.Json = False,
) -> None:
    """Show the components of a release."""
    catalog = settings.read().catalog
    version = container_version or catalog.newest()
    release = catalog.release(version)
    found = catalog.components(version, platform=platform, gpu=enable_gpu)
    if as_json:
        record = {
            "container_version": version,
            "known": release.known,
            "triton_version": release.triton_version,
            "ubuntu_version": release.ubuntu_version,
            "python_version": release.python_version,
            "cuda_version": release.cuda_version,
            "platform": platform,
            "gpu": enable_gpu,
            "images": {name: catalog.image(version, name) for name in release.variants},
            "components": [_component(component) for component in found],
        }
        output.result(json.dumps(record))
        return
    if not release.known:
        output.note(f"release {version} is newer than the catalog; it is treated like {catalog.newest()}")
    rows = [("KIND", "NAME", "RELEASES", "ALSO CALLED", "DESCRIPTION")]
    rows += [(c.kind, c.name, c.releases, ", ".join(c.aliases) or "-", _line(c, catalog)) for c in found]
    output.table(rows)


def models(
    folder: Annotated[list[str], typer.Argument(metavar="DIR...", help="Model repositories.")],
    *,
    as_json: options.Json = False,
) -> None:
    """Show which components the models of a repository need, and why."""
    from tritonbuild import modelrepo  # noqa: PLC0415 - a package that few command lines need

    repository = modelrepo.read(folder)
    if as_json:
        output.result(json.dumps(attrs.asdict(repository)))
        return
    rows = [("MODEL", "NEEDS", "BECAUSE")]
    remarks = []
    for model in repository.models:
        for row, need in enumerate(model.needs or (None,)):
            name = model.name if row == 0 else ""
            rows.append((name, f"{need.kind} {need.name}" if need else "-", need.reason if need else "-"))
        remarks += [f"model {model.name!r}: {note}" for note in model.notes]
        for problem in model.problems:
            hint = f" ({problem.hint})" if problem.hint else ""
            remarks.append(f"model {model.name!r}: {problem.message}{hint}")
    output.table(rows)
    output.notes(remarks)


@composing
def plan(  # noqa: PLR0913 - one parameter for each option
    _context: typer.Context,
    *,
    wanted: Wanted,
    engine: options.EngineName = "",
    plugin: options.Plugins = [],  # noqa: B006
    opt: options.EngineOptions = [],  # noqa: B006
    quiet: options.Quiet = False,
    verbose: options.Verbose = False,
    as_json: options.Json = False,
) -> None:
    """Show the components of a build, and every image that a mirror has to hold.

    With the embedded engine it reads the source images and shows layers, sizes, and what each extra and each
    architecture of GPUs adds; with --verbose every file.
    """
    config = settings.read()
    for module in plugin:
        _plugins.load(module)
    composition, notes = wanted.composition(config)
    name = engine or config.engine
    name = "" if name == backends.AUTO else name
    if opt and not name:
        raise InvalidInputError("--opt is given without an engine", hint="name it with --engine; options differ")
    asked: dict[str, Any] = flags.parse(backends.get_backend(name).options, opt, engine=name) if name and opt else {}
    found = api.plan(composition, backend=name, options=asked, echo=None if quiet else sys.stderr.fileno())
    if as_json:
        record = {
            "container_version": composition.container_version,
            "platform": composition.platform,
            "gpu": composition.enable_gpu,
            "gpu_arch": list(composition.gpu_arch),
            "runtime": composition.runtime,
            "components": [_component(component) for component in composition.components],
            "images": dict(found.images),
            "network": found.network,
            "context": sorted({path for path, _ in found.context}),
            "layers": None if found.layers is None else [_layer(layer) for layer in found.layers],
            "opened": [attrs.asdict(one) for one in found.opened],
            "excused": [attrs.asdict(one) for one in found.excused],
            "parts": [attrs.asdict(one) for one in found.parts],
            "notes": list(notes),
        }
        output.result(json.dumps(record))
        return
    output.notes(notes if not quiet else ())
    output.table(
        [
            *((f"{component.kind}:", component.title) for component in composition.components),
            *((f"{name}:", reference) for name, reference in found.images.items()),
            ("network:", "needed" if found.network else "not needed"),
        ]
    )
    if found.layers is not None:
        output.result("")
        output.table([("SIZE", "FILES", "LAYER"), *_rows(found.layers, every_file=verbose)])
    if found.parts:
        output.result("")
        output.table([("SIZE", "IN THE IMAGE", "OPTIONAL PART"), *map(_part, found.parts)])
    if found.opened:
        output.result("")
        output.table([("OPENED LIBRARY", "NAMED IN"), *((one.path, one.file) for one in found.opened)])
    if found.excused:
        output.result("")
        rows = [(one.name, one.file, one.reason) for one in found.excused]
        output.table([("MISSING LIBRARY", "NEEDED BY", "ACCEPTED BECAUSE"), *rows])


def _layer(layer: PlannedLayer) -> dict[str, Any]:
    """Return a layer as it is shown in JSON; documented in docs/embedded.md."""
    files = [{"path": path, "size": size} for path, size in layer.files.items()]
    return {"title": layer.title, "size": layer.size, "files": files}


def _part(part: PlannedPart) -> tuple[str, str, str]:
    """Return the row of an optional part; one that a file needs has no size."""
    size, reason = ("-", f"; {part.reason}") if part.size is None else (f"{part.size:,}", "")
    return size, "yes" if part.kept else "no", f"{part.name}{reason}"


def _rows(layers: Sequence[PlannedLayer], *, every_file: bool) -> Iterator[tuple[str, str, str]]:
    for layer in layers:
        yield f"{layer.size:,}", str(len(layer.files)), layer.title
        for path, size in layer.files.items() if every_file else ():
            yield f"{size:,}", "", f"  {path}"
    yield f"{sum(layer.size for layer in layers):,}", str(sum(len(layer.files) for layer in layers)), "total"


@composing
def render(
    _context: typer.Context,
    *,
    wanted: Wanted,
    path: Annotated[str, typer.Option("--output", metavar="PATH", help="The file to write, or its folder.")] = "",
    buildkit: Annotated[
        bool,
        typer.Option("--buildkit/--no-buildkit", help="With heredocs, which people can read, or for any builder."),
    ] = True,
    quiet: options.Quiet = False,
) -> None:
    """Write the Containerfile to stdout, or to a file."""
    composition, notes = wanted.composition(settings.read())
    output.notes(notes if not quiet else ())
    text = api.get_containerfile(composition, enable_buildkit=buildkit)
    if not path:
        sys.stdout.write(text)
        sys.stdout.flush()
        return
    output.result(str(build_command.write_containerfile(text, Path(path))))


def _component(component: Component) -> dict[str, Any]:
    """Return a component as it is shown in JSON; documented in docs/catalog.md."""
    return {
        "kind": component.kind,
        "name": component.name,
        "aliases": list(component.aliases),
        "directory": component.directory,
        "releases": [component.first, component.last],
        "platforms": list(component.platforms),
        "gpu": component.gpu,
        "cpu": component.cpu,
        "requires": list(component.requires),
        "images": list(component.images),
        "version": component.version,
        "description": component.description,
        "notes": list(component.notes),
        "custom": component.custom,
        "extras": [extra.name for extra in component.extras],
        "chosen_extras": None if component.chosen is None else list(component.chosen),
    }


def _line(component: Component, catalog: Catalog) -> str:
    """Return the description of a component in a list."""
    text = component.description or ("defined in the config file" if component.custom else "-")
    remarks = [f"needs {name}" for name in component.requires]
    remarks += [] if "full" in component.images else [f"in {' and '.join(component.images)} images only"]
    remarks += [f"extras {', '.join(extra.name for extra in component.extras)}"] if component.extras else []
    if component.last != catalog.newest() and not component.custom:
        remarks.append(f"until {component.last}")
    return f"{text} ({'; '.join(remarks)})" if remarks else text
