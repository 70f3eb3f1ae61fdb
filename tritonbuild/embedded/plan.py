"""The plan of an image: its new layers, file by file, and the additions to the base's configuration.

Planning has four phases: combine the sources, copy the server and the components, bring the runtime, finish the image.
"""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tritonbuild import optional_parts
from tritonbuild.embedded import composed_check, environment, left_out
from tritonbuild.embedded.additions import Context, canonical
from tritonbuild.embedded.assembly import Assembly
from tritonbuild.embedded.request import SCRATCH, Request
from tritonbuild.embedded.runtime import Runtime
from tritonbuild.embedded.sources import Source, existing, loader_for, with_files
from tritonbuild.layers.items import NewLayer
from tritonbuild.planned import ExcusedLibrary, PlannedLibrary
from tritonbuild.rootfs import accounts, ldcache
from tritonbuild.rootfs.loader import Loader, machine_of
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER

CONFIGURED: Final = "etc/ld.so.conf.d/tritonbuild.conf"
"""The loader configuration that lists the folders of brought libraries."""

NEWER: Final = "usr/local/lib/tritonbuild"
"""The folder of libraries that define more symbol versions than the base's; the loader searches it first."""
NEWER_CONFIGURED: Final = "etc/ld.so.conf.d/00-tritonbuild.conf"

Begun = Callable[[Sequence[NewLayer]], object]
"""Receives layers that can be written while planning goes on."""

_SHELLS: Final = ("bin/sh", "usr/bin/sh", "bin/bash", "bin/busybox")
_OF_THE_SERVER: Final = frozenset({f"{SERVER}/bin", f"{SERVER}/lib"})
"""Folders of the server with programs; scripts, headers and documents need no libraries."""


@attrs.frozen(kw_only=True)
class ImagePlan:
    """An image that can be written.

    Attributes:
        request: The request, with the user's instructions applied.
        layers: The new layers, in order.
        env: The environment variables of the image.
        labels: The labels that are added to the base's.
        created: The time of the image, seconds since 1970.
        excused: Libraries that are not found and need not be.
        opened: Libraries that are brought because a file names them.
        original: The full image as it is.
        full: The full image, with the user's components and packages, without the parts that are left out.
        base: The base image.
    """

    request: Request
    layers: tuple[NewLayer, ...]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    created: int
    excused: tuple[ExcusedLibrary, ...] = ()
    opened: tuple[PlannedLibrary, ...] = ()
    original: Source = attrs.field(repr=False)
    full: Source = attrs.field(repr=False)
    base: Source = attrs.field(repr=False)


@attrs.frozen(kw_only=True)
class _Sources:
    """The result of the first phase: the sources combined, and the objects that the other phases work with."""

    request: Request
    context: Context
    original: Source
    full: Source
    base: Source
    machine: int
    files: Mapping[str, list[str]]
    """The canonical paths in *full* of the user's files, by the titles of their layers."""
    packages: int
    """The number of the layer with the unpacked wheels in *full*; -1 without wheels."""
    runtime: Runtime
    assembly: Assembly


def plan(  # noqa: PLR0913 - the inputs of a plan
    request: Request,
    full: Source,
    base: Source,
    *,
    context: Path | None = None,
    scratch: Path | None = None,
    created: int | None = None,
    begun: Begun | None = None,
) -> ImagePlan:
    """Return the plan for *request*.

    Args:
        request: The requested image.
        full: The full image.
        base: The base image.
        context: The build context; None without one.
        scratch: An empty folder for unpacked wheels, needed until the image is written.
        created: The time of generated files, seconds since 1970; by default that of the newest source.
        begun: Receives the layers of the server and the components as soon as they are known.

    Raises:
        TritonBuildError: The full image lacks a requested file.
        BuildFailedError: A file of the image would lack a library.
    """
    moment = max(full.created, base.created) if created is None else created
    sources = _combine(request, full, base, Context(folder=context, scratch=scratch, moment=moment))
    folders = _copy(sources)
    if begun:
        begun(sources.assembly.layers)
    _bring(sources, folders)
    return _finish(sources)


def _combine(request: Request, full: Source, base: Source, context: Context) -> _Sources:
    """Combine the full image with the user's components and wheels."""
    machine = machine_of(base.view, _SHELLS) or machine_of(full.view, _SHELLS)
    base_loader = base.loader(machine)
    replaced = [context.component(one) for one in request.components if one.context]
    view = View([*full.view.layers, *replaced]) if replaced else full.view
    view = left_out.trimmed(view, request.parts)
    view, files = with_files(view, request, context)
    packages = -1
    if request.wheels:
        loader = loader_for(view, machine, full.env, folder=f"{SERVER}/lib")
        packages = len(view.layers)
        path = full.env.get("PATH", "/usr/bin")
        view = View([*view.layers, context.packages(request, view, loader, base_loader, path)])
    original, full = full, attrs.evolve(full, view=view)
    return _Sources(
        request=request,
        context=context,
        original=original,
        full=full,
        base=base,
        machine=machine,
        files=files,
        packages=packages,
        runtime=Runtime(
            view,
            with_files(base.view, request, context)[0],
            env=full.env,
            full_loader=full.loader(machine, folder=f"{SERVER}/lib"),
            base_loader=base_loader,
            exclude=(*request.exclude_libraries, *optional_parts.excluded(request.absent())),
        ),
        assembly=Assembly(view, base.view, context.moment),
    )


def _copy(sources: _Sources) -> dict[str, list[str]]:
    """Add the layers of the server and the components; return the canonical paths of those that need a runtime."""
    view, request, assembly = sources.full.view, sources.request, sources.assembly
    core = [*existing(view, request.core), *existing(view, request.optional, required=False)]
    if request.base == SCRATCH:
        assembly.add("root file system", assembly.root_folders(request.user.home))
    folders = {"server": [real for path, real in core if f"/{path}" in _OF_THE_SERVER]}
    components = {one.title: existing(view, [one.folder]) for one in request.components}
    for title, copied in {"server": core, **components}.items():
        assembly.add(title, [item for path, real in copied for item in assembly.copied(path, real)])
    return {**folders, **{title: [real for _, real in copied] for title, copied in components.items()}, **sources.files}


def _bring(sources: _Sources, folders: Mapping[str, Sequence[str]]) -> None:
    """Add a layer with the runtime of each of *folders*, and one with the user's Python packages."""
    request, assembly, view = sources.request, sources.assembly, sources.full.view
    opened = {"server": request.opened, **{one.title: request.opened_by(one) for one in request.components}}
    stages = {
        title: sources.runtime.stage(
            found,
            opened.get(title, ()),
            request.read if title == "server" else (),
            request.read_small if title == "server" else (),
        )
        for title, found in folders.items()
    }
    wheels = []
    for title, paths in stages.items():
        packages = {path for path in paths if view.entry_id(path).layer == sources.packages}
        wheels += [path for path in paths if path in packages]
        assembly.add(f"runtime of {title}", [assembly.brought(path) for path in paths if path not in packages])
    assembly.add("Python packages", [assembly.brought(path) for path in wheels])
    for one in request.files:
        assembly.add(one.title, sources.context.added(assembly.composed(), one))


def _finish(sources: _Sources) -> ImagePlan:
    """Check the libraries of the image; add generated files, the user's folders and the working directory."""
    assembly, base = sources.assembly, sources.base
    request, env = environment.of_image(
        sources.request, base.env, sources.full.env, sources.full.labels, sources.runtime.python
    )
    loader, extra, excused = _check(sources, request, env)
    composed = loader.view
    composed_check.check_python(composed, env, sources.runtime.python)
    generated = {**accounts.files(assembly.ground, request.user), **extra, ldcache.PATH: ldcache.render(loader.lines)}
    items = [assembly.generated(path, content) for path, content in generated.items()]
    if composed.resolve(request.user.home) is None:
        owner = (request.user.uid, request.user.gid)
        items.append(assembly.folder(canonical(composed, request.user.home), owner))
    assembly.add("accounts and the loader's cache", items)
    if request.additions or request.workdir != SERVER:
        composed = assembly.composed()
    for addition in request.additions:
        assembly.add(addition.title, sources.context.added(composed, addition))
    if composed.resolve(request.workdir) is None and request.workdir != SERVER:
        # BuildKit gives it to the user that is set where the instruction stands.
        owner = accounts.ids(generated, request.workdir_user)
        assembly.add("working directory", assembly.folders(composed, canonical(composed, request.workdir), owner))
    labels = {name: sources.full.labels[name] for name in request.labels_from_full if name in sources.full.labels}
    return ImagePlan(
        request=request,
        layers=tuple(assembly.layers),
        env=env,
        labels=labels | dict(request.labels),
        created=assembly.created,
        excused=excused,
        opened=tuple(sources.runtime.named),
        original=sources.original,
        full=sources.full,
        base=base,
    )


def _check(
    sources: _Sources, request: Request, env: Mapping[str, str]
) -> tuple[Loader, dict[str, bytes], tuple[ExcusedLibrary, ...]]:
    """Check the libraries of new files; where the base's lack a version, bring full's into a folder that comes first.

    Returns:
        The loader of the composed image, the configuration files that are added to it, and the excused libraries.
    """
    assembly, runtime = sources.assembly, sources.runtime
    titles = {one.title for one in request.files}
    added = {item.entry.path for layer in assembly.layers if layer.title in titles for item in layer.items}
    # The layers that hold these programs are the last.
    programs = [item for one in request.programs for item in sources.context.added(assembly.composed(), one)]
    added |= {item.entry.path for item in programs}
    configured = "".join(f"{folder}\n" for folder in sorted(runtime.configured)).encode()
    extra = {CONFIGURED: configured} if configured else {}
    while True:
        composed = assembly.composed(programs)
        loader = loader_for(composed, sources.machine, {**sources.base.env, **env}, extra, folder=f"{SERVER}/lib")
        items = {**assembly.items, **{item.entry.path: item for item in programs}}
        lacks = composed_check.lacking(loader, runtime.loader, items, request.exempt, added)
        folder = canonical(composed, NEWER)
        newer = {}
        for lack in [lack for lack, excuse in lacks.items() if not excuse]:
            to = f"{folder}/{posixpath.basename(lack.library)}"
            path = composed_check.replacement(lack, runtime.loader, sources.base.view, request.exclude_libraries)
            if path and to not in assembly.items:
                newer[to] = assembly.full.item(path, to=to)
        if not newer:
            return loader, extra, composed_check.verify(lacks, request.absent())
        assembly.add("libraries in place of the base's", newer.values())
        extra[NEWER_CONFIGURED] = f"/{folder}\n".encode()
