"""Layers laid over each other, compared with a plain model of the image specification."""

from __future__ import annotations

import gzip
import io
import posixpath
import tarfile
from collections.abc import Sequence

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.layers.test_layers import Memory
from tritonbuild.layers import indexing
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor, digest_of
from tritonbuild.rootfs.view import View

Change = tuple[str, str, str]
"""A change (dir, file, link, hard, remove, opaque), its path, and the target of a link."""


def layer_of(changes: Sequence[Change]) -> Layer:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for what, path, target in changes:
            folder, name = posixpath.split(path)
            member = tarfile.TarInfo(path)
            if what == "dir":
                member.type = tarfile.DIRTYPE
            elif what == "link":
                member.type, member.linkname = tarfile.SYMTYPE, target
            elif what == "hard":
                member.type, member.linkname = tarfile.LNKTYPE, target
            elif what == "remove":
                member.name = posixpath.join(folder, f".wh.{name}")
            elif what == "opaque":
                member.name = posixpath.join(path, ".wh..wh..opq")
            tar.addfile(member)
    blob = gzip.compress(out.getvalue())
    descriptor = Descriptor(media_type="", digest=digest_of(blob), size=len(blob))
    origin = Memory(blob)
    index, _ = indexing.index_layer(descriptor, [blob], what="a layer")
    return Layer(blob=descriptor, origin=origin, index=index)


def view(*layers: Sequence[Change]) -> View:
    return View([layer_of(changes) for changes in layers])


PATHS = st.sampled_from(["a", "b", "a/x", "a/y", "a/x/1", "a/x/2", "b/x", "b/x/1", "c"])
CHANGES = st.lists(st.tuples(st.sampled_from(["dir", "file", "remove", "opaque"]), PATHS, st.just("")), max_size=6)


def modelled(layers: Sequence[Sequence[Change]]) -> dict[str, str]:  # noqa: C901 - the rules, one by one
    """Return the kind of each path by the rules of the specification."""
    files: dict[str, str] = {}

    def remove(path: str, *, itself: bool = True) -> None:
        for found in [*files]:
            if found.startswith(f"{path}/") or (itself and found == path):
                del files[found]

    for changes in layers:
        for what, path, _ in changes:
            if what == "remove":
                remove(path)
            elif what == "opaque":
                remove(path, itself=False)
        for what, path, _ in changes:
            folder = posixpath.dirname(path if what != "opaque" else f"{path}/x")
            if what in {"dir", "file"}:
                parents = [folder] if folder else []
                while parents and posixpath.dirname(parents[-1]):
                    parents.append(posixpath.dirname(parents[-1]))
                for parent in parents:
                    files[parent] = "dir"
                if not (what == "dir" and files.get(path) == "dir"):
                    remove(path)
                files[path] = what
    return files


@settings(max_examples=300, deadline=None)
@given(st.lists(CHANGES, min_size=1, max_size=4))
def test_whiteouts(layers: list[list[Change]]) -> None:
    found = view(*layers)
    kinds = {path: "dir" if found.is_folder(path) else "file" for path in found}
    assert kinds == modelled(layers)


def test_links_are_followed_inside() -> None:
    found = view(
        [
            ("link", "lib", "usr/lib"),
            ("dir", "usr/lib", ""),
            ("file", "usr/lib/libfoo.so.1.2", ""),
            ("link", "usr/lib/libfoo.so.1", "libfoo.so.1.2"),
            ("link", "usr/lib/libblas.so", "/etc/alternatives/blas"),
            ("link", "etc/alternatives/blas", "/lib/libfoo.so.1"),
            ("link", "out", "../../../../lib"),
            ("link", "round", "round"),
            ("link", "gone", "nowhere"),
        ]
    )
    assert found.resolve("lib/libblas.so") == "usr/lib/libfoo.so.1.2"
    assert found.resolve("out/libfoo.so.1") == "usr/lib/libfoo.so.1.2"
    assert found.resolve("/lib/../lib/./libfoo.so.1") == "usr/lib/libfoo.so.1.2"
    assert found.resolve("round") is None
    assert found.resolve("gone") is None
    assert found.resolve("usr/lib/libfoo.so.1/x") is None
    assert found.resolve_folder("lib/libblas.so") == "usr/lib/libblas.so"


DEEP = "/".join(["d"] * 3000)


def test_a_path_of_three_thousand_folders() -> None:
    """Deeper than Python's limit of recursion."""
    lower = [("file", f"opt/{DEEP}/file", ""), ("file", "opt/a", "")]
    found = view(lower)
    *folders, last = found.walk("opt")
    assert (folders[0], folders[1], last) == ("opt/a", "opt/d", f"opt/{DEEP}/file")
    assert len(folders) == 3001
    assert found.resolve(f"opt/{DEEP}/file") == last
    assert found.is_folder(f"opt/{DEEP}")
    assert [*view(lower, [("remove", "opt/d", "")])] == ["opt", "opt/a"]
    assert [*view(lower, [("opaque", "opt", "")])] == ["opt"]
    assert [*view(lower, [("file", "opt/d", "")])] == ["opt", "opt/a", "opt/d"]


def test_hard_links_are_the_file_they_name() -> None:
    found = view([("file", "a", "")], [("file", "x", ""), ("hard", "y", "x"), ("hard", "z", "a")])
    assert (found.entry_id("y").layer, found.entry_id("y").entry) == (
        found.entry_id("x").layer,
        found.entry_id("x").entry,
    )
    assert found.entry_id("z").layer == 0


def test_hard_links_of_links_and_of_nothing() -> None:
    found = view(
        [("dir", "d", ""), ("file", "d/f", ""), ("file", "a", "")],
        [
            ("hard", "y", "a"),
            ("hard", "z", "y"),
            ("file", "d", ""),
            ("hard", "gone", "d/f"),
            ("dir", "e", ""),
            ("hard", "folder", "e"),
        ],
    )
    assert found.entry_id("z")[:2] == found.entry_id("y")[:2] == found.entry_id("a")[:2]
    assert found.entry_id("z").named == 1
    assert [path for path in found if path in {"gone", "folder"}] == []
