"""What registries say of images, a few KB each: `python -m tritonbuild.oci.describe --platform=PLATFORM IMAGE...`.

For each image that can be read it prints a line of JSON, `image` and `config`. Nothing is tried twice.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from tritonbuild.errors import TritonBuildError
from tritonbuild.oci import images
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.transport import Settings


def main(argv: Sequence[str] | None = None) -> int:
    """Print what could be read; return the exit status."""
    parser = argparse.ArgumentParser(prog="python -m tritonbuild.oci.describe")
    parser.add_argument("--platform", required=True)
    parser.add_argument("images", nargs="+")
    given = parser.parse_args(argv)
    registries = Registries(Settings(tries=2))  # the first is refused where a token is wanted

    def describe(image: str) -> str:
        try:
            found = images.find(image, registries, platform=given.platform)
        except (TritonBuildError, OSError):
            return ""
        return json.dumps({"image": image, "config": dict(found.runtime)})

    with ThreadPoolExecutor(len(given.images)) as pool:
        for line in pool.map(describe, given.images):
            if line:
                print(line, flush=True)  # noqa: T201 - a process of its own
    return 0


if __name__ == "__main__":
    sys.exit(main())
