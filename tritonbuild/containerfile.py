"""Containerfiles: stages and instructions as values, and their text.

The text is the same for equal values, and all input in it is quoted. It has two forms, which build the same files: one
with shell scripts as heredocs, which people can read, and one that every builder accepts, including the Docker of 2020
without BuildKit. Neither has a `# syntax=` line, `RUN --mount`, `COPY --link` or `--chmod`.
Reference: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from tritonbuild.errors import InvalidInputError
from tritonbuild.wellknown import VARIABLE

_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_VARIABLE: Final = re.compile(VARIABLE, re.ASCII)
_BARE: Final = re.compile(r"[\w./:=@%+-]+", re.ASCII)
"""An argument that a shell takes as it is."""


def _plain(text: str, instruction: str) -> str:
    """Return *text*, which is printable and so fits on one line; *instruction* is for the message."""
    if not text.isprintable():
        raise InvalidInputError(
            f"{text!r} in {instruction} of a Containerfile has a control character",
            hint="remove line breaks and control characters",
        )
    return text


def _quoted(text: str, instruction: str) -> str:
    """Return *text* in double quotes, escaped so that a builder expands nothing in it."""
    plain = _plain(text, instruction)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _referring(text: str, instruction: str) -> str:
    """Return *text* in double quotes, escaped except for `$NAME`, which a builder expands."""
    return '"' + _plain(text, instruction).replace("\\", "\\\\").replace('"', '\\"') + '"'


@attrs.frozen
class Comment:
    """A comment: `# ...`, for each line of *text*."""

    text: str

    def lines(self) -> list[str]:
        """Return the lines of the instruction."""
        return [f"# {_plain(line, 'a comment')}".rstrip() for line in self.text.split("\n")]


@attrs.frozen(kw_only=True)
class Copy:
    """The instruction `COPY [--from=STAGE] [--chown=OWNER] SOURCE... TARGET`."""

    sources: tuple[str, ...]
    target: str
    from_stage: str = ""
    chown: str = ""

    def lines(self) -> list[str]:
        """Return the lines of the instruction."""
        options = [f"--from={_plain(self.from_stage, 'COPY')}"] if self.from_stage else []
        options += [f"--chown={_plain(self.chown, 'COPY')}"] if self.chown else []
        given = (*self.sources, self.target)
        # Builders expand variables and remove quotes in both forms; a backslash keeps the character behind it.
        paths = [re.sub(r"""[\\$'"]""", r"\\\g<0>", _plain(path, "COPY")) for path in given]
        # The JSON form allows blanks in paths; the plain form is easier to read.
        text = json.dumps(paths) if any(set(path) & set(" \"'\\[") for path in given) else " ".join(paths)
        return [" ".join(("COPY", *options, text))]


@attrs.frozen
class Env:
    """The instruction `ENV NAME="value" ...`; with *expand*, values can refer to earlier variables.

    One instruction holds all variables, since podman and buildah commit a layer for each instruction.
    """

    values: Mapping[str, str]
    expand: bool = False

    def lines(self) -> list[str]:
        """Return the lines of the instruction."""
        for name in self.values:
            if not _VARIABLE.fullmatch(name):
                raise InvalidInputError(
                    f"{name!r} is not the name of an environment variable", hint="use letters, digits and _"
                )
        quote = _referring if self.expand else _quoted
        return _continued("ENV", [f"{name}={quote(value, 'ENV')}" for name, value in self.values.items()])


@attrs.frozen
class Label:
    """The instruction `LABEL "name"="value" ...`, which holds all labels."""

    values: Mapping[str, str]

    def lines(self) -> list[str]:
        """Return the lines of the instruction."""
        pairs = [f"{_quoted(name, 'LABEL')}={_quoted(value, 'LABEL')}" for name, value in self.values.items()]
        return _continued("LABEL", pairs)


@attrs.frozen
class Run:
    """The instruction `RUN ["COMMAND", "ARGUMENT", ...]`, without a shell."""

    argv: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the lines of the instruction."""
        return [f"RUN {json.dumps([_plain(token, 'RUN') for token in self.argv])}"]


@attrs.frozen(kw_only=True)
class Script:
    """The instruction `RUN` of a shell script of this package, with positional arguments.

    The script is written into a file and run from there, so that its commands do not read it as their standard input.
    """

    name: str
    text: str
    arguments: tuple[str, ...] = ()

    @property
    def path(self) -> str:
        """The path of the file, in a stage of the build."""
        return f"/tmp/{self.name}"  # noqa: S108 - not on this machine

    def lines(self) -> list[str]:
        """Return the lines of the instruction: a quoted `printf`, which every builder passes on with all its lines."""
        body = [_shell_quoted(line) for line in self._script()]
        call = " ".join(("&& /bin/sh", self.path, *(_shell_quoted(_plain(a, "RUN")) for a in self.arguments)))
        return _continued("RUN printf '%s\\n'", [*body, f"> {self.path}", call])

    def heredoc(self) -> list[str]:
        """Return the lines of the instruction with the script as a heredoc.

        Its delimiter has a digest of the script: buildah 1.33 compares only the first line with the steps in its cache,
        and would take the result of another script.
        """
        body = self._script()
        delimiter = f"EOF-{hashlib.sha256(self.text.encode()).hexdigest()[:8]}"
        words = [a if _BARE.fullmatch(a) else _shell_quoted(_plain(a, "RUN")) for a in self.arguments]
        head = f"RUN cat > {self.path} <<'{delimiter}' && /bin/sh {self.path}"
        return [*(_continued(head, words) or [head]), *body, delimiter]

    def _script(self) -> list[str]:
        return self.text.rstrip("\n").split("\n")


@attrs.frozen
class Word:
    """An instruction with one literal argument: `WORKDIR` or `USER`."""

    instruction: str
    argument: str

    def lines(self) -> list[str]:
        """Return the lines of the instruction."""
        return [f"{self.instruction} {_plain(self.argument, self.instruction)}"]


@attrs.frozen
class Entrypoint:
    """The instruction `ENTRYPOINT ["...", ...]`; an empty one removes the base's entry point."""

    argv: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the lines of the instruction."""
        return [f"ENTRYPOINT {json.dumps([_plain(token, 'ENTRYPOINT') for token in self.argv])}"]


@attrs.frozen
class Fragment:
    """The user's instructions, unchanged; `additions.fragment` checks them."""

    text: str

    def lines(self) -> list[str]:
        """Return the lines of the instructions."""
        lines = self.text.split("\n")
        for line in lines:
            _plain(line.replace("\t", " "), "a fragment")
        return lines


Instruction: TypeAlias = Comment | Copy | Env | Fragment | Label | Run | Script | Word | Entrypoint


@attrs.frozen(kw_only=True)
class Stage:
    """A stage of a build.

    Attributes:
        base: Its base, which is an image or an earlier stage.
        purpose: Its purpose, in one line: the comment that it begins with.
        name: Its name; the last stage has none.
        instructions: Its instructions.
    """

    base: str
    purpose: str
    name: str = ""
    instructions: tuple[Instruction, ...] = ()

    def lines(self, *, heredocs: bool) -> list[str]:
        """Return the lines of the stage."""
        if self.name and not _STAGE_NAME.fullmatch(self.name):
            raise InvalidInputError(f"{self.name!r} is not a stage name", hint="use a-z, 0-9 and -")
        named = f" AS {self.name}" if self.name else ""
        lines = [*Comment(self.purpose).lines(), f"FROM {_plain(self.base, 'FROM')}{named}"]
        for instruction in self.instructions:
            if heredocs and isinstance(instruction, Script):
                lines += instruction.heredoc()
            else:
                lines += instruction.lines()
        return lines


def render(header: Sequence[str], stages: Iterable[Stage], *, heredocs: bool = False) -> str:
    """Return the text of a Containerfile: the lines of *header* as comments, then *stages*.

    Args:
        header: The lines at its top.
        stages: Its stages.
        heredocs: Whether scripts are heredocs; else every builder accepts the text.
    """
    blocks = [Comment("\n".join(header)).lines(), *(stage.lines(heredocs=heredocs) for stage in stages)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _continued(head: str, items: Sequence[str]) -> list[str]:
    """Return the lines of an instruction with one item on each; no lines if there are no items."""
    if not items:
        return []
    return [f"{head} \\", *(f"    {item} \\" for item in items[:-1]), f"    {items[-1]}"]
