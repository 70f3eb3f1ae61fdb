"""Architectures of GPUs, and the libraries of which each architecture has its own."""

from __future__ import annotations

from collections.abc import Collection

from tritonbuild.catalog.recipes import fill
from tritonbuild.catalog.tables import load_table
from tritonbuild.errors import UnknownNameError


def gpu_libraries() -> dict[str, tuple[str, ...]]:
    """Return the names (shell patterns) of the libraries of each architecture, by its name: `8.9`."""
    table = load_table("components")["gpu_architectures"]
    return {
        name: tuple(fill(text, {"architecture": name.replace(".", "")}) for text in table["libraries"])
        for name in table["names"]
    }


def check_architecture(name: str) -> str:
    """Return *name*, an architecture of GPUs.

    Raises:
        UnknownNameError: The catalog has no architecture of that name.
    """
    names = load_table("components")["gpu_architectures"]["names"]
    if name not in names:
        raise UnknownNameError("GPU architecture", name, (), hint=f"known: {', '.join(names)}")
    return name


def runs_on(name: str, chosen: Collection[str]) -> bool:
    """Return whether code for the architecture *name* runs on one of *chosen*: of the same major, not newer."""
    major, minor = map(int, name.split("."))
    return any(major == int(other.split(".")[0]) and minor <= int(other.split(".")[1]) for other in chosen)
