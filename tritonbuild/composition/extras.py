"""Extras of components, as `NAME[EXTRA,...]` chooses them, and the optional parts of an image."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable
from typing import Final

import attrs

from tritonbuild.catalog import KINDS, Component, gpu_libraries, runs_on
from tritonbuild.errors import InvalidInputError, UnknownNameError
from tritonbuild.optional_parts import OptionalPart
from tritonbuild.wellknown import SERVER

_BRACKETS: Final = re.compile(r"([^\[\]]*)\[([^\[\]]*)\]")


def split(text: str) -> tuple[str, tuple[str, ...] | None]:
    """Return the name in `NAME[EXTRA,...]`, and the extras; None without brackets."""
    found = _BRACKETS.fullmatch(text)
    if found is None:
        return text, None
    return found[1], tuple(dict.fromkeys(name.strip() for name in found[2].split(",")))


def choose(component: Component, names: Collection[str] | None) -> tuple[Component, str]:
    """Return *component* with the extras *names* and those that they require, and a note about these, or "".

    Raises:
        InvalidInputError: The component has no such extra.
    """
    if names is None:
        return component, ""
    title = f"{KINDS[component.kind]} {component.name!r}"
    known = {extra.name: extra for extra in component.extras}
    if not known:
        raise InvalidInputError(f"{title} has no extras", hint=f"write {component.name}")
    for name in names:
        if name not in known:
            raise UnknownNameError("extra", name, (), where=f"of {title}", hint=f"known: {', '.join(known)}")
    wanted = set(names)
    while required := {other for name in wanted for other in known[name].requires} - wanted:
        wanted |= required
    added = sorted(wanted.difference(names))
    note = f"{title}: {', '.join(names)} requires {', '.join(added)}, which is added" if added else ""
    return _chosen(component, wanted), note


def _chosen(component: Component, names: Collection[str]) -> Component:
    return attrs.evolve(component, chosen=tuple(one.name for one in component.extras if one.name in names))


def merged(first: Component, second: Component) -> Component:
    """Return a component that is named twice, with the extras of both; with all if one names none."""
    if first.chosen is None or second.chosen is None:
        return attrs.evolve(second, chosen=None)
    return _chosen(second, {*first.chosen, *second.chosen})


def parts(components: Iterable[Component], gpu_arch: Collection[str], *, gpu: bool) -> tuple[OptionalPart, ...]:
    """Return the optional parts of an image: the extras of *components*, and libraries for architectures of GPUs."""
    extras = [
        OptionalPart(
            name=f"{component.kind} {component.name}[{extra.name}]",
            folder=f"{SERVER}/{component.directory}",
            files=extra.files,
            opened=extra.dlopen,
            libraries=extra.libraries,
            kept=extra not in component.left_out,
        )
        for component in components
        for extra in component.extras
        if extra.files or extra.dlopen or extra.libraries
    ]
    architectures = [
        OptionalPart(name=f"gpu-arch {name}", libraries=libraries, kept=not gpu_arch or runs_on(name, gpu_arch))
        for name, libraries in (gpu_libraries() if gpu else {}).items()
    ]
    return (*extras, *architectures)
