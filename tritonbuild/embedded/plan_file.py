"""The JSON document of a plan, which `plan_file` gets."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs

from tritonbuild.embedded.part_sizes import part_sizes
from tritonbuild.embedded.plan import ImagePlan
from tritonbuild.embedded.request import Request


def document(request: Request, planned: ImagePlan, context: Path | None) -> dict[str, Any]:
    """Return the document of a plan, with the sizes of the optional parts of the image.

    Args:
        request: The request.
        planned: Its plan.
        context: The build context; None without one.
    """
    return {
        "layers": [
            {
                "title": layer.title,
                "size": layer.size,
                "files": [{"path": f"/{i.entry.path}", "size": i.entry.size} for i in layer.items],
            }
            for layer in planned.layers
        ],
        "excused": [attrs.asdict(one) for one in planned.excused],
        "opened": [attrs.asdict(one) for one in planned.opened],
        "parts": [attrs.asdict(one) for one in part_sizes(request, planned, context)],
        "env": dict(planned.env),
        "labels": dict(planned.labels),
    }
