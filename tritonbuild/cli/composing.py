"""The options that say what is composed, for every command that composes: declared once, turned into a Composition."""

from __future__ import annotations

import functools
import inspect
import shlex
from collections.abc import Callable, Iterable, Mapping
from typing import Any, Final

import attrs

from tritonbuild.cli import arguments, options
from tritonbuild.cli.settings import Settings
from tritonbuild.composition import NVIDIA_REGISTRY, Composition
from tritonbuild.errors import InvalidInputError

OPTIONS: Final[Mapping[str, tuple[Any, Any]]] = {
    "backend": (options.Backends, []),
    "repoagent": (options.Repoagents, []),
    "cache": (options.Caches, []),
    "model_repository": (options.ModelRepositories, []),
    "with_models": (options.WithModels, False),
    "models_folder": (options.ModelsFolder, "/models"),
    "enable_gpu": (options.EnableGpu, True),
    "features": (options.Features, []),
    "pip": (options.Pip, []),
    "requirements": (options.Requirements, []),
    "env": (options.Environment, []),
    "label": (options.Labels, []),
    "user": (options.User, ""),
    "entrypoint": (options.Entrypoint, ""),
    "fragment": (options.Fragment, ""),
    "container_version": (options.ContainerVersion, ""),
    "platform": (options.Platform, ""),
    "image": (options.Images, []),
    "base": (options.Base, ""),
    "registry": (options.Registry, ""),
    "runtime": (options.Runtime, "copy"),
    "dcgm": (options.Dcgm, "package"),
    "exempt_library": (options.ExemptLibraries, []),
}
"""Parameter -> its declaration for typer, and its default."""


@attrs.frozen
class Wanted:
    """What the options say, by parameter; not looked at yet."""

    values: Mapping[str, Any]

    def composition(self, config: Settings) -> tuple[Composition, tuple[str, ...]]:
        """Return the composition that is meant, and what was understood in a way worth saying.

        Raises:
            InvalidInputError: It cannot be composed.
        """
        given = self.values
        chosen = {kind: list(given[kind]) for kind in ("backend", "repoagent", "cache")}
        said: tuple[str, ...] = ()
        if given["model_repository"]:
            from tritonbuild.cli import models  # noqa: PLC0415 - and with it modelrepo, which no other build needs

            said = models.choose(chosen, given, config)
        elif given["with_models"]:
            raise InvalidInputError("--with-models is given without models", hint="say --model-repository FOLDER")
        composition = Composition(
            backends=tuple(chosen["backend"]),
            repoagents=tuple(chosen["repoagent"]),
            caches=tuple(chosen["cache"]),
            container_version=given["container_version"],
            enable_gpu=given["enable_gpu"],
            images=arguments.source_images(given["image"]),
            base=given["base"] or None,
            registry=given["registry"] or config.registry or NVIDIA_REGISTRY,
            platform=given["platform"],
            runtime=given["runtime"],
            dcgm=given["dcgm"],
            features=tuple(given["features"]),
            pip=tuple(given["pip"]),
            requirements=tuple(given["requirements"]),
            models=tuple(given["model_repository"]) if given["with_models"] else (),
            models_folder=given["models_folder"],
            environment=_pairs("--env", given["env"]),
            labels=_pairs("--label", given["label"]),
            user=given["user"],
            entrypoint=_words(given["entrypoint"]),
            fragment=given["fragment"] or None,
            exempt_libraries=tuple(given["exempt_library"]),
            catalog=config.catalog,
        )
        return composition, (*said, *composition.notes)


def composing(command: Callable[..., None]) -> Callable[..., None]:
    """Give *command* the options above; it gets them as one `wanted`, before its own parameters."""
    signature = inspect.signature(command, eval_str=True)
    own = [parameter for name, parameter in signature.parameters.items() if name != "wanted"]
    positional = [parameter for parameter in own if parameter.kind is not parameter.KEYWORD_ONLY]
    rest = [parameter for parameter in own if parameter.kind is parameter.KEYWORD_ONLY]
    added = [
        inspect.Parameter(name, inspect.Parameter.KEYWORD_ONLY, default=default, annotation=declared)
        for name, (declared, default) in OPTIONS.items()
    ]

    @functools.wraps(command)
    def wrapper(*words: Any, **values: Any) -> None:
        wanted = Wanted({name: values.pop(name) for name in OPTIONS})
        command(*words, wanted=wanted, **values)

    parameters = [*positional, *added, *rest]
    # typer reads either, by its version
    vars(wrapper)["__signature__"] = signature.replace(parameters=parameters)
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in parameters}
    del wrapper.__wrapped__
    return wrapper


def _pairs(option: str, values: Iterable[str]) -> dict[str, str]:
    """Return NAME=VALUE texts as a mapping."""
    found: dict[str, str] = {}
    for text in values:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise InvalidInputError(f"{option} {text!r} is not NAME=VALUE")
        if name in found:
            raise InvalidInputError(f"{option} {name!r} is given twice", hint="give each name once")
        found[name] = value
    return found


def _words(text: str) -> tuple[str, ...]:
    """Return the words of an entry point, split as a shell does."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidInputError(f"--entrypoint {text!r} cannot be split into words: {str(error).lower()}") from error
