"""Trees of files, written as layers: the same tree gives the same bytes on every machine."""

import hashlib
import io
import posixpath
import tarfile
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import BinaryIO, Final, Literal, Protocol

import attrs

EPOCH: Final = 1_729_728_000
"""2024-10-24, the modification time of every entry; release 24.10 is from that week."""

LEVEL: Final = 3
CHUNK: Final = 1 << 20

type_of: Final = {tarfile.DIRTYPE: "dir", tarfile.SYMTYPE: "symlink", tarfile.REGTYPE: "file", tarfile.AREGTYPE: "file"}
tar_type: Final = {"dir": tarfile.DIRTYPE, "symlink": tarfile.SYMTYPE, "file": tarfile.REGTYPE}


@attrs.frozen
class Slice:
    """A range of a file on disk; equal slices in one layer become hard links."""

    path: Path
    offset: int
    size: int

    def read(self) -> bytes:
        with self.path.open("rb") as file:
            file.seek(self.offset)
            return file.read(self.size)


Content = bytes | Slice


@attrs.frozen(kw_only=True)
class Entry:
    kind: Literal["dir", "file", "symlink"]
    mode: int
    uid: int = 0
    gid: int = 0
    target: str = ""
    content: Content = b""


Tree = dict[str, Entry]
"""Path without a leading slash -> entry."""


class Sink(Protocol):
    def write(self, chunk: bytes, /) -> object: ...


@attrs.frozen(kw_only=True)
class Layer:
    digest: str
    size: int
    diff_id: str
    created_by: str


def file(content: Content, mode: int = 0o644) -> Entry:
    return Entry(kind="file", mode=mode, content=content)


def on_disk(path: Path, mode: int = 0o644) -> Entry:
    return file(Slice(path, 0, path.stat().st_size), mode)


def symlink(target: str) -> Entry:
    return Entry(kind="symlink", mode=0o777, target=target)


def directory(mode: int = 0o755) -> Entry:
    return Entry(kind="dir", mode=mode)


def with_parents(tree: Mapping[str, Entry]) -> Tree:
    """Return *tree* with the parent folders of its entries; like those of Debian they belong to root, with mode 755."""
    whole = dict(tree)
    for path in tree:
        while path := posixpath.dirname(path):
            whole.setdefault(path, directory())
    return whole


def owned(tree: Mapping[str, Entry], uid: int, gid: int) -> Tree:
    return {path: attrs.evolve(entry, uid=uid, gid=gid) for path, entry in tree.items()}


def read(archive: Path) -> Tree:
    """Read the tree of an uncompressed tar; devices and other special files are left out."""
    tree: Tree = {}
    with tarfile.open(archive, "r:") as tar:
        for member in tar:
            path = posixpath.normpath(member.name).lstrip("/")
            if path == ".":
                continue
            if member.islnk():
                tree[path] = tree[posixpath.normpath(member.linkname)]
            elif member.type in type_of:
                kind = type_of[member.type]
                content = Slice(archive, member.offset_data, member.size) if kind == "file" else b""
                tree[path] = Entry(
                    kind=kind,  # type: ignore[arg-type]  # values of the mapping
                    mode=member.mode,
                    uid=member.uid,
                    gid=member.gid,
                    target=member.linkname if kind == "symlink" else "",
                    content=content,
                )
    return tree


def bytes_of(content: Content) -> bytes:
    return content if isinstance(content, bytes) else content.read()


def same(one: Entry, other: Entry) -> bool:
    shapes = [attrs.evolve(entry, content=b"") for entry in (one, other)]
    return shapes[0] == shapes[1] and bytes_of(one.content) == bytes_of(other.content)


def difference(lower: Mapping[str, Entry], upper: Mapping[str, Entry]) -> Tree:
    """Return the layer that turns *lower* into *upper*, with whiteouts."""
    changed = {path: entry for path, entry in upper.items() if path not in lower or not same(lower[path], entry)}
    for path in lower:
        parent, name = posixpath.split(path)
        if path not in upper and (not parent or parent in upper):
            changed[posixpath.join(parent, f".wh.{name}")] = file(b"")
    for path in tuple(changed):  # engines write the parent folders too, unchanged
        while path := posixpath.dirname(path):
            changed.setdefault(path, upper[path])
    return changed


def write_tar(tree: Mapping[str, Entry], sink: Sink) -> None:
    """Write *tree* sorted, with one time for all entries; files that share a slice are hard links to the first."""
    first: dict[Slice, str] = {}
    for path, entry in sorted(tree.items()):
        member = tarfile.TarInfo(path + "/" * (entry.kind == "dir"))
        member.type = tar_type[entry.kind]
        member.mode, member.uid, member.gid, member.mtime = entry.mode, entry.uid, entry.gid, EPOCH
        member.linkname = entry.target
        if entry.kind == "file":
            if isinstance(entry.content, Slice) and entry.content.size and entry.content in first:
                member.type, member.linkname = tarfile.LNKTYPE, first[entry.content]
            else:
                member.size = size_of(entry.content)
        sink.write(member.tobuf(tarfile.PAX_FORMAT))
        if member.isreg():
            for chunk in chunks(entry.content):
                sink.write(chunk)
            sink.write(bytes(-member.size % tarfile.BLOCKSIZE))
            if isinstance(entry.content, Slice):
                first[entry.content] = path
    sink.write(bytes(2 * tarfile.BLOCKSIZE))


def size_of(content: Content) -> int:
    return len(content) if isinstance(content, bytes) else content.size


def chunks(content: Content) -> Iterator[bytes]:
    if isinstance(content, bytes):
        yield content
        return
    left = content.size
    with content.path.open("rb") as source:
        source.seek(content.offset)
        while left and (chunk := source.read(min(left, CHUNK))):
            left -= len(chunk)
            yield chunk


class Gzip:
    """A sink that writes gzip without name and time, and computes both digests of a layer."""

    def __init__(self, out: BinaryIO) -> None:
        self.out = out
        self.packer = zlib.compressobj(LEVEL, zlib.DEFLATED, 16 + zlib.MAX_WBITS)
        self.plain, self.packed, self.size = hashlib.sha256(), hashlib.sha256(), 0

    def write(self, chunk: bytes) -> None:
        self.plain.update(chunk)
        self._emit(self.packer.compress(chunk))

    def close(self) -> None:
        self._emit(self.packer.flush())

    def _emit(self, packed: bytes) -> None:
        self.packed.update(packed)
        self.size += len(packed)
        self.out.write(packed)


def write_layer(tree: Mapping[str, Entry], blobs: Path, created_by: str) -> Layer:
    """Write *tree* as a gzipped layer among *blobs*, named by its digest."""
    unnamed = blobs / f".{hashlib.sha256(created_by.encode()).hexdigest()}"
    with unnamed.open("wb") as out:
        sink = Gzip(out)
        with io.BufferedWriter(Unbuffered(sink), CHUNK) as buffered:
            write_tar(with_parents(tree), buffered)
        sink.close()
    digest = sink.packed.hexdigest()
    unnamed.replace(blobs / digest)
    return Layer(
        digest=f"sha256:{digest}", size=sink.size, diff_id=f"sha256:{sink.plain.hexdigest()}", created_by=created_by
    )


class Unbuffered(io.RawIOBase):
    """A raw stream for io.BufferedWriter, which joins many small headers into few large chunks for the compressor."""

    def __init__(self, sink: Sink) -> None:
        self.sink = sink

    def writable(self) -> bool:
        return True

    def write(self, chunk: object, /) -> int:
        whole = bytes(chunk)  # type: ignore[call-overload]  # any buffer
        self.sink.write(whole)
        return len(whole)
