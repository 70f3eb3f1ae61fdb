"""The registry of engines: those that come with tritonbuild, and those users register.

Nothing is probed or started at import, and the module of an engine is loaded when that engine is asked for.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Final

import attrs

from tritonbuild.backends import _plugins
from tritonbuild.engine import Engine, Health, start_probe
from tritonbuild.errors import InvalidInputError, UnhealthyEngineError, UnknownNameError

AUTO: Final = "auto"
"""The name that stands for the first healthy engine."""

_NAME: Final = r"[a-z0-9][a-z0-9._-]*"

_LAST: Final = "embedded"
BUILTIN: Final = ("docker", "podman", "buildah", "nerdctl", "buildx", "buildctl", _LAST)
"""The modules here, in the order in which `auto` tries them: first those after which the image is where its user runs
images. buildx comes after docker, without which it is not healthy; buildctl after all of them, since it stores nothing;
last, and after those of plug-ins, what needs no program but tritonbuild.
"""

_registered: Final[dict[str, Engine | None]] = dict.fromkeys(BUILTIN)
"""By name; None for one of ours."""


@functools.cache
def _own(name: str) -> Engine:
    """Return the engine of one of the modules here."""
    engine: Engine = importlib.import_module(f"{__name__}.{name}").ENGINE
    return engine


def engines() -> Iterator[Engine]:
    """Yield every registered engine, in the order in which `auto` tries them.

    Raises:
        TritonBuildError: A plug-in cannot be loaded.
    """
    _plugins.load_installed()
    for name in sorted(_registered, key=_LAST.__eq__):
        yield _registered[name] or _own(name)


def get_backend(backend: str) -> Engine:
    """Return the engine of that name.

    Raises:
        UnknownNameError: No engine of that name is registered. It is a `ValueError`.
    """
    if backend not in _registered:
        _plugins.load_installed()
    if backend not in _registered:
        raise UnknownNameError("engine", backend, _registered)
    return _registered[backend] or _own(backend)


def register_backend(  # noqa: PLR0913 - the signature of bentoml.container.register_backend
    name: str,
    *,
    health: Callable[[], bool | Health],
    construct_build_args: Callable[..., Iterable[str]],
    buildkit_support: bool = True,
    binary: str | None = None,
    build_cmd: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    replace: bool = False,
) -> Engine:
    """Register an engine, so that `build(..., backend=name)` and `auto` know it.

    Args:
        name: What users call it.
        health: Returns whether a build would work, or raises `UnhealthyEngineError` with the reason.
        construct_build_args: Takes the options of the build as keywords (`tag`, `file`, `context_path` and, where it
            names them or takes any, `iidfile`, `network`, `pull`); returns the tokens that follow *binary* *build_cmd*.
        buildkit_support: Accepted as in `bentoml.container`, and without effect: Containerfiles need no BuildKit.
        binary: The program, a name on PATH or a path; *name* by default.
        build_cmd: The words between program and tokens; `["build"]` by default.
        env: Environment variables added for its processes.
        replace: Whether to take the place of an engine of the same name.

    Raises:
        InvalidInputError: The name is taken or cannot be one, or a callable is none.
    """
    del buildkit_support
    if not re.fullmatch(_NAME, name, re.ASCII) or name == AUTO:
        raise InvalidInputError(f"{name!r} is not a name for an engine", hint="use a-z, 0-9, '.', '_' and '-'")
    if name in _registered and not replace:
        raise InvalidInputError(f"engine {name!r} is registered already", hint="pass replace=True to take its place")
    for parameter, value in (("health", health), ("construct_build_args", construct_build_args)):
        if not callable(value):
            raise InvalidInputError(f"{parameter} of engine {name!r} is {value!r}, not a callable")
    if isinstance(build_cmd, str):
        raise InvalidInputError(f"build_cmd of engine {name!r} is a str", hint=f"give a list: {build_cmd.split()!r}")
    engine = Engine(
        name=name,
        health=health,
        construct_build_args=construct_build_args,
        binary=binary or name,
        build_cmd=("build",) if build_cmd is None else tuple(build_cmd),
        env=dict(env or {}),
    )
    _registered[name] = engine
    return engine


def unregister_backend(name: str) -> None:
    """Take a registered engine away; one of tritonbuild's own comes back where it had been replaced.

    Raises:
        UnknownNameError: No engine of that name is registered.
    """
    get_backend(name)
    if name in BUILTIN:
        _registered[name] = None
    else:
        del _registered[name]


@contextlib.contextmanager
def registered(engine: Engine) -> Iterator[Engine]:
    """Register *engine* for the length of a `with` block; what had its name before has it again afterwards."""
    known = engine.name in _registered
    before = _registered.get(engine.name)
    _registered[engine.name] = engine
    try:
        yield engine
    finally:
        if known:
            _registered[engine.name] = before
        else:
            del _registered[engine.name]


def probe_all() -> tuple[Health, ...]:
    """Probe every registered engine at once; takes as long as the slowest."""
    waits = [start_probe(engine) for engine in engines()]
    return tuple(wait() for wait in waits)


def choose() -> tuple[Engine, Health]:
    """Return the first healthy engine, in the order of registration, and what its probe answered.

    All are probed at once; the answer does not wait for those that come after it. The answer of one that needs no
    program has as its reason why it is not one of the others.

    Raises:
        UnhealthyEngineError: None is healthy; the message has each one's reason.
    """
    started = [(engine, start_probe(engine)) for engine in engines()]
    answers = []
    for engine, wait in started:
        answers.append(health := wait())
        if health.ok:
            if engine.document is not None and not health.reason:
                health = attrs.evolve(health, reason=f"no other is ({_reasons(answers[:-1])})")
            return engine, health
    reasons = _reasons(answers)
    raise UnhealthyEngineError(f"no engine is healthy ({reasons})", hint="install podman or buildah, or start docker")


def _reasons(answers: Iterable[Health]) -> str:
    return "; ".join(f"{health.engine}: {health.reason}" for health in answers)
