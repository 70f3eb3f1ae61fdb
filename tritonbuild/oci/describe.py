"""Image configurations from registries: `python -m tritonbuild.oci.describe --platform=PLATFORM IMAGE...`.

Prints a line of JSON, `image` and `config`, for each image that can be read in time; a few kilobytes are read of each.
"""

from __future__ import annotations

import argparse
import contextlib
import functools
import json
import sys
import time
from collections.abc import Sequence

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import images
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.registry import Registries
from tritonbuild.threads import in_background


def main(argv: Sequence[str] | None = None) -> int:
    """Print the configurations that could be read; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tritonbuild.oci.describe")
    parser.add_argument("--platform", required=True)
    parser.add_argument("--seconds", type=float, required=True, help="time limit for all images together")
    parser.add_argument("images", nargs="+")
    given = parser.parse_args(argv)
    registries = Registries(TransportSettings(tries=2))  # a registry refuses the first request if it requires a token

    def describe(image: str) -> str:
        found = images.open_image(image, registries, platform=given.platform)
        return json.dumps({"image": image, "config": dict(found.runtime)})

    end = time.monotonic() + given.seconds
    # A daemon thread that waits for ever, say for a name server, does not keep the process alive.
    waits = [in_background(functools.partial(describe, image), name="describe") for image in given.images]
    for wait in waits:
        with contextlib.suppress(TritonBuildError, OSError):  # NoAnswerError is an OSError
            print(wait(max(0.0, end - time.monotonic())), flush=True)  # noqa: T201 - the output of this process
    return 0


if __name__ == "__main__":
    sys.exit(main())
