"""Tiny images, written without an engine: a static busybox as an OCI layout, pushed to a registry by skopeo."""

from __future__ import annotations

import hashlib
import io
import json
import platform
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Final

from tests.services import programs
from tests.services.errors import MissingProgramError

APPLETS: Final = (
    *("[", "cat", "chmod", "chown", "cp", "echo", "env", "false", "find", "grep", "head", "httpd", "id", "ln", "ls"),
    *("mkdir", "mv", "ps", "readlink", "rm", "rmdir", "sed", "sh", "sleep", "sort", "stat", "tail", "tar", "test"),
    *("touch", "tr", "true", "wc", "wget"),
)
ARCHITECTURES: Final = {"x86_64": "amd64", "aarch64": "arm64"}
SERVER_PATH: Final = "opt/tritonserver/bin/tritonserver"
# Of tritonserver's options it reads the port only; a web server without models can honor no other.
SERVER: Final = """\
#!/bin/sh
port=8000
for option; do case $option in --http-port=*) port=${option#*=} ;; esac; done
echo "stand-in server on port $port"
/bin/httpd -f -p "127.0.0.1:$port" -h /srv &
# Without a handler, the first process of a container ignores SIGTERM.
trap 'kill $!' TERM
wait
"""


def _tar(files: Mapping[str, bytes], links: Mapping[str, str]) -> bytes:
    buffer = io.BytesIO()
    folders = {str(parent) for name in (*files, *links) for parent in Path(name).parents} - {"."}
    with tarfile.open(fileobj=buffer, mode="w") as archive:
        for name in sorted({*folders, *files, *links, "tmp"}):
            member = tarfile.TarInfo(name)
            member.mode = 0o1777 if name == "tmp" else 0o755
            if name in links:
                member.type, member.linkname = tarfile.SYMTYPE, links[name]
            elif name not in files:
                member.type = tarfile.DIRTYPE
            member.size = len(files.get(name, b""))
            archive.addfile(member, io.BytesIO(files.get(name, b"")))
    return buffer.getvalue()


def _add_blob(layout: Path, content: bytes) -> dict[str, object]:
    digest = hashlib.sha256(content).hexdigest()
    folder = layout / "blobs" / "sha256"
    folder.mkdir(parents=True, exist_ok=True)
    (folder / digest).write_bytes(content)
    return {"digest": f"sha256:{digest}", "size": len(content)}


def busybox_layout(layout: Path, *, tag: str = "latest", server: bool = False) -> Path:
    """Write an OCI layout of one image, a static busybox (2 MB), into the folder *layout* and return it.

    Equal arguments give equal digests.

    Args:
        layout: The folder to make.
        tag: The image's name in the layout.
        server: Whether it has a ``tritonserver`` that only reports that it is ready.

    Raises:
        MissingProgramError: This machine has no static busybox.
    """
    busybox = programs.find("busybox", hint="apt-get install busybox-static").read_bytes()
    if b"/lib64/ld-linux" in busybox[:4096]:
        program = "busybox-static"
        raise MissingProgramError(program, "the busybox of this machine needs shared libraries")
    files = {
        "bin/busybox": busybox,
        "etc/passwd": b"root:x:0:0:root:/:/bin/sh\ntriton-server:x:1000:1000::/:/bin/sh\n",
        "etc/group": b"root:x:0:\ntriton-server:x:1000:\n",
    }
    if server:
        files |= {SERVER_PATH: SERVER.encode(), "srv/v2/health/ready": b""}
    tar = _tar(files, {f"bin/{applet}": "busybox" for applet in APPLETS})
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", **_add_blob(layout, tar)}
    config = {
        "architecture": ARCHITECTURES.get(platform.machine(), platform.machine()),
        "os": "linux",
        "config": {"Env": [f"PATH=/bin:/{Path(SERVER_PATH).parent}"], "Cmd": ["sh"]},
        "rootfs": {"type": "layers", "diff_ids": [layer["digest"]]},
    }
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {
            "mediaType": "application/vnd.oci.image.config.v1+json",
            **_add_blob(layout, json.dumps(config).encode()),
        },
        "layers": [layer],
    }
    entry = {
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        **_add_blob(layout, json.dumps(manifest).encode()),
        "annotations": {"org.opencontainers.image.ref.name": tag},
    }
    (layout / "oci-layout").write_text('{"imageLayoutVersion": "1.0.0"}')
    (layout / "index.json").write_text(json.dumps({"schemaVersion": 2, "manifests": [entry]}))
    return layout


def push(layout: Path, host: str, name: str, *, tag: str = "latest") -> str:
    """Copy the image *tag* of the OCI layout *layout* to the registry *host*; return its reference by digest."""
    skopeo = programs.find("skopeo")
    target = f"{host}/{name}:{tag}"
    programs.run([str(skopeo), "copy", "--dest-tls-verify=false", f"oci:{layout}:{tag}", f"docker://{target}"])
    return f"{host}/{name}@{digest(target)}"


def docker_archive(source: str, archive: Path, name: str) -> Path:
    """Write the image *source*, as skopeo spells it (``oci-archive:PATH``), to the docker archive *archive*."""
    archive.unlink(missing_ok=True)  # skopeo does not add to an existing archive.
    skopeo = programs.find("skopeo")
    target = f"docker-archive:{archive}:{name}"
    programs.run([str(skopeo), "copy", "--src-tls-verify=false", source, target], timeout=600)
    return archive


def digest(reference: str) -> str:
    """Return the digest of the manifest that a registry of this machine stores as *reference*."""
    skopeo = programs.find("skopeo")
    inspect = [str(skopeo), "inspect", "--tls-verify=false", "--format", "{{.Digest}}", f"docker://{reference}"]
    return programs.run(inspect).strip()
