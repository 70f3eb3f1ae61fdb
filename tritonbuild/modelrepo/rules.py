"""How Triton decides which backend runs a model; pure.

After `AutoCompleteBackendFields` in src/model_config_utils.cc of triton-inference-server/core, with the names of
src/constants.h, and `GetBackendLibraryProperties` in src/backend_model.cc (main branch at 26.08). What differs from
release to release is said where the release is known, in `choice`.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import attrs

from tritonbuild.errors import one_line
from tritonbuild.modelrepo.config import Config
from tritonbuild.modelrepo.records import Need, Problem

ENSEMBLE: Final = "ensemble"
"""The platform of an ensemble, which the server runs itself."""

PYTHON: Final = "python"
PYTHON_FILE: Final = "model.py"
"""A model of the python backend, and as a `runtime` what makes a backend a Python-based one."""


@attrs.frozen
class _Rule:
    """A backend, and what it goes by: values of `platform`, and a name that is a file's, a folder's or either's."""

    backend: str
    platforms: tuple[str, ...]
    filename: str
    kinds: tuple[str, ...]


FILE: Final = "file"
FOLDER: Final = "folder"
BROKEN: Final = "broken link"
"""What an entry of a folder is, links followed."""

_EITHER: Final = (FILE, FOLDER, BROKEN)
"""For a name that Triton only looks for."""

RULES: Final = (
    _Rule("tensorflow", ("tensorflow_savedmodel",), "model.savedmodel", (FOLDER,)),
    _Rule("tensorflow", ("tensorflow_graphdef",), "model.graphdef", (FILE,)),
    _Rule("tensorrt", ("tensorrt_plan",), "model.plan", (FILE,)),
    _Rule("onnxruntime", ("onnxruntime_onnx",), "model.onnx", _EITHER),
    _Rule("openvino", (), "model.xml", _EITHER),
    _Rule("pytorch", ("pytorch_libtorch", "libtorch"), "model.pt", (FILE,)),
    _Rule("pytorch", ("torch_aoti",), "model.pt2", (FILE,)),
    _Rule(PYTHON, (), PYTHON_FILE, _EITHER),
)
"""In Triton's order: the first that fits decides."""

_CHECKED: Final = ("tensorflow", "tensorrt", "onnxruntime", "pytorch")
"""The backends that Triton accepts with a platform of their own only (`ValidateModelConfig`)."""

_OTHERS: Final[Mapping[str, str]] = {
    "checkpoint.tl": "fil",
    "model.dali": "dali",
    "model.json": "vllm",
    "model.txt": "fil",
    "xgboost.json": "fil",
    "xgboost.model": "fil",
    "xgboost.ubj": "fil",
}
"""Default file names of backends that Triton does not go by: worth a hint. From the backends' own documents."""


@attrs.frozen(kw_only=True)
class Place:
    """Where a model is, as far as the rules look.

    Attributes:
        name: The model's.
        config: The name of its configuration, or empty.
        entries: What its folder holds, by name.
        versions: What each folder in it holds, by name, in Triton's order: sorted as bytes, whatever they are called.
    """

    name: str
    config: str
    entries: Mapping[str, str]
    versions: Mapping[str, Mapping[str, str]]


def is_version(name: str) -> bool:
    """Tell whether Triton takes a folder of a model for a version (docs/user_guide/model_repository.md)."""
    return name.isascii() and name.isdigit() and not name.startswith("0")


def quoted(text: str) -> str:
    """Return a value of a configuration for a message."""
    text = one_line(text)
    return f'"{text if len(text) <= 80 else text[:77] + "..."}"'  # noqa: PLR2004 - a line of a terminal


def backend(config: Config, place: Place) -> tuple[str, str] | None:
    """Return the name of the backend that Triton chooses and the reason in words; None where it finds none."""
    if config.backend:
        return config.backend, f"{place.config} says backend: {quoted(config.backend)}"
    for rule in RULES:
        if reason := _reason(rule, config, place):
            return rule.backend, reason
    _, dot, last = place.name.partition(".")
    if dot and last and not (config.platform or config.default_model_filename):
        return last, f"{_nothing(place)}; the model's name ends in {quoted(dot + last)}"
    return None


def _reason(rule: _Rule, config: Config, place: Place) -> str:
    if config.platform in rule.platforms:
        return f"{place.config} says platform: {quoted(config.platform)}"
    # a file name of TensorFlow's says nothing beside a platform
    if config.default_model_filename == rule.filename and not (rule.backend == "tensorflow" and config.platform):
        return f"{place.config} says default_model_filename: {quoted(rule.filename)}"
    if config.platform or config.default_model_filename or not place.versions:
        return ""
    folder, contents = next(iter(place.versions.items()))
    if contents.get(rule.filename) not in rule.kinds:
        return ""
    return f"{_nothing(place)}; folder {folder} holds {rule.filename}"


def _nothing(place: Place) -> str:
    return f"{place.config} names no backend" if place.config else "no config.pbtxt"


def needs(config: Config, place: Place, cache: str) -> tuple[list[Need], list[str], list[Problem]]:
    """Return what the model needs, notes, and what is wrong. *cache* is what keeps responses."""
    found: list[Need] = []
    notes: list[str] = []
    problems = _contradictions(config, place)
    if not config.backend and (config.platform == ENSEMBLE or (config.ensemble and not config.platform)):
        says = f"says platform: {quoted(ENSEMBLE)}" if config.platform else "has ensemble_scheduling"
        found.append(Need(kind="backend", name=ENSEMBLE, reason=f"{place.config} {says}"))
    elif chosen := backend(config, place):
        name, reason = chosen
        library = config.runtime or f"libtriton_{name}.so"
        if inside := _own_library(library, place):
            notes.append(f"backend {quoted(name)} comes with the model: {inside}")
        else:
            found.append(Need(kind="backend", name=name, reason=reason))
            if config.runtime == PYTHON_FILE and name != PYTHON:
                found.append(
                    Need(kind="backend", name=PYTHON, reason=f"{place.config} says runtime: {quoted(PYTHON_FILE)}")
                )
    else:
        problems.append(_unknown(config, place))
    reason = f"{place.config} has it in model_repository_agents"
    found += [Need(kind="repoagent", name=agent, reason=reason) for agent in config.agents]
    if config.cached:
        reason = f"{place.config} enables response_cache; the server is to be started with --cache-config={cache},..."
        found.append(Need(kind="cache", name=cache, reason=reason))
    return found, notes, problems


def _own_library(library: str, place: Place) -> str:
    """Return where a backend's library is within the model: Triton looks there before its own folder."""
    if library == PYTHON_FILE:
        return ""
    if place.entries.get(library) == FILE:
        return library
    versions = {name: contents for name, contents in place.versions.items() if is_version(name)}
    if versions and all(contents.get(library) == FILE for contents in versions.values()):
        return ", ".join(f"{name}/{library}" for name in versions)
    return ""


def _contradictions(config: Config, place: Place) -> list[Problem]:
    """Return what `ValidateModelConfig` refuses, as far as it is about what a model needs."""
    file, problems = place.config, []
    if config.name and config.name != place.name:
        message = f"{file} names the model {quoted(config.name)}, its folder is {quoted(place.name)}"
        problems.append(Problem(message=message, hint="Triton wants them equal: leave the name out of it"))
    if config.platform == ENSEMBLE and config.backend:
        message = f"{file} says backend: {quoted(config.backend)} beside platform: {quoted(ENSEMBLE)}"
        problems.append(Problem(message=message, hint="an ensemble has no backend: leave it out"))
    elif config.ensemble and config.platform != ENSEMBLE:
        message = f"{file} has ensemble_scheduling without platform: {quoted(ENSEMBLE)}"
        problems.append(Problem(message=message, hint=f"add platform: {quoted(ENSEMBLE)}"))
    elif config.platform == ENSEMBLE and not config.steps:
        problems.append(Problem(message=f"{file} has no step in ensemble_scheduling", hint="an ensemble needs one"))
    elif config.backend in _CHECKED and config.platform:
        own = [platform for rule in RULES if rule.backend == config.backend for platform in rule.platforms]
        if config.platform not in own:
            message = f"{file} says platform: {quoted(config.platform)} beside backend: {quoted(config.backend)}"
            problems.append(Problem(message=message, hint="leave the platform out: the backend says enough"))
    return problems


def _unknown(config: Config, place: Place) -> Problem:
    """Return why it is not known which backend runs the model."""
    hint = "add a config.pbtxt that names the backend" if not place.config else f"name the backend in {place.config}"
    if config.platform:
        message = f"{place.config} says platform: {quoted(config.platform)}, which stands for no backend"
        return Problem(message=message, hint=hint, blocks=True)
    if config.default_model_filename:
        message = f"{place.config} says default_model_filename: {quoted(config.default_model_filename)}, and no backend"
        return Problem(message=message, hint=hint, blocks=True)
    if not place.versions:
        return Problem(message=f"{_nothing(place)}, and no version folder", hint=hint, blocks=True)
    folder, contents = next(iter(place.versions.items()))
    for name, other in _OTHERS.items():
        if name in contents:
            where = place.config or "a config.pbtxt"
            hint = f'{name} is a name of {other}\'s models: say backend: "{other}" in {where}, if that is it'
    message = f"{_nothing(place)}, and folder {folder} holds no file that Triton goes by"
    return Problem(message=message, hint=hint, blocks=True)
