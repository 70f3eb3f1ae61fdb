"""The fields of a composition: the types that they take, and the form in which they are kept."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final, TypeAlias

from tritonbuild import additions, parameters
from tritonbuild.catalog import Catalog, check_architecture
from tritonbuild.composition.bases import BASES, MIN
from tritonbuild.composition.choices import SOURCE_NAMES
from tritonbuild.errors import UnknownNameError
from tritonbuild.reference import Reference, parse_platform, parse_reference

_Paths: TypeAlias = str | Path | Collection[str | Path]


def names(value: Collection[str] | str) -> tuple[str, ...]:
    """Return texts as a tuple, each once, in the order given."""
    return tuple(dict.fromkeys((value,) if isinstance(value, str) else value))


def release(value: str | None) -> str:
    """Return a release; empty where none is given."""
    return value or ""


def tagged_release(images: Mapping[str, Reference]) -> str:
    """Return the release that the tag of the full image names, as in `24.10-py3`; empty where it names none."""
    found = re.match(r"[0-9]{2}\.(?:0[1-9]|1[0-2])(?![^-])", images["full"].tag, re.ASCII) if "full" in images else None
    return found[0] if found else ""


def architectures(value: Collection[str] | str) -> tuple[str, ...]:
    """Return architectures of GPUs, each once; a text may hold several, separated by commas."""
    texts = [text.strip() for texts in names(value) for text in texts.split(",")]
    return tuple(dict.fromkeys(check_architecture(text) for text in texts))


def base(value: str | Reference | None) -> str | Reference | None:
    """Return the reference of a base, or its name if it needs no reference; None for the release's min image."""
    if isinstance(value, str) and value not in BASES:
        return parse_reference(value) if value else None
    return None if value == MIN else value


def requirements(value: Collection[str] | str) -> tuple[str, ...]:
    """Return packages for pip, each once."""
    return additions.requirements(names(value))


def requirement_files(value: _Paths) -> tuple[Path, ...]:
    """Return the absolute paths of requirements files."""
    return additions.files(_paths(value), "requirements file")


def apt(value: Collection[str] | str) -> tuple[str, ...]:
    """Return packages for apt, each once."""
    return additions.apt(names(value))


def fragment_context(value: str | Path | None) -> Path | None:
    """Return the absolute path of the user's build context; None where none is given."""
    return additions.folders([value], "build context")[0] if value else None


def repositories(value: _Paths) -> tuple[Path, ...]:
    """Return the absolute paths of model repositories."""
    return additions.folders(_paths(value), "model repository")


def models_folder(value: str) -> str:
    """Return the image's folder of models."""
    return additions.target(value, "a folder", "models")


def user(value: str | None) -> str:
    """Return the user of the image's processes; empty for root."""
    return additions.user(value or "")


def _paths(value: _Paths) -> tuple[str | Path, ...]:
    return (value,) if isinstance(value, (str, Path)) else tuple(value)


def platform(value: str | None) -> str:
    """Return a platform in its canonical form; empty where none is given."""
    return parse_platform(value) if value else ""


def references(value: Mapping[str, str | Reference]) -> dict[str, Reference]:
    """Return the references of source images by name."""
    for name in value:
        if name not in SOURCE_NAMES:
            raise UnknownNameError("source image", name, SOURCE_NAMES)
    return {name: image if isinstance(image, Reference) else parse_reference(image) for name, image in value.items()}


TAKES: Final[Mapping[str, parameters.Takes]] = {
    "backends": parameters.TEXTS,
    "repoagents": parameters.TEXTS,
    "caches": parameters.TEXTS,
    "container_version": parameters.optional(parameters.TEXT),
    "enable_gpu": parameters.SWITCH,
    "gpu_arch": parameters.TEXTS,
    "images": parameters.texts_or(Reference),
    "base": parameters.optional(parameters.text_or(Reference)),
    "registry": parameters.TEXT,
    "platform": parameters.optional(parameters.TEXT),
    "runtime": parameters.TEXT,
    "dcgm": parameters.TEXT,
    "features": parameters.TEXTS,
    "pip": parameters.TEXTS,
    "requirements": parameters.PATHS,
    "files": parameters.VARIABLES,
    "apt": parameters.TEXTS,
    "models": parameters.PATHS,
    "models_folder": parameters.TEXT,
    "environment": parameters.VARIABLES,
    "labels": parameters.VARIABLES,
    "user": parameters.optional(parameters.TEXT),
    "entrypoint": parameters.TEXTS,
    "fragment": parameters.optional(parameters.PATH),
    "fragment_context": parameters.optional(parameters.PATH),
    "exclude_libraries": parameters.TEXTS,
    "exempt_libraries": parameters.TEXTS,
    "catalog": parameters.record(Catalog),
}
