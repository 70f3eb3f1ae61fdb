"""The catalog's data files: loading them, and selecting the rows that hold for a release, flavor and architecture.

A row holds from release `from` to release `to`, both included; a bound that is missing is open, also towards releases
newer than the catalog. `gpu` (true or false) and `arch` (`x86_64` or `aarch64`) restrict it further.
"""

from __future__ import annotations

import functools
import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

Row = Mapping[str, Any]
"""One object of a data file. The tests verify the types of its values."""


@functools.cache
def load_table(name: str) -> Row:
    """Return the data file *name*: `releases`, `components` or `recipes`. Loaded once."""
    table: Row = json.loads(pkgutil.get_data(__package__, f"{name}.json") or b"")  # importlib.resources is slower
    return table


@attrs.frozen
class Scope:
    """The scope of a query: the release, flavor and architecture for which rows are selected."""

    version: str
    gpu: bool = True
    arch: str = "x86_64"

    def covers(self, row: Row) -> bool:
        """Tell whether *row* holds in the scope. Releases sort as text: both parts have two digits."""
        return bool(
            row.get("from", "") <= self.version <= row.get("to", "99.99")
            and row.get("gpu", self.gpu) == self.gpu
            and row.get("arch", self.arch) == self.arch
        )

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield those of *rows* that hold in the scope."""
        return (row for row in rows if self.covers(row))

    def value(self, rows: Iterable[Row]) -> Any:
        """Return the value of the first of *rows* that holds in the scope, or None."""
        return next((row["value"] for row in self.rows(rows)), None)

    def joined(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Return the concatenated values, which are lists, of all *rows* that hold in the scope."""
        return tuple(text for row in self.rows(rows) for text in row["value"])
