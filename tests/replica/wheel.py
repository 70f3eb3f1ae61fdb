"""The real server from NVIDIA's wheel on PyPI, with the names and run paths that it has in NVIDIA's images.

auditwheel gave each library in the wheel a mangled name (`libcudart-09529672.so.12.6.77`) and an RPATH to it. This
module restores the sonames, which Debian's packages and the CUDA base have.
"""

import hashlib
import re
import sys
import zipfile
from pathlib import Path
from typing import Final

from tests.replica import programs
from tests.replica.errors import ReplicaError

VERSION: Final = "0.7.0"
TAG: Final = "manylinux_2_35_x86_64"
NAME: Final = f"nvidia_pytriton-{VERSION}-py3-none-{TAG}.whl"
SHA256: Final = "21f063ff93bb426d0c06b7a55e7eb9efcfe62c0dddd9a908e9877e18710128df"

SONAMES: Final = {
    "libarchive": "libarchive.so.13",
    "libb64": "libb64.so.0d",
    "libcrypto": "libcrypto.so.3",
    "libcudart": "libcudart.so.12",
    "libcurl": "libcurl.so.4",
    "libdcgm": "libdcgm.so.3",
    "libnuma": "libnuma.so.1",
    "libssl": "libssl.so.3",
    "libtritonserver": "libtritonserver.so",
    "libxml2": "libxml2.so.2",
}

RUN_PATHS: Final = {
    b"${ORIGIN}/../lib:$ORIGIN/../../../nvidia_pytriton.libs": b"$ORIGIN/../lib",
    b"$ORIGIN/../../../../nvidia_pytriton.libs": b"$ORIGIN",
    b"nvidia_pytriton.libs": b"$ORIGIN",
}

MEMBERS: Final = {
    "pytriton/tritonserver/bin/tritonserver": "tritonserver",
    "pytriton/tritonserver/backends/python/libtriton_python.so": "libtriton_python.so",
    "pytriton/tritonserver/backends/python/triton_python_backend_utils.py": "triton_python_backend_utils.py",
    "pytriton/tritonserver/caches/local/libtritoncache_local.so": "libtritoncache_local.so",
    "pytriton/tritonserver/python_backend_stubs/3.11/triton_python_backend_stub": "triton_python_backend_stub",
    "nvidia_pytriton.libs/libcudart-09529672.so.12.6.77": "libcudart.so.12.6.77",
    "nvidia_pytriton.libs/libdcgm-7f88035e.so.3.2.6": "libdcgm.so.3.2.6",
    "nvidia_pytriton.libs/libtritonserver-717102f0.so": "libtritonserver.so",
    f"nvidia_pytriton-{VERSION}.dist-info/licenses/LICENSE": "LICENSE",
}

MANGLED: Final = re.compile(rb"(?<=\0)(lib[a-z0-9]+)-[0-9a-f]{8}\.so[.0-9a-z]*(?=\0)")


def fetch(cache: Path) -> Path:
    """Return the wheel, downloaded by pip once."""
    wheel = cache / NAME
    if not wheel.exists():
        programs.run(
            [
                *(sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-deps"),
                *("--only-binary=:all:", f"--platform={TAG}", "--dest", str(cache), f"nvidia-pytriton=={VERSION}"),
            ]
        )
    if hashlib.sha256(wheel.read_bytes()).hexdigest() != SHA256:
        wheel.unlink()
        raise ReplicaError(f"{NAME} does not have the recorded digest: try again")
    return wheel


def unmangle(elf: bytes) -> bytes:
    """Restore the names and run paths in *elf*; the strings get shorter, so no offset changes."""

    def original(match: re.Match[bytes]) -> bytes:
        name = SONAMES[match[1].decode()].encode()
        return name.ljust(len(match[0]), b"\0")

    elf = MANGLED.sub(original, elf)
    for mangled, plain in RUN_PATHS.items():
        elf = elf.replace(b"\0" + mangled + b"\0", b"\0" + plain.ljust(len(mangled) + 1, b"\0"))
    return elf


def unpack(wheel: Path, folder: Path) -> dict[str, Path]:
    """Write the members that the images need to *folder*, ELF files unmangled; return them by name."""
    with zipfile.ZipFile(wheel) as archive:
        for member, name in MEMBERS.items():
            content = archive.read(member)
            (folder / name).write_bytes(unmangle(content) if content.startswith(b"\x7fELF") else content)
    return {name: folder / name for name in MEMBERS.values()}
