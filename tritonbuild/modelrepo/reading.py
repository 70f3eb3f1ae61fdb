"""Read model repositories from local folders, as Triton's ModelRepositoryManager does.

After `Poll` and `InitializeModelInfo` in src/model_repository_manager/model_repository_manager.cc, and
src/filesystem/implementations/local.h, of triton-inference-server/core: every folder in a repository is a model,
whatever its name; files beside them are not looked at; links are followed. Nothing is read deeper than the names of
a version's files, so that links in a circle do no harm, and nothing but configurations is opened.
"""

from __future__ import annotations

import itertools
import os
import re
import stat
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Final

from tritonbuild.errors import InvalidInputError, UnknownNameError, one_line
from tritonbuild.modelrepo import rules
from tritonbuild.modelrepo.config import Config, parse
from tritonbuild.modelrepo.records import Model, Problem, Repository

CONFIG: Final = "config.pbtxt"
CONFIGS: Final = "configs"
"""The folder of a model that the server's --model-config-name chooses from."""

LARGEST_CONFIG: Final = 4 << 20
"""Bytes. Configurations have some thousands; at this size the parser takes seconds."""

MOST_ENTRIES: Final = 100_000
"""Entries of one folder."""

_URL = re.compile(r"[a-z][a-z0-9+.-]*:/", re.IGNORECASE)


def read(
    folders: str | Path | Iterable[str | Path],
    *,
    only: Iterable[str] = (),
    config_name: str = "",
    cache: str = "local",
) -> Repository:
    """Return the models of one or several model repositories, and the components that they need.

    Args:
        folders: The repositories: local folders, whose own folders are models.
        only: The models to look at, as with the server's --load-model; those that they consist of come along. All
            models by default.
        config_name: The server's --model-config-name: `configs/NAME.pbtxt` of a model is read in place of its
            `config.pbtxt`, where it is there.
        cache: What keeps the responses of models that have them cached: a model's configuration does not name it.

    Raises:
        InvalidInputError: A folder is not there or is a URL, something in it cannot be read, a configuration is
            not one, or no model has a name of *only*.
    """
    given = (folders,) if isinstance(folders, (str, Path)) else folders
    repositories = tuple(dict.fromkeys(os.fspath(folder) for folder in given))
    names = tuple(dict.fromkeys((only,) if isinstance(only, str) else only))
    found: dict[str, list[str]] = {}
    models: list[Model] = []
    for repository in repositories:
        for name, kind in _repository(repository).items():
            path = os.path.join(repository, name)  # noqa: PTH118 - as given: Path would take ./ away
            if kind == rules.FOLDER:
                found.setdefault(name, []).append(path)
            elif kind == rules.BROKEN and not names:
                models.append(Model(name=name, path=path, problems=(_BROKEN_LINK,)))
    for name in names:
        if name not in found:
            raise UnknownNameError("model", name, found, where=f"in {' and '.join(repositories)}")
    waiting, seen = list(names or found), set[str]()
    while waiting:
        name = waiting.pop()
        if name in found and name not in seen:
            seen.add(name)
            same = [_model(name, path, config_name, cache, found) for path in found[name]]
            models += same
            waiting += [step for model in same for step in model.steps]
    return Repository(folders=repositories, models=tuple(sorted(models, key=lambda model: (model.name, model.path))))


_BROKEN_LINK: Final = Problem(
    message="it is a broken link, and Triton loads nothing of a repository that has one", hint="remove it"
)
_NO_MODEL: Final = Problem(
    message="Triton takes this folder for a model, which will not load", hint="keep other folders out of a repository"
)


def _model(name: str, path: str, config_name: str, cache: str, found: Mapping[str, Collection[str]]) -> Model:
    """Return the model *name* in the folder *path*; *found* holds where all models are."""
    entries = _listing(path)
    file = _config_file(path, entries, config_name)
    if not file and (name.startswith(".") or name == "lost+found"):
        return Model(name=name, path=path, problems=(_NO_MODEL,))
    folders = sorted((entry for entry, kind in entries.items() if kind == rules.FOLDER), key=os.fsencode)
    # Triton looks into the first folder, whatever its name; the others matter if they are versions
    wanted = folders[:1] + [folder for folder in folders[1:] if rules.is_version(folder)]
    place = rules.Place(
        name=name,
        config=file,
        entries=entries,
        versions={folder: _listing(os.path.join(path, folder)) for folder in wanted},  # noqa: PTH118 - see read
    )
    config = Config()
    whole = os.path.join(path, file) if file else ""  # noqa: PTH118 - see read
    if file:
        config = parse(_content(whole), whole)
    needs, notes, problems = rules.needs(config, place, cache)
    problems += _problems(config, place, found)
    return Model(
        name=name,
        path=path,
        config=whole,
        needs=tuple(dict.fromkeys(needs)),
        steps=config.steps,
        notes=tuple(map(one_line, notes)),
        problems=tuple(problems),
    )


def _problems(config: Config, place: rules.Place, found: Mapping[str, Collection[str]]) -> list[Problem]:
    """Return what is wrong with a model apart from its backend."""
    problems = []
    if config.unknown:
        hint = "Triton loads the model only if its release knows it: check how it is written"
        problems.append(Problem(message=config.unknown, hint=hint))
    for step in config.steps:
        if step not in found:
            message = f"the ensemble consists of {rules.quoted(step)} too, which is not there"
            problems.append(Problem(message=message, hint="give the repository that has it, too", blocks=True))
    if len(found[place.name]) > 1:
        message = f"several repositories have a model of this name: {', '.join(found[place.name])}"
        problems.append(Problem(message=message, hint="Triton loads none of them: keep one"))
    if not any(rules.is_version(folder) for folder in place.versions):
        hint = "add a folder that is named after the version, say 1; that of an ensemble is empty"
        problems.append(Problem(message="it has no version", hint=hint))
    broken = [entry for entry, kind in place.entries.items() if kind == rules.BROKEN]
    if broken:
        message = f"Triton does not load a model with a broken link: {', '.join(broken)}"
        problems.append(Problem(message=message, hint="remove it"))
    return problems


def _repository(path: str) -> Mapping[str, str]:
    """Return what the repository *path* holds, by name."""
    if _URL.match(path) and not os.path.lexists(path):
        hint = "mount it, or download it first, and give the folder"
        raise InvalidInputError(f"model repository {path!r} is not a local folder", hint=hint)
    if not path:
        raise InvalidInputError("the model repository's name is empty", hint="give a folder")
    entries = _listing(path)
    if entries.get(CONFIG) == rules.FILE and any(rules.is_version(name) for name in entries):
        raise InvalidInputError(f"{path!r} is a model, not a model repository", hint="give the folder above it")
    return entries


def _config_file(path: str, entries: Mapping[str, str], config_name: str) -> str:
    """Return the name of the configuration, relative to the model's folder *path*, or nothing."""
    if config_name and entries.get(CONFIGS) == rules.FOLDER:
        name = f"{config_name}.pbtxt"
        if _listing(os.path.join(path, CONFIGS)).get(name, rules.BROKEN) != rules.BROKEN:  # noqa: PTH118 - see read
            return f"{CONFIGS}/{name}"
    return CONFIG if entries.get(CONFIG, rules.BROKEN) != rules.BROKEN else ""


def _listing(path: str) -> Mapping[str, str]:
    """Return what is in the folder *path*, by name: a file, a folder or a broken link; links are followed."""
    try:
        with os.scandir(path) as found:
            entries = list(itertools.islice(found, MOST_ENTRIES + 1))
    except (OSError, ValueError) as error:  # a ValueError is for names that no file can have
        raise _unreadable(path, error) from None
    if len(entries) > MOST_ENTRIES:
        raise InvalidInputError(f"{path} has more than {MOST_ENTRIES} entries", hint="is it the right folder?")
    return {entry.name: _kind(entry) for entry in sorted(entries, key=lambda entry: entry.name)}


def _kind(entry: os.DirEntry[str]) -> str:
    try:
        return rules.FOLDER if stat.S_ISDIR(entry.stat().st_mode) else rules.FILE
    except OSError:
        return rules.BROKEN


def _content(path: str) -> bytes:
    """Return the bytes of a configuration."""
    try:
        with open(path, "rb", opener=_without_waiting) as file:
            regular = stat.S_ISREG(os.fstat(file.fileno()).st_mode)
            content = file.read(LARGEST_CONFIG + 1) if regular else b""
    except (OSError, ValueError) as error:
        raise _unreadable(path, error) from None
    if not regular:
        raise InvalidInputError(f"{path} is not a file", hint="a model's configuration is a text file")
    if len(content) > LARGEST_CONFIG:
        limit = f"{LARGEST_CONFIG >> 20} MiB"
        raise InvalidInputError(f"{path} is larger than {limit}", hint="is it a model's configuration?")
    return content


def _without_waiting(path: str, flags: int) -> int:
    """Open *path* so that a pipe of that name does not wait for someone to write to it."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(path: str, error: OSError | ValueError) -> InvalidInputError:
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return InvalidInputError(f"cannot read {path}: {reason[:1].lower()}{reason[1:]}")
