"""The outcome of a composition of file trees, in the form that the scripts and the embedded planner share."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TypeAlias

import attrs

Tree: TypeAlias = dict[str, bytes | str]
"""Files by path: the content of each, or as a text the target of a symbolic link."""


@attrs.frozen(kw_only=True)
class Outcome:
    """The outcome of a composition.

    Attributes:
        files: The canonical paths of the files that the runtime adds; names of folders are left out.
        links: The targets of the links among them.
        folders: The folders that are added to the loader's configuration.
        opened: Libraries that are brought because a file names them, each with that file.
        messages: The lines of the check.
        passed: Whether the check passed.
    """

    files: frozenset[str] = frozenset()
    links: Mapping[str, str] = attrs.field(factory=dict)
    folders: frozenset[str] = frozenset()
    opened: frozenset[tuple[str, str]] = frozenset()
    messages: tuple[str, ...] = ()
    passed: bool

    def differences(self, other: Outcome) -> dict[str, tuple[object, object]]:
        """Return the fields in which two outcomes differ, with both values."""
        these, those = (attrs.asdict(one.comparable()) for one in (self, other))
        return {name: (value, those[name]) for name, value in these.items() if value != those[name]}

    def comparable(self) -> Outcome:
        """Return the outcome without what only one of the two reports.

        A plan that fails has no files and no excused libraries.
        """
        lines = {line.strip().replace("\1", "\n") for line in self.messages}
        if self.passed:
            return attrs.evolve(self, messages=tuple(sorted(lines)))
        return Outcome(messages=tuple(sorted(line for line in lines if not line.endswith(EXCUSED))), passed=False)


EXCUSED = "which the full image lacks too"
