"""Inspect user-supplied source images without pulling them: their flavor and their release.

If the engine is going to pull, the registry is queried (a few KB), else the engine's storage. An image whose
configuration does not arrive within a few seconds is skipped: the build itself will fail if it does not exist.
"""

from __future__ import annotations

import json
import sys
from collections.abc import Callable, Mapping
from typing import Any, Final

import attrs

from tritonbuild import engine as engines
from tritonbuild import process
from tritonbuild.composition import PLATFORM, Composition, sources
from tritonbuild.engine import Engine
from tritonbuild.errors import InvalidInputError
from tritonbuild.reference import Reference

TIMEOUT: Final = 5.0
"""Seconds that all registries together have to answer."""
_START: Final = 30.0
"""Additional seconds that the querying process may take on a busy machine."""

_ALWAYS: Final = (True, "true", "always")
_NEVER: Final = (False, "false", "never")

Environments = Mapping[str, Mapping[str, str]]
"""Source image -> the environment variables in its configuration."""


def named(composition: Composition) -> dict[str, Reference]:
    """Return the source images that the catalog does not describe: the user's, and a newer release's full image."""
    given = {*composition.images, *(["min"] if isinstance(composition.base, Reference) else [])}
    if not composition.catalog.release(composition.container_version).known:
        given.add("full")
    return {name: reference for name, reference in sources(composition).items() if name in given} if given else {}


def read(
    composition: Composition, engine: Engine, options: Mapping[str, Any], env: Mapping[str, str]
) -> dict[str, dict[str, str]]:
    """Return the environments of the images that the user names, if they can be read in time.

    Args:
        composition: The composition.
        engine: The engine that builds it.
        options: The engine's options; `pull` decides between the registry and the engine's storage.
        env: Environment variables to add for the engine's queries.
    """
    wanted, pull = named(composition), options.get("pull", True)
    found = {}
    if engine.config_query and pull not in _ALWAYS:
        answers = {
            name: engines.ask(engine, engine.config_query, str(image), options, env) for name, image in wanted.items()
        }
        found = {name: _environment(json.loads(answer)) for name, answer in answers.items() if answer}
    rest = {name: image for name, image in wanted.items() if name not in found}
    if rest and pull not in _NEVER:
        found |= _from_registries(rest, composition.platform or PLATFORM)
    return found


def for_release(
    composition: Composition, engine: Engine, options: Mapping[str, Any], on_note: Callable[[str], None] | None = None
) -> tuple[Composition, Environments]:
    """Return the composition for the release that its full image names, and the environments that were read for it.

    Nothing is read if the user or the tag of the image names the release. *on_note* receives new remarks.

    Raises:
        InvalidInputError: That release cannot be composed so.
    """
    if not composition.release_is_assumed or "full" not in composition.images:
        return composition, {}
    environments = read(composition, engine, options, engine.env)
    release = environments.get("full", {}).get("NVIDIA_TRITON_SERVER_VERSION")
    if not release:
        return composition, environments
    found = attrs.evolve(composition, container_version=release)
    for note in found.notes:
        if on_note and note not in composition.notes:
            on_note(note)
    return found, environments


def _from_registries(images: Mapping[str, Reference], platform: str) -> dict[str, dict[str, str]]:
    """Query the registries in a separate process, which can be stopped in time and imports the network code."""
    texts = {str(image): name for name, image in images.items()}
    module = [sys.executable, "-m", "tritonbuild.oci.describe"]
    done = process.capture(
        [*module, f"--platform={platform}", f"--seconds={TIMEOUT}", *texts], timeout=TIMEOUT + _START
    )
    answers = (json.loads(line) for line in done.output.splitlines()) if done.ok else ()
    return {texts[answer["image"]]: _environment(answer["config"]) for answer in answers}


def _environment(config: Any) -> dict[str, str]:
    pairs = (str(variable).partition("=") for variable in (config or {}).get("Env") or ())
    return {name: value for name, _, value in pairs}


def check(composition: Composition, environments: Environments) -> tuple[str, ...]:
    """Return remarks about source images that do not fit the composition.

    Raises:
        InvalidInputError: The full image is of another release than the composition, or of the CPU flavor where the
            composition is for GPU.
    """
    images = named(composition)
    notes = []
    if full := environments.get("full"):
        if composition.enable_gpu and full.get("TRITON_SERVER_GPU_ENABLED") == "0":
            raise InvalidInputError(
                f"the full image {images['full']} is for CPU, and the composition for GPU",
                hint="add --enable-gpu=false, or name a full image for GPU",
            )
        release = full.get("NVIDIA_TRITON_SERVER_VERSION", composition.container_version)
        if release != composition.container_version:
            raise InvalidInputError(
                f"the full image {images['full']} is release {release}, and the composition is for release"
                f" {composition.container_version}",
                hint=f"add --container-version {release}, or use a full image of the other release",
            )
    if "min" in environments:
        cuda = environments["min"].get("CUDA_VERSION")
        if cuda and not composition.enable_gpu:
            notes.append(f"the base image {images['min']} has CUDA {cuda}, which an image for CPU does not need")
        if not cuda and composition.enable_gpu:
            brings = {
                "copy": "the CUDA libraries that are needed come from the full image",
                "install": "no package installs it",
            }
            notes.append(f"the base image {images['min']} has no CUDA: {brings[composition.runtime]}")
    if "gpu-min" in environments and not environments["gpu-min"].get("CUDA_VERSION"):
        notes.append(f"the image {images['gpu-min']} has no CUDA libraries to copy")
    return tuple(notes)
