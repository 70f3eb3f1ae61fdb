"""The working containers that a stopped build of podman or buildah leaves, and their removal.

Both keep a file `buildah.json` beside each working container, which holds the secrets of its build. Each build has a
secret that no instruction uses; its id tells the build's containers from those of the user and of other builds.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from tritonbuild import flags


def marked(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a build with the secret that marks its working containers; its content is not used."""
    secret = f"id={mark(options['context_path'])},src={options['file']}"
    return {**options, "secret": (*flags.each(options.get("secret") or ()), secret)}


def containers(storage: Path, context_path: str) -> Iterator[str]:
    """Yield the ids of the working containers of a build in *storage*, the folder of the images."""
    for record in storage.glob("*-containers/*/userdata/buildah.json"):
        with contextlib.suppress(OSError):
            if mark(context_path) in record.read_text(encoding="utf-8", errors="replace"):
                yield record.parent.parent.name


def remove(ask: Callable[..., str], query: Sequence[str], *keys: str, **options: Any) -> str:
    """Remove the working containers that a build left; return a remark if the build may go on.

    Args:
        ask: Runs a command of the engine, at most *timeout* seconds, and returns its output.
        query: The command that prints the engine's state as JSON.
        keys: The keys that lead to the storage's folder in it.
        options: The options of the build.
    """
    state: Any = {}
    with contextlib.suppress(ValueError):
        # An engine that does not answer in this time would keep a user who has interrupted the build.
        state = json.loads(ask(query, timeout=10))
    if _at(state, "host", "serviceIsRemote") is True:
        return "the service of podman may go on with the build: podman ps --all --external lists its containers"
    folder = _at(state, *keys)
    if isinstance(folder, str) and folder and (ids := list(containers(Path(folder), options["context_path"]))):
        ask(["rm", *ids])
    return ""


def _at(document: Any, *keys: str) -> Any:
    for key in keys:
        document = document.get(key) if isinstance(document, dict) else None
    return document


def mark(context_path: str) -> str:
    """Return a name for what belongs to the build with that context."""
    return f"tritonbuild-{hashlib.sha256(context_path.encode()).hexdigest()[:16]}"
