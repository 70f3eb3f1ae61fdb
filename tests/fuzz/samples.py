"""Valid inputs of the parsers, as small as they can be."""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from typing import Final

from tests.tiny import images as tiny
from tritonbuild.backends import buildah, buildctl, buildx, docker, embedded, nerdctl, podman
from tritonbuild.embedded.request import Request
from tritonbuild.flags import Table
from tritonbuild.layers import indexfile
from tritonbuild.layers.layerindex import LayerIndex
from tritonbuild.oci.descriptors import digest_of

ZEROS: Final = "0" * 64


def tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content in (("a" * 120, tarfile.REGTYPE, b"x" * 700), ("b", tarfile.SYMTYPE, b"")):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "target" if kind == tarfile.SYMTYPE else ""
            member.pax_headers = {"mtime": "1.5", "SCHILY.xattr.user.a": "b"}
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


def elf() -> bytes:
    """Return a shared library with a needed library, a run path, a needed and a defined version, and no code."""
    strings = b"\0liba.so.1\0libb.so\0$ORIGIN/../lib\0A_1.0\0B_1.0\0"
    at = {name: strings.index(name) for name in (b"liba", b"libb", b"$ORIGIN", b"A_1.0", b"B_1.0")}
    dynamic_at, strings_at = 64 + 3 * 56, 64 + 3 * 56 + 16 * 10
    needs_at = strings_at + len(strings)
    needs = struct.pack("<HHIII", 1, 1, at[b"liba"], 16, 0) + struct.pack("<IHHII", 0, 0, 2, at[b"A_1.0"], 0)
    defines_at = needs_at + len(needs)
    defines = struct.pack("<HHHHIII", 1, 1, 1, 1, 0, 20, 0) + struct.pack("<II", at[b"B_1.0"], 0)
    tags = [(1, at[b"liba"]), (14, at[b"libb"]), (29, at[b"$ORIGIN"]), (5, strings_at), (10, len(strings))]
    tags += [(0x6FFFFFFE, needs_at), (0x6FFFFFFF, 1), (0x6FFFFFFC, defines_at), (0x6FFFFFFD, 1), (0, 0)]
    dynamic = b"".join(struct.pack("<QQ", *tag) for tag in tags)
    size = defines_at + len(defines)
    head = b"\x7fELF\x02\x01\x01" + bytes(9) + struct.pack("<HHIQQQIHHHHHH", 3, 62, 1, 0, 64, 0, 0, 64, 56, 3, 0, 0, 0)
    segments = b"".join(
        struct.pack("<IIQQQQQQ", kind, 5, offset, offset, offset, length, length, 8)
        for kind, offset, length in ((1, 0, size), (2, dynamic_at, len(dynamic)), (3, strings_at, 10))
    )
    return head + segments + dynamic + strings + needs + defines


REQUEST: Final = Request(full="a:1", base="b:1", components=[{"title": "a", "folder": "/a"}], cmd=["x"], env={"A": "b"})
PBTXT: Final = b"""name: "m"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] } ]
instance_group [ { kind: KIND_CPU count: 2 } ]
parameters { key: "k" value: { string_value: "v" } }
"""
METADATA: Final = rb"""ENV A=b "C d"=$A
LABEL x="y"
EXPOSE 80/tcp 90-92
CMD ["a", "b"]
# note
USER me
VOLUME /v \
  /w
"""
FRAGMENT: Final = rb"""COPY --chown=1:2 samples.py [p]arsers.py /d/
ADD ["https://x/y", "/z"]
RUN <<EOF
  x
EOF
# note
ENV A=b \
  C=d
"""
INDEX: Final = (
    b'{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"sha256:' + ZEROS.encode() + b'","size":2,'
    b'"platform":{"os":"linux","architecture":"arm","variant":"v7"},"annotations":{"a":"b"}}]}'
)
CONFIG: Final = json.dumps(
    {
        "architecture": "amd64",
        "os": "linux",
        "created": "2024-10-24T00:00:00Z",
        "config": {"Env": ["A=b"], "Labels": {"a": "b"}, "Cmd": ["x"], "ExposedPorts": {"80/tcp": {}}, "User": "1"},
        "rootfs": {"type": "layers", "diff_ids": [f"sha256:{ZEROS}"]},
        "history": [{"created_by": "x"}, {"empty_layer": True}],
    }
).encode()
MANIFEST: Final = json.dumps(
    {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "a", "digest": digest_of(CONFIG), "size": len(CONFIG)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{ZEROS}", "size": 2}],
    }
).encode()
LOADER: Final = b"# note\ninclude /etc/ld.so.conf.d/*.conf\n/usr/local/lib\n/opt/a=libc6, /opt/b\nhwcap 0 x\n"
PASSWD: Final = tiny.PASSWD + b"me:x:7:8::/:\nadm:x:4:me\n"
CREDENTIALS: Final = json.dumps(
    {
        "auths": {"localhost:5000": {"auth": "bWU6c2VjcmV0", "identitytoken": "x"}, "https://a/v1/": {"username": "b"}},
        "credHelpers": {"b": "nosuch"},
    }
).encode()
REGISTRIES: Final = b"""unqualified-search-registries = ["docker.io"]
[[registry]]
prefix = "localhost:5000/a"
location = "b/c"
insecure = true
[[registry.mirror]]
location = "d"
pull-from-mirror = "digest-only"
"""
CHALLENGE: Final = b'Negotiate abc==, Basic realm="a \\"b", Bearer realm="https://a/t" , service=s'
ERRORS: Final = b'{"errors":[{"code":"DENIED","message":"no \xc3\xa9","detail":{"a":[1,2.5,null]}}]}'
TOKEN: Final = b'{"token":"abc","access_token":"abc","expires_in":300,"issued_at":"2024-01-01T00:00:00Z"}'
LOCATION: Final = b"https://user@r.example:5000/v2/a/blobs/uploads/x?state=%3D#y"
ANSWER: Final = (
    b"HTTP/1.1 200 OK\r\nConnection: close\r\n"
    b"Content-Type: application/vnd.oci.image.manifest.v1+json\r\nContent-Length: "
    + str(len(MANIFEST)).encode()
    + b"\r\nDocker-Content-Digest: sha256:"
    + ZEROS.encode()
    + b"\r\n\r\n"
    + MANIFEST
)

OPTIONS: Final[dict[str, Table]] = {
    module.__name__.rpartition(".")[2]: module.OPTIONS
    for module in (docker, buildx, podman, buildah, nerdctl, buildctl, embedded)
}
VALUES: Final = ("true", "a", "a=b", "type=oci,dest=/tmp/x", "1", "a:1,b:2", '"a,b",c=d', "100:200", "nofile=1:2")


def options(table: Table) -> tuple[bytes, ...]:
    """Return lines `OPTION=VALUE`, several options in each sample."""
    names = [*table]
    return tuple(
        "\n".join(
            f"{name}={VALUES[(place + number) % len(VALUES)]}" for place, name in enumerate(names[number::7])
        ).encode()
        for number in range(7)
    )


def plain_index(index: LayerIndex) -> bytes:
    """Return the payload of an index file, uncompressed and without its digest."""
    content = indexfile.to_bytes(index)
    return zlib.decompress(content[content.index(b"\n") + 33 :])
