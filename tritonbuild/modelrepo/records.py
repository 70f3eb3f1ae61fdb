"""What reading a model repository gives: frozen records of texts, which `attrs.asdict` turns into plain JSON.

Names and paths are as the file system has them; what is written for people holds no control characters.
"""

from __future__ import annotations

import attrs

from tritonbuild.errors import one_line


@attrs.frozen(kw_only=True)
class Need:
    """A component that a model needs.

    Attributes:
        kind: `backend`, `repoagent` or `cache`.
        name: What Triton will look for, which is not always what the catalog calls it.
        reason: How that is known, in words: `config.pbtxt says backend: "onnxruntime"`.
    """

    kind: str
    name: str
    reason: str = attrs.field(converter=one_line)


@attrs.frozen(kw_only=True)
class Problem:
    """Why a model will not load, or why it is not known what it needs.

    Attributes:
        message: What is wrong, as one sentence.
        hint: What to do about it.
        blocks: Whether it leaves open which components are needed: nothing is composed then.
    """

    message: str = attrs.field(converter=one_line)
    hint: str = attrs.field(default="", converter=one_line)
    blocks: bool = False


@attrs.frozen(kw_only=True)
class Model:
    """A model of a repository.

    Attributes:
        name: What clients call it: the name of its folder.
        path: Its folder.
        config: The configuration that was read, or empty where there is none.
        needs: The components that it needs: its backend, its repository agents, a response cache.
        steps: For an ensemble, the models that it consists of.
        notes: What is worth knowing: a backend that comes with the model.
        problems: What is wrong with it.
    """

    name: str
    path: str
    config: str = ""
    needs: tuple[Need, ...] = ()
    steps: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
    problems: tuple[Problem, ...] = ()


@attrs.frozen(kw_only=True)
class Repository:
    """One or several model repositories, as one server reads them.

    Attributes:
        folders: The folders, in the order given.
        models: Their models, sorted by name.
    """

    folders: tuple[str, ...]
    models: tuple[Model, ...]


@attrs.frozen(kw_only=True)
class Selection:
    """The components that a repository's models need in a release; the names are keywords of a Composition.

    Attributes:
        backends: Names of Triton backends as the catalog has them, sorted.
        repoagents: Names of repository agents.
        caches: Names of response caches.
        notes: What was understood in a way worth saying aloud.
    """

    backends: tuple[str, ...] = ()
    repoagents: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
