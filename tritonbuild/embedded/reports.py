"""The reports of the embedded engine: its result as files and on stdout, errors on stderr."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from pathlib import Path

from tritonbuild.embedded.builder import Built
from tritonbuild.errors import BuildFailedError, TritonBuildError, origin_of


def show(error: TritonBuildError) -> int:
    """Print an error; return its exit code."""
    lines = [f"error: {error}"]
    lines += [f"       {line}" for line in error.tail] if isinstance(error, BuildFailedError) else []
    lines += [f"hint: {error.hint}"] if error.hint else []
    print("\n".join(lines), file=sys.stderr)  # noqa: T201 - a process of its own
    return error.exit_code


def unexpected(error: Exception) -> TritonBuildError:
    """Return the error for an input that no reader refused; it names the function that failed over it."""
    return TritonBuildError(
        f"a source image or another input is damaged: unexpected {type(error).__name__}{origin_of(error)}: {error}",
        hint="check the sources with another program; if they are not damaged, please report this",
    )


def write(path: str, content: str) -> None:
    """Write a text to the file *path*."""
    Path(path).write_text(content, encoding="utf-8")


def result(options: argparse.Namespace, built: Built, locations: Sequence[str]) -> None:
    """Write the files that the options name, and print the digest of the manifest."""
    image = built.image
    if options.iidfile:
        write(options.iidfile, image.config.digest)
    if options.metadata_file:
        facts = {
            "containerimage.config.digest": image.config.digest,
            "containerimage.descriptor": image.manifest.document(),
            "containerimage.digest": image.manifest.digest,
            "image.name": ",".join(options.tag),
            "tritonbuild.moved": built.moved,
            "tritonbuild.locations": locations,
            "tritonbuild.size": sum(layer.size for layer in image.layers),
        }
        write(options.metadata_file, json.dumps(facts))
    print(image.manifest.digest)  # noqa: T201 - a process of its own
