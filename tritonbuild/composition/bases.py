"""The kinds of base that need no reference: min, slim and scratch."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

MIN: Final = "min"
"""The release's min image, which is the default."""
SLIM: Final = "slim"
"""The plain Ubuntu that the release is built on."""
BASES: Final = (MIN, SLIM)

GPU_VARIABLES: Final[Mapping[str, str]] = {
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility,video",
}
"""Variables that make the container runtime provide GPUs and the driver. NVIDIA's images have them, others do not."""
