"""The options of the commands, in groups, each declared once; and options that precede a command."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Annotated, Any, Final, TypeAlias

import typer

from tritonbuild import build_command
from tritonbuild.composition import BASES, DCGM_SOURCES, FEATURES, NVIDIA_REGISTRY, RUNTIMES
from tritonbuild.errors import InvalidInputError

CONTENTS: Final = "Contents of the image"
SOURCE: Final = "Sources"
BUILD: Final = "Build"
OUTPUT: Final = "Output"


def _option(panel: str, text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, **more)


Backends: TypeAlias = Annotated[
    list[str],
    _option(
        CONTENTS,
        "A Triton backend, with all its extras or the named ones, or a folder that holds one; repeatable.",
        metavar="NAME[[EXTRA,...]|=DIR]",
    ),
]
Repoagents: TypeAlias = Annotated[list[str], _option(CONTENTS, "A repository agent; repeatable.", metavar="NAME[=DIR]")]
Caches: TypeAlias = Annotated[list[str], _option(CONTENTS, "A response cache; repeatable.", metavar="NAME[=DIR]")]
ModelRepositories: TypeAlias = Annotated[
    list[str],
    _option(CONTENTS, "Add the components that these models need; repeatable.", "--model-repository", metavar="DIR"),
]
WithModels: TypeAlias = Annotated[bool, _option(CONTENTS, "Copy these models into the image.", "--with-models")]
ModelsFolder: TypeAlias = Annotated[
    str, _option(CONTENTS, "The folder of models in the image.", "--models-folder", metavar="PATH")
]
EnableGpu: TypeAlias = Annotated[bool, _option(CONTENTS, "Compose for GPU or for CPU.", "--enable-gpu/--no-enable-gpu")]
GpuArch: TypeAlias = Annotated[
    list[str],
    _option(
        CONTENTS,
        "An architecture of the GPUs, such as 8.9: files for others alone are left out; repeatable.",
        "--gpu-arch",
        metavar="N.M,...",
    ),
]
Features: TypeAlias = Annotated[
    list[str],
    _option(CONTENTS, f"An optional part: {', '.join(FEATURES)}; repeatable.", "--features", metavar="NAME"),
]
Pip: TypeAlias = Annotated[
    list[str], _option(CONTENTS, "A Python package for the python backend, or a wheel; repeatable.", metavar="PKG")
]
Requirements: TypeAlias = Annotated[
    list[str], _option(CONTENTS, "A requirements file of pip; repeatable.", metavar="FILE")
]
Apt: TypeAlias = Annotated[
    list[str], _option(CONTENTS, "A package of the base's distribution; repeatable.", "--apt", metavar="PKG")
]
Files: TypeAlias = Annotated[
    list[str], _option(CONTENTS, "A file or folder, and its path in the image; repeatable.", metavar="SRC=DEST")
]
Environment: TypeAlias = Annotated[
    list[str], _option(CONTENTS, "An environment variable; repeatable.", "--env", metavar="NAME=VALUE")
]
Labels: TypeAlias = Annotated[list[str], _option(CONTENTS, "A label; repeatable.", "--label", metavar="NAME=VALUE")]
User: TypeAlias = Annotated[str, _option(CONTENTS, "The user of its processes; root by default.", metavar="USER")]
Entrypoint: TypeAlias = Annotated[
    str, _option(CONTENTS, "The entry point, in place of the release's.", metavar="WORDS")
]
Fragment: TypeAlias = Annotated[
    str, _option(CONTENTS, "A file of instructions that end the Containerfile.", metavar="FILE")
]
ContextFolder: TypeAlias = Annotated[
    str, _option(CONTENTS, "The folder that these instructions copy from.", "--context", metavar="DIR")
]

ContainerVersion: TypeAlias = Annotated[
    str, _option(SOURCE, "NVIDIA's release; the newest by default.", metavar="YY.MM")
]
Platform: TypeAlias = Annotated[str, _option(SOURCE, "linux/amd64 or linux/arm64.", metavar="OS/ARCH")]
Images: TypeAlias = Annotated[
    list[str], _option(SOURCE, "A source image: full,REF and min,REF (gpu-min, sdk); repeatable.", metavar="NAME,REF")
]
Base: TypeAlias = Annotated[
    str, _option(SOURCE, "The base image; slim is plain Ubuntu.", metavar=f"{'|'.join(BASES)}|REF")
]
Registry: TypeAlias = Annotated[str, _option(SOURCE, f"A mirror, in place of {NVIDIA_REGISTRY}.", metavar="HOST/PATH")]
Runtime: TypeAlias = Annotated[
    str, _option(SOURCE, "Copy libraries from full, or install packages.", metavar="|".join(RUNTIMES))
]
Dcgm: TypeAlias = Annotated[str, _option(SOURCE, "With install: the source of DCGM.", metavar="|".join(DCGM_SOURCES))]
SkipPull: TypeAlias = Annotated[bool, _option(SOURCE, "Use the source images that the engine has.", "--skip-pull")]
ExcludeLibraries: TypeAlias = Annotated[
    list[str], _option(SOURCE, "A library to leave out; repeatable.", "--exclude-library", metavar="PATTERN")
]
ExemptLibraries: TypeAlias = Annotated[
    list[str], _option(SOURCE, "A library that may be missing; repeatable.", metavar="PATTERN")
]

EngineName: TypeAlias = Annotated[
    str,
    _option(BUILD, "The engine that builds (TRITONBUILD_ENGINE); auto takes the first healthy one.", metavar="NAME"),
]
Plugins: TypeAlias = Annotated[
    list[str], _option(BUILD, "A module or .py file that registers engines; repeatable.", metavar="MODULE")
]
OutputNames: TypeAlias = Annotated[
    list[str], _option(BUILD, "The image's name; repeatable.", "--output-name", "-t", metavar="NAME")
]
EngineOptions: TypeAlias = Annotated[
    list[str], _option(BUILD, "An option of the engine; repeatable.", "--opt", metavar="KEY[=VALUE]")
]
WorkDir: TypeAlias = Annotated[str, _option(BUILD, f"Keep {build_command.CONTAINERFILE_NAME} in DIR.", metavar="DIR")]
Timeout: TypeAlias = Annotated[
    float | None, _option(BUILD, "Stop a build after this time.", metavar="SECONDS", min=0.001)
]
DryRun: TypeAlias = Annotated[
    bool, _option(BUILD, f"Write {build_command.CONTAINERFILE_NAME} and build nothing.", "--dry-run")
]

Push: TypeAlias = Annotated[bool, _option(BUILD, "Push the image to its names; as --opt push.", "--push")]
Load: TypeAlias = Annotated[bool, _option(BUILD, "Put the image into the engine's store; as --opt load.", "--load")]
NoCache: TypeAlias = Annotated[bool, _option(BUILD, "Reuse no earlier result; as --opt no_cache.", "--no-cache")]
Sbom: TypeAlias = Annotated[bool, _option(BUILD, "Write a bill of materials; as --opt sbom.", "--sbom")]

Quiet: TypeAlias = Annotated[bool, _option(OUTPUT, "Show only the result.", "--quiet", "-q")]
Verbose: TypeAlias = Annotated[bool, _option(OUTPUT, "Show commands, versions and reasons.", "--verbose", "-v")]
Json: TypeAlias = Annotated[bool, _option(OUTPUT, "Show the result as JSON.", "--json")]


def pass_on(context: typer.Context, name: str) -> None:
    """Use the options that precede the command *name* as its defaults.

    Raises:
        InvalidInputError: The command does not have one of them.
    """
    group: Any = context.command
    known = {one.name for one in group.commands[name].params if one.param_type_name == "option"}
    given = [one for one in group.params if _is_given(context, one.name)]
    for option in given:
        if option.name not in known:
            raise InvalidInputError(
                f"the command {name} has no option {option.opts[0]}",
                hint=f"tritonbuild {name} --help lists its options",
            )
    context.default_map = {name: {option.name: context.params[option.name] for option in given}}


def joined(context: typer.Context, values: Mapping[str, Any]) -> dict[str, Any]:
    """Return the values of a command's options; a repeatable one has those that precede the command, too."""
    group = context.parent
    if group is None:
        return dict(values)
    both = {name for name in values if _is_given(group, name) and _is_given(context, name)}
    return {
        name: [*group.params[name], *value] if name in both and isinstance(value, list) else value
        for name, value in values.items()
    }


def _is_given(context: Any, name: str) -> bool:
    source: Any = context.get_parameter_source(name)
    return getattr(source, "name", "") == "COMMANDLINE"
