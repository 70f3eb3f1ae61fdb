"""The embedded engine: `python -m tritonbuild.embedded` writes images, with no daemon, no root and no namespace.

It reads no Containerfile but a request, to which `document` converts a composition. docs/embedded.md lists its limits.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve

import tritonbuild.embedded
from tritonbuild import dirs, flags
from tritonbuild.backends import _options
from tritonbuild.backends._probe import require_space
from tritonbuild.build_context import PROGRAMS
from tritonbuild.composition import HEADERS, SMALL_FILES, Composition, select
from tritonbuild.embedded import instructions
from tritonbuild.embedded.request import Addition, Request, RequestedComponent
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import InvalidInputError, TritonBuildError, UnhealthyEngineError
from tritonbuild.rootfs.accounts import Account
from tritonbuild.wellknown import SERVER

NAME: Final = "embedded"


def _only(value: object, *, wanted: object) -> list[str]:
    """Accept only the default value; it adds no flag."""
    if value != wanted:
        raise ValueError
    return []


def _outputs(value: object) -> list[str]:
    """Return outputs; BuildKit's type `docker` has its full name here."""
    return [",".join(_ARCHIVE.get(field, field) for field in text.split(",")) for text in flags.fields.texts(value)]


_ARCHIVE: Final = {"type=docker": "type=docker-archive", "type=oci-archive": "type=oci"}
_SWITCHES: Final = ("no_cache", "push", "quiet", "sbom")


OPTIONS: Final[flags.Table] = {
    "annotation": flags.pairs,
    "authfile": flags.path,
    "ca_file": flags.path,
    "cache_dir": flags.path,
    "cache_size": flags.scalar,
    "compression": flags.choice("gzip", "zstd"),
    "file": flags.path,
    "iidfile": flags.path,
    "insecure_registry": flags.repeated,
    "label": flags.pairs,
    "load": flags.choice("docker", "nerdctl", "podman"),
    "metadata_file": flags.path,
    "mirror": flags.named,
    "network": evolve(
        flags.scalar, expects="'none': no command runs in the image", texts=lambda value: _only(value, wanted="none")
    ),
    "no_cache": flags.switch,
    "output": evolve(flags.fields, texts=_outputs),
    "plan_file": flags.path,
    "platform": flags.single(flags.repeated),
    "pull": evolve(
        flags.switch, expects="True: sources are always resolved again", texts=lambda value: _only(value, wanted=True)
    ),
    "push": flags.switch,
    "quiet": flags.switch,
    "retry": flags.integer,
    "sbom": flags.switch,
    "source": flags.named,
    "tag": flags.repeated,
}


def document(composition: Composition) -> str:
    """Return the request for *composition*, which this engine reads in place of a Containerfile.

    Raises:
        InvalidInputError: The composition needs a command that runs in the image, or a third source image.
    """
    cannot = [what for what, wanted in _beyond(composition).items() if wanted]
    if cannot:
        raise InvalidInputError(
            f"the embedded engine only copies files from the full image, so it does not support {cannot[0]}",
            hint="use another engine; tritonbuild engines lists those that can build",
        )
    # Raises for instructions that this engine cannot apply.
    tuple(instructions.parse(composition.instructions))
    selection = select(composition)
    recipe, sources = selection.recipe, selection.sources
    core = [copy.source for copy in recipe.core_copies if composition.has("headers") or copy.source != HEADERS]
    request = Request(
        full=str(sources["full"]),
        base=selection.base,
        platform=composition.platform,
        core=(*core, *selection.feature_folders()),
        optional=selection.entrypoint_files(),
        components=tuple(
            RequestedComponent(
                title=f"{one.kind} {one.title}",
                folder=f"{SERVER}/{one.directory}",
                opened=one.dlopen,
                context=one.directory if composition.is_user_folder(one) else "",
            )
            for one in composition.components
            if one.directory
        ),
        parts=composition.parts,
        opened=selection.opened(),
        read=selection.read_files(),
        read_small=SMALL_FILES,
        wheels=[f"wheels/{path.name}" for path in composition.wheels],
        files=[
            Addition(title=f"file {path}", folder=path, context=f"files/{number}")
            for number, path in enumerate(composition.files.values())
        ],
        programs=(
            [Addition(title="models", folder=composition.models_folder, context=PROGRAMS)]
            if composition.has_programs
            else []
        ),
        additions=(
            [Addition(title="models", folder=composition.models_folder, context="models")] if composition.models else []
        ),
        env=selection.variables(),
        environment=composition.environment,
        labels=selection.labels(),
        labels_from_full=recipe.labels_from_full,
        env_from_full=recipe.env_from_full,
        entrypoint=selection.entrypoint,
        workdir=recipe.workdir,
        user=Account(name=recipe.user.name, uid=recipe.user.uid, gid=recipe.user.gid, removes=recipe.user.removes),
        run_as=selection.user(),
        instructions=composition.instructions,
        exclude_libraries=composition.exclude_libraries,
        exempt=composition.exempt_libraries,
        title=f"Triton Inference Server {composition.container_version}",
    )
    return request.to_json().decode()


def _beyond(composition: Composition) -> Mapping[str, object]:
    """Return the features that this engine lacks, each with whether the composition needs it."""
    return {
        "the runtime 'install'": composition.runtime != "copy",
        "pip packages other than wheels given as files": (
            len(composition.wheels) < len(composition.pip) or composition.requirements
        ),
        "packages of apt": composition.apt,
        "the feature 'clients'": composition.has("clients"),
    }


def health(*, cache_dir: str | os.PathLike[str] | None = None, **_: object) -> Health:
    """Check that the cache folder is writable and has enough free space, and that temporary files can be written."""
    try:
        dirs.temporary()
        folder = Path(cache_dir).absolute() if cache_dir else dirs.cache()
    except TritonBuildError as error:
        raise UnhealthyEngineError(str(error), hint=error.hint) from error
    existing = next(parent for parent in (folder, *folder.parents) if parent.exists())
    if not dirs.is_writable(folder):
        raise UnhealthyEngineError(
            f"the cache folder {str(folder)!r} cannot be written to",
            hint="set XDG_CACHE_HOME, or the option cache_dir, to a writable folder",
        )
    require_space(str(existing), hint="free some space, or set XDG_CACHE_HOME")
    return Health(ok=True, engine=NAME, version=tritonbuild.embedded.VERSION, features=frozenset({"push", "load"}))


def construct_build_args(*, context_path: str | os.PathLike[str] = "", **options: Any) -> list[str]:
    """Return the tokens of a build.

    Raises:
        InvalidInputError: This engine lacks an option, or a value is not of the option's kind.
    """
    for name, value in options.items():
        if value is not None and name not in OPTIONS and _options.engines_that_can(name):
            raise _options.cannot(name, engine=NAME)
    given = {name: None if name in _SWITCHES and value is False else value for name, value in options.items()}
    context = [f"--context={os.fspath(context_path)}"] if context_path else []
    return [*context, *flags.render(OPTIONS, given, engine=NAME)]


ENGINE: Final = Engine(
    name=NAME,
    binary=sys.executable,
    build_cmd=("-m", "tritonbuild.embedded"),
    health=health,
    files=partial(_options.files, engine=NAME),
    construct_build_args=construct_build_args,
    capabilities=frozenset({"annotation", "metadata_file", "output type=docker", "output type=oci", "push"}),
    options=OPTIONS,
    makes_image=lambda options: not options.get("plan_file"),
    plan_option="plan_file",
    document=document,
    input_error_status=InvalidInputError.exit_code,
    result_options=("iidfile", "metadata_file"),
)
