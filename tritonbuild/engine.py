"""What an engine is: a frozen record of its callables and some constants; what its probe and its queries answer."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from tritonbuild import flags, process
from tritonbuild.errors import UnhealthyEngineError, one_line
from tritonbuild.threads import NoAnswerError, in_background

PROBE_TIMEOUT: Final = 30.0
"""Seconds after which any probe is given up; those of the engines here have shorter time-outs of their own."""


@attrs.frozen(kw_only=True)
class Health:
    """What a health probe found out.

    Attributes:
        ok: Whether a build would work.
        engine: The engine's name.
        version: Its version, as it says it; empty where unknown.
        reason: Why it is not healthy, one line; with *ok*, something worth knowing (podman posing as docker).
        hint: What to do about the reason.
        seconds: How long the probe took.
        features: What it can do, of `buildkit`, `push`, `load`, `multi-platform`.
        client: The version of its command line, where that is another program than what *version* is of.
        env: What the probe found that a build's environment has to hold besides the engine's own (DOCKER_BUILDKIT).
    """

    ok: bool
    engine: str
    version: str = ""
    reason: str = ""
    hint: str = ""
    seconds: float = 0.0
    features: frozenset[str] = frozenset()
    client: str = ""
    env: Mapping[str, str] = attrs.field(factory=dict)


@attrs.frozen(kw_only=True)
class Engine:
    """A program that builds images.

    Attributes:
        name: What users call it.
        health: Takes nothing; returns a `Health` or a bool, or raises `UnhealthyEngineError`.
        construct_build_args: Takes the options as keywords; returns the tokens that follow *binary* *build_cmd*.
        binary: The program, a name looked up on PATH or a path.
        build_cmd: The words between the program and the tokens: `("build",)`.
        env: Environment variables added for its processes.
        options: Its option table; empty for an engine whose callable does its own checks.
        capabilities: The requests that it can serve and some other engines cannot: `"push"`, `"output type=oci"`.
        result_options: Which of `iidfile` and `metadata_file` a build is given where the user gives none.
        makes_image: Takes the options as a mapping; returns whether the build makes an image, not only files.
        adapt: Takes the probe's answer and the options as keywords; raises `InvalidInputError` for an option that
            this version or configuration of the engine lacks, and may return other options, which then count.
        plan_option: The option which names a file that gets, as JSON, the layers that a build would write; nothing
            else is written then. Empty for an engine that cannot tell beforehand.
        document: Takes a `Composition`; returns what the engine reads in place of a Containerfile. None for one that
            reads Containerfiles.
        follow_up: Takes the image id, *scratch* (a private folder) and the options as keywords; yields the commands
            (argv after *binary*) that remain once the image is built: a push, a save to an archive. Each is run
            before the next is asked for. The manifest's digest can be left in the file `digest` of *scratch*.
        shared: The options whose tokens its other commands take too (a namespace), for the queries.
        id_query: The argv after *binary* which, with what the build wrote as the image id after it, prints the id.
        size_query: The argv after *binary* which, with the image id after it, prints the size in bytes.
        digest_query: The same for the manifest's digest after a push, a line `NAME@DIGEST` for each place.
        config_query: The argv after *binary* which, with an image's name after it, prints its configuration's part
            on running it (`Env`) as JSON, and fails where the engine's store has no such image.
    """

    name: str
    health: Callable[[], Health | bool]
    construct_build_args: Callable[..., Iterable[str]]
    binary: str
    build_cmd: tuple[str, ...] = ("build",)
    env: Mapping[str, str] = attrs.field(factory=dict)
    options: flags.Table = attrs.field(factory=dict)
    capabilities: frozenset[str] = frozenset()
    result_options: tuple[str, ...] = ("iidfile",)
    makes_image: Callable[[Mapping[str, object]], bool] = lambda _: True
    adapt: Callable[..., Mapping[str, object] | None] | None = None
    plan_option: str = ""
    document: Callable[[Any], str] | None = None
    follow_up: Callable[..., Iterable[Sequence[str]]] | None = None
    shared: tuple[str, ...] = ()
    id_query: tuple[str, ...] = ()
    size_query: tuple[str, ...] = ()
    digest_query: tuple[str, ...] = ()
    config_query: tuple[str, ...] = ()


def probe(engine: Engine, *, timeout: float = PROBE_TIMEOUT) -> Health:
    """Ask *engine* whether a build would work; never raises for one that is unhealthy, or whose probe is broken.

    Args:
        timeout: Seconds after which its probe is given up.
    """
    return start_probe(engine, timeout=timeout)()


def start_probe(engine: Engine, *, timeout: float = PROBE_TIMEOUT) -> Callable[[], Health]:
    """Start a probe and return the function that waits for its answer, so that several can go on at once.

    A probe that is given up goes on in a daemon thread, which does not keep the interpreter from ending.
    """
    started = time.perf_counter()

    def timed() -> Health:
        return attrs.evolve(_answer(engine), seconds=time.perf_counter() - started)

    answer = in_background(timed, name=f"probe-{engine.name}")

    def wait() -> Health:
        try:
            return answer(max(0.0, started + timeout - time.perf_counter()))
        except NoAnswerError:
            return Health(
                ok=False,
                engine=engine.name,
                reason=f"its health probe gave no answer within {timeout:g} s",
                hint="see whether its daemon hangs",
                seconds=time.perf_counter() - started,
            )

    return wait


def ask(engine: Engine, query: Sequence[str], image: str, options: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Return what one of the engine's queries prints about an image; empty where it fails."""
    shared = {name: options[name] for name in engine.shared if name in options}
    argv = [engine.binary, *query, *flags.render(engine.options, shared, engine=engine.name), image]
    try:
        answer = process.capture(argv, timeout=30, env=env) if image else None
    except OSError:
        return ""
    return answer.output.strip() if answer and answer.ok else ""


def _answer(engine: Engine) -> Health:
    try:
        answer = engine.health()
    except UnhealthyEngineError as error:
        return Health(ok=False, engine=engine.name, reason=error.reason, hint=error.hint)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - the callable is anybody's; whatever it raises, it does not say "healthy"
        return Health(
            ok=False,
            engine=engine.name,
            reason=one_line(f"its health probe raised {type(error).__name__}: {error}"),
            hint="mend the health callable it was registered with",
        )
    if isinstance(answer, Health):
        return answer
    if isinstance(answer, bool):
        return Health(ok=answer, engine=engine.name, reason="" if answer else "its health probe says no")
    return Health(
        ok=False,
        engine=engine.name,
        reason=f"its health probe returned {type(answer).__name__}, not a bool",
        hint="mend the health callable it was registered with",
    )
