"""Records of model repositories, all frozen, with values that `attrs.asdict` turns into JSON.

Names and paths are as in the file system; reasons, messages and hints have no control characters.
"""

from __future__ import annotations

import attrs

from tritonbuild.errors import one_line


@attrs.frozen(kw_only=True)
class Need:
    """A component that a model needs.

    Attributes:
        kind: `backend`, `repoagent` or `cache`.
        name: The name that Triton looks for, which can differ from the catalog's name.
        reason: The reason for the need: `config.pbtxt says backend: "onnxruntime"`.
    """

    kind: str
    name: str
    reason: str = attrs.field(converter=one_line)


@attrs.frozen(kw_only=True)
class Problem:
    """A reason why a model will not load, or why its needs are unknown.

    Attributes:
        message: The problem, as one sentence.
        hint: The way to fix it.
        blocks: Whether it leaves the needed components unknown, so that no image can be composed.
    """

    message: str = attrs.field(converter=one_line)
    hint: str = attrs.field(default="", converter=one_line)
    blocks: bool = False


@attrs.frozen(kw_only=True)
class Model:
    """A model of a repository.

    Attributes:
        name: The name for clients, which is the name of its folder.
        path: Its folder.
        config: The path of its configuration; empty if it has none.
        needs: The components that it needs: its backend, its repository agents, a response cache.
        steps: The models of its steps, for an ensemble.
        notes: Facts that need no action, such as a backend that comes with the model.
        problems: The reasons why it will not load or its needs are unknown.
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
        notes: Interpretations that the user should see, such as TensorFlow 1 for `tensorflow`.
    """

    backends: tuple[str, ...] = ()
    repoagents: tuple[str, ...] = ()
    caches: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()
