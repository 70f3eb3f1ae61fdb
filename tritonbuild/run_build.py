"""From a Containerfile to an image: the order inside a build, and what it leaves.

Construct the command, probe the engine, write the Containerfile, run, collect the result, remove what is temporary.
"""

from __future__ import annotations

import contextlib
import errno
import inspect
import json
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild import build_context as contexts
from tritonbuild import dirs, flags, process
from tritonbuild import engine as engines
from tritonbuild.atomic import replacing
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import (
    BuildFailedError,
    BuildTimeoutError,
    InvalidInputError,
    TritonBuildError,
    UnhealthyEngineError,
)
from tritonbuild.masking import mask
from tritonbuild.reference import is_digest
from tritonbuild.threads import NoAnswerError, in_background

CONTAINERFILE_NAME: Final = "Dockerfile.compose"
"""What the Containerfile is called in a folder, as with compose.py."""

_KEPT_LOGS: Final = 50


@attrs.frozen(kw_only=True)
class BuildResult:
    """What a build gave.

    Attributes:
        image_id: `sha256:...` of the image's configuration (with containerd's image store, of its manifest); empty
            for a custom engine that does not say it.
        digest: `sha256:...` of the manifest, where the engine tells it; else empty.
        tags: The names the image has, as they were asked for.
        places: Where else than in the engine's storage the image is, where the engine tells: `oci:FOLDER:NAME`,
            `docker-archive:FILE`, `docker://REFERENCE`.
        size: Bytes of the image in the engine's storage; None where unknown or not asked for.
        engine: The engine that built it.
        version: That engine's version.
        seconds: How long the build took, the probe left out.
        containerfile: The text that was built.
        argv: The command, credentials masked.
        log: The file that holds the engine's whole output.
    """

    image_id: str
    digest: str
    tags: tuple[str, ...]
    places: tuple[str, ...] = ()
    size: int | None
    engine: str
    version: str
    seconds: float
    containerfile: str
    argv: tuple[str, ...]
    log: Path


def build_text(  # noqa: PLR0913 - what concerns the run
    engine: Engine,
    document: str | Callable[[], str],
    tags: tuple[str, ...],
    *,
    context: Sequence[tuple[str, Path]] = (),
    network: bool = False,
    platform: str = "",
    health: Health | None = None,
    timeout: float | None = None,
    echo: int | None = None,
    on_start: Callable[[Health, Sequence[str]], None] | None = None,
    work_dir: str | os.PathLike[str] | None = None,
    measure: bool = True,
    options: Mapping[str, Any],
) -> BuildResult:
    """Build a Containerfile with *engine*; arguments and errors are those of `tritonbuild.build`.

    Args:
        document: The Containerfile, or what *engine* reads in its place; a function that returns it is called while
            the probe goes on.
        context: What the build context holds: paths in it, and the files and folders that go there.
        network: Whether the build needs one; else it has none, unless the options say so.
        platform: The platform the image is for; the engine's own by default.
        health: What the engine's probe answered, where that is known already.
    """
    with _scratch() as scratch:
        more = {**({} if network else {"network": "none"}), **({"platform": platform} if platform else {})}
        given = {"tag": tags, **_defaults(engine, scratch, work_dir, options, more), **options}
        argv = _command(engine, given)
        wait = engines.start_probe(engine) if health is None else lambda: health
        text = document if isinstance(document, str) else document()
        answer = wait()
        if not answer.ok:
            raise UnhealthyEngineError(answer.reason, engine=engine.name, hint=answer.hint)
        flags.check_versions(engine.options, given, engine=engine.name, version=answer.client or answer.version)
        if engine.adapt and (adapted := engine.adapt(answer, **given)):
            given = dict(adapted)
            argv = _command(engine, given)
        write_containerfile(text, Path(given["file"]))
        folder = Path(given["context_path"])
        folder.mkdir(exist_ok=True)
        contexts.fill(folder, context)
        masked = tuple(mask(argv))
        if on_start:
            on_start(answer, masked)
        started = time.monotonic()
        runner = _Runner(
            engine=engine, env={**engine.env, **answer.env}, log=_new_log(engine), echo=echo, timeout=timeout
        )
        runner.run(argv)
        facts = _facts(given)
        image_id, digest = _identity(engine, argv, given, facts, runner)
        digest = _finish(engine, image_id, scratch, given, runner) or digest
        return BuildResult(
            image_id=image_id,
            digest=digest,
            tags=tags,
            places=_places(facts),
            size=_size(engine, digest if engine.id_query else image_id, given, runner.env) if measure else None,
            engine=engine.name,
            version=answer.version,
            seconds=time.monotonic() - started,
            containerfile=text,
            argv=masked,
            log=runner.log,
        )


def write_containerfile(text: str, target: Path) -> Path:
    """Write a Containerfile to *target*, a file or a folder, whole or not at all; return the file's path."""
    path = target / CONTAINERFILE_NAME if target.is_dir() else target
    if path.exists() and not path.is_file():
        # A pipe or a device, say /dev/stdout, is written to: root could put a file in its place.
        path.write_text(text, encoding="utf-8")
        return path
    try:
        with replacing(path) as new:
            new.write_text(text, encoding="utf-8")
    except OSError as error:
        if error.errno in {errno.EDQUOT, errno.EIO, errno.ENOSPC}:  # no fault of the path
            raise
        raise InvalidInputError(
            f"cannot write {str(path)!r}: {error.strerror}", hint="name a folder that exists and can be written to"
        ) from error
    return path


def _defaults(
    engine: Engine,
    scratch: Path,
    work_dir: str | os.PathLike[str] | None,
    options: Mapping[str, Any],
    more: Mapping[str, Any],
) -> dict[str, Any]:
    """Return the options every build has; for a custom engine, of those only what its callable takes."""
    folder = scratch if work_dir is None else Path(work_dir).absolute()
    if not folder.is_dir():
        raise InvalidInputError(f"work folder {str(work_dir)!r} does not exist", hint="make it, or name another")
    values: dict[str, Any] = {
        "file": str(folder / CONTAINERFILE_NAME),
        "context_path": str(scratch / "context"),
        **{name: str(scratch / name) for name in (engine.result_options if engine.makes_image(options) else ())},
        "pull": True,
        **more,
    }
    if engine.options:
        return values
    try:
        parameters = inspect.signature(engine.construct_build_args).parameters
    except (TypeError, ValueError):
        return values
    if any(parameter.kind is parameter.VAR_KEYWORD for parameter in parameters.values()):
        return values
    if "platform" in values and "platform" not in parameters:
        raise InvalidInputError(
            f"engine {engine.name!r} cannot be told a platform", hint="let construct_build_args take platform"
        )
    return {name: value for name, value in values.items() if name in {*parameters, "file", "context_path"}}


def _constructed(engine: Engine, options: Mapping[str, Any]) -> object:
    tokens = engine.construct_build_args(**options)
    return tokens if isinstance(tokens, (str, bytes)) else list(tokens)


def _in_time(engine: Engine, options: Mapping[str, Any]) -> object:
    """Return what a callable of somebody else's returns; one that hangs is left to a daemon thread."""
    answer = in_background(lambda: _constructed(engine, options), name=f"command-{engine.name}")
    try:
        return answer(engines.PROBE_TIMEOUT)
    except NoAnswerError:
        raise TritonBuildError(
            f"construct_build_args of engine {engine.name!r} gave no answer within {engines.PROBE_TIMEOUT:g} s",
            hint="mend the callable it was registered with",
        ) from None


def _command(engine: Engine, options: Mapping[str, Any]) -> list[str]:
    """Return the whole command of a build."""
    try:
        tokens = _constructed(engine, options) if engine.options else _in_time(engine, options)
    except TritonBuildError:
        raise
    except Exception as error:
        raise TritonBuildError(
            f"construct_build_args of engine {engine.name!r} raised {type(error).__name__}: {error}",
            hint="mend the callable it was registered with",
        ) from error
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise TritonBuildError(
            f"construct_build_args of engine {engine.name!r} returned {tokens!r}, not a list of str",
            hint="mend the callable it was registered with",
        )
    return [engine.binary, *engine.build_cmd, *tokens]


@attrs.frozen(kw_only=True)
class _Runner:
    """Runs an engine's commands one after the other, all into one log."""

    engine: Engine
    env: Mapping[str, str]
    log: Path
    echo: int | None
    timeout: float | None

    def run(self, argv: Sequence[str]) -> None:
        name = self.engine.name
        masked = mask(argv)
        facts: dict[str, Any] = {"argv": masked, "log": self.log}
        try:
            done = process.run(argv, log=self.log, env=self.env, timeout=self.timeout, echo=self.echo)
        except OSError as error:
            reason = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
            raise BuildFailedError(f"the build with engine {name!r} broke off: {reason}", **facts) from error
        facts.update(returncode=done.returncode, tail=done.output.splitlines())
        if done.timed_out:
            raise BuildTimeoutError(
                f"the build with engine {name!r} took longer than {self.timeout:g} s and was stopped",
                hint="allow more with --timeout",
                **facts,
            )
        if done.returncode:
            how = f"exit status {done.returncode}" if done.returncode > 0 else f"signal {-done.returncode}"
            raise BuildFailedError(f"the build with engine {name!r} failed with {how}", **facts)


def _facts(options: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the engine wrote into its metadata file; nothing where there is none."""
    try:
        found = json.loads(Path(options["metadata_file"]).read_bytes())
    except (KeyError, OSError, ValueError, TypeError):
        return {}
    return found if isinstance(found, dict) else {}


def _identity(
    engine: Engine, argv: Sequence[str], options: Mapping[str, Any], facts: Mapping[str, Any], runner: _Runner
) -> tuple[str, str]:
    """Return the image's id and manifest digest from the files the engine was told to write; never from its output."""
    metadata = options.get("metadata_file")
    image_id, digest = _digests(facts)
    if (iidfile := options.get("iidfile")) and not image_id:
        with contextlib.suppress(OSError):
            image_id = Path(iidfile).read_text(encoding="ascii", errors="replace").strip()
    image_id = image_id if ":" in image_id or not image_id else f"sha256:{image_id}"
    asked = any(str(path) in token for path in (metadata, iidfile) if path for token in argv)
    if (asked or engine.options) and engine.makes_image(options) and not is_digest(image_id):
        raise BuildFailedError(
            f"the build with engine {engine.name!r} ended with success, but without an image id",
            argv=mask(argv),
            returncode=0,
            log=runner.log,
            hint="it may have been stopped from outside; see the log",
        )
    if engine.id_query and (answer := engines.ask(engine, engine.id_query, image_id, options, runner.env)):
        return answer, image_id  # what the build wrote is the manifest's digest
    return image_id, digest


def _digests(facts: Mapping[str, Any]) -> tuple[str, str]:
    """Return image id and manifest digest out of BuildKit's metadata; empty where they are not told.

    An image in a storage that keeps no manifests has none: what is called its digest is its id, by either name.
    """
    digest = str(facts.get("containerimage.digest", ""))
    image_id = str(facts.get("containerimage.config.digest", "")) or digest
    told = "containerimage.descriptor" in facts or digest != image_id
    return image_id, digest if told else ""


def _places(facts: Mapping[str, Any]) -> tuple[str, ...]:
    """Return where the image is, out of the metadata of an engine that tells it there."""
    found = facts.get("tritonbuild.places")
    return tuple(map(str, found)) if isinstance(found, list) else ()


def _finish(engine: Engine, image_id: str, scratch: Path, options: Mapping[str, Any], runner: _Runner) -> str:
    """Run the commands that remain; return the manifest's digest if they tell it."""
    if engine.follow_up is None:
        return ""
    steps = engine.follow_up(image_id, scratch=scratch, **options)
    try:
        for tokens in steps:
            runner.run([engine.binary, *tokens])
    except OSError as error:
        reason = f"{error.strerror}: {error.filename}" if error.filename else str(error.strerror)
        raise BuildFailedError(f"the build with engine {engine.name!r} broke off: {reason}", log=runner.log) from error
    finally:
        if isinstance(steps, Generator):
            steps.close()
    if options.get("push") and engine.digest_query:
        places = engines.ask(engine, engine.digest_query, image_id, options, runner.env)
        return places.partition("\n")[0].rpartition("@")[2]
    with contextlib.suppress(OSError):
        return (scratch / "digest").read_text(encoding="ascii", errors="replace").strip()
    return ""


def _size(engine: Engine, image_id: str, options: Mapping[str, Any], env: Mapping[str, str]) -> int | None:
    """Return the image's size in the engine's storage, in bytes; None where it is not to be had."""
    answer = engines.ask(engine, engine.size_query, image_id, options, env) if engine.size_query else ""
    return int(answer) if answer.isdecimal() else None


@contextlib.contextmanager
def _scratch() -> Iterator[Path]:
    """Yield a private temporary folder that is gone afterwards."""
    folder = Path(tempfile.mkdtemp(prefix="tritonbuild-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _new_log(engine: Engine) -> Path:
    """Return the path of a new, empty log; the oldest beyond the newest 50 are removed."""
    folder = dirs.state() / "logs"
    try:
        folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        for old in sorted(folder.glob("*.log"))[: -_KEPT_LOGS or None]:
            old.unlink(missing_ok=True)
        stamp = time.strftime("%Y%m%d-%H%M%S")
        descriptor, path = tempfile.mkstemp(prefix=f"{stamp}-{engine.name}-", suffix=".log", dir=folder)
    except OSError as error:
        raise TritonBuildError(
            f"cannot keep a log in {str(folder)!r}: {error.strerror}", hint="set XDG_STATE_HOME to a folder of yours"
        ) from error
    os.close(descriptor)
    return Path(path)
