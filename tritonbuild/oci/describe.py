"""Image configurations from registries: `python -m tritonbuild.oci.describe --platform=PLATFORM IMAGE...`.

Prints a line of JSON, `image` and `config`, for each image that can be read in time; a few kilobytes are read of each.
"""

from __future__ import annotations

import argparse
import json
import queue
import sys
import threading
import time
from collections.abc import Sequence

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import images
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.transport import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Print the configurations that could be read; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tritonbuild.oci.describe")
    parser.add_argument("--platform", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="time limit for all images together")
    parser.add_argument("images", nargs="+")
    given = parser.parse_args(argv)
    registries = Registries(Settings(tries=2))  # a registry refuses the first request if it requires a token
    answers: queue.SimpleQueue[str] = queue.SimpleQueue()

    def describe(image: str) -> None:
        try:
            found = images.open_image(image, registries, platform=given.platform)
        except (TritonBuildError, OSError):
            answers.put("")
        else:
            answers.put(json.dumps({"image": image, "config": dict(found.runtime)}))

    end = time.monotonic() + given.seconds
    for image in given.images:
        # A daemon thread that waits for ever, say for a name server, does not keep the process alive.
        threading.Thread(target=describe, args=(image,), daemon=True).start()
    for _ in given.images:
        try:
            line = answers.get(timeout=max(0.0, end - time.monotonic()))
        except queue.Empty:
            break
        if line:
            print(line, flush=True)  # noqa: T201 - the output of this process
    return 0


if __name__ == "__main__":
    sys.exit(main())
