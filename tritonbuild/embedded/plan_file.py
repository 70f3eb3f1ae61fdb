"""The JSON document of a plan, which `plan_file` gets."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import attrs

from tritonbuild.embedded.plan import ImagePlan
from tritonbuild.planned import PlannedPart


def document(planned: ImagePlan, parts: Sequence[PlannedPart]) -> dict[str, Any]:
    """Return the document of a plan, and of the optional parts of the image."""
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
        "parts": [attrs.asdict(one) for one in parts],
        "env": dict(planned.env),
        "labels": dict(planned.labels),
    }
