"""What an image will hold, file by file and layer by layer, before a target has any of it."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Final

import attrs

from tritonbuild.embedded import instructions
from tritonbuild.embedded.additions import Context, canonical
from tritonbuild.embedded.request import Request
from tritonbuild.embedded.runtime import OF_THE_DRIVER, Runtime, is_library, matches
from tritonbuild.errors import BuildFailedError, TritonBuildError
from tritonbuild.layers.component import parent as folder_entry
from tritonbuild.layers.entry import FILE, FOLDER, Entry
from tritonbuild.layers.items import Item, NewLayer, arranged, made, pseudo_index
from tritonbuild.layers.layerindex import Columns
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.rootfs import accounts, ldcache
from tritonbuild.rootfs.loader import Loader, Missing, machine_of
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER

CONFIGURED: Final = "etc/ld.so.conf.d/tritonbuild.conf"
Begun = Callable[[Sequence[NewLayer]], object]
"""Takes layers that can be written while the rest is planned."""

_SHELLS: Final = ("bin/sh", "usr/bin/sh", "bin/bash", "bin/busybox")
_SHOWN: Final = 10


@attrs.frozen(kw_only=True)
class Source:
    """A source image as planning needs it."""

    view: View
    env: Mapping[str, str]
    labels: Mapping[str, str]
    created: int


@attrs.frozen(kw_only=True)
class Plan:
    """An image that can be written: its new layers, in order, and what its configuration adds to the base's.

    *request* is what was wanted, with the user's instructions followed.
    """

    request: Request
    layers: tuple[NewLayer, ...]
    env: Mapping[str, str]
    labels: Mapping[str, str]
    created: int
    full: Source = attrs.field(repr=False)
    base: Source = attrs.field(repr=False)


def plan(  # noqa: PLR0913 - what a plan is made of
    request: Request,
    full: Source,
    base: Source,
    *,
    context: Path | None = None,
    scratch: Path | None = None,
    created: int | None = None,
    begun: Begun | None = None,
) -> Plan:
    """Return what is to be written for *request*.

    Args:
        request: What is wanted.
        full: The image that has everything.
        base: The image that the result is made on.
        context: The build context, for what is in it.
        scratch: An empty folder for what is made of it, until the image is written.
        created: The time of what is in no source image, seconds since 1970; the newest source's by default.
        begun: Gets the server's and the components' layers as soon as they are known, which is first.

    Raises:
        TritonBuildError: The full image lacks what is asked for.
        BuildFailedError: Something in the image would need a library that it does not have.
    """
    machine = machine_of(base.view, _SHELLS) or machine_of(full.view, _SHELLS)
    moment = max(full.created, base.created) if created is None else created
    added = Context(folder=context, scratch=scratch, moment=moment)
    base_loader = Loader(base.view, machine=machine, library_path=base.env.get("LD_LIBRARY_PATH", ""))
    everything, packages = _everything(request, added, full, base_loader)
    runtime = Runtime(
        everything,
        base.view,
        env=full.env,
        full_loader=_loader(everything, machine, full.env),
        base_loader=base_loader,
    )
    builder = _Layers(everything, base.view, moment)
    core = [*_there(everything, request.core), *_there(everything, request.optional, needed=False)]
    folders = {one.title: _there(everything, [one.folder]) for one in request.components}
    builder.add("server", [item for path in core for item in _copied(everything, path)])
    for title, copied in folders.items():
        builder.add(title, [item for path in copied for item in _copied(everything, path)])
    if begun:
        begun(builder.layers)
    stages = [("server", runtime.stage(_own(core), request.opened, request.read))]
    for component in request.components:
        there = [real for _, real in folders[component.title]]
        stages.append((component.title, runtime.stage(there, component.opened, ())))
    wheels = []
    for title, paths in stages:
        own = {path for path in paths if everything.place(path).layer == packages}
        wheels += [path for path in paths if path in own]
        builder.add(f"runtime of {title}", [builder.placed(path) for path in paths if path not in own])
    builder.add("Python packages", [builder.placed(path) for path in wheels])
    extra = (
        {CONFIGURED: "".join(f"{folder}\n" for folder in sorted(runtime.configured)).encode()}
        if runtime.configured
        else {}
    )
    env = instructions.expanded(request.env, base.env)
    env |= _from_full(request, full)
    env |= request.environment
    request, env = instructions.applied(request.instructions, request, env)
    composed = builder.composed()
    loader = _loader(composed, machine, env, extra)
    _check(composed, loader, builder, request.exempt)
    generated = {**accounts.files(base.view, request.user), **extra, ldcache.PATH: ldcache.render(loader.lines)}
    builder.add(
        "accounts and the loader's cache",
        [_generated(base.view, path, text, moment) for path, text in generated.items()],
    )
    for addition in request.additions:
        builder.add(addition.title, added.added(composed, addition))
    if composed.resolve(request.workdir) is None and request.workdir != SERVER:
        # As BuildKit makes it: for the user that the image's processes run as.
        owner = accounts.ids(generated, request.run_as)
        builder.add("working directory", builder.folders(composed, canonical(composed, request.workdir), owner))
    labels = {name: full.labels[name] for name in request.labels_from_full if name in full.labels} | dict(
        request.labels
    )
    return Plan(
        request=request,
        layers=tuple(builder.layers),
        env=env,
        labels=labels,
        created=moment,
        full=attrs.evolve(full, view=everything),
        base=base,
    )


def _everything(request: Request, added: Context, full: Source, base: Loader) -> tuple[View, int]:
    """Return the files of the full image with the user's in their places, and the number of the packages' layer."""
    own = [added.component(one) for one in request.components if one.context]
    view = View([*full.view.layers, *own]) if own else full.view
    if not request.wheels:
        return view, -1
    loader = _loader(view, base.machine, full.env)
    packages = added.packages(request, view, loader, base, full.env.get("PATH", "/usr/bin"))
    return View([*view.layers, packages]), len(view.layers)


def _loader(view: View, machine: int, env: Mapping[str, str], extra: Mapping[str, bytes] | None = None) -> Loader:
    own = env.get("LD_LIBRARY_PATH", "")
    return Loader(view, machine=machine, library_path=f"{SERVER}/lib:{own}", extra=extra)


def _from_full(request: Request, full: Source) -> dict[str, str]:
    values = {}
    for variable, place in request.env_from_full.items():
        kind, _, name = place.partition(":")
        found = (full.labels if kind == "label" else full.env).get(name)
        if found is not None:
            values[variable] = found
    return values


def _there(view: View, paths: Iterable[str], *, needed: bool = True) -> list[tuple[str, str]]:
    """Return the *paths* without slashes at their ends, each with what it leads to in *view*."""
    found = []
    for path in paths:
        real = view.resolve(path)
        if real is not None:
            found.append((path.strip("/"), real))
        elif needed:
            raise TritonBuildError(
                f"the full image has no {path}", hint="choose components that the full image has, or another full image"
            )
    return found


def _own(found: Iterable[tuple[str, str]]) -> list[str]:
    """Return what of the server itself is among *found*: the rest is scripts, headers, files, and needs nothing."""
    return [real for path, real in found if f"/{path}" in {f"{SERVER}/bin", f"{SERVER}/lib"}]


def _copied(view: View, path: tuple[str, str]) -> list[Item]:
    """Return the items of a folder or file that comes along as it is, owned by root."""
    to, real = path
    items = [view.item(real, to=to, root=True)]
    if view.is_folder(real):
        items += [view.item(found, to=to + found[len(real) :], root=True) for found in view.walk(real)]
    return items


def _generated(base: View, path: str, content: bytes, mtime: int) -> Item:
    there = base.resolve(path)
    entry = base.entry(there) if there is not None else None
    mode, gid = (entry.mode, entry.gid) if entry else (0o644, 0)
    return made(there or path, content, mode=mode, mtime=mtime, gid=gid)


class _Layers:
    """The new layers, as they are added to the base."""

    def __init__(self, full: View, base: View, created: int) -> None:
        self.full = full
        self.base = base
        self.created = created
        self.layers: list[NewLayer] = []
        self.items: dict[str, Item] = {}

    def add(self, title: str, items: Iterable[Item]) -> None:
        """Add a layer; none for no items."""
        own = {item.entry.path: item for item in items}
        if own:
            layer = arranged(title, own.values(), _Parents(self))
            self.items.update({item.entry.path: item for item in layer.items})
            self.layers.append(layer)

    def placed(self, path: str) -> Item:
        """Return the item for *path* of full, at its place in the base, where a folder may be a link."""
        folder, _, name = path.rpartition("/")
        real = self.base.resolve(folder) if folder else ""
        to = path if real is None or not self.base.is_folder(real) else f"{real}/{name}".lstrip("/")
        return self.full.item(path, to=to)

    def parent(self, path: str) -> Item:
        """Return the folder *path*, as it is in the base, or as it is to be."""
        if f"/{path}/".startswith(f"{SERVER}/") or path == SERVER.split("/")[1]:
            # The same whatever the images, as `folders` has it.
            return Item(entry=folder_entry(path))
        if self.base.is_folder(path):
            return self.base.item(path)
        if path in self.items and self.items[path].entry.kind == FOLDER:
            return self.items[path]
        if self.full.is_folder(path):
            return self.full.item(path)
        entry = Entry(path=path, kind=FOLDER, mode=0o755, uid=0, gid=0, mtime=self.created, size=0, offset=0)
        return Item(entry=entry)

    def folders(self, composed: View, path: str, owner: tuple[int, int]) -> Iterator[Item]:
        """Yield a folder that is nowhere yet, and those above it that are not either."""
        while path and composed.resolve(path) is None:
            entry = Entry(
                path=path, kind=FOLDER, mode=0o755, uid=owner[0], gid=owner[1], mtime=self.created, size=0, offset=0
            )
            yield Item(entry=entry)
            path = path.rpartition("/")[0]

    def composed(self) -> View:
        """Return the files of base and new layers together."""
        items = [*self.items.values()]
        entries, elves = pseudo_index(items)
        columns = Columns()
        for entry in entries:
            columns.add(entry)
        index = columns.index(elves=elves)
        blob = Descriptor(media_type="", digest="", size=0)
        return View([*self.base.layers, Layer(blob=blob, origin=_Nowhere(), index=index)])


class _Nowhere:
    name = "the composed image"

    def read(self, blob: Descriptor, start: int, stop: int) -> Iterator[bytes]:
        raise NotImplementedError


class _Parents(Mapping[str, Item]):
    """Folders by path, made when they are asked for."""

    def __init__(self, layers: _Layers) -> None:
        self._layers = layers

    def __getitem__(self, path: str) -> Item:
        return self._layers.parent(path)

    def __iter__(self) -> Iterator[str]:
        return iter(())

    def __len__(self) -> int:
        return 0


def _check(composed: View, loader: Loader, builder: _Layers, exempt: Sequence[str]) -> None:
    """Look for libraries that something needs and that are not there, as scripts/check.sh does.

    Raises:
        BuildFailedError: There are some.
    """
    missing: dict[Missing, None] = {}
    server = SERVER.strip("/")
    for path, item in builder.items.items():
        if item.entry.kind == FOLDER:
            continue
        own = path.startswith(f"{server}/")
        if not (is_library(path) or (own and item.entry.mode & 0o111) or (not own and "/bin/" in path)):
            continue
        real = composed.resolve(path)
        if real is None or composed.kind(real) != FILE:
            continue
        for lack in loader.closure(real).missing:
            if not matches(lack.name, (*OF_THE_DRIVER, *exempt)):
                missing[Missing(file=f"/{path}", name=lack.name)] = None
    if missing:
        lines = [f"{lack.file} needs {lack.name}, which the composed image does not have" for lack in missing]
        raise BuildFailedError(
            lines[0] + (f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""),
            tail=lines[:_SHOWN],
            hint="use a full image whose base is as old as the base, or --exempt-library for what comes at run time",
        )
