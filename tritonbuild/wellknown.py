"""Constants that several rooms share: the server's folder and the form of an environment variable's name."""

from __future__ import annotations

from typing import Final

SERVER: Final = "/opt/tritonserver"
"""The folder of the server in every image of Triton."""

VARIABLE: Final = r"[A-Za-z_][A-Za-z0-9_]*"
"""The pattern of an environment variable's name, which shells and Containerfiles take; to be used with `re.ASCII`."""
