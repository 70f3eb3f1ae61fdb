"""The sizes of the optional parts of an image: what each adds to the image, and what leaving it out saves.

Each part is measured by planning the image a second time without it, or with it if it is left out, since libraries that
only this part needs are in other folders, and other parts may need them too.
"""

from __future__ import annotations

import posixpath
from collections.abc import Sequence
from pathlib import Path

import attrs

from tritonbuild.embedded import left_out
from tritonbuild.embedded.libraries import is_library, matches
from tritonbuild.embedded.plan import ImagePlan, plan
from tritonbuild.embedded.request import Request
from tritonbuild.embedded.sources import Source
from tritonbuild.errors import BuildFailedError
from tritonbuild.optional_parts import LEFT_OUT, OptionalPart
from tritonbuild.planned import PlannedPart
from tritonbuild.rootfs.view import View


def part_sizes(request: Request, planned: ImagePlan, context: Path | None) -> tuple[PlannedPart, ...]:
    """Return the optional parts of which the full image has files, each with the bytes that it adds.

    The user's Python packages and models are left out of the measurement, since they are the same in all plans.

    Args:
        request: The request.
        planned: The plan of its image.
        context: The build context; None without one.
    """
    parts = _existing(planned.original.view, request.parts)
    if not parts:
        return ()
    bare = attrs.evolve(request, additions=(), wheels=())
    size = _size(bare, planned.original, planned.base, context)
    return tuple(_measured(part, size, bare, planned, context) for part in parts)


def _existing(full: View, parts: Sequence[OptionalPart]) -> list[OptionalPart]:
    """Return those *parts* of which *full* has a file, or a library that comes or goes with it."""
    names = {posixpath.basename(path) for path in full if is_library(path)}
    return [
        part
        for part in parts
        if next(left_out.files(full, part), None) is not None
        or any(matches(name, (*part.libraries, *part.opened)) for name in names)
    ]


def _measured(part: OptionalPart, size: int, request: Request, planned: ImagePlan, context: Path | None) -> PlannedPart:
    other = attrs.evolve(part, kept=not part.kept)
    changed = attrs.evolve(request, parts=[other if one is part else one for one in request.parts])
    try:
        difference = _size(changed, planned.original, planned.base, context) - size
    except BuildFailedError as error:
        return PlannedPart(name=part.name, kept=part.kept, size=None, reason=str(error).partition(LEFT_OUT)[0])
    return PlannedPart(name=part.name, kept=part.kept, size=-difference if part.kept else difference)


def _size(request: Request, full: Source, base: Source, context: Path | None) -> int:
    return sum(layer.size for layer in plan(request, full, base, context=context).layers)
