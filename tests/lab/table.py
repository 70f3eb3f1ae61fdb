"""docs/registries.md: its table of the odd registry's habits and the clients' outcomes, written and read."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.lab.clients import CLIENTS, version
from tests.lab.habits import HABITS

PAGE: Final = Path(__file__).parents[2] / "docs" / "registries.md"
_BEGIN: Final = "<!-- The tables below are written by `python -m tests.lab`, which runs each client. -->\n"
_VERSIONS: Final = re.compile(r"crane ([\d.]+\d), skopeo ([\d.]+\d)")


def rows() -> dict[str, dict[str, str]]:
    """Return habit -> client -> outcome, as the page has them."""
    found = {}
    for line in PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2].splitlines():
        cells = [cell.strip() for cell in line.strip("|").split("|")]
        if len(cells) == 1 + len(CLIENTS) and cells[1] not in CLIENTS and not cells[1].startswith("-"):
            found[cells[0]] = dict(zip(CLIENTS, cells[1:], strict=True))
    return found


def versions() -> dict[str, str]:
    """Return the versions of crane and skopeo that the page speaks of."""
    found = _VERSIONS.search(PAGE.read_text(encoding="utf-8").partition(_BEGIN)[2])
    return dict(zip(("crane", "skopeo"), found.groups(), strict=True)) if found else {}


def write(outcomes: Mapping[str, Mapping[str, str]]) -> None:
    """Replace the tables of the page."""
    lines = [f"\nWith crane {version('crane')}, skopeo {version('skopeo')}.\n"]
    for group, habits in HABITS.items():
        lines += ["", f"### {group}", "", f"| the registry's habit | {' | '.join(CLIENTS)} |"]
        lines += [f"|---|{'---|' * len(CLIENTS)}"]
        lines += [f"| {name} | {' | '.join(outcomes[name][client] for client in CLIENTS)} |" for name in habits]
    head = PAGE.read_text(encoding="utf-8").partition(_BEGIN)[0]
    PAGE.write_text(head + _BEGIN + "\n".join(lines).replace("\n\n\n", "\n\n") + "\n", encoding="utf-8")
