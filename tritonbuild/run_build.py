"""A Containerfile to an image: the order inside one build.

Construct the command, probe the engine, write the Containerfile, run the engine, collect the result, clean up.
"""

from __future__ import annotations

import contextlib
import os
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import build_command, build_context, build_outcome, dirs, flags, process
from tritonbuild import engine as engines
from tritonbuild import scratch as scratch_folders
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import (
    BuildFailedError,
    BuildTimeoutError,
    InvalidInputError,
    TritonBuildError,
    UnhealthyEngineError,
)
from tritonbuild.masking import mask

_KEPT_LOGS: Final = 50


@attrs.frozen(kw_only=True)
class BuildResult:
    """The result of a build.

    Attributes:
        image_id: `sha256:...` of the image's configuration (with containerd's image store, of its manifest); empty
            for a custom engine that writes none.
        digest: `sha256:...` of the manifest, where the engine reports it; else empty.
        tags: The names of the image, as they were requested.
        locations: The destinations besides the engine's storage, where the engine reports them: `oci:FOLDER:NAME`,
            `docker-archive:FILE`, `docker://REFERENCE`.
        size: Bytes of the image's files in the engine's storage; None where unknown or not requested.
        packed_size: Bytes of its packed layers, which docker reports in place of *size* with containerd's image store.
        engine: The name of the engine that built it.
        version: The version of that engine.
        seconds: The duration of the build without the probe.
        containerfile: The text that was built.
        argv: The command, credentials masked.
        log: The file that holds the engine's whole output.
    """

    image_id: str
    digest: str
    tags: tuple[str, ...]
    locations: tuple[str, ...] = ()
    size: int | None
    packed_size: int | None = None
    engine: str
    version: str
    seconds: float
    containerfile: str
    argv: tuple[str, ...]
    log: Path


@attrs.frozen(kw_only=True)
class Job:
    """The build of one document with one engine.

    Attributes:
        engine: The engine.
        document: The Containerfile, or what *engine* reads in its place; or a function that returns it and takes
            *heredocs*, whether the builder knows them. It is called while the probe runs.
        tags: The names of the image.
        options: The engine's options.
        context: The build context: the paths in it, and the files and folders to put at them.
        network: Whether the build needs a network; else it has none, unless *options* set one.
        platform: The platform of the image; the engine's default if empty.
        health: The answer of the engine's probe, where it is known already.
        timeout: Seconds after which the engine's processes are stopped.
        echo: A file descriptor that gets the engine's output as it comes.
        inspect: Called with the probe's answer before the document is written; returns another document in its
            place, or an empty text.
        on_start: Called before the engine runs, with the probe's answer and the masked command.
        work_dir: The folder of the Containerfile, which is kept; a temporary one by default.
        measure: Whether to ask the engine for the image's size, which is one more command.
    """

    engine: Engine
    document: str | Callable[..., str]
    tags: tuple[str, ...]
    options: Mapping[str, Any] = attrs.field(factory=dict)
    context: Sequence[tuple[str, Path]] = ()
    network: bool = False
    platform: str = ""
    health: Health | None = None
    timeout: float | None = None
    echo: int | None = None
    inspect: Callable[[Health], str] | None = None
    on_start: Callable[[Health, Sequence[str]], None] | None = None
    work_dir: str | os.PathLike[str] | None = None
    measure: bool = True


def check(job: Job) -> None:
    """Check the options of a build as `run` does, without the engine's program.

    Raises:
        InvalidInputError: An option is unknown, has no effect, or its value is not accepted.
    """
    with scratch_folders.private() as scratch:
        _command(job, scratch)


def _command(job: Job, scratch: Path) -> tuple[dict[str, Any], list[str]]:
    """Return the options of the build, and its command."""
    given = _options(job, scratch)
    argv = build_command.command(job.engine, given)
    build_command.require_effect(job.engine, given, job.options)
    return given, argv


def run(job: Job) -> BuildResult:
    """Run a build; the errors are those of `tritonbuild.build`."""
    engine = job.engine
    with scratch_folders.private() as scratch, scratch_folders.temporary(engine) as temporary:
        given, argv = _command(job, scratch)
        known = job.health
        wait = engines.start_probe(engine, given) if known is None else lambda: known
        text = _document(job, heredocs=True)
        health = wait()
        if not health.ok:
            raise UnhealthyEngineError(health.reason, engine=engine.name, hint=health.hint)
        if "heredocs" not in health.features:
            text = _document(job, heredocs=False)
        flags.check_versions(engine.options, given, engine=engine.name, version=health.client or health.version)
        if engine.adapt and (adapted := engine.adapt(health, **given)):
            given = dict(adapted)
            argv = build_command.command(engine, given)
        if job.inspect:
            text = job.inspect(health) or text
        build_command.write_containerfile(text, Path(given["file"]))
        folder = Path(given["context_path"])
        folder.mkdir(exist_ok=True)
        build_context.fill(folder, job.context)
        if job.on_start:
            job.on_start(health, tuple(mask(argv)))
        started = time.monotonic()
        env = {**engine.env, **health.env, **temporary}
        runner = _Runner(job=job, document=text, env=env, log=_new_log(engine), options=given)
        runner.run(argv)
        facts = build_outcome.facts(given)
        with runner.logged():
            image_id, digest = build_outcome.identity(engine, argv, given, facts)
            build_outcome.check_platforms(engine, argv, given, runner.env, otherwise=runner.clean_up)
        if engine.id_query and (answer := engines.ask(engine, engine.id_query, image_id, given, runner.env)):
            image_id, digest = answer, image_id  # this engine writes the manifest's digest in place of the id
        digest = _follow_up(runner, image_id, scratch, given) or digest
        with runner.logged():
            build_outcome.check_files(engine, argv, given)
        in_storage = digest if engine.id_query else image_id
        sizes = build_outcome.sizes(engine, in_storage, given, runner.env, health) if job.measure else (None, None)
        return BuildResult(
            image_id=image_id,
            digest=digest,
            tags=job.tags,
            locations=build_outcome.destinations(facts),
            size=sizes[0],
            packed_size=sizes[1],
            engine=engine.name,
            version=health.version,
            seconds=time.monotonic() - started,
            containerfile=text,
            argv=tuple(mask(argv)),
            log=runner.log,
        )


def _document(job: Job, *, heredocs: bool) -> str:
    return job.document if isinstance(job.document, str) else job.document(heredocs=heredocs)


def _options(job: Job, scratch: Path) -> dict[str, Any]:
    """Return the options of the build: those that every build has, then those of the user."""
    defaults = build_command.defaults(job.engine, scratch=scratch, work_dir=job.work_dir, options=job.options)
    if not job.network:
        defaults["network"] = "none"
    if job.platform:
        defaults["platform"] = job.platform
    return {"tag": job.tags, **build_command.accepted(job.engine, defaults, job.options), **job.options}


@attrs.frozen(kw_only=True)
class _Runner:
    """Runs an engine's commands one after the other, all into one log."""

    job: Job
    document: str
    env: Mapping[str, str]
    log: Path
    options: Mapping[str, Any]

    def run(self, argv: Sequence[str]) -> None:
        name, timeout = self.job.engine.name, self.job.timeout
        try:
            with self.logged(argv):
                done = process.run(argv, log=self.log, env=self.env, timeout=timeout, echo=self.job.echo)
        except BaseException:
            self.clean_up()
            raise
        if not done.ok:
            self.clean_up()
        facts: dict[str, Any] = {
            "argv": mask(argv),
            "log": self.log,
            "returncode": done.returncode,
            "tail": build_outcome.last_lines(done.output, self.document),
        }
        if done.timed_out:
            raise BuildTimeoutError(
                f"the build with engine {name!r} took longer than {timeout:g} s and was stopped",
                hint="allow more with --timeout",
                **facts,
            )
        if done.returncode and done.returncode == self.job.engine.input_error_status:
            raise _input_error(facts["tail"])
        if done.returncode:
            reason = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
            raise BuildFailedError(f"the build with engine {name!r} failed with {reason}", **facts)

    def clean_up(self) -> None:
        """Remove what the build left in the engine's storage."""
        engine = self.job.engine
        if engine.clean_up is None:
            return
        remark = engine.clean_up(
            lambda words, **limit: engines.output(engine, words, self.options, self.env, **limit), **self.options
        )
        if remark and self.job.echo is not None:
            with contextlib.suppress(OSError):
                os.write(self.job.echo, f"tritonbuild: {remark}\n".encode())

    @contextlib.contextmanager
    def logged(self, argv: Sequence[str] = ()) -> Iterator[None]:
        """Make an OSError of the block a failed build, and have failed builds name the log."""
        try:
            yield
        except BuildFailedError as error:
            error.log = error.log or self.log
            raise
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
            raise BuildFailedError(
                f"the build with engine {self.job.engine.name!r} broke off: {reason}", argv=mask(argv), log=self.log
            ) from error


def _input_error(lines: Sequence[str]) -> InvalidInputError:
    """Return the error that an engine's process reported in its last lines."""
    found = {}
    for line in lines:
        label, _, text = line.partition(": ")
        found[label] = text
    return InvalidInputError(found.get("error", lines[-1] if lines else "invalid input"), hint=found.get("hint", ""))


def _follow_up(runner: _Runner, image_id: str, scratch: Path, options: Mapping[str, Any]) -> str:
    """Run the commands that remain; return the manifest's digest if they report it."""
    engine = runner.job.engine
    if engine.follow_up is None:
        return ""
    steps = engine.follow_up(image_id, scratch=scratch, **options)
    try:
        with runner.logged():
            for tokens in steps:
                runner.run(engine.command(tokens, options))
    finally:
        if isinstance(steps, Generator):
            steps.close()
    return build_outcome.pushed_digest(engine, image_id, options, runner.env, scratch)


def _new_log(engine: Engine) -> Path:
    """Return the path of a new, empty log; only the newest 50 others stay."""
    folder = dirs.state() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in sorted(folder.glob("*.log"))[: -_KEPT_LOGS or None]:
            old.unlink(missing_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        descriptor, path = tempfile.mkstemp(prefix=f"{stamp}-{engine.name}-", suffix=".log", dir=folder)
    except OSError as error:
        raise TritonBuildError(
            f"cannot keep a log in {str(folder)!r}: {error.strerror}", hint="set XDG_STATE_HOME to a writable folder"
        ) from error
    os.close(descriptor)
    return Path(path)
