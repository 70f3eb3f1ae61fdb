"""The podman engine: `podman build`.

Its flags: https://docs.podman.io/en/latest/markdown/podman-build.1.html. It builds with buildah's code; the versions
below are the first podman with the buildah that brought the flag (podman's RELEASE_NOTES.md, buildah's CHANGELOG.md).
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
from tritonbuild.backends import _containers, _leftovers, _lists, _options
from tritonbuild.backends._probe import ask, last_line, require_space, require_version
from tritonbuild.engine import Engine, Health

NAME: Final = "podman"

OLDEST: Final = "4.0"
"""The first with buildah 1.24: until then `--pull` was a switch, and every build of ours says `--pull=always` or
`--pull=missing` (buildah's pkg/cli/common.go, podman's cmd/podman/images/build.go).
"""

HEREDOCS_SINCE: Final = (4, 8)
"""The first with heredocs in `RUN`, with buildah 1.33."""

OPTIONS: Final[flags.Table] = _containers.table(
    {
        # These nine were first found in 6.1.
        "compression_format": evolve(flags.scalar, since="6.1"),
        "compression_level": evolve(flags.integer, since="6.1"),
        "force_compression": evolve(flags.switch, since="6.1"),
        "iidfile_raw": evolve(flags.path, since="6.1"),
        "metadata_file": evolve(flags.path, since="6.1"),
        "mount": evolve(flags.repeated, since="6.1"),
        "save_stages": evolve(flags.switch, since="6.1"),
        "source_policy_file": evolve(flags.path, since="6.1"),
        "stage_labels": evolve(flags.switch, since="6.1"),
        "build_arg_file": evolve(flags.paths, since="4.5"),
        "compat_volumes": evolve(flags.switch, since="5.2"),
        "created_annotation": evolve(flags.switch, since="5.6"),
        "cw": evolve(flags.single(flags.plain_fields), since="4.7"),
        "group_add": evolve(flags.repeated, since="4.4"),
        "inherit_annotations": evolve(flags.switch, since="5.6"),
        "inherit_labels": evolve(flags.switch, since="5.5"),
        "layer_label": evolve(flags.pairs, since="4.7"),
        "no_hostname": evolve(flags.switch, since="4.8"),
        "rewrite_timestamp": evolve(flags.switch, since="5.6"),
        # A flag of podman itself, which it takes after `build` too. A name is looked up on PATH, so it stays as it is.
        "runtime": flags.scalar,
        "sbom": evolve(flags.scalar, since="5.0"),
        "sbom_image_output": evolve(flags.scalar, since="5.0"),
        "sbom_image_purl_output": evolve(flags.scalar, since="5.0"),
        "sbom_merge_strategy": evolve(flags.scalar, since="5.0"),
        "sbom_output": evolve(flags.path, since="5.0"),
        "sbom_purl_output": evolve(flags.path, since="5.0"),
        "sbom_scanner_command": evolve(flags.repeated, since="5.0"),
        "sbom_scanner_image": evolve(flags.scalar, since="5.0"),
        "source_date_epoch": evolve(flags.scalar, since="5.6"),
        "squash_all": flags.switch,
        "unsetannotation": evolve(flags.repeated, since="5.6"),
        "unsetlabel": evolve(flags.repeated, since="4.8"),
    }
)


GLOBAL_OPTIONS: Final[flags.Table] = {
    **_containers.GLOBAL_OPTIONS,
    "config": flags.path,
    "connection": flags.scalar,
    "conmon": flags.path,
    "db_backend": evolve(flags.choice("boltdb", "sqlite"), since="4.6"),
    "events_backend": flags.choice("file", "journald", "none"),
    "identity": flags.path,
    "imagestore": evolve(flags.path, since="4.7"),
    "module": evolve(flags.repeated, since="4.7"),
    "network_cmd_path": flags.path,
    "network_config_dir": flags.path,
    "remote": flags.switch,
    "tmpdir": flags.path,
    "transient_store": flags.switch,
    "url": flags.scalar,
    "volumepath": flags.path,
}
"""The options of podman itself: https://docs.podman.io/en/latest/markdown/podman.1.html."""


def health(*, program: Sequence[str] = (NAME,), engine: str = NAME, **options: Any) -> Health:
    """Ask for the version, which opens the storage; the debug log names the storage's folder at no cost."""
    log_level = {} if options.get("log_level") else {"log_level": "debug"}
    podman = _options.program(program, GLOBAL_OPTIONS, {**options, **log_level}, engine=engine)
    answer = ask(
        [*podman, "version", "--format", "{{.Client.Version}}"],
        hints={
            "permission denied": "check the owner of its storage: podman info",
            "overlay": "its storage does not work on this file system: set driver in storage.conf",
            "connect": "start its machine or service: podman machine start",
        },
        install=f"install {program[0]}, or choose another engine: tritonbuild engines lists the healthy ones",
    )
    if found := re.search(r'[Uu]sing graph root ([^"\n]+)', answer.error):
        require_space(found[1].strip())
    version = last_line(answer.output)
    require_version(version, OLDEST, program=NAME)
    features = {"buildkit", "load", "push"}
    if flags.version_numbers(version) >= HEREDOCS_SINCE:
        features.add("heredocs")
    return Health(ok=True, engine=engine, version=version, features=frozenset(features))


def adapt(health: Health, *, engine: str = NAME, **options: Any) -> dict[str, Any]:
    """Refuse the pull policy that this version lacks; mark the working containers of the build."""
    _containers.check_pull(options, engine=engine, version=health.version, since="4.4")
    return _leftovers.marked(_lists.named(options))


def construct_build_args(*, engine: str = NAME, context_path: str = ".", **options: Any) -> list[str]:
    """Return the tokens that follow `podman build`."""
    given = _containers.build_options(options, engine=engine)
    return [*flags.render(OPTIONS, given, engine=engine), os.fspath(context_path)]


def follow_up(image_id: str, *, scratch: Path, engine: str = NAME, **options: Any) -> Iterator[list[str]]:
    """Yield the commands that save the image and push it."""
    tokens = _containers.account(OPTIONS, options, engine=engine)
    if flags.has_several_platforms(options):
        yield from _lists.finish(scratch=scratch, tokens=tokens, options=options, engine=engine)
        return
    outputs, tags = _containers.archives(options, engine=engine)
    for output in outputs:
        # An OCI archive of podman's holds one name: the one by which podman finds the image.
        names = [image_id, *tags] if output.type == "docker" else [*tags, image_id][:1]
        with replacing(Path(output.dest)) as target:
            yield ["save", "--quiet", f"--format={output.type}-archive", f"--output={target}", *names]
    yield from _containers.pushes(image_id, scratch=scratch, tokens=tokens, options=options, engine=engine)


def clean_up(ask: Callable[..., str], **options: Any) -> str:
    """Remove the working containers and the list of images that a build left; return a remark if it may go on."""
    if flags.has_several_platforms(options) and (name := _lists.own_name(options)) == options["manifest"]:
        ask(["manifest", "rm", name], timeout=10)
    return _leftovers.remove(
        lambda words, **more: ask([*words[:1], "--force", *words[1:]] if words[0] == "rm" else words, **more),
        ("info", "--format", "json"),
        *("store", "graphRoot"),
        **options,
    )


ENGINE: Final = Engine(
    name=NAME,
    binary="podman",
    health=health,
    files=partial(_options.files, engine=NAME),
    construct_build_args=construct_build_args,
    capabilities=_containers.CAPABILITIES | {"several platforms"},
    options=_options.table({**GLOBAL_OPTIONS, **OPTIONS}),
    global_options=GLOBAL_OPTIONS,
    default_options=_containers.default_options,
    adapt=adapt,
    follow_up=follow_up,
    platforms_query=("manifest", "inspect"),
    clean_up=clean_up,
    temporary=_containers.TEMPORARY,
    size_query=("image", "inspect", "--format", "{{.Size}}"),
    config_query=("image", "inspect", "--format", "{{json .Config}}"),
)
