"""The environment variables of an image: those of the request, of its source images, and of the user."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping

from tritonbuild.embedded import instructions
from tritonbuild.embedded.request import Request
from tritonbuild.rootfs.interpreter import Interpreter
from tritonbuild.wellknown import with_entries


def of_image(
    request: Request,
    base_env: Mapping[str, str],
    full_env: Mapping[str, str],
    full_labels: Mapping[str, str],
    python: Interpreter | None,
) -> tuple[Request, dict[str, str]]:
    """Return the request with the user's instructions applied, and the environment variables of the image.

    Args:
        request: The requested image.
        base_env: The environment variables of the base.
        full_env: The environment variables of the full image.
        full_labels: The labels of the full image.
        python: The interpreter that is brought.
    """
    env = instructions.expanded(request.env, base_env)
    for variable, source in request.env_from_full.items():
        kind, _, name = source.partition(":")
        value = (full_labels if kind == "label" else full_env).get(name)
        if value is not None:
            env[variable] = value
    if python is not None:
        env |= _selecting(python, env.get("PATH", ""), full_env)
    env |= request.environment
    return instructions.applied(request.instructions, request, env)


def _selecting(python: Interpreter, path: str, full_env: Mapping[str, str]) -> dict[str, str]:
    """Return the variables that select an interpreter of the full image, where the PATH *path* has no entry for it."""
    found = {}
    entry = f"/{posixpath.dirname(python.program)}"
    if entry not in path.split(":"):
        found["PATH"] = with_entries(path, [entry])
    if python.environment and full_env.get("VIRTUAL_ENV", "").strip("/") == python.environment:
        found["VIRTUAL_ENV"] = full_env["VIRTUAL_ENV"]
    return found
