"""The data files, and how a row that holds for some releases is chosen.

A row holds from release `from` to release `to`, both included; a bound that is missing is open, towards releases
that are newer than the catalog too. `gpu` (true or false) and `arch` (`x86_64` or `aarch64`) restrict it further.
"""

from __future__ import annotations

import functools
import json
import pkgutil
from collections.abc import Iterable, Iterator, Mapping
from typing import Any

import attrs

Row = Mapping[str, Any]
"""One object of a data file. Its values are what the tests say they are."""


@functools.cache
def read(name: str) -> Row:
    """Return the data file *name*: `releases`, `components` or `recipes`. Read once."""
    table: Row = json.loads(pkgutil.get_data(__package__, f"{name}.json") or b"")  # importlib.resources is slower
    return table


@attrs.frozen
class Spot:
    """Where a row has to hold: a release, a flavour and an architecture."""

    version: str
    gpu: bool = True
    arch: str = "x86_64"

    def covers(self, row: Row) -> bool:
        """Tell whether *row* holds here. Releases sort as texts do: both parts have two digits."""
        return bool(
            row.get("from", "") <= self.version <= row.get("to", "99.99")
            and row.get("gpu", self.gpu) == self.gpu
            and row.get("arch", self.arch) == self.arch
        )

    def rows(self, rows: Iterable[Row]) -> Iterator[Row]:
        """Yield those of *rows* that hold here."""
        return (row for row in rows if self.covers(row))

    def value(self, rows: Iterable[Row]) -> Any:
        """Return the value of the first of *rows* that holds here, or None."""
        return next((row["value"] for row in self.rows(rows)), None)

    def joined(self, rows: Iterable[Row]) -> tuple[str, ...]:
        """Return the values of all *rows* that hold here, which are lists, one after the other."""
        return tuple(text for row in self.rows(rows) for text in row["value"])
