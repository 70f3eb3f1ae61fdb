"""The options of a composition: declared once for all commands, and converted to a `Composition`."""

# No postponed annotations: typer reads the types of the record's fields.
# ruff: noqa: RUF008 - typer takes lists as defaults and copies them
import inspect
import shlex
from collections.abc import Callable, Iterable
from typing import Any

import attrs
import typer

from tritonbuild.cli import arguments, options
from tritonbuild.cli.settings import Settings
from tritonbuild.composition import NVIDIA_REGISTRY, Composition, fields
from tritonbuild.errors import InvalidInputError


@attrs.frozen(kw_only=True)
class Wanted:
    """The values of the options, by parameter; not validated yet."""

    backend: options.Backends = []
    repoagent: options.Repoagents = []
    cache: options.Caches = []
    model_repository: options.ModelRepositories = []
    with_models: options.WithModels = False
    models_folder: options.ModelsFolder = "/models"
    enable_gpu: options.EnableGpu = True
    gpu_arch: options.GpuArch = []
    features: options.Features = []
    pip: options.Pip = []
    requirements: options.Requirements = []
    apt: options.Apt = []
    file: options.Files = []
    env: options.Environment = []
    label: options.Labels = []
    user: options.User = ""
    entrypoint: options.Entrypoint = ""
    fragment: options.Fragment = ""
    context_folder: options.ContextFolder = ""
    container_version: options.ContainerVersion = ""
    platform: options.Platform = ""
    image: options.Images = []
    base: options.Base = ""
    registry: options.Registry = ""
    runtime: options.Runtime = "copy"
    dcgm: options.Dcgm = "package"
    exclude_library: options.ExcludeLibraries = []
    exempt_library: options.ExemptLibraries = []

    def composition(self, config: Settings) -> tuple[Composition, tuple[str, ...]]:
        """Return the composition, and remarks for the user.

        Raises:
            InvalidInputError: The options do not make a valid composition.
        """
        chosen = {"backend": [*self.backend], "repoagent": [*self.repoagent], "cache": [*self.cache]}
        images = arguments.source_images(self.image)
        remarks: tuple[str, ...] = ()
        if self.model_repository:
            from tritonbuild.cli import models  # noqa: PLC0415 - it imports modelrepo, which other builds do not need

            remarks = models.choose(
                chosen,
                self.model_repository,
                catalog=config.catalog,
                version=self.container_version or fields.tagged_release(fields.references(images)),
                platform=self.platform,
                gpu=self.enable_gpu,
            )
        elif self.with_models:
            raise InvalidInputError("--with-models is given without models", hint="add --model-repository FOLDER")
        composition = Composition(
            backends=chosen["backend"],
            repoagents=chosen["repoagent"],
            caches=chosen["cache"],
            container_version=self.container_version,
            enable_gpu=self.enable_gpu,
            gpu_arch=self.gpu_arch,
            images=images,
            base=self.base or None,
            registry=self.registry or config.registry or NVIDIA_REGISTRY,
            platform=self.platform,
            runtime=self.runtime,
            dcgm=self.dcgm,
            features=self.features,
            pip=self.pip,
            requirements=self.requirements,
            apt=self.apt,
            files=_files(self.file),
            models=self.model_repository if self.with_models else (),
            models_folder=self.models_folder,
            environment=_pairs("--env", self.env),
            labels=_pairs("--label", self.label),
            user=self.user,
            entrypoint=_words(self.entrypoint),
            fragment=self.fragment or None,
            fragment_context=self.context_folder or None,
            exclude_libraries=self.exclude_library,
            exempt_libraries=self.exempt_library,
            catalog=config.catalog,
        )
        return composition, (*remarks, *composition.notes)


def composing(command: Callable[..., None]) -> Callable[..., None]:
    """Put the options of `Wanted` before those of *command*, which receives the context and one `wanted`."""
    names = [field.name for field in attrs.fields(Wanted)]

    def wrapper(context: typer.Context, **given: Any) -> None:
        values = options.joined(context, given)
        wanted = Wanted(**{name: values.pop(name) for name in names})
        command(context, wanted=wanted, **values)

    _, _, *rest = inspect.signature(command, eval_str=True).parameters.values()
    context = inspect.Parameter("context", inspect.Parameter.POSITIONAL_OR_KEYWORD, annotation=typer.Context)
    signature = inspect.Signature([context, *inspect.signature(Wanted).parameters.values(), *rest])
    wrapper.__name__, wrapper.__doc__ = command.__name__, command.__doc__
    # typer reads either, by its version
    vars(wrapper)["__signature__"] = signature
    wrapper.__annotations__ = {parameter.name: parameter.annotation for parameter in signature.parameters.values()}
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


def _files(values: Iterable[str]) -> dict[str, str]:
    """Return SRC=DEST texts as a mapping; the names of both may have equals signs."""
    found: dict[str, str] = {}
    for text in values:
        source, separator, target = text.partition("=/")
        if not source or not separator:
            raise InvalidInputError(f"--file {text!r} is not SRC=DEST", hint="write DEST as an absolute path")
        if source in found:
            raise InvalidInputError(f"--file {source!r} is given twice", hint="give each file once")
        found[source] = f"/{target}"
    return found


def _words(text: str) -> tuple[str, ...]:
    """Return the words of an entry point, split as a shell does."""
    try:
        return tuple(shlex.split(text))
    except ValueError as error:
        raise InvalidInputError(f"--entrypoint {text!r} cannot be split into words: {str(error).lower()}") from error
