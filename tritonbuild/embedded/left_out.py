"""The files of the full image without those of the parts that are left out, by the rules of scripts/trim.sh."""

from __future__ import annotations

import posixpath
from collections.abc import Iterable, Iterator

from tritonbuild.embedded.libraries import matches
from tritonbuild.layers.entry import FILE, WHITEOUT, Entry
from tritonbuild.layers.items import Item, index_of
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor, Nowhere
from tritonbuild.optional_parts import OptionalPart
from tritonbuild.rootfs.view import View


def trimmed(full: View, parts: Iterable[OptionalPart]) -> View:
    """Return *full* without the files of those *parts* that are not kept."""
    paths = [path for part in parts if not part.kept for path in files(full, part)]
    if not paths:
        return full
    blob = Descriptor(media_type="", digest="", size=0)
    return View(
        [*full.layers, Layer(blob=blob, origin=Nowhere("the full image"), index=index_of(map(_whiteout, paths)))]
    )


def files(full: View, part: OptionalPart) -> Iterator[str]:
    """Yield the canonical paths of the files and folders of *part* in *full*."""
    folder = full.resolve(part.folder) if part.files else None
    if folder is not None:
        yield from (path for path in full.walk(folder) if matches(path[len(folder) + 1 :], part.files))


def _whiteout(path: str) -> Item:
    folder, name = posixpath.split(path)
    entry = Entry(
        path=posixpath.join(folder, f"{WHITEOUT}{name}"), kind=FILE, mode=0, uid=0, gid=0, mtime=0, size=0, offset=0
    )
    return Item(entry=entry)
