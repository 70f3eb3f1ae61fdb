"""Read model repositories from local folders, as Triton's ModelRepositoryManager does.

It follows `Poll` and `InitializeModelInfo` in src/model_repository_manager/model_repository_manager.cc, and
src/filesystem/implementations/local.h, of triton-inference-server/core: each folder in a repository is a model,
whatever its name; files beside the folders are ignored; links are followed. It lists nothing below the files of a
version, so that circular links are harmless, and opens configurations only.
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
"""The folder of a model from which the server's --model-config-name selects."""

LARGEST_CONFIG: Final = 4 << 20
"""The largest configuration in bytes. Most have thousands; at this size the parser takes seconds."""

MOST_ENTRIES: Final = 100_000
"""The largest number of entries of one folder."""

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
        folders: The repositories: local folders, in which each folder is a model.
        only: The models to read, as with the server's --load-model, and the steps of ensembles among them. All
            models by default.
        config_name: The server's --model-config-name: a model's `configs/NAME.pbtxt`, if it exists, replaces its
            `config.pbtxt`.
        cache: The response cache of models that enable caching: a model's configuration does not name it.

    Raises:
        InvalidInputError: A folder does not exist or is a URL, an entry in it cannot be read, a configuration is
            malformed, or no model has a name of *only*.
    """
    given = (folders,) if isinstance(folders, (str, Path)) else folders
    repositories = tuple(dict.fromkeys(os.fspath(folder) for folder in given))
    names = tuple(dict.fromkeys((only,) if isinstance(only, str) else only))
    found: dict[str, list[str]] = {}
    models: list[Model] = []
    for repository in repositories:
        for name, kind in _repository(repository).items():
            path = os.path.join(repository, name)  # noqa: PTH118 - as given: Path would remove ./
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
    message="Triton reads this folder as a model, which will not load", hint="move other folders out of the repository"
)


def _model(name: str, path: str, config_name: str, cache: str, found: Mapping[str, Collection[str]]) -> Model:
    """Return the model *name* in the folder *path*; *found* has the folders of all models, by name."""
    entries = _listing(path)
    file = _config_file(path, entries, config_name)
    if not file and (name.startswith(".") or name == "lost+found"):
        return Model(name=name, path=path, problems=(_NO_MODEL,))
    folders = sorted((entry for entry, kind in entries.items() if kind == rules.FOLDER), key=os.fsencode)
    # Triton examines the first folder, whatever its name, and the others if they are versions
    wanted = folders[:1] + [folder for folder in folders[1:] if rules.is_version(folder)]
    files = rules.ModelFiles(
        name=name,
        config=file,
        entries=entries,
        versions={folder: _listing(os.path.join(path, folder)) for folder in wanted},  # noqa: PTH118 - see read
    )
    config = Config()
    whole = os.path.join(path, file) if file else ""  # noqa: PTH118 - see read
    if file:
        config = parse(_content(whole), whole)
    needs, notes, problems = rules.needs(config, files, cache)
    problems += _problems(config, files, found)
    return Model(
        name=name,
        path=path,
        config=whole,
        needs=tuple(dict.fromkeys(needs)),
        steps=config.steps,
        notes=tuple(map(one_line, notes)),
        problems=tuple(problems),
    )


def _problems(config: Config, files: rules.ModelFiles, found: Mapping[str, Collection[str]]) -> list[Problem]:
    """Return the problems of a model apart from its backend."""
    problems = []
    if config.unknown:
        hint = "Triton loads the model only if its release has the field: check its spelling"
        problems.append(Problem(message=config.unknown, hint=hint))
    for step in config.steps:
        if step not in found:
            message = f"the ensemble has the step {rules.quoted(step)}, which no repository has"
            problems.append(Problem(message=message, hint="add the repository that has it", blocks=True))
    if len(found[files.name]) > 1:
        message = f"several repositories have a model of this name: {', '.join(found[files.name])}"
        problems.append(Problem(message=message, hint="Triton loads none of them: remove all but one"))
    if not any(rules.is_version(folder) for folder in files.versions):
        hint = "add a folder named after the version, for example 1; an ensemble's is empty"
        problems.append(Problem(message="it has no version", hint=hint))
    broken = [entry for entry, kind in files.entries.items() if kind == rules.BROKEN]
    if broken:
        message = f"Triton does not load a model with a broken link: {', '.join(broken)}"
        problems.append(Problem(message=message, hint="remove it"))
    return problems


def _repository(path: str) -> Mapping[str, str]:
    """Return the kinds of the entries of the repository *path*, by name."""
    if _URL.match(path) and not os.path.lexists(path):
        hint = "mount or download it, and give the folder"
        raise InvalidInputError(f"model repository {path!r} is not a local folder", hint=hint)
    if not path:
        raise InvalidInputError("the name of the model repository is empty", hint="give a folder")
    entries = _listing(path)
    if entries.get(CONFIG) == rules.FILE and any(rules.is_version(name) for name in entries):
        raise InvalidInputError(f"{path!r} is a model, not a model repository", hint="give the folder above it")
    return entries


def _config_file(path: str, entries: Mapping[str, str], config_name: str) -> str:
    """Return the path of the configuration, relative to the model's folder *path*; empty if the model has none."""
    if config_name and entries.get(CONFIGS) == rules.FOLDER:
        name = f"{config_name}.pbtxt"
        if _listing(os.path.join(path, CONFIGS)).get(name, rules.BROKEN) != rules.BROKEN:  # noqa: PTH118 - see read
            return f"{CONFIGS}/{name}"
    return CONFIG if entries.get(CONFIG, rules.BROKEN) != rules.BROKEN else ""


def _listing(path: str) -> Mapping[str, str]:
    """Return the kinds of the entries of the folder *path*, by name: file, folder or broken link, links followed."""
    try:
        with os.scandir(path) as found:
            entries = list(itertools.islice(found, MOST_ENTRIES + 1))
    except (OSError, ValueError) as error:  # a ValueError stands for a name that no file can have
        raise _unreadable(path, error) from None
    if len(entries) > MOST_ENTRIES:
        raise InvalidInputError(f"{path} has more than {MOST_ENTRIES} entries", hint="is it a model repository?")
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
        raise InvalidInputError(f"{path} is larger than {limit}", hint="check that it is a model's configuration")
    return content


def _without_waiting(path: str, flags: int) -> int:
    """Open *path* without waiting: a named pipe would wait for a writer."""
    return os.open(path, flags | os.O_NONBLOCK)


def _unreadable(path: str, error: OSError | ValueError) -> InvalidInputError:
    reason = (error.strerror if isinstance(error, OSError) else "") or str(error)
    return InvalidInputError(f"cannot read {path}: {reason[:1].lower()}{reason[1:]}")
