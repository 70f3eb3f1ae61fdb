"""The parsers that read what others wrote, each with samples to mutate and the errors that it documents."""

from __future__ import annotations

import gzip
import io
import tarfile
from collections.abc import Callable
from typing import Final

import attrs
import zstandard

from tritonbuild.embedded import instructions
from tritonbuild.embedded.request import Request, from_document
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import indexfile, indexing
from tritonbuild.layers.layerindex import LayerIndex
from tritonbuild.modelrepo import config
from tritonbuild.oci import documents
from tritonbuild.oci.descriptors import Descriptor, digest_of, from_json
from tritonbuild.reference import parse_platform, parse_reference, parse_registry


@attrs.frozen(kw_only=True)
class Parser:
    """A parser of bytes.

    Attributes:
        parse: Reads the bytes of one case.
        samples: Valid inputs, from which cases are made.
        errors: The errors that may escape.
    """

    parse: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    errors: tuple[type[Exception], ...] = (TritonBuildError,)


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda content: parse(content.decode("utf-8", "replace"))


def _layer(content: bytes) -> tuple[LayerIndex, tuple[int, ...]]:
    blob = Descriptor(media_type="", digest=digest_of(content), size=len(content))
    return indexing.index_layer(blob, [content], what="the layer")


def _index(content: bytes) -> object:
    return documents.index_entries(documents.parse(content, "the index"))


def _tar() -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for name, kind, content in (("a" * 120, tarfile.REGTYPE, b"x" * 700), ("b", tarfile.SYMTYPE, b"")):
            member = tarfile.TarInfo(name)
            member.type, member.size, member.linkname = kind, len(content), "target" if kind == tarfile.SYMTYPE else ""
            member.pax_headers = {"mtime": "1.5", "SCHILY.xattr.user.a": "b"}
            archive.addfile(member, io.BytesIO(content))
    return out.getvalue()


_TAR: Final = _tar()
_REQUEST: Final = Request(
    full="a:1", base="b:1", components=[{"title": "a", "folder": "/a"}], cmd=["x"], env={"A": "b"}
)
_PBTXT: Final = b"""name: "m"
backend: "onnxruntime"
max_batch_size: 8
input [ { name: "x" data_type: TYPE_FP32 dims: [ -1, 3 ] } ]
instance_group [ { kind: KIND_CPU count: 2 } ]
parameters { key: "k" value: { string_value: "v" } }
"""
_INSTRUCTIONS: Final = (
    b'ENV A=b "C d"=$A\nLABEL x="y"\nEXPOSE 80/tcp 90-92\nCMD ["a", "b"]\n# note\nUSER me\nVOLUME /v \\\n  /w\n'
)


def _applied(text: str) -> object:
    return instructions.applied(text, _REQUEST, {"A": "1"})


def _cached(content: bytes) -> object:
    return indexfile.from_bytes(content, what="the index")


_INDEX: Final = (
    b'{"schemaVersion":2,"manifests":[{"mediaType":"a","digest":"sha256:' + b"0" * 64 + b'","size":2,'
    b'"platform":{"os":"linux","architecture":"arm","variant":"v7"},"annotations":{"a":"b"}}]}'
)

PARSERS: Final = {
    "references": Parser(
        parse=_text(parse_reference), samples=(b"localhost:5000/a/b:1@sha256:" + b"0" * 64, b"ubuntu:22.04")
    ),
    "registries": Parser(parse=_text(parse_registry), samples=(b"nvcr.io/nvidia", b"[::1]:5000/a")),
    "platforms": Parser(parse=_text(parse_platform), samples=(b"linux/arm/v7", b"x86_64")),
    "indexes": Parser(parse=_index, samples=(_INDEX,)),
    "tar": Parser(parse=_layer, samples=(_TAR,)),
    "gzip": Parser(parse=_layer, samples=(gzip.compress(_TAR, mtime=0),)),
    "config.pbtxt": Parser(parse=lambda content: config.parse(content, "config.pbtxt"), samples=(_PBTXT,)),
    "requests": Parser(
        parse=lambda content: from_document(from_json(content, what="the request")), samples=(_REQUEST.to_json(),)
    ),
    "instructions": Parser(parse=_text(_applied), samples=(_INSTRUCTIONS,)),
    "layer indexes": Parser(
        parse=_cached,
        samples=(indexfile.to_bytes(_layer(gzip.compress(_TAR, mtime=0))[0]),),
    ),
    "zstd": Parser(parse=_layer, samples=(zstandard.compress(_TAR),)),
}
