"""Engines: the record of one, its commands, its health probe and its queries."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

import attrs

from tritonbuild import flags, process
from tritonbuild.errors import UnhealthyEngineError, one_line
from tritonbuild.threads import NoAnswerError, in_background

PROBE_TIMEOUT: Final = 30.0
"""Seconds after which any probe is abandoned; the commands of the built-in probes have shorter time limits."""


@attrs.frozen(kw_only=True)
class Health:
    """The answer of a health probe.

    Attributes:
        ok: Whether a build would work.
        engine: The name of the engine.
        version: The version of the engine; empty if unknown.
        reason: Why the engine is not healthy, in one line; with *ok*, a remark (why `auto` took this engine).
        hint: The next step for the user.
        seconds: The duration of the probe.
        features: Of `buildkit`, `buildx`, `containerd-store`, `heredocs`, `load`, `multi-platform` and `push` those
            that it has.
        client: The version of the command line, if that is another program than the one of *version*.
        env: Environment variables that a build needs besides the engine's own (DOCKER_BUILDKIT).
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
        name: The name by which users choose it.
        health: Returns a `Health` or a bool, or raises `UnhealthyEngineError`. Takes no argument; with *options*, it
            takes the options of the build as keywords, and finds the global ones among them.
        construct_build_args: Takes the options as keywords, without the global ones; returns the tokens that follow
            *binary* *build_cmd*.
        binary: The program, a name on PATH or a path.
        prefix: The words of a wrapper between *binary* and the global flags: `("shell", "default", "nerdctl")`.
        build_cmd: The words of the build command: `("build",)`.
        env: Environment variables to add for its processes.
        options: Its option table, the global options included; empty for an engine whose callable checks its options.
        global_options: The options of the program itself. Their flags stand before the words of every command: the
            probe's, the build's, the queries' and those of *follow_up*.
        capabilities: The requests that it can serve and some other engines cannot: `"push"`, `"output type=oci"`.
        result_options: Those of `iidfile` and `metadata_file` that a build gets if the user gives none.
        makes_image: Takes the options as a mapping; returns whether the build makes an image, not only files.
        default_options: Takes the default options of a build and the user's; returns the defaults that go with them.
        adapt: Takes the probe's answer and the options as keywords; raises `InvalidInputError` for an option that
            this version or configuration of the engine lacks, and may return options that replace them.
        plan_option: The option that names a file for the planned layers as JSON, in place of a build; empty for an
            engine that cannot plan.
        document: Takes a `Composition`; returns the text that the engine reads in place of a Containerfile. None for an
            engine that reads Containerfiles.
        follow_up: Takes the image id, *scratch* (a private folder) and the options as keywords; yields the commands
            (argv after the global flags) that remain after the build: a push, a save to an archive. Each
            is run before the next is requested. It may write the manifest's digest to the file `digest` in *scratch*.
        clean_up: Takes a function that runs a command and returns its output (it takes the words after the global
            flags, and *timeout* in seconds), and the options as keywords; removes what a build that did not end with
            success left in the engine's storage, and returns a remark if something may remain.
        temporary: The folder for the engine's temporary files if TMPDIR is not set, where it may leave some of a build
            that is stopped; each build gets a folder of its own in it. Empty for an engine that leaves none.
        files: Takes the options as a mapping; returns the files and folders that exist after a build.
        input_error_status: The exit status with which its process reports invalid input, in lines `error: MESSAGE`
            and `hint: HINT`; 0 for an engine without one.
        id_query: The command, after the global flags, that prints the image id; the id from the build is appended.
        platforms_query: The command that prints a list of images as JSON, for an engine that builds for several
            platforms into one (the option `manifest`); its name is appended.
        size_query: The command that prints the size in bytes; the image id is appended.
        digest_query: The command that prints the digests after a push, one `NAME@DIGEST` a line; the image id is
            appended.
        config_query: The command that prints the execution parameters of an image (`Env`) as JSON, and fails if the
            engine's storage lacks the image; its name is appended.
    """

    name: str
    health: Callable[..., Health | bool]
    construct_build_args: Callable[..., Iterable[str]]
    binary: str
    prefix: tuple[str, ...] = ()
    build_cmd: tuple[str, ...] = ("build",)
    env: Mapping[str, str] = attrs.field(factory=dict)
    options: flags.Table = attrs.field(factory=dict)
    global_options: flags.Table = attrs.field(factory=dict)
    capabilities: frozenset[str] = frozenset()
    result_options: tuple[str, ...] = ("iidfile",)
    makes_image: Callable[[Mapping[str, object]], bool] = lambda _: True
    default_options: Callable[[Mapping[str, Any], Mapping[str, Any]], Mapping[str, Any]] = lambda defaults, _: defaults
    adapt: Callable[..., Mapping[str, object] | None] | None = None
    plan_option: str = ""
    document: Callable[[Any], str] | None = None
    follow_up: Callable[..., Iterable[Sequence[str]]] | None = None
    clean_up: Callable[..., str] | None = None
    temporary: str = ""
    files: Callable[[Mapping[str, Any]], Iterable[str]] = lambda _: ()
    input_error_status: int = 0
    id_query: tuple[str, ...] = ()
    platforms_query: tuple[str, ...] = ()
    size_query: tuple[str, ...] = ()
    digest_query: tuple[str, ...] = ()
    config_query: tuple[str, ...] = ()

    def command(self, words: Iterable[str], options: Mapping[str, Any]) -> list[str]:
        """Return the argv of one of its commands: the program, the flags of the global options, and *words*."""
        given = {name: options[name] for name in self.global_options if name in options}
        return [self.binary, *self.prefix, *flags.render(self.global_options, given, engine=self.name), *words]

    def build_options(self, options: Mapping[str, Any]) -> dict[str, Any]:
        """Return the options without the global ones."""
        return {name: value for name, value in options.items() if name not in self.global_options}


def probe(engine: Engine, options: Mapping[str, Any] | None = None, *, timeout: float = PROBE_TIMEOUT) -> Health:
    """Return the answer of the engine's health probe; an unhealthy engine or a broken probe is an answer too.

    Args:
        engine: The engine.
        options: The options of the build, of which some lead to another daemon (`host`).
        timeout: Seconds after which the probe is abandoned.
    """
    return start_probe(engine, options, timeout=timeout)()


def start_probe(
    engine: Engine, options: Mapping[str, Any] | None = None, *, timeout: float = PROBE_TIMEOUT
) -> Callable[[], Health]:
    """Start a probe and return the function that waits for its answer, so that several probes can run at once.

    An abandoned probe goes on in a daemon thread, which does not keep the interpreter from ending.
    """
    started = time.perf_counter()

    def timed() -> Health:
        return attrs.evolve(_answer(engine, options or {}), seconds=time.perf_counter() - started)

    answer = in_background(timed, name=f"probe-{engine.name}")

    def wait() -> Health:
        try:
            return answer(max(0.0, started + timeout - time.perf_counter()))
        except NoAnswerError:
            return Health(
                ok=False,
                engine=engine.name,
                reason=f"its health probe gave no answer within {timeout:g} s",
                hint="check whether its daemon hangs",
                seconds=time.perf_counter() - started,
            )

    return wait


def ask(engine: Engine, query: Sequence[str], image: str, options: Mapping[str, Any], env: Mapping[str, str]) -> str:
    """Return the output of one of the engine's queries about an image; empty if it fails."""
    return output(engine, [*query, image], options, env) if image else ""


def output(
    engine: Engine, words: Sequence[str], options: Mapping[str, Any], env: Mapping[str, str], *, timeout: float = 30
) -> str:
    """Return the output of one of the engine's commands; empty if it fails or takes more than *timeout* seconds."""
    try:
        answer = process.capture(engine.command(words, options), timeout=timeout, env=env)
    except OSError:
        return ""
    return answer.output.strip() if answer.ok else ""


def _answer(engine: Engine, options: Mapping[str, Any]) -> Health:
    try:
        answer = engine.health(**options) if engine.options else engine.health()
    except UnhealthyEngineError as error:
        return Health(ok=False, engine=engine.name, reason=error.reason, hint=error.hint)
    except (Exception, SystemExit) as error:  # noqa: BLE001 - a foreign callable, whose failure is not "healthy"
        return Health(
            ok=False,
            engine=engine.name,
            reason=one_line(f"its health probe raised {type(error).__name__}: {error}"),
            hint="fix the health callable of its registration",
        )
    if isinstance(answer, Health):
        return attrs.evolve(answer, engine=engine.name)
    if isinstance(answer, bool):
        return Health(ok=answer, engine=engine.name, reason="" if answer else "its health probe returned False")
    return Health(
        ok=False,
        engine=engine.name,
        reason=f"its health probe returned a value of type {type(answer).__name__}, not a bool",
        hint="fix the health callable of its registration",
    )
