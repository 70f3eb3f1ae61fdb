"""Compression is deterministic: the bytes depend on the content alone."""

from __future__ import annotations

import os
import subprocess
import sys

COUNT = int(os.environ.get("TRITONBUILD_COMPRESSIONS", "40000"))
"""Compressions in one run; `make determinism` asks for a million."""


def test_addresses_and_threads_make_no_difference() -> None:
    done = subprocess.run(
        [sys.executable, "-m", "tests.layers.addresses", str(COUNT)],
        env={**os.environ, "MALLOC_MMAP_THRESHOLD_": "32768", "MALLOC_MMAP_MAX_": "10000000"},
        check=True,
        capture_output=True,
        text=True,
        timeout=120 + COUNT / 500,
    )
    count, addresses, wrong = map(int, done.stdout.split())
    assert wrong == 0
    assert count >= COUNT - 4
    assert addresses > COUNT / 4
