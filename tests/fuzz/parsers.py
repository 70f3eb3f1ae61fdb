"""The parsers that read what others wrote, each with samples to mutate and the errors that it documents."""

from __future__ import annotations

import gzip
import hashlib
import json
import tempfile
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

import attrs
import zstandard
from urllib3.exceptions import HTTPError

from tests.fuzz import samples
from tests.fuzz.answering import answered
from tritonbuild import flags
from tritonbuild import fragment as fragments
from tritonbuild.embedded import instructions
from tritonbuild.embedded.request import from_document
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import cache as caches
from tritonbuild.layers import elf, indexfile, indexing
from tritonbuild.layers.layerindex import LayerIndex
from tritonbuild.masking import mask_text
from tritonbuild.modelrepo import config
from tritonbuild.oci import credentials, documents, images, registries_conf
from tritonbuild.oci.descriptors import Descriptor, digest_of, from_json
from tritonbuild.oci.http.answers import error_message
from tritonbuild.oci.http.challenges import parse_challenges
from tritonbuild.oci.http.origins import parse_origin, resolve
from tritonbuild.oci.http.waiting import retry_after
from tritonbuild.reference import parse_platform, parse_reference, parse_registry
from tritonbuild.rootfs import accounts, ldcache
from tritonbuild.rootfs.view import View


@attrs.frozen(kw_only=True)
class Parser:
    """A parser of bytes.

    Attributes:
        parse: Reads the bytes of one case.
        samples: Valid inputs, from which cases are made.
        errors: The errors that may escape.
        refuses: Whether it refuses damaged inputs; otherwise it skips what it cannot read.
        is_linear: Whether the time that it takes is checked.
        units: Parts of its language beside those that all parsers get, repeated to see how the time grows.
    """

    parse: Callable[[bytes], object]
    samples: tuple[bytes, ...]
    errors: tuple[type[Exception], ...] = (TritonBuildError,)
    refuses: bool = True
    is_linear: bool = True
    units: tuple[bytes, ...] = ()


def _text(parse: Callable[[str], object]) -> Callable[[bytes], object]:
    return lambda content: parse(content.decode("utf-8", "replace"))


def _file(parse: Callable[[Path], object]) -> Callable[[bytes], object]:
    """Return a parser that gets its input in a file."""

    def parsed(content: bytes) -> object:
        with tempfile.NamedTemporaryFile(prefix="tritonbuild-fuzz-") as file:
            file.write(content)
            file.flush()
            return parse(Path(file.name))

    return parsed


def _layer(content: bytes) -> tuple[LayerIndex, tuple[int, ...]]:
    blob = Descriptor(media_type="", digest=digest_of(content), size=len(content))
    return indexing.index_layer(blob, [content], what="the layer")


def _index(content: bytes) -> object:
    return documents.index_entries(documents.parse(content, "the index"))


@attrs.define(kw_only=True)
class _Image:
    """The origin of an image with this manifest and configuration."""

    manifest_content: bytes
    config: bytes
    name: str = "the image"

    def manifest(self, _wanted: str) -> tuple[Descriptor, bytes]:
        content = self.manifest_content
        return Descriptor(media_type="", digest=digest_of(content), size=len(content)), content

    def read(self, _blob: Descriptor, _start: int, _stop: int) -> Iterator[bytes]:
        yield self.config


def _image(manifest: bytes, configuration: bytes) -> object:
    origin = _Image(manifest_content=manifest, config=configuration)
    found = images._Search(name="the image", origin=origin, reference=None, platform="linux/amd64").find("")
    return found.env, found.labels, found.created, found.history, found.runtime


def _configuration(content: bytes) -> object:
    manifest = json.loads(samples.MANIFEST)
    manifest["config"] |= {"digest": digest_of(content), "size": len(content)}
    return _image(json.dumps(manifest).encode(), content)


def _elf(content: bytes) -> object:
    return elf.parse(lambda start, length: content[start : start + length])


def _loader(content: bytes) -> object:
    files = {"etc/ld.so.conf": content, "etc/ld.so.conf.d/a.conf": content}
    return ldcache.folders(View([]), 62, files)


def _accounts(content: bytes) -> object:
    files = {"etc/passwd": content, "etc/group": content}
    return accounts.ids(files, "me"), accounts.ids(files, "1000:adm")


def _options(engine: str) -> Callable[[bytes], object]:
    table = samples.OPTIONS[engine]

    def parse(text: str) -> object:
        return flags.render(table, flags.parse(table, text.split("\n"), engine=engine), engine=engine)

    return _text(parse)


def _fragment(path: Path) -> object:
    text = fragments.load(path)
    return fragments.needs_network(text), fragments.context(text, Path(__file__).parent, ("models",))


def _challenges(text: str) -> object:
    return parse_challenges([text]), retry_after(text)


def _location(text: str) -> object:
    url = resolve("https://r.example/v2/a", text)
    return parse_origin(url), mask_text(text)


def _token(content: bytes) -> object:
    document = documents.parse(content, "the token")
    return document.text("token") or document.text("access_token")


def _signed_index(plain: bytes) -> object:
    payload = zlib.compress(plain, 1)
    content = indexfile._MAGIC + hashlib.sha256(payload).digest() + payload
    found = indexfile.from_bytes(content, what="the index")
    return [found.entry(number) for number in range(len(found))], [*found.elves.values()]


def _record(content: bytes) -> object:
    found = caches._written(hashlib.sha256(content).hexdigest().encode() + b"\n" + content)
    if found is None:
        raise TritonBuildError("the record is damaged")
    return found


def _applied(text: str) -> object:
    return instructions.applied(text, samples.REQUEST, {"A": "1"})


_TAR: Final = samples.tar()
_PACKED: Final = gzip.compress(_TAR, mtime=0)
_RECORD: Final = json.dumps(
    {"media_type": "a", "digest": "sha256:" + "0" * 64, "diff_id": "sha256:" + "0" * 64, "size": 1, "unpacked": 2}
).encode()

PARSERS: Final = {
    "references": Parser(
        parse=_text(parse_reference), samples=(b"localhost:5000/a/b:1@sha256:" + b"0" * 64, b"ubuntu:22.04")
    ),
    "registries": Parser(parse=_text(parse_registry), samples=(b"nvcr.io/nvidia", b"[::1]:5000/a")),
    "platforms": Parser(parse=_text(parse_platform), samples=(b"linux/arm/v7", b"x86_64")),
    "indexes": Parser(parse=_index, samples=(samples.INDEX,)),
    "manifests": Parser(parse=lambda content: _image(content, samples.CONFIG), samples=(samples.MANIFEST,)),
    "configurations": Parser(parse=_configuration, samples=(samples.CONFIG,)),
    "tar": Parser(parse=_layer, samples=(_TAR,)),
    "gzip": Parser(parse=_layer, samples=(_PACKED,)),
    "zstd": Parser(parse=_layer, samples=(zstandard.compress(_TAR),)),
    "ELF": Parser(parse=_elf, samples=(samples.elf(),), errors=(elf.BrokenError, elf.NotThereError)),
    "loader configuration": Parser(
        parse=_loader, samples=(samples.LOADER,), refuses=False, units=(b"include *\n", b"include a", b"/a\n", b"/a,")
    ),
    "accounts": Parser(parse=_accounts, samples=(samples.PASSWD,), refuses=False, units=(b"me:x:1:1\n",)),
    "config.pbtxt": Parser(
        parse=lambda content: config.parse(content, "config.pbtxt"),
        samples=(samples.PBTXT,),
        units=(b"input { ", b'"a" ', b"# a\n", b"dims: 1 "),
    ),
    "requests": Parser(
        parse=lambda content: from_document(from_json(content, what="the request")),
        samples=(samples.REQUEST.to_json(),),
    ),
    "instructions": Parser(
        parse=_text(_applied),
        samples=(samples.METADATA,),
        units=(
            *(b"VOLUME /v\n", b"EXPOSE 1\n", b"EXPOSE 1-65535\n", b"LABEL a=b\n", b"USER a\n", b"ENV A=$A$A\n"),
            *(b"a=b ", b"\\\n", b"a\\\n", b"$A", b"${A:-"),
        ),
    ),
    "fragments": Parser(
        parse=_file(_fragment),
        samples=(samples.FRAGMENT,),
        units=(b"--a ", b"COPY --a ", b"a\\\n", b"\\\n", b"RUN <<A\n", b"<<A ", b"RUN a\n", b"ADD http://a /b\n"),
    ),
    **{
        f"options of {engine}": Parser(
            parse=_options(engine), samples=samples.options(table), units=(b"output=a=b,\n", b"a=b,", b'"a",')
        )
        for engine, table in samples.OPTIONS.items()
    },
    "credentials": Parser(
        parse=_file(lambda path: credentials.find_login("localhost:5000", "a/b", (path,))),
        samples=(samples.CREDENTIALS,),
        refuses=False,
    ),
    "registries.conf": Parser(
        parse=_file(lambda path: registries_conf.read_rules([path])),
        samples=(samples.REGISTRIES,),
        is_linear=False,  # Python's parser of TOML is not
    ),
    "challenges": Parser(
        parse=_text(_challenges), samples=(samples.CHALLENGE,), refuses=False, units=(b'a="', b"a=b, ", b"Basic, ")
    ),
    "error bodies": Parser(parse=error_message, samples=(samples.ERRORS,), refuses=False),
    "tokens": Parser(parse=_token, samples=(samples.TOKEN,)),
    "locations": Parser(
        parse=_text(_location), samples=(samples.LOCATION,), errors=(HTTPError,), units=(b"://", b"?a=", b"a:b@")
    ),
    "HTTP answers": Parser(
        parse=answered, samples=(samples.ANSWER,), units=(b"X: y\r\n", b"100 Continue\r\n", b"\r\n")
    ),
    "layer indexes": Parser(
        parse=lambda content: indexfile.from_bytes(content, what="the index"),
        samples=(indexfile.to_bytes(_layer(_PACKED)[0]),),
    ),
    "signed layer indexes": Parser(parse=_signed_index, samples=(samples.plain_index(_layer(_PACKED)[0]),)),
    "records of layers": Parser(parse=_record, samples=(_RECORD,)),
}
