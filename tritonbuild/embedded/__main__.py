"""The process of the embedded engine: `python -m tritonbuild.embedded --file=REQUEST --tag=NAME ...`."""

from __future__ import annotations

import gc

if __name__ == "__main__":
    # Imports and planning create a hundred thousand objects that stay; a search for cycles among them finds none.
    gc.disable()

import argparse
import contextlib
import json
import os
import re
import shutil
import signal
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import FrameType
from typing import Any, NoReturn

import attrs

from tritonbuild import dirs, process, threads
from tritonbuild.embedded import arguments, memory, reports, sbom
from tritonbuild.embedded.builder import Builder, Built
from tritonbuild.embedded.request import SCRATCH, Request, from_document
from tritonbuild.errors import InvalidInputError, TritonBuildError, one_line, reason_of
from tritonbuild.layers.cache import Cache, default_folder
from tritonbuild.masking import mask_text
from tritonbuild.oci.archives import ArchiveTarget
from tritonbuild.oci.descriptors import from_json
from tritonbuild.oci.files import remove_unfinished
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.layouts import LayoutTarget
from tritonbuild.oci.push import Push
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.targets import Target
from tritonbuild.reference import parse_platform, parse_reference, parse_registry

_LOAD_TIMEOUT = 1800.0
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""The signals that end a build, also where they were ignored before, as SIGINT in the background jobs of a shell."""
_LONGEST_END = 4.0
"""Seconds from a signal to the end of the process; tritonbuild kills it after eight."""
_POLL = 1.0


def store() -> Path:
    """Return the layout for images without another target."""
    return dirs.data() / "images"


def main(argv: Sequence[str] | None = None) -> int:
    """Run the engine; return its exit status."""
    for number in _SIGNALS:
        if number != signal.SIGHUP or signal.getsignal(number) != signal.SIG_IGN:  # as it is under nohup
            signal.signal(number, _stop)
    threading.Thread(target=_watch, args=(os.getppid(),), daemon=True).start()
    memory.keep_freed()
    try:
        _run(arguments.parser().parse_args(argv))
    except TritonBuildError as error:
        return reports.show(error)
    except OSError as error:
        return reports.show(TritonBuildError(reason_of(error)))
    except KeyboardInterrupt:
        # The signal may have come before the context of a new folder was entered.
        remove_unfinished()
        return 130
    except Exception as error:  # noqa: BLE001 - the last catch: a traceback helps no user
        return reports.show(reports.unexpected(error))
    return 0


def _stop(_number: int, _frame: FrameType | None) -> NoReturn:
    """End as after an interrupt, so that incomplete files are removed."""
    for number in _SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    threads.stop()
    # A thread that waits for a registry notices the stop only when an answer comes.
    timer = threading.Timer(_LONGEST_END, _give_up)
    timer.daemon = True
    timer.start()
    raise KeyboardInterrupt


def _give_up() -> None:
    remove_unfinished()
    os._exit(130)


def _watch(parent: int) -> None:
    """End this process when its parent ended, killed for example."""
    while os.getppid() == parent:
        time.sleep(_POLL)
    os.kill(os.getpid(), signal.SIGTERM)


def _run(options: argparse.Namespace) -> None:
    request = _request(options)
    outputs = [arguments.output(text) for text in options.output]
    dirs.temporary()
    folder = Path(options.cache_dir) if options.cache_dir else default_folder()

    def say(line: str) -> None:
        if not options.quiet:
            # One write for each line, since several threads report progress.
            sys.stderr.write(f"{mask_text(line)}\n")
            sys.stderr.flush()

    registries = Registries(
        TransportSettings(
            insecure=frozenset(map(parse_registry, options.insecure_registry)),
            mirrors=arguments.mirrors(options.mirror),
            credential_files=(Path(options.authfile),) if options.authfile else None,
            ca_file=options.ca_file,
            tries=max(1, options.retry),
            report=say,
        )
    )
    annotations = arguments.pairs(options.annotation, what="an annotation")

    with (
        # A killed process leaves the folder behind, so only builds with wheels create one.
        tempfile.TemporaryDirectory(prefix="tritonbuild-") if request.wheels else contextlib.nullcontext() as scratch,
        Cache(folder, largest=arguments.size(options.cache_size)) as cache,
    ):
        builder = Builder(
            cache,
            registries,
            say=say,
            compression=options.compression,
            use_cache=not options.no_cache,
            context=Path(options.context) if options.context else None,
            scratch=Path(scratch) if scratch else None,
        )
        if options.plan_file:
            from tritonbuild.embedded import plan_file  # noqa: PLC0415 - builds do not need it

            planned = builder.plan(request, *builder.sources(request), created=_epoch())
            reports.write(options.plan_file, json.dumps(plan_file.document(request, planned, builder.context)))
            return
        with _targets(options, outputs, registries) as (targets, archive):
            built = builder.build(request, targets, options.tag, annotations=annotations, created=_epoch())
            if options.sbom:
                _attach(built, targets)
            if archive is not None:
                _load(options.load, archive, say)
            kept = [target for target in targets if not (isinstance(target, ArchiveTarget) and target.path == archive)]
            locations = [one for target in kept for one in target.locations(options.tag)]
        reports.result(options, built, locations)


def _request(options: argparse.Namespace) -> Request:
    try:
        content = Path(options.file).read_bytes()
    except OSError as error:
        raise InvalidInputError(
            f"cannot read {options.file!r}: {error.strerror}", hint="pass the request in --file"
        ) from error
    request = from_document(from_json(content, what=options.file))
    sources = arguments.pairs(options.source, what="a source")
    if not sources.keys() <= {"full", "base", "min"}:
        raise InvalidInputError(f"unknown source among {', '.join(sources)}", hint="write full=IMAGE or base=IMAGE")
    if request.base == SCRATCH and sources.keys() - {"full"}:
        raise InvalidInputError("an image on scratch has no base image to replace", hint="omit the source of the base")
    labels = {**request.labels, **arguments.pairs(options.label, what="a label")}
    return attrs.evolve(
        request,
        full=sources.get("full", request.full),
        base=sources.get("base", sources.get("min", request.base)),
        platform=parse_platform(options.platform) if options.platform else request.platform,
        labels=labels,
    )


def _epoch() -> int | None:
    text = os.environ.get("SOURCE_DATE_EPOCH", "")
    if text and not re.fullmatch("[0-9]{1,12}", text):
        raise InvalidInputError(f"SOURCE_DATE_EPOCH is {text!r}, not seconds since 1970", hint="unset it")
    return int(text) if text else None


@contextlib.contextmanager
def _targets(
    options: argparse.Namespace, outputs: Sequence[tuple[str, Path | None]], registries: Registries
) -> Iterator[tuple[list[Target], Path | None]]:
    """Yield the targets of the image, and the archive that the program in --load reads."""
    with contextlib.ExitStack() as stack:
        targets: list[Target] = []

        def archive(path: Path) -> None:
            one = ArchiveTarget(path)
            stack.callback(one.close)
            targets.append(one)

        for kind, path in outputs:
            if path is None:
                continue
            if kind == "oci-layout" or (kind == "oci" and path.is_dir()):
                targets.append(LayoutTarget(path))
            else:
                archive(path)
        if options.push or any(kind == "registry" for kind, _ in outputs):
            if not options.tag:
                raise InvalidInputError("a push needs a tag that names the registry", hint="add --tag")
            targets += _pushes(options.tag, registries)
        loaded = None
        if options.load:
            if shutil.which(options.load) is None:
                raise InvalidInputError(
                    f"{options.load} is not installed, so it cannot load the image", hint="omit load"
                )
            loaded = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="tritonbuild-"))) / "image.tar"
            archive(loaded)
        if not targets:
            targets.append(LayoutTarget(store()))
        yield targets, loaded


def _pushes(tags: Sequence[str], registries: Registries) -> list[Push]:
    """Return the repositories of *tags*, checked before the sources are read, which may take minutes."""
    names = dict.fromkeys(parse_reference(tag).name for tag in tags)
    pushes = [Push(registries.target(parse_reference(name))) for name in names]
    for push in pushes:
        push.check()
    return pushes


def _attach(built: Built, targets: Sequence[Target]) -> None:
    content = sbom.document(built.plan, built.image)
    for target in targets:
        attach = getattr(target, "attach", None)
        if attach is not None:
            attach(*sbom.referrer(built.image, content))


def _load(engine: str, archive: Path, say: Any) -> None:
    done = process.capture([engine, "load", "--input", str(archive)], timeout=_LOAD_TIMEOUT)
    if not done.ok:
        reason = one_line(done.error.strip() or done.output.strip())[-300:]
        raise TritonBuildError(f"{engine} cannot load the image: {reason}", hint=f"check that {engine} works")
    say(done.output.strip())


if __name__ == "__main__":
    if status := main():
        sys.exit(status)
    sys.stdout.flush()
    sys.stderr.flush()
    # The work is complete; leaving without cleanup of the interpreter's memory saves time.
    os._exit(0)
