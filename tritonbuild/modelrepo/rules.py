"""Triton's rules for the backend that runs a model, as pure functions.

They follow `AutoCompleteBackendFields` in src/model_config_utils.cc of triton-inference-server/core, with the names of
src/constants.h, and `GetBackendLibraryProperties` in src/backend_model.cc (main branch at 26.08). Differences between
releases are in `choice`, where the release is known.
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
"""The file of a model of the python backend; as a `runtime`, it marks a Python-based backend."""


@attrs.frozen
class _Rule:
    """A backend and its signs: values of `platform`, and the name and kinds of an entry of a version folder."""

    backend: str
    platforms: tuple[str, ...]
    filename: str
    kinds: tuple[str, ...]


FILE: Final = "file"
FOLDER: Final = "folder"
BROKEN: Final = "broken link"
"""The kinds of a folder's entries, links followed."""

_EITHER: Final = (FILE, FOLDER, BROKEN)
"""All kinds, for a name whose kind Triton does not examine."""

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
"""The rules in Triton's order: the first that matches decides."""

_CHECKED: Final = ("tensorflow", "tensorrt", "onnxruntime", "pytorch")
"""The backends for which Triton accepts certain platforms only (`ValidateModelConfig`)."""

_OTHERS: Final[Mapping[str, str]] = {
    "checkpoint.tl": "fil",
    "model.dali": "dali",
    "model.json": "vllm",
    "model.txt": "fil",
    "xgboost.json": "fil",
    "xgboost.model": "fil",
    "xgboost.ubj": "fil",
}
"""Default file names of backends that Triton's rules ignore, for hints; from the backends' documents."""


@attrs.frozen(kw_only=True)
class ModelFiles:
    """The files of a model, as far as the rules examine them.

    Attributes:
        name: The name of the model.
        config: The path of its configuration in its folder; empty if it has none.
        entries: The kinds of the entries of its folder, by name.
        versions: The same for each folder in it, in Triton's order: sorted as bytes, whatever their names.
    """

    name: str
    config: str
    entries: Mapping[str, str]
    versions: Mapping[str, Mapping[str, str]]


def is_version(name: str) -> bool:
    """Tell whether Triton reads a folder of a model as a version (docs/user_guide/model_repository.md)."""
    return name.isascii() and name.isdigit() and not name.startswith("0")


def quoted(text: str) -> str:
    """Return a value of a configuration, quoted and shortened for a message."""
    text = one_line(text)
    return f'"{text if len(text) <= 80 else text[:77] + "..."}"'  # noqa: PLR2004 - the width of a terminal


def backend(config: Config, files: ModelFiles) -> tuple[str, str] | None:
    """Return the name of the backend that Triton chooses, and the reason; None if it finds none."""
    if config.backend:
        return config.backend, f"{files.config} says backend: {quoted(config.backend)}"
    for rule in RULES:
        if reason := _reason(rule, config, files):
            return rule.backend, reason
    _, dot, last = files.name.partition(".")
    if dot and last and not (config.platform or config.default_model_filename):
        return last, f"{_nothing(files)}; the model's name ends in {quoted(dot + last)}"
    return None


def _reason(rule: _Rule, config: Config, files: ModelFiles) -> str:
    if config.platform in rule.platforms:
        return f"{files.config} says platform: {quoted(config.platform)}"
    # TensorFlow's file names do not count if a platform is given
    if config.default_model_filename == rule.filename and not (rule.backend == "tensorflow" and config.platform):
        return f"{files.config} says default_model_filename: {quoted(rule.filename)}"
    if config.platform or config.default_model_filename or not files.versions:
        return ""
    folder, contents = next(iter(files.versions.items()))
    if contents.get(rule.filename) not in rule.kinds:
        return ""
    return f"{_nothing(files)}; folder {folder} holds {rule.filename}"


def _nothing(files: ModelFiles) -> str:
    return f"{files.config} names no backend" if files.config else "no config.pbtxt"


def needs(config: Config, files: ModelFiles, cache: str) -> tuple[list[Need], list[str], list[Problem]]:
    """Return the needs of a model, notes, and problems; *cache* is the name of the response cache."""
    found: list[Need] = []
    notes: list[str] = []
    problems = _contradictions(config, files)
    if not config.backend and (config.platform == ENSEMBLE or (config.ensemble and not config.platform)):
        says = f"says platform: {quoted(ENSEMBLE)}" if config.platform else "has ensemble_scheduling"
        found.append(Need(kind="backend", name=ENSEMBLE, reason=f"{files.config} {says}"))
    elif chosen := backend(config, files):
        name, reason = chosen
        library = config.runtime or f"libtriton_{name}.so"
        if inside := _own_library(library, files):
            notes.append(f"backend {quoted(name)} comes with the model: {inside}")
        else:
            found.append(Need(kind="backend", name=name, reason=reason))
            if config.runtime == PYTHON_FILE and name != PYTHON:
                found.append(
                    Need(kind="backend", name=PYTHON, reason=f"{files.config} says runtime: {quoted(PYTHON_FILE)}")
                )
    else:
        problems.append(_unknown(config, files))
    reason = f"{files.config} has it in model_repository_agents"
    found += [Need(kind="repoagent", name=agent, reason=reason) for agent in config.agents]
    if config.cached:
        reason = f"{files.config} enables response_cache; start the server with --cache-config={cache},..."
        found.append(Need(kind="cache", name=cache, reason=reason))
    return found, notes, problems


def _own_library(library: str, files: ModelFiles) -> str:
    """Return the paths of a backend's library in the model: Triton searches there first; empty if it has none."""
    if library == PYTHON_FILE:
        return ""
    if files.entries.get(library) == FILE:
        return library
    versions = {name: contents for name, contents in files.versions.items() if is_version(name)}
    if versions and all(contents.get(library) == FILE for contents in versions.values()):
        return ", ".join(f"{name}/{library}" for name in versions)
    return ""


def _contradictions(config: Config, files: ModelFiles) -> list[Problem]:
    """Return the contradictions about backend, platform and name that `ValidateModelConfig` refuses."""
    file, problems = files.config, []
    if config.name and config.name != files.name:
        message = f"{file} names the model {quoted(config.name)}, its folder is {quoted(files.name)}"
        problems.append(Problem(message=message, hint="Triton requires equal names: remove the name from it"))
    if config.platform == ENSEMBLE and config.backend:
        message = f"{file} says backend: {quoted(config.backend)} beside platform: {quoted(ENSEMBLE)}"
        problems.append(Problem(message=message, hint="an ensemble has no backend: remove it"))
    elif config.ensemble and config.platform != ENSEMBLE:
        message = f"{file} has ensemble_scheduling without platform: {quoted(ENSEMBLE)}"
        problems.append(Problem(message=message, hint=f"add platform: {quoted(ENSEMBLE)}"))
    elif config.platform == ENSEMBLE and not config.steps:
        problems.append(Problem(message=f"{file} has no step in ensemble_scheduling", hint="add a step"))
    elif config.backend in _CHECKED and config.platform:
        allowed = [platform for rule in RULES if rule.backend == config.backend for platform in rule.platforms]
        if config.platform not in allowed:
            message = f"{file} says platform: {quoted(config.platform)} beside backend: {quoted(config.backend)}"
            problems.append(Problem(message=message, hint="remove the platform: the backend is sufficient"))
    return problems


def _unknown(config: Config, files: ModelFiles) -> Problem:
    """Return the problem of a model whose backend is unknown."""
    hint = "add a config.pbtxt that names the backend" if not files.config else f"name the backend in {files.config}"
    if config.platform:
        message = f"{files.config} says platform: {quoted(config.platform)}, which belongs to no backend"
        return Problem(message=message, hint=hint, blocks=True)
    if config.default_model_filename:
        message = f"{files.config} says default_model_filename: {quoted(config.default_model_filename)}, and no backend"
        return Problem(message=message, hint=hint, blocks=True)
    if not files.versions:
        return Problem(message=f"{_nothing(files)}, and no version folder", hint=hint, blocks=True)
    folder, contents = next(iter(files.versions.items()))
    for name, other in _OTHERS.items():
        if name in contents:
            config_file = files.config or "a config.pbtxt"
            hint = f'{name} is a file of {other} models: if it is one, add backend: "{other}" to {config_file}'
    message = f"{_nothing(files)}, and folder {folder} holds no file that names a backend"
    return Problem(message=message, hint=hint, blocks=True)
