"""The choices of a composition, and the paths and libraries of the source images that belong to them."""

from __future__ import annotations

from typing import Final

from tritonbuild.wellknown import SERVER

NVIDIA_REGISTRY: Final = "nvcr.io/nvidia"
PLATFORM: Final = "linux/amd64"
"""The platform of a composition that names none; never the platform of the machine."""

FEATURES: Final = ("allocators", "clients", "dcgm", "headers", "nvidia", "python", "sources")
RUNTIMES: Final = ("copy", "install")
DCGM_SOURCES: Final = ("copy", "none", "package")
SOURCE_NAMES: Final = ("full", "min", "gpu-min", "sdk")

FIRST_WITH_PYTHON: Final = "23.09"
"""The first release whose full image has /opt/tritonserver/python."""

HEADERS: Final = f"{SERVER}/include"
"""The headers for compiling backends."""
CLIENTS: Final = "/workspace/install"
"""Programs, libraries and Python packages of clients, in the sdk image; docs/quick_start.md of the client's repository
and Dockerfile.sdk of the server's."""
_OPENSSL: Final = ("/etc/pki/tls", "/etc/ssl", "/usr/lib/ssl", "/usr/local/ssl")
"""The folders of OpenSSL's configuration: Red Hat's, Debian's, and that of OpenSSL itself."""
READ_FILES: Final = (
    *(f"{folder}/{name}" for folder in _OPENSSL for name in ("cert.pem", "certs", "openssl.cnf")),
    *(f"/usr/{folder}/ossl-modules" for folder in ("lib/x86_64-linux-gnu", "lib/aarch64-linux-gnu", "lib64")),
    *("/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"),
    *("/etc/gai.conf", "/etc/host.conf", "/etc/mime.types", "/etc/nsswitch.conf", "/etc/protocols", "/etc/services"),
)
"""Files and folders that OpenSSL, Python and the C library read. The server's clients of S3, GCS and Azure need the
certificates too."""
SMALL_FILES: Final = ("/etc/terminfo", "/lib/terminfo", "/usr/lib/locale", "/usr/share/terminfo")
"""Files and folders that they read, brought only where they are small."""

FEATURE_FOLDERS: Final = {"python": f"{SERVER}/python", "sources": f"{SERVER}/third-party-src"}
FEATURE_LIBRARIES: Final = {
    "allocators": ("libjemalloc.so*", "libtcmalloc*.so*"),
    "dcgm": ("libdcgm*.so*", "libnvperf_dcgm_host.so*"),
}
FEATURE_FILES: Final = {"dcgm": ("/usr/bin/dcgmi", "/usr/bin/nv-hostengine")}
