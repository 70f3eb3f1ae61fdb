"""The buildah engine: `buildah build`.

Its flags: https://github.com/containers/buildah/blob/main/docs/buildah-build.1.md. The versions below are from its
CHANGELOG.md.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path
from typing import Any, Final

from attrs import evolve

from tritonbuild import flags
from tritonbuild.atomic import replacing
from tritonbuild.backends import _containers, _leftovers, _options
from tritonbuild.backends._options import cannot
from tritonbuild.backends._probe import ask, at_once, json_object, require_space, require_version
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import InvalidInputError
from tritonbuild.reference import parse_reference

# As with PATH: folders separated by colons.
_search_path: Final = flags.joined(
    evolve(
        flags.paths,
        expects="paths, separated by colons or in a tuple",
        texts=lambda value: flags.paths.texts(value.split(":") if isinstance(value, str) else value),
    ),
    separator=":",
)

NAME: Final = "buildah"

OLDEST: Final = "1.24"
"""The first whose `--pull` takes a policy, which every build of ours gives; until 1.23 it was a switch
(pkg/cli/common.go).
"""

HEREDOCS_SINCE: Final = (1, 33)
"""The first with heredocs in `RUN` (its CHANGELOG.md)."""

OPTIONS: Final[flags.Table] = _containers.table(
    {
        # These nine were first found in 1.45.
        "compression_format": evolve(flags.scalar, since="1.45"),
        "compression_level": evolve(flags.integer, since="1.45"),
        "force_compression": evolve(flags.switch, since="1.45"),
        "iidfile_raw": evolve(flags.path, since="1.45"),
        "metadata_file": evolve(flags.path, since="1.45"),
        "mount": evolve(flags.repeated, since="1.45"),
        "save_stages": evolve(flags.switch, since="1.45"),
        "source_policy_file": evolve(flags.path, since="1.45"),
        "stage_labels": evolve(flags.switch, since="1.45"),
        "build_arg_file": evolve(flags.paths, since="1.30"),
        "cni_config_dir": flags.path,  # hidden, and without effect since netavark
        "cni_plugin_path": _search_path,  # hidden too
        "compat_volumes": evolve(flags.switch, since="1.37"),
        "created_annotation": evolve(flags.switch, since="1.41"),
        "cw": evolve(flags.single(flags.plain_fields), since="1.32"),
        "group_add": evolve(flags.repeated, since="1.29"),
        "inherit_annotations": evolve(flags.switch, since="1.41"),
        "inherit_labels": evolve(flags.switch, since="1.40"),
        "layer_label": evolve(flags.pairs, since="1.32"),
        "no_hostname": evolve(flags.switch, since="1.33"),
        "pull_always": flags.switch,  # hidden, as pull_never: use pull="always"
        "pull_never": flags.switch,
        "rewrite_timestamp": evolve(flags.switch, since="1.41"),
        "runtime": flags.scalar,  # a name is looked up, so it stays as it is
        "sbom": evolve(flags.scalar, since="1.35"),
        "sbom_image_output": evolve(flags.scalar, since="1.35"),
        "sbom_image_purl_output": evolve(flags.scalar, since="1.35"),
        "sbom_merge_strategy": evolve(flags.scalar, since="1.35"),
        "sbom_output": evolve(flags.path, since="1.35"),
        "sbom_purl_output": evolve(flags.path, since="1.35"),
        "sbom_scanner_command": evolve(flags.repeated, since="1.35"),
        "sbom_scanner_image": evolve(flags.scalar, since="1.35"),
        "source_date_epoch": evolve(flags.scalar, since="1.41"),
        "unsetannotation": evolve(flags.repeated, since="1.41"),
        "unsetlabel": evolve(flags.repeated, since="1.33"),
    }
)


GLOBAL_OPTIONS: Final[flags.Table] = {
    **_containers.GLOBAL_OPTIONS,
    "registries_conf": flags.path,
    "registries_conf_dir": flags.path,
    "short_name_alias_conf": flags.path,
}
"""The options of buildah itself: https://github.com/containers/buildah/blob/main/docs/buildah.1.md."""


def health(*, program: Sequence[str] = (NAME,), engine: str = NAME, **options: Any) -> Health:
    """Ask for the state, which opens the storage; `buildah --version` does not, but prints the version."""
    hints = {
        "permission denied": "check the owner of its storage: buildah info",
        "overlay": "its storage does not work on this file system: set driver in storage.conf",
        "storage": "check storage.conf, or create the storage again: buildah info",
    }
    install = f"install {program[0]}, or choose another engine: tritonbuild engines lists the healthy ones"
    buildah = _options.program(program, GLOBAL_OPTIONS, options, engine=engine)
    state, version_line = at_once(
        lambda: ask([*buildah, "info"], hints=hints, install=install),
        lambda: ask([*program, "--version"], hints={}, install=install),
    )
    if root := (json_object(state.output).get("store") or {}).get("GraphRoot"):
        require_space(str(root))
    found = re.search(r"[0-9][^ \n]*", version_line.output)
    version = found[0] if found else ""
    require_version(version, OLDEST, program=NAME)
    features = {"buildkit", "load", "push"}
    if flags.version_numbers(version) >= HEREDOCS_SINCE:
        features.add("heredocs")
    return Health(ok=True, engine=engine, version=version, features=frozenset(features))


def adapt(health: Health, *, engine: str = NAME, **options: Any) -> dict[str, Any]:
    """Refuse the pull policy that this version lacks; mark the working containers of the build."""
    _containers.check_pull(options, engine=engine, version=health.version, since="1.29")
    return _leftovers.marked(options)


def construct_build_args(*, engine: str = NAME, context_path: str = ".", **options: Any) -> list[str]:
    """Return the tokens that follow `buildah build`; by default layers are kept for later builds."""
    if flags.has_several_platforms(options):  # the manifest push of 1.28 pushes nothing, and ends with success
        raise cannot("several platforms", engine=engine)
    given = {"layers": True, **_containers.build_options(options, engine=engine)}
    for output in _containers.archives(options, engine=engine)[0]:
        if ":" in output.dest:  # push separates path and name by it
            raise InvalidInputError(
                f"engine {engine!r} cannot write the archive {output.dest!r}: its path has a colon",
                hint="name a file without one",
            )
    return [*flags.render(OPTIONS, given, engine=engine), os.fspath(context_path)]


def follow_up(image_id: str, *, scratch: Path, engine: str = NAME, **options: Any) -> Iterator[list[str]]:
    """Yield the commands that save the image and push it."""
    tokens = _containers.account(OPTIONS, options, engine=engine)
    outputs, tags = _containers.archives(options, engine=engine)
    for output in outputs:
        name = "".join(f":{parse_reference(tag)}" for tag in tags[:1])  # such an archive holds one name
        with replacing(Path(output.dest)) as target:
            yield ["push", "--quiet", image_id, f"{output.type}-archive:{target}{name}"]
    yield from _containers.pushes(image_id, scratch=scratch, tokens=tokens, options=options, engine=engine)


def clean_up(ask: Callable[..., str], **options: Any) -> str:
    """Remove the working containers that a build left; return a remark if it may go on."""
    return _leftovers.remove(ask, ("info",), "store", "GraphRoot", **options)


ENGINE: Final = Engine(
    name=NAME,
    binary="buildah",
    health=health,
    files=partial(_options.files, engine=NAME),
    construct_build_args=construct_build_args,
    capabilities=_containers.CAPABILITIES,
    options=_options.table({**GLOBAL_OPTIONS, **OPTIONS}),
    global_options=GLOBAL_OPTIONS,
    default_options=_containers.default_options,
    adapt=adapt,
    follow_up=follow_up,
    clean_up=clean_up,
    temporary=_containers.TEMPORARY,
)
