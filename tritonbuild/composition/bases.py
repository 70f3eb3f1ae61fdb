"""The kinds of base that need no reference, and the files of full that take the place of a base."""

from __future__ import annotations

import posixpath
from collections.abc import Mapping, Sequence
from typing import Final

from tritonbuild import fragment
from tritonbuild.errors import InvalidInputError
from tritonbuild.wellknown import SERVER

MIN: Final = "min"
"""The release's min image, which is the default."""
SLIM: Final = "slim"
"""The plain Ubuntu that the release is built on."""
SCRATCH: Final = "scratch"
"""No base: an image without files."""
BASES: Final = (MIN, SLIM, SCRATCH)

GPU_VARIABLES: Final[Mapping[str, str]] = {
    "NVIDIA_VISIBLE_DEVICES": "all",
    "NVIDIA_DRIVER_CAPABILITIES": "compute,utility,video",
}
"""Variables that make the container runtime provide GPUs and the driver. NVIDIA's images have them, others do not."""

SEARCH_PATH: Final = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
"""The PATH of Ubuntu's images: every base has its entries, and scratch gets them behind the server's folder."""

SERVER_PROGRAM: Final = f"{SERVER}/bin/tritonserver"
"""The entry point on scratch, where no shell is for the release's script."""

SYSTEM_FILES: Final = ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1", "/etc/ld.so.conf")
"""Files of full for scratch: the loader and its configuration."""

SYSTEM_LIBRARIES: Final = ("libnss_*.so.2", "libgcc_s.so.1")
"""Libraries of full for scratch, which the C library opens by name: name services, and the unwinder for the end of
threads. The C library is found by the loader."""

SHELL_FILES: Final = ("/bin/bash", "/bin/sh", "/usr/bin/env", "/sbin/ldconfig", "/sbin/ldconfig.real")
"""Programs of full for scratch, for the python backend: it starts the interpreter's process with bash and env, and
Python runs sh for `shell=True` and ldconfig for `ctypes.util.find_library`."""


def check_scratch(
    runtime: str, apt: Sequence[str], instructions: str, entrypoint: Sequence[str], *, clients: bool
) -> None:
    """Raise an InvalidInputError if something of a composition has to be run in its image, which has no base.

    Args:
        runtime: The runtime.
        apt: The packages of the base's distribution.
        instructions: The instructions of the user's fragment.
        entrypoint: The user's entry point; empty without one.
        clients: Whether the composition has the clients.
    """
    program = entrypoint[0] if entrypoint else ""
    for what, wanted in {
        "--runtime install": runtime == "install",
        "--apt": bool(apt),
        "the feature 'clients'": clients,
        "RUN in a fragment": any(name == "RUN" for name, _ in fragment.instructions(instructions)),
        f"the entry point {program!r}": posixpath.basename(program) == "nvidia_entrypoint.sh",
    }.items():
        if wanted:
            raise InvalidInputError(
                f"--base scratch does not support {what}: the image has no programs to run it with",
                hint="use --base slim",
            )
