"""Options with the same meaning for every engine: destinations of the result, and requests an engine cannot serve.

Such options have one spelling here (`UNIFIED`). If the build command of an engine lacks one and its other commands have
it, it is served after the build: a push, an archive. Otherwise it is an error that names the engines that can serve it.
"""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import backends, flags
from tritonbuild.errors import InvalidInputError
from tritonbuild.masking import csv_items, csv_line

UNIFIED: Final[flags.Table] = {
    "annotation": flags.pairs,
    "build_arg": flags.pairs,
    "cache_from": flags.fields,
    "cache_to": flags.fields,
    "file": flags.path,
    "iidfile": flags.path,
    "label": flags.pairs,
    "load": flags.switch,
    "metadata_file": flags.path,
    "network": flags.scalar,
    "no_cache": flags.switch,
    "output": flags.fields,
    "platform": flags.repeated,
    "progress": flags.single(flags.choice("auto", "plain", "quiet", "rawjson", "tty")),
    "pull": flags.switch,
    "push": flags.switch,
    "quiet": flags.switch,
    "secret": flags.fields,
    "ssh": flags.repeated,
    "tag": flags.repeated,
    "target": flags.single(flags.repeated),
}
"""The options with the same meaning for every engine; their rows count where an engine's table has none."""

BUILDKIT: Final = frozenset(
    {
        "cache_from",
        "output type=docker",
        "output type=oci",
        "progress=rawjson",
        "progress=tty",
        "push",
        "several outputs of type local or tar",
    }
)
"""The requests that all engines with BuildKit can serve, and some others cannot."""

BUILDKIT_CLIENT: Final = BUILDKIT | {
    "cache_from other than type=registry,ref=IMAGE",
    "cache_to",
    "several platforms",
}
"""The requests that those of them can serve which are clients of BuildKit itself, and not of docker's daemon."""

_ARCHIVES: Final = frozenset({"docker", "oci"})
_FILES: Final = frozenset({"local", "tar"})


def engines_that_can(capability: str) -> tuple[str, ...]:
    """Return the names of tritonbuild's engines that have a capability; this loads all their modules."""
    known = map(backends.get_backend, backends.BUILTIN)
    return tuple(sorted(engine.name for engine in known if capability in engine.capabilities))


def cannot(capability: str, *, engine: str) -> InvalidInputError:
    """Return the error for a request that *engine* cannot serve; its hint names the engines that can."""
    others = ", ".join(engines_that_can(capability)) or "none"
    return InvalidInputError(f"engine {engine!r} cannot do {capability}", hint=f"engines that can: {others}")


def program(words: Sequence[str], table: flags.Table, options: Mapping[str, Any], *, engine: str) -> list[str]:
    """Return the words of a program with the flags of its global options, which stand before the words of a command."""
    given = {name: options[name] for name in table if name in options}
    return [*words, *flags.render(table, given, engine=engine)]


def table(rows: flags.Table) -> flags.Table:
    """Return the table of an engine: *rows*, and those of the options that it translates."""
    return dict(sorted({**UNIFIED, **rows}.items()))


def nowhere(*, engine: str) -> InvalidInputError:
    """Return the error for a build whose result would be lost."""
    return InvalidInputError(
        f"the image has no destination, and engine {engine!r} keeps none itself",
        hint="give push=True, or output='type=oci,dest=FILE'",
    )


def validate(options: Mapping[str, Any], *names: str, engine: str) -> None:
    """Check the values of options that do not reach the engine's table.

    Raises:
        InvalidInputError: A value is not what its option expects.
    """
    flags.render(UNIFIED, {name: options[name] for name in names if name in options}, engine=engine)


# --- destinations of the result


@attrs.frozen(kw_only=True)
class Output:
    """A file or folder for the result, or an exporter of BuildKit.

    Attributes:
        type: `local`, `tar`, `oci`, `docker`, `image`, or another type that the engine knows.
        dest: The absolute path of the file or folder; empty if none is given.
        fields: The other fields.
    """

    type: str
    dest: str = ""
    fields: Mapping[str, str] = attrs.field(factory=dict)

    @property
    def is_archive(self) -> bool:
        """Whether it is a file that holds an image."""
        return self.type in _ARCHIVES and bool(self.dest)

    def text(self, **more: str) -> str:
        """Return the output in the syntax of BuildKit's clients, with *more* fields."""
        named = {"type": self.type, **({"dest": self.dest} if self.dest else {}), **self.fields, **more}
        return csv_line(f"{name}={value}" for name, value in named.items())


@attrs.frozen(kw_only=True)
class Destination:
    """The destinations of the result besides the engine's storage.

    Attributes:
        push: Whether to push to the registries of the tags.
        outputs: The files and folders.
    """

    push: bool = False
    outputs: tuple[Output, ...] = ()


def outputs(value: object, *, engine: str) -> tuple[Output, ...]:
    """Parse the option `output`: `type=oci,dest=FILE`, a dict of these fields, a folder, or several of these.

    Raises:
        InvalidInputError: It is none of these, or names standard output, which goes to the log.
    """
    if value is None:
        return ()
    validate({"output": value}, "output", engine=engine)
    return tuple(_output(one, engine=engine) for one in flags.each(value))


def _output(value: object, *, engine: str) -> Output:
    if isinstance(value, os.PathLike):
        return Output(type="local", dest=flags.absolute(value))
    (line,) = flags.fields.texts(value)
    try:
        items = csv_items(line)
    except ValueError:
        raise InvalidInputError(
            f"output {line!r} of engine {engine!r} is not a line of CSV", hint="write type=oci,dest=FILE"
        ) from None
    if items == [line] and not line.startswith("type="):  # as with docker, text alone is a folder
        fields = {"type": "tar" if line == "-" else "local", "dest": line}
    else:
        fields = dict(item.partition("=")[::2] for item in items)
    kind, dest = fields.pop("type", ""), fields.pop("dest", "")
    if not kind:
        raise InvalidInputError(f"output {line!r} of engine {engine!r} has no type", hint="write type=oci,dest=FILE")
    if dest == "-":
        raise InvalidInputError(
            f"output {line!r} of engine {engine!r} is standard output, which goes to the log", hint="name a file"
        )
    return Output(type=kind, dest=flags.absolute(dest) if dest else "", fields=fields)


def stored(options: Mapping[str, Any], *, engine: str) -> tuple[Destination, dict[str, Any]]:
    """Split the options of an engine that always stores its result: the other destinations, and the remaining options.

    `type=image` and `type=registry` have BuildKit's meaning: a name, a push.

    Raises:
        InvalidInputError: Such an engine has no such destination.
    """
    validate(options, "load", "push", "tag", engine=engine)
    rest = {name: value for name, value in options.items() if name not in {"load", "push", "output"}}
    if options.get("load") is False:
        raise cannot("load=False", engine=engine)
    push, names, files = bool(options.get("push")), [], []
    for output in outputs(options.get("output"), engine=engine):
        fields = dict(output.fields)
        if output.type in {"image", "registry"}:
            push = push or output.type == "registry" or fields.pop("push", "") == "true"
            names += [name for name in fields.pop("name", "").split(",") if name]
        elif output.is_archive:
            _need_folder(output.dest)
            files.append(output)
        elif output.type in _FILES and output.dest:
            files.append(output)
        elif output.type != "docker":  # without a file it means load
            raise cannot(f"output type={output.type}" + ("" if output.dest else " without dest"), engine=engine)
        if fields and (output.type not in _FILES):
            raise cannot(f"output type={output.type},{next(iter(fields))}", engine=engine)
    if names:
        rest["tag"] = (*flags.each(rest.get("tag") or ()), *names)
    return Destination(push=push, outputs=tuple(files)), rest


def files(options: Mapping[str, Any], *, engine: str) -> tuple[str, ...]:
    """Return the files and folders that exist after a build with these options."""
    given = flags.canonical(options)
    named: list[Any] = [given[name] for name in ("iidfile", "metadata_file") if given.get(name)]
    named += [output.dest for output in outputs(given.get("output"), engine=engine) if output.dest]
    return tuple(flags.absolute(os.fspath(path)) for path in named)


def again(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return the options of a second build, which finds all steps in the cache of the first and stores no image."""
    once = {"iidfile", "load", "no_cache", "output", "pull", "push", "tag"}
    return {name: value for name, value in flags.canonical(options).items() if name not in once}


def tags(options: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the names for the image."""
    return tuple(str(tag) for tag in flags.each(flags.canonical(options).get("tag") or ()))


def has_image(options: Mapping[str, Any], *, engine: str) -> bool:
    """Return whether the result is an image, not only files, for an engine that stores nothing by itself."""
    found = outputs(options.get("output"), engine=engine)
    return bool(options.get("load") or options.get("push")) or not found or any(o.type not in _FILES for o in found)


def _need_folder(dest: str) -> None:
    if not Path(dest).parent.is_dir():
        raise InvalidInputError(f"cannot write {dest!r}: its folder does not exist", hint="create it, or name another")
    if Path(dest).is_dir():
        raise InvalidInputError(f"cannot write {dest!r}: it is a folder", hint="name a file in it")
