"""The options of the commands, grouped by what the user is doing, each said once."""

from __future__ import annotations

from typing import Annotated, Any, Final, TypeAlias

import typer

from tritonbuild import build_command
from tritonbuild.composition import DCGM_SOURCES, FEATURES, NVIDIA_REGISTRY, RUNTIMES

WHAT: Final = "What is in the image"
SOURCE: Final = "Where it comes from"
HOW: Final = "How it is built"
SHOWN: Final = "What is shown"


def _option(panel: str, text: str, *names: str, metavar: str | None = None, **more: Any) -> Any:
    return typer.Option(*names, help=text, metavar=metavar, rich_help_panel=panel, **more)


Backends: TypeAlias = Annotated[
    list[str], _option(WHAT, "A Triton backend, or one of your own; repeatable.", metavar="NAME[=DIR]")
]
Repoagents: TypeAlias = Annotated[list[str], _option(WHAT, "A repository agent; repeatable.", metavar="NAME[=DIR]")]
Caches: TypeAlias = Annotated[list[str], _option(WHAT, "A response cache; repeatable.", metavar="NAME[=DIR]")]
ModelRepositories: TypeAlias = Annotated[
    list[str], _option(WHAT, "What these models need; repeatable.", "--model-repository", metavar="DIR")
]
WithModels: TypeAlias = Annotated[bool, _option(WHAT, "Put those models in, too.", "--with-models")]
ModelsFolder: TypeAlias = Annotated[str, _option(WHAT, "Where models go.", "--models-folder", metavar="PATH")]
EnableGpu: TypeAlias = Annotated[bool, _option(WHAT, "For GPU or for CPU.", "--enable-gpu/--no-enable-gpu")]
Features: TypeAlias = Annotated[
    list[str],
    _option(WHAT, f"What is not needed to run: {', '.join(FEATURES)}; repeatable.", "--features", metavar="NAME"),
]
Pip: TypeAlias = Annotated[
    list[str], _option(WHAT, "A Python package for the python backend, or a wheel; repeatable.", metavar="PKG")
]
Requirements: TypeAlias = Annotated[list[str], _option(WHAT, "A file of such packages; repeatable.", metavar="FILE")]
Environment: TypeAlias = Annotated[
    list[str], _option(WHAT, "An environment variable; repeatable.", "--env", metavar="NAME=VALUE")
]
Labels: TypeAlias = Annotated[list[str], _option(WHAT, "A label; repeatable.", "--label", metavar="NAME=VALUE")]
User: TypeAlias = Annotated[str, _option(WHAT, "Who its processes run as; root by default.", metavar="USER")]
Entrypoint: TypeAlias = Annotated[str, _option(WHAT, "Another entry point.", metavar="WORDS")]
Fragment: TypeAlias = Annotated[str, _option(WHAT, "Instructions of your own, for the end.", metavar="FILE")]

ContainerVersion: TypeAlias = Annotated[
    str, _option(SOURCE, "NVIDIA's release; the newest by default.", metavar="YY.MM")
]
Platform: TypeAlias = Annotated[str, _option(SOURCE, "linux/amd64 or linux/arm64.", metavar="OS/ARCH")]
Images: TypeAlias = Annotated[
    list[str], _option(SOURCE, "A source image: full,REF and min,REF (gpu-min, sdk); repeatable.", metavar="NAME,REF")
]
Base: TypeAlias = Annotated[str, _option(SOURCE, "An image to compose on, in place of min.", metavar="REF")]
Registry: TypeAlias = Annotated[str, _option(SOURCE, f"A mirror, in place of {NVIDIA_REGISTRY}.", metavar="HOST/PATH")]
Runtime: TypeAlias = Annotated[
    str, _option(SOURCE, "copy libraries from full, or install packages.", metavar="|".join(RUNTIMES))
]
Dcgm: TypeAlias = Annotated[
    str, _option(SOURCE, "With install: where DCGM comes from.", metavar="|".join(DCGM_SOURCES))
]
SkipPull: TypeAlias = Annotated[bool, _option(SOURCE, "Use source images the engine has.", "--skip-pull")]
ExemptLibraries: TypeAlias = Annotated[
    list[str], _option(SOURCE, "A library that may be missing; repeatable.", metavar="PATTERN")
]

EngineName: TypeAlias = Annotated[
    str,
    _option(
        HOW, "The engine that builds; auto takes the first healthy one.", metavar="NAME", envvar="TRITONBUILD_ENGINE"
    ),
]
Plugins: TypeAlias = Annotated[
    list[str], _option(HOW, "A module or .py file that registers engines; repeatable.", metavar="MODULE")
]
OutputNames: TypeAlias = Annotated[
    list[str], _option(HOW, "The image's name; repeatable.", "--output-name", "-t", metavar="NAME")
]
EngineOptions: TypeAlias = Annotated[
    list[str], _option(HOW, "An option of the engine; repeatable.", "--opt", metavar="KEY[=VALUE]")
]
WorkDir: TypeAlias = Annotated[str, _option(HOW, f"Keep {build_command.CONTAINERFILE_NAME} in DIR.", metavar="DIR")]
Timeout: TypeAlias = Annotated[float | None, _option(HOW, "Stop a build after.", metavar="SECONDS", min=0.001)]
DryRun: TypeAlias = Annotated[
    bool, _option(HOW, f"Write {build_command.CONTAINERFILE_NAME} and build nothing.", "--dry-run")
]

Quiet: TypeAlias = Annotated[bool, _option(SHOWN, "Show the result only.", "--quiet", "-q")]
Verbose: TypeAlias = Annotated[bool, _option(SHOWN, "Say more: commands, versions, reasons.", "--verbose", "-v")]
Json: TypeAlias = Annotated[bool, _option(SHOWN, "The result as JSON.", "--json")]
