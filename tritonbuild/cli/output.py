"""Output of the command line: results to stdout, everything else to stderr, credentials masked."""

from __future__ import annotations

import sys
from collections.abc import Iterable, Sequence

from tritonbuild.masking import mask_text


def result(text: str) -> None:
    """Write a line of the result to stdout."""
    print(text, flush=True)  # noqa: T201 - the command line's output


def note(text: str, *, label: str = "tritonbuild") -> None:
    """Write a labeled line to stderr, with the credentials in it masked."""
    line(f"{label}: {mask_text(text)}")


def notes(texts: Iterable[str]) -> None:
    """Write labeled lines to stderr."""
    for text in texts:
        note(text)


def line(text: str) -> None:
    """Write a line to stderr as it is."""
    print(text, file=sys.stderr, flush=True)  # noqa: T201 - the command line's output


def table(rows: Sequence[Sequence[str]]) -> None:
    """Write rows to stdout, in columns as wide as their widest cell; the last column is not padded."""
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]) - 1)]
    for *cells, end in rows:
        result("  ".join((*(cell.ljust(width) for cell, width in zip(cells, widths, strict=True)), end)))
