"""The registry of engines: those of tritonbuild, and those that users register.

An import neither probes nor starts anything, and the module of an engine is loaded when that engine is requested.
"""

from __future__ import annotations

import contextlib
import functools
import importlib
import inspect
import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, TypeVar

import attrs

from tritonbuild import parameters
from tritonbuild.backends import _plugins
from tritonbuild.engine import Engine, Health, start_probe
from tritonbuild.errors import InvalidInputError, UnhealthyEngineError, UnknownNameError

_T = TypeVar("_T")

AUTO: Final = "auto"
"""The name that stands for the first healthy engine."""

_NAME: Final = r"[a-z0-9][a-z0-9._-]*"

_LAST: Final = "embedded"
BUILTIN: Final = ("docker", "podman", "buildah", "nerdctl", "buildx", "buildctl", _LAST)
"""The engines of this package in the order in which `auto` tries them: first those that leave the image in the storage
from which users run images. buildx comes after docker; buildctl after all of them, since it stores nothing; the engine
that needs no program but tritonbuild comes last, also after those of plug-ins.
"""

_registered: Final[dict[str, Engine | None]] = dict.fromkeys(BUILTIN)
"""The registered engines by name; None for one of this package."""


_TAKES: Final[Mapping[str, parameters.Takes]] = {
    "backend": parameters.TEXT,
    "health": parameters.optional(parameters.FUNCTION),
    "construct_build_args": parameters.optional(parameters.FUNCTION),
    "binary": parameters.optional(parameters.TEXT),
    "build_cmd": parameters.optional(parameters.TEXTS),
    "env": parameters.optional(parameters.VARIABLES),
    "like": parameters.optional(parameters.TEXT),
    "replace": parameters.SWITCH,
}


@functools.cache
def _own(name: str) -> Engine:
    """Return the engine of a module of this package."""
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
    parameters.check({"backend": backend}, _TAKES)
    if backend not in _registered:
        _plugins.load_installed()
    if backend not in _registered:
        raise UnknownNameError("engine", backend, _registered)
    return _registered[backend] or _own(backend)


def register_backend(  # noqa: PLR0913 - the signature of bentoml.container.register_backend
    backend: str,
    *,
    health: Callable[[], bool | Health] | None = None,
    construct_build_args: Callable[..., Iterable[str]] | None = None,
    buildkit_support: bool = True,
    binary: str | None = None,
    build_cmd: Sequence[str] | None = None,
    env: Mapping[str, str] | None = None,
    like: str | None = None,
    replace: bool = False,
) -> Engine:
    """Register an engine, so that `build(..., backend=backend)` and `auto` find it.

    Args:
        backend: The name by which users choose it.
        health: Returns whether a build would work, or raises `UnhealthyEngineError` with the reason.
        construct_build_args: Takes the options of the build as keywords (`tag`, `file`, `context_path` and, if its
            signature has them or takes any, `iidfile`, `network`, `pull`); returns the tokens that follow *binary*
            *build_cmd*.
        buildkit_support: Accepted as in `bentoml.container`, and without effect: Containerfiles need no BuildKit.
        binary: The program, a name on PATH or a path; *backend* by default.
        build_cmd: The words between the program and the tokens; `["build"]` by default.
        env: Environment variables to add for its processes.
        like: A registered engine whose program is the same under another name, or behind a wrapper. The new engine has
            its options, probe, pushes, archives and queries, with *binary* as the program. The words of *build_cmd*
            before that engine's own are those of the wrapper: `["shell", "default", "nerdctl", "build"]`.
        replace: Whether to replace an engine of the same name.

    Raises:
        InvalidInputError: The name is taken or invalid, or a callable is missing or not callable.
    """
    parameters.check({**locals(), "buildkit_support": bool(buildkit_support)}, _TAKES)
    if not re.fullmatch(_NAME, backend, re.ASCII) or backend == AUTO:
        raise InvalidInputError(f"{backend!r} is not a name for an engine", hint="use a-z, 0-9, '.', '_' and '-'")
    if backend in _registered and not replace:
        raise InvalidInputError(f"engine {backend!r} is registered already", hint="pass replace=True to replace it")
    if isinstance(build_cmd, str):
        raise InvalidInputError(f"build_cmd of engine {backend!r} is a str", hint=f"pass a list: {build_cmd.split()!r}")
    if like is not None:
        engine = _derived(get_backend(like), backend, binary or backend, build_cmd)
        if health is not None:
            probe = health
            engine = attrs.evolve(engine, health=lambda **_: probe())
        if construct_build_args is not None:
            engine = attrs.evolve(engine, construct_build_args=construct_build_args)
    elif health is None or construct_build_args is None:
        missing = "health" if health is None else "construct_build_args"
        raise InvalidInputError(f"engine {backend!r} has no {missing}", hint="pass it, or like='ENGINE'")
    else:
        engine = Engine(
            name=backend,
            health=health,
            construct_build_args=construct_build_args,
            binary=binary or backend,
            build_cmd=("build",) if build_cmd is None else tuple(build_cmd),
        )
    _registered[backend] = engine = attrs.evolve(engine, env={**engine.env, **(env or {})})
    return engine


def _derived(base: Engine, name: str, binary: str, build_cmd: Sequence[str] | None) -> Engine:
    """Return *base* under another name, with another program or behind a wrapper."""
    words = base.build_cmd if build_cmd is None else tuple(build_cmd)
    prefix = words[: len(words) - len(base.build_cmd)]
    if (*prefix, *base.build_cmd) != words:
        raise InvalidInputError(
            f"build_cmd of engine {name!r} does not end as that of {base.name!r}, {list(base.build_cmd)!r}",
            hint="pass the words of the wrapper, then these",
        )
    bound = functools.partial(_bound, engine=name, program=(binary, *prefix))
    return attrs.evolve(
        base,
        name=name,
        binary=binary,
        prefix=prefix,
        health=bound(base.health),
        construct_build_args=bound(base.construct_build_args),
        adapt=base.adapt and bound(base.adapt),
        follow_up=base.follow_up and bound(base.follow_up),
    )


def _bound(call: Callable[..., _T], **values: object) -> Callable[..., _T]:
    """Return *call* with those of the values that its signature has a parameter for."""
    parameters = inspect.signature(call).parameters
    return functools.partial(call, **{name: value for name, value in values.items() if name in parameters})


def unregister_backend(backend: str) -> None:
    """Remove a registered engine; an engine of this package is restored if it had been replaced.

    Raises:
        UnknownNameError: No engine of that name is registered.
    """
    get_backend(backend)
    if backend in BUILTIN:
        _registered[backend] = None
    else:
        del _registered[backend]


@contextlib.contextmanager
def registered(engine: Engine) -> Iterator[Engine]:
    """Register *engine* during a `with` block; afterwards its name stands for the engine of before."""
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
    """Probe all registered engines at the same time."""
    waits = [start_probe(engine) for engine in engines()]
    return tuple(wait() for wait in waits)


def choose(options: Mapping[str, Any] | None = None) -> tuple[Engine, Health]:
    """Return the first healthy engine, in the order of registration, and the answer of its probe.

    All are probed at the same time; the engines after the chosen one are not waited for. The answer of the engine that
    needs no program has as its reason why the others are not healthy.

    Args:
        options: The options of the build, of which some lead to another daemon (`host`).

    Raises:
        UnhealthyEngineError: None is healthy; the message has all reasons.
    """
    started = [(engine, start_probe(engine, options)) for engine in engines()]
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
