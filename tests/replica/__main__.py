"""Create the source images and print their sizes: `python -m tests.replica [--cache DIR] [--push HOST:PORT]`."""

import argparse
import sys
from pathlib import Path

from tests.replica import ReplicaError, make

MEGABYTE = 1_000_000


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.replica", description="Make the source images.")
    parser.add_argument("--cache", type=Path, help="folder to keep them in (default: the user's cache folder)")
    parser.add_argument("--push", metavar="HOST:PORT", help="push them to this registry, over plain HTTP")
    arguments = parser.parse_args()
    try:
        replica = make(arguments.cache)
        references = replica.push(arguments.push) if arguments.push else replica.references
    except ReplicaError as error:
        sys.exit(f"error: {error}")
    except KeyboardInterrupt:
        sys.exit(130)
    for name, image in replica.images.items():
        sizes = f"{image.packed / MEGABYTE:.0f} MB packed, {image.unpacked / MEGABYTE:.0f} MB unpacked"
        print(f"{name:8}  {references[name]}  {image.digest}  {sizes}")


if __name__ == "__main__":
    main()
