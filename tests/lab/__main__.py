"""Run the clients against the habits, and write docs/registries.md: `python -m tests.lab [HABIT...]`."""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

from tests import services
from tests.lab import table
from tests.lab.clients import CLIENTS, GOOD, outcome
from tests.lab.habits import ROWS
from tests.tiny import images as tiny


def main() -> int:
    """Run the habits that the arguments name, or all of them and write the page."""
    outcomes: dict[str, dict[str, str]] = {}
    with tempfile.TemporaryDirectory(prefix="tritonbuild-lab-") as scratch:
        root = Path(scratch)
        layout = tiny.make(root / "layout", size=10_000)
        certificate = services.certificate(root / "certificate", "IP:0.0.0.0")
        for number, name in enumerate(sys.argv[1:] or ROWS):
            outcomes[name] = {}
            for client in CLIENTS:
                folder = root / f"{number}-{client}"
                folder.mkdir()
                outcomes[name][client], output = outcome(client, ROWS[name], layout, folder, certificate)
                if client == "tritonbuild" and outcomes[name][client] not in GOOD:
                    print(f"{name}: {outcomes[name][client]}: {output}", file=sys.stderr)
            print(f"{name}: {', '.join(outcomes[name].values())}", flush=True)
    if not sys.argv[1:]:
        table.write(outcomes)
    return 0


if __name__ == "__main__":
    sys.exit(main())
