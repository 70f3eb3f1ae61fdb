"""Fragments: the user's instructions that end a Containerfile, and the files of the build context that they copy.

https://docs.docker.com/reference/dockerfile/
"""

from __future__ import annotations

import fnmatch
import json
import os
import posixpath
import re
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Final

from tritonbuild.errors import InvalidInputError
from tritonbuild.wellknown import IGNORE_FILES

_LARGEST: Final = 1 << 20
"""Bytes."""
_HEAD: Final = 16
"""Characters of an instruction that are kept to recognize FROM."""
_REMOTE: Final = re.compile(r"(?:https?://|git@|git://|ssh://)")
"""The beginning of a source of ADD that is not in the build context."""
_HEREDOC: Final = re.compile(r"""<<-?(["']?)([A-Za-z_][A-Za-z0-9_]*)\1""", re.ASCII)


def load(path: str | os.PathLike[str] | None) -> str:
    """Return the instructions in the file *path*, which end the Containerfile.

    Raises:
        InvalidInputError: The file cannot be read, has control characters, or starts another stage.
    """
    if path is None or not os.fspath(path):
        return ""
    file = Path(path).absolute()
    if not file.is_file():
        raise InvalidInputError(f"fragment {str(file)!r} does not exist", hint="name a file")
    try:
        content = file.read_bytes()
        text = content.decode("utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInputError(f"fragment {str(file)!r} cannot be read as text", hint="write it as UTF-8") from error
    if len(content) > _LARGEST:
        raise InvalidInputError(f"fragment {str(file)!r} is larger than 1 MiB", hint="add files with COPY, not as text")
    lines = text.replace("\r\n", "\n").rstrip("\n").split("\n")
    continued, after_empty, instruction = False, False, ""
    for number, line in enumerate(lines, 1):
        if not line.replace("\t", " ").isprintable():
            raise InvalidInputError(f"fragment {str(file)!r} has a control character in line {number}")
        bare = line.strip()
        if continued and (not bare or bare.startswith("#")):  # builders skip these lines; an empty one may end it
            after_empty = not bare
            continue
        # The first word may be continued too; more than its beginning is not kept.
        instruction = ((instruction if continued else "") + line.rstrip().removesuffix("\\")).lstrip()[:_HEAD]
        first = {
            text.split(maxsplit=1)[0].upper() for text in (instruction, bare if after_empty else "") if text.strip()
        }
        continued, after_empty = bare.endswith("\\") and not bare.startswith("#"), False
        if not continued and "FROM" in first:
            raise InvalidInputError(
                f"fragment {str(file)!r} has FROM in line {number}",
                hint="a fragment cannot start a stage; build a second image from the composed one",
            )
    if continued:
        raise InvalidInputError(
            f"fragment {str(file)!r} ends in the middle of an instruction", hint="remove the last backslash"
        )
    return "\n".join(lines)


def instructions(text: str) -> Iterator[tuple[str, str]]:
    """Yield the instructions of *text*, without here-documents: the name in capitals, and the argument on one line."""
    held = ""
    ends: list[str] = []
    for line in text.split("\n"):
        bare = line.strip()
        if ends:
            if line.strip("\t") == ends[0]:
                ends.pop(0)
            continue
        if bare.startswith("#") or not bare:
            continue
        held += line.rstrip() if held else bare
        if held.endswith("\\"):
            held = held[:-1]
            continue
        name, _, rest = held.replace("\t", " ").partition(" ")
        held = ""
        if name.upper() in {"ADD", "COPY", "RUN"}:
            ends = [match[2] for match in _HEREDOC.finditer(rest)]
        yield name.upper(), rest.strip()


def needs_network(text: str) -> bool:
    """Return whether the instructions of *text* run commands or add files of other hosts."""
    return any(
        name == "RUN" or (name == "ADD" and any(_REMOTE.match(word) for word in _sources(rest)))
        for name, rest in instructions(text)
    )


def sets_user(text: str) -> bool:
    """Return whether the instructions of *text* set the user of the image's processes."""
    return any(name == "USER" for name, _ in instructions(text))


def context(text: str, folder: Path | None, reserved: Collection[str]) -> tuple[tuple[str, Path], ...]:
    """Return the files of the build context that COPY and ADD in *text* name: their paths in it, and on this machine.

    Args:
        text: The instructions.
        folder: The user's build context; None without one.
        reserved: The names at the top of the build context that tritonbuild uses itself.

    Raises:
        InvalidInputError: A source does not exist, cannot be known in advance, leads out of *folder*, or has a reserved
            name.
    """
    found: dict[str, Path] = {}
    for name, rest in instructions(text):
        for source in _sources(rest) if name in {"ADD", "COPY"} else ():
            if not _REMOTE.match(source):
                found |= _files(f"{name} {source} of the fragment", source, folder, reserved)
    if folder and found:
        found |= {name: folder / name for name in IGNORE_FILES if (folder / name).is_file()}
    inner = {path for path in found if any(str(parent) in found for parent in Path(path).parents)}
    return tuple((path, found[path]) for path in sorted(found) if path not in inner)


def _sources(text: str) -> list[str]:
    """Return the sources of COPY or ADD that are not in an image or a here-document."""
    words = text.split()
    flags = words[: next((n for n, word in enumerate(words) if not word.startswith("--")), len(words))]
    if any(flag.startswith("--from=") for flag in flags):
        return []
    text = text.split(maxsplit=len(flags))[-1] if len(words) > len(flags) else ""
    try:
        listed = json.loads(text)
    except (ValueError, RecursionError):
        listed = None
    if isinstance(listed, list) and all(isinstance(word, str) for word in listed):
        words = listed
    else:
        words = [re.sub(r"\\(.)", r"\1", word).strip("\"'") for word in text.split()]
    return [word for word in words[:-1] if not word.startswith("<<")]


def _files(what: str, source: str, folder: Path | None, reserved: Collection[str]) -> dict[str, Path]:
    """Return the files and folders of *folder* that *source* names, by their paths in it; *what* is for messages."""
    if folder is None:
        raise InvalidInputError(f"{what} needs a build context", hint="add --context FOLDER")
    if "$" in source:
        raise InvalidInputError(
            f"{what} has a variable, so it cannot be checked before the build", hint="write the path"
        )
    path = posixpath.normpath(source.lstrip("/") or ".")
    parts = [] if path == "." else path.split("/")
    if ".." in parts:
        raise InvalidInputError(f"{what} leads out of the build context {str(folder)!r}", hint="name a path in it")
    taken = sorted(name for name in reserved if not parts or fnmatch.fnmatchcase(name, _pattern(parts[0])))
    if taken:
        raise InvalidInputError(
            f"{what} would copy {taken[0]!r} too, which tritonbuild adds to the build context",
            hint="name the files one by one, or another folder of the build context",
        )
    found = [folder]
    for part in parts or ["*"]:
        found = [child for parent in found for child in _children(parent, part)]
    if not found:
        raise InvalidInputError(
            f"{what} is not in the build context {str(folder)!r}", hint="name a file or folder in it"
        )
    root = folder.resolve()
    for one in found:
        if not one.resolve().is_relative_to(root):
            raise InvalidInputError(
                f"{what} is the link {str(one)!r}, which leads out of the build context", hint="replace it with a copy"
            )
    return {str(one.relative_to(folder)): one for one in found}


def _children(folder: Path, name: str) -> list[Path]:
    """Return the entries of *folder* that *name*, a name or a pattern, stands for."""
    if not folder.is_dir():
        return []
    if os.path.exists(folder / name):  # noqa: PTH110 - Path.exists raises an error for a name that is too long
        return [folder / name]
    pattern = _pattern(name)
    return sorted(entry for entry in folder.iterdir() if fnmatch.fnmatchcase(entry.name, pattern))


def _pattern(name: str) -> str:
    """Return a pattern of COPY as fnmatch writes it."""
    return name.replace("[^", "[!")
