"""Stages and instructions as values, and their text: quoted for their place, the same for equal input.

What is written is what every builder takes, the docker of 2020 without BuildKit included: no heredocs, no
`# syntax=` line, no `RUN --mount`, no `COPY --link` or `--chmod`.
Reference: https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, TypeAlias

import attrs

from tritonbuild.errors import InvalidInputError
from tritonbuild.wellknown import VARIABLE

_STAGE_NAME: Final = re.compile(r"[a-z][a-z0-9-]*", re.ASCII)
_VARIABLE: Final = re.compile(VARIABLE, re.ASCII)


def _plain(text: str, place: str) -> str:
    """Return *text* when it can stand on one line of a Containerfile; *place* says where, for the message."""
    if not text.isprintable():
        raise InvalidInputError(
            f"{text!r} cannot stand in {place} of a Containerfile: it has a control character",
            hint="give it without line breaks and control characters",
        )
    return text


def _quoted(text: str, place: str) -> str:
    """Return *text* in double quotes, with nothing in it that a builder would expand."""
    plain = _plain(text, place)
    return '"' + plain.replace("\\", "\\\\").replace('"', '\\"').replace("$", "\\$") + '"'


def _referring(text: str, place: str) -> str:
    """Return *text* in double quotes, in which `$NAME` stays what it is."""
    return '"' + _plain(text, place).replace("\\", "\\\\").replace('"', '\\"') + '"'


@attrs.frozen
class Comment:
    """`# ...`, a line for each line of *text*."""

    text: str

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        return [f"# {_plain(line, 'a comment')}".rstrip() for line in self.text.split("\n")]


@attrs.frozen(kw_only=True)
class Copy:
    """`COPY [--from=STAGE] SOURCE... TARGET`."""

    sources: tuple[str, ...]
    target: str
    from_stage: str = ""
    chown: str = ""

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        options = [f"--from={_plain(self.from_stage, 'COPY')}"] if self.from_stage else []
        options += [f"--chown={_plain(self.chown, 'COPY')}"] if self.chown else []
        given = (*self.sources, self.target)
        paths = [_plain(path, "COPY").replace("\\", "\\\\").replace("$", "\\$") for path in given]
        # The JSON form takes paths with blanks; the bare form reads better where there are none.
        text = json.dumps(paths) if any(set(path) & set(" \"'\\[") for path in given) else " ".join(paths)
        return [" ".join(("COPY", *options, text))]


@attrs.frozen
class Env:
    """`ENV NAME="value" ...`, values literal unless *expand* lets them refer to variables set before.

    One instruction for all: podman and buildah commit a layer for each.
    """

    values: Mapping[str, str]
    expand: bool = False

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        for name in self.values:
            if not _VARIABLE.fullmatch(name):
                raise InvalidInputError(
                    f"{name!r} is not the name of an environment variable", hint="use letters, digits and _"
                )
        quote = _referring if self.expand else _quoted
        return _continued("ENV", [f"{name}={quote(value, 'ENV')}" for name, value in self.values.items()])


@attrs.frozen
class Label:
    """`LABEL "name"="value"`, one instruction for all."""

    values: Mapping[str, str]

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        pairs = [f"{_quoted(name, 'LABEL')}={_quoted(value, 'LABEL')}" for name, value in self.values.items()]
        return _continued("LABEL", pairs)


@attrs.frozen
class Run:
    """`RUN` of a command given as tokens; never a shell with input in its text."""

    argv: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        return [f"RUN {json.dumps([_plain(token, 'RUN') for token in self.argv])}"]


@attrs.frozen(kw_only=True)
class Script:
    """`RUN` of a shell script of ours, with positional arguments.

    The script is spelled line by line as a quoted `printf` into a file, which keeps its line breaks and comments with
    every builder (heredocs need BuildKit 0.10 or newer) and reads like the script itself.
    """

    name: str
    text: str
    arguments: tuple[str, ...] = ()

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        path = f"/tmp/{self.name}"  # noqa: S108 - inside the image that is being built, in a stage that is thrown away
        body = [_shell_quoted(line) for line in self.text.rstrip("\n").split("\n")]
        call = " ".join(("&& /bin/sh", path, *(_shell_quoted(_plain(a, "RUN")) for a in self.arguments)))
        return _continued("RUN printf '%s\\n'", [*body, f"> {path}", call])


@attrs.frozen
class Word:
    """An instruction with one literal argument: WORKDIR, USER."""

    instruction: str
    argument: str

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        return [f"{self.instruction} {_plain(self.argument, self.instruction)}"]


@attrs.frozen
class Entrypoint:
    """`ENTRYPOINT ["..."]`; an empty one takes the base's away."""

    argv: tuple[str, ...]

    def lines(self) -> list[str]:
        """Return the text of the instruction."""
        return [f"ENTRYPOINT {json.dumps([_plain(token, 'ENTRYPOINT') for token in self.argv])}"]


@attrs.frozen
class Fragment:
    """Instructions as the user wrote them: several lines, checked where they are read."""

    text: str

    def lines(self) -> list[str]:
        """Return the text of the instructions."""
        lines = self.text.split("\n")
        for line in lines:
            _plain(line.replace("\t", " "), "a fragment")
        return lines


Instruction: TypeAlias = Comment | Copy | Env | Fragment | Label | Run | Script | Word | Entrypoint


@attrs.frozen(kw_only=True)
class Stage:
    """A stage: the image or earlier stage it starts from, its name, its instructions."""

    base: str
    name: str = ""
    instructions: tuple[Instruction, ...] = ()

    def lines(self) -> list[str]:
        """Return the stage's text, line by line."""
        if self.name and not _STAGE_NAME.fullmatch(self.name):
            raise InvalidInputError(f"{self.name!r} is not a stage name", hint="use a-z, 0-9 and -")
        named = f" AS {self.name}" if self.name else ""
        lines = [f"FROM {_plain(self.base, 'FROM')}{named}"]
        for instruction in self.instructions:
            lines += instruction.lines()
        return lines


def render(header: Sequence[str], stages: Iterable[Stage]) -> str:
    """Return the Containerfile: the lines of *header* as comments, then the stages."""
    blocks = [Comment("\n".join(header)).lines(), *(stage.lines() for stage in stages)]
    return "\n\n".join("\n".join(block) for block in blocks) + "\n"


def _shell_quoted(text: str) -> str:
    return "'" + text.replace("'", "'\\''") + "'"


def _continued(head: str, items: Sequence[str]) -> list[str]:
    """Return an instruction with an item on each line; nothing where there are no items."""
    if not items:
        return []
    return [f"{head} \\", *(f"    {item} \\" for item in items[:-1]), f"    {items[-1]}"]
