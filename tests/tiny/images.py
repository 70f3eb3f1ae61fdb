"""Small source images: a base and a full image with components a, b and c, quick to build and to break."""

from __future__ import annotations

import json
import random
from pathlib import Path
from typing import Any

from tests.replica import layers, oci
from tests.replica.layers import Tree, directory, file, owned, symlink
from tritonbuild.embedded.request import Request, RequestedComponent
from tritonbuild.wellknown import SERVER

FULL, BASE = "tiny:full", "tiny:base"
SERVER_FOLDER = SERVER.strip("/")

PASSWD = b"root:x:0:0:root:/root:/bin/sh\nubuntu:x:1000:1000::/home/ubuntu:/bin/sh\n"
GROUP = b"root:x:0:\nadm:x:4:syslog,ubuntu\nubuntu:x:1000:\n"
SHADOW = b"root:*:1:0:::::\nubuntu:!:1::::::\n"


def noise(seed: int, size: int) -> bytes:
    return random.Random(seed).randbytes(size // 2) + b"text that repeats " * (size // 36)


def base_tree() -> Tree:
    return {
        "etc/passwd": file(PASSWD),
        "etc/group": file(GROUP),
        "etc/shadow": file(SHADOW, 0o640),
        "usr/bin/base": file(noise(1, 300_000), 0o755),
        "bin": symlink("usr/bin"),
        "tmp": directory(0o1777),
    }


def server_tree(size: int = 1_000_000) -> Tree:
    tree: Tree = {
        f"{SERVER_FOLDER}/bin/tritonserver": file(b"#!/bin/sh\necho server\n", 0o755),
        f"{SERVER_FOLDER}/lib/libtritonserver.so": file(noise(2, size)),
        f"{SERVER_FOLDER}/LICENSE": file(b"a licence\n"),
        f"{SERVER_FOLDER}/NVIDIA_Deep_Learning_Container_License.pdf": file(b"another\n"),
        f"{SERVER_FOLDER}/TRITON_VERSION": file(b"2.51.0\n"),
        "etc/app.conf": file(b"read at run time\n"),
    }
    for number, name in enumerate("abc"):
        folder = f"{SERVER_FOLDER}/backends/{name}"
        tree[f"{folder}/libtriton_{name}.so"] = file(noise(10 + number, size), 0o755)
        tree[f"{folder}/model.bin"] = file(noise(20 + number, size))
        tree[f"{folder}/latest"] = symlink("model.bin")
    return owned(layers.with_parents(tree), 1000, 1000)


def make(folder: Path, *, size: int = 1_000_000) -> Path:
    """Write both images as an OCI layout."""
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    base = layers.write_layer(base_tree(), blobs, "base")
    full = layers.write_layer(server_tree(size), blobs, "server")
    env = {"PATH": "/usr/bin:/bin"}
    oci.write_index(
        folder,
        {
            BASE: oci.ImageConfig(layers=[base], env=env, cmd=["/bin/sh"]),
            FULL: oci.ImageConfig(layers=[base, full], env=env, labels={"com.nvidia.build.id": "42"}),
        },
    )
    return folder


def for_platform(layout: Path, digest: str, **platform: str) -> dict[str, Any]:
    """Write an image like another, for another platform; return its descriptor."""
    manifest = oci.read_json(layout, digest)
    config = {**oci.read_json(layout, manifest["config"]["digest"]), **platform}
    made = oci.put(layout, {**manifest, "config": oci.put(layout, config, oci.CONFIG_TYPE)}, oci.MANIFEST_TYPE)
    return {**made, "platform": {"os": "linux", **platform}}


def digests(layout: Path) -> dict[str, str]:
    """Return the images' digests by name."""
    document = json.loads((layout / "index.json").read_bytes())
    return {entry["annotations"][oci.REFERENCE]: entry["digest"] for entry in document["manifests"]}


def request(full: str, base: str, *names: str) -> Request:
    """Return a request for components of the tiny image."""
    return Request(
        full=full,
        base=base,
        platform="linux/amd64",
        core=[f"{SERVER}/bin", f"{SERVER}/lib", f"{SERVER}/LICENSE"],
        components=[RequestedComponent(title=f"backend {name}", folder=f"{SERVER}/backends/{name}") for name in names],
        read=["/etc/app.conf"],
        env={"PATH": f"{SERVER}/bin:${{PATH}}", "MODE": "tiny"},
        labels={"org.opencontainers.image.version": "24.10"},
        labels_from_full=["com.nvidia.build.id"],
        entrypoint=["/entry.sh"],
    )
