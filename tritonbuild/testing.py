"""Conformance checks, which the author of an engine runs against its registration.

    python -m tritonbuild.testing my_engine --plugin my_engines.py --base HOST/base:1 --registry HOST/scratch

Each check builds a small Containerfile through the engine's registration, as `tritonbuild.build` would, and raises an
`AssertionError` that names the difference. With pytest:

    import pytest
    from tritonbuild import testing

    @pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
    def test_conformance(check):
        check(testing.Subject(engine=tritonbuild.get_backend("my_engine"), base="registry.example/base:1"))

The base is any image with a POSIX shell that the engine can pull or already stores. With a registry, pushes are checked
too: what is requested is in the registry afterwards, or the build is refused before it runs.
"""

from __future__ import annotations

import os
import secrets
import shutil
import signal
import sys
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any, Final, NoReturn

import attrs
import psutil
import typer

from tritonbuild import backends, flags
from tritonbuild.backends import _plugins, register_backend
from tritonbuild.engine import Engine, Health, probe
from tritonbuild.errors import BuildFailedError, BuildTimeoutError, InvalidInputError, TritonBuildError
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.registry import Registries
from tritonbuild.reference import is_digest, parse_reference
from tritonbuild.run_build import BuildResult, Job, run

TAG: Final = "tritonbuild-conformance"


@attrs.frozen(kw_only=True)
class Subject:
    """The engine under test, and the image that the checks build on.

    Attributes:
        engine: The engine's registration.
        base: An image with a POSIX shell that the engine can pull.
        options: Options that every build needs where the engine runs, for example `{"pull": False}`.
        registry: A registry, or a namespace in one, that the engine and this process can push to and read; empty if
            pushes are not to be checked.
    """

    engine: Engine
    base: str
    options: Mapping[str, Any] = attrs.field(factory=dict)
    registry: str = ""

    def build(self, *lines: str, tags: tuple[str, ...] = (TAG,), timeout: float = 300, **options: Any) -> BuildResult:
        """Build a Containerfile of these lines on the base."""
        text = "\n".join((f"FROM {self.base}", *lines, ""))
        given = {**self.options, **options}
        return run(Job(engine=self.engine, document=text, tags=tags, timeout=timeout, options=given))


def _require(truth: object, otherwise: str) -> None:
    if not truth:
        raise AssertionError(otherwise)


def healthy(subject: Subject) -> None:
    """The probe reports in time that the engine can build."""
    answer = probe(subject.engine)
    _require(isinstance(answer, Health), f"the probe returned {answer!r}")
    _require(answer.ok, f"the engine is not healthy: {answer.reason}")


def equal_requests_give_equal_commands(subject: Subject) -> None:
    """`construct_build_args` returns the same list of str each time, and does not change its arguments."""
    given = {"tag": (TAG,), "file": "/folder/some-file", "context_path": "/some-context", **subject.options}
    before = dict(given)
    first, second = (list(subject.engine.construct_build_args(**given)) for _ in range(2))
    _require(first == second, f"{first} differs from {second}")
    _require(all(isinstance(token, str) for token in first), f"{first} has tokens that are not str")
    _require(given == before, "the options were changed")
    _require(any("some-file" in token for token in first), f"{first} does not name the Containerfile some-file")
    _require(any("/some-context" in token for token in first), f"{first} does not name the context /some-context")


def builds(subject: Subject) -> None:
    """A successful build returns, with an ID if the engine reports one, and leaves no file in the temporary folder."""
    folder = Path(tempfile.gettempdir())
    before = {entry.name for entry in folder.glob("tritonbuild-*")}
    result = subject.build("RUN true")
    _require(not result.image_id or is_digest(result.image_id), f"the image id is {result.image_id!r}")
    _require(result.log.exists(), "the build has no log")
    left = {entry.name for entry in folder.glob("tritonbuild-*")} - before
    _require(not left, f"{sorted(left)} is left in {folder}")


def takes_two_tags(subject: Subject) -> None:
    """An image can have two names."""
    subject.build("RUN true", tags=(f"{TAG}:1", f"{TAG}:2"))


def a_step_that_fails_is_an_error(subject: Subject) -> None:
    """A failing `RUN` fails the build, and its output is among the last lines."""
    word = secrets.token_hex(8)
    error = _failure(subject, f"RUN echo {word} && exit 7")
    _require(error.returncode, f"the return code is {error.returncode}")
    _require(error.log and word in error.log.read_text(errors="replace"), "the log lacks the output of the step")
    _require(error.tail, "the error has no last lines of output")


def a_base_that_is_missing_is_an_error(subject: Subject) -> None:
    """`FROM` with an image that does not exist fails the build."""
    missing = attrs.evolve(subject, base=f"{subject.base.rpartition(':')[0]}:{secrets.token_hex(8)}")
    _failure(missing, "RUN true")


def a_time_out_leaves_nothing_running(subject: Subject) -> None:
    """A build that is stopped in the middle of a `RUN` leaves no process behind."""
    number = f"{86000 + secrets.randbelow(999)}.{secrets.randbelow(10**6):06}"
    try:
        subject.build(f"RUN sleep {number}", timeout=10)
    except BuildTimeoutError:
        pass
    else:
        raise AssertionError("a step that sleeps for a day did not last 10 s")
    _require_end(number)


def an_interrupt_leaves_nothing(subject: Subject) -> None:
    """Ctrl-C in the middle of a `RUN` ends the build, with no process and no file in the temporary folder left."""
    folder = Path(tempfile.gettempdir())
    before = {entry.name for entry in folder.glob("tritonbuild-*")}
    number = f"{86000 + secrets.randbelow(999)}.{secrets.randbelow(10**6):06}"
    handler = signal.signal(signal.SIGINT, signal.default_int_handler)
    interrupt = threading.Timer(10, os.kill, (os.getpid(), signal.SIGINT))
    interrupt.start()
    try:
        subject.build(f"RUN sleep {number}", timeout=60)
    except KeyboardInterrupt:
        pass
    else:
        raise AssertionError("the build went on after an interrupt")
    finally:
        interrupt.cancel()
        signal.signal(signal.SIGINT, handler)
    _require_end(number)
    left = {entry.name for entry in folder.glob("tritonbuild-*")} - before
    _require(not left, f"{sorted(left)} is left in {folder}")


def a_push_is_in_the_registry(subject: Subject) -> None:
    """After a push each name is in the registry, with the digest that the result has; or a push is refused."""
    if not subject.registry:
        return
    tags = tuple(f"{subject.registry}/{TAG}:{secrets.token_hex(8)}" for _ in range(2))
    try:
        result = subject.build("LABEL a=b", tags=tags, push=True)
    except InvalidInputError:
        return
    for tag in tags:
        reference = parse_reference(tag)
        try:
            found, _ = Registries(TransportSettings()).target(reference).manifest(reference.tag)
        except TritonBuildError as error:
            raise AssertionError(f"the build ended with success, but {tag} is not in the registry: {error}") from error
        _require(
            result.digest in {"", found.digest},
            f"the digest of {tag} is {found.digest}, and the result's {result.digest}",
        )


def an_archive_is_written(subject: Subject) -> None:
    """`output` with `type=oci` leaves an OCI archive of one image in the file; or it is refused."""
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "image.tar"
        try:
            subject.build("LABEL a=b", output=f"type=oci,dest={file}")
        except InvalidInputError:
            return
        _require(file.is_file(), f"the build ended with success, but without the archive {file}")
        with tarfile.open(file) as archive:
            names = {name.removeprefix("./") for name in archive.getnames()}
        _require({"index.json", "oci-layout"} <= names, f"the archive has {sorted(names)[:9]}, not an OCI layout")
        _require([entry.name for entry in Path(folder).iterdir()] == [file.name], "another file is beside the archive")


def global_options_reach_every_command(subject: Subject) -> None:
    """Each command of a build has the flags of the engine's own options, except a question for the version."""
    engine = subject.engine
    name = next((name for name in _HARMLESS if name in engine.global_options), "")
    program = shutil.which(engine.binary)
    if not name or not program:
        return
    with tempfile.TemporaryDirectory() as folder:
        calls, wrapper = Path(folder) / "calls", Path(folder) / Path(engine.binary).name
        wrapper.write_text(f"""#!/bin/sh\necho "$*" >> '{calls}'\nexec '{program}' "$@"\n""")
        wrapper.chmod(0o755)
        wrapped = register_backend(f"{engine.name}-wrapped", like=engine.name, binary=str(wrapper))
        try:
            attrs.evolve(subject, engine=wrapped).build("RUN true", **{name: _HARMLESS[name]})
        finally:
            backends.unregister_backend(wrapped.name)
        flag = " ".join(flags.render(engine.global_options, {name: _HARMLESS[name]}, engine=engine.name))
        without = [line for line in calls.read_text().splitlines() if flag not in line and line != "--version"]
    _require(not without, f"{flag} is missing in {without}")


_HARMLESS: Final[Mapping[str, Any]] = {"log_level": "error", "debug": True}
"""Options of programs that change nothing but their messages."""

CHECKS: Final[tuple[Callable[[Subject], None], ...]] = (
    healthy,
    equal_requests_give_equal_commands,
    builds,
    takes_two_tags,
    a_step_that_fails_is_an_error,
    a_base_that_is_missing_is_an_error,
    a_time_out_leaves_nothing_running,
    an_interrupt_leaves_nothing,
    a_push_is_in_the_registry,
    an_archive_is_written,
    global_options_reach_every_command,
)
"""Every check: call it with a `Subject`; it raises if the engine does not conform."""


def _failure(subject: Subject, *lines: str) -> BuildFailedError:
    try:
        subject.build(*lines)
    except BuildFailedError as error:
        return error
    raise AssertionError("the build should have failed")


def _require_end(number: str) -> None:
    """Require that the `sleep` of that number of seconds ends soon."""
    deadline = time.monotonic() + 20
    while _running(number):
        _require(time.monotonic() < deadline, f"sleep {number} still runs")
        time.sleep(0.1)


def _running(text: str) -> bool:
    this = psutil.Process()
    ours = {this.pid, *(parent.pid for parent in this.parents())}
    return any(
        text in " ".join(found.info["cmdline"] or ())
        for found in psutil.process_iter(["cmdline", "status"])
        if found.pid not in ours and found.info["status"] != psutil.STATUS_ZOMBIE
    )


def _run(
    engine: Annotated[str, typer.Argument(help="The engine's name.")],
    *,
    base: Annotated[str, typer.Option(help="An image with a shell that the engine can pull.")],
    plugin: Annotated[list[str], typer.Option(help="A module or .py file that registers the engine.")] = [],  # noqa: B006
    registry: Annotated[str, typer.Option(help="A registry, or a namespace in one, for the checks of pushes.")] = "",
) -> None:
    """Run every check against ENGINE; exit with 1 if one fails."""
    for name in plugin:
        _plugins.load(name)
    subject = Subject(engine=backends.get_backend(engine), base=base, registry=registry)
    failed = 0
    for check in CHECKS:
        try:
            check(subject)
        except (AssertionError, TritonBuildError) as error:  # noqa: PERF203 - each check stands for itself
            failed += 1
            print(f"FAILED  {check.__name__}: {error}")  # noqa: T201
        else:
            print(f"passed  {check.__name__}")  # noqa: T201
    print(f"{len(CHECKS) - failed} passed, {failed} failed")  # noqa: T201
    raise typer.Exit(1 if failed else 0)


def main() -> NoReturn:
    """Run the checks from the command line."""
    try:
        typer.run(_run)
    except TritonBuildError as error:
        sys.exit(f"tritonbuild: {error}\nhint: {error.hint}")
    sys.exit(0)


if __name__ == "__main__":
    main()
