"""The embedded planner on the same trees as the scripts."""

from __future__ import annotations

import functools
import hashlib
import io
import tarfile
from collections.abc import Iterable, Mapping
from pathlib import Path

from tests.corpus.outcome import Outcome, Tree
from tritonbuild.embedded.plan import CONFIGURED, ImagePlan, plan
from tritonbuild.embedded.request import Addition, Request, RequestedComponent
from tritonbuild.embedded.sources import Source
from tritonbuild.errors import BuildFailedError
from tritonbuild.layers.entry import FOLDER, SYMLINK
from tritonbuild.layers.indexing import index_layer
from tritonbuild.layers.reading import Layer
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.rootfs.local import FolderOrigin
from tritonbuild.rootfs.view import View
from tritonbuild.wellknown import SERVER

ENVIRONMENT = {"PATH": "/usr/sbin:/usr/bin:/sbin:/bin"}


def planned(  # noqa: PLR0917 - as the scripts take them
    template: Path,
    base: Tree,
    full: Tree,
    arguments: Iterable[str],
    env: Mapping[str, str],
    base_env: Mapping[str, str],
    composed_env: Mapping[str, str],
    context: Path | None = None,
    files: Mapping[int, str] | None = None,
) -> Outcome:
    """Return the outcome of a plan with the arguments of `runtime.sh`."""
    words: dict[str, list[str]] = {"name": [], "file": [], "small": [], "exclude": [], "": []}
    for argument in arguments:
        kind, equals, value = argument.partition("=")
        words[kind if equals else ""].append(value if equals else argument)
    request = Request(
        full="full",
        base="base",
        core=(f"{SERVER}/bin", f"{SERVER}/lib"),
        components=[RequestedComponent(title=f"backend {one}", folder=f"{SERVER}/{one}") for one in words[""]],
        opened=words["name"],
        read=words["file"],
        read_small=words["small"],
        exclude_libraries=words["exclude"],
        env={"LD_LIBRARY_PATH": ""},
        environment=composed_env,
        files=[
            Addition(title=f"file {path}", folder=path, context=f"files/{number}")
            for number, path in (files or {}).items()
        ],
    )
    below = [template_layer(template), layer(archive(base))]
    above = [*below, layer(archive(full))]
    full_source = Source(view=View(above), env={**ENVIRONMENT, **env}, labels={}, created=0)
    base_source = Source(view=View(below), env={**ENVIRONMENT, **base_env}, labels={}, created=0)
    try:
        found = plan(request, full_source, base_source, context=context)
    except BuildFailedError as error:
        hint = (error.hint,) if error.hint.startswith(("use ", "add --env")) else ()
        return Outcome(messages=(*error.tail, *hint), passed=False)
    return outcome(found)


def outcome(found: ImagePlan) -> Outcome:
    """Return the outcome of a plan: the files of its runtime, and its remarks."""
    items = [
        item for one in found.layers if one.title.startswith(("runtime", "Python", "libraries")) for item in one.items
    ]
    entries = [item.entry for item in items if item.entry.kind != FOLDER]
    configured = [item.content for one in found.layers for item in one.items if item.entry.path == CONFIGURED]
    return Outcome(
        files=frozenset(entry.path for entry in entries),
        links={entry.path: found.full.view.target(entry.path) for entry in entries if entry.kind == SYMLINK},
        folders=frozenset(b"".join(configured).decode().splitlines()),
        opened=frozenset((one.name, one.file) for one in found.opened),
        messages=tuple(map(str, found.excused)),
        passed=True,
    )


@functools.cache
def template_layer(template: Path) -> Layer:
    """Return the layer with a root file system."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT) as tar:
        tar.add(template, arcname=".")
    return layer(stream.getvalue())


def archive(tree: Tree) -> bytes:
    """Return a tar of the files of a tree, as `plant` writes them."""
    stream = io.BytesIO()
    with tarfile.open(fileobj=stream, mode="w", format=tarfile.GNU_FORMAT, errors="surrogateescape") as tar:
        for name, content in tree.items():
            member = tarfile.TarInfo(name)
            member.mode = 0o755
            if isinstance(content, str):
                member.type, member.linkname = tarfile.SYMTYPE, content
                tar.addfile(member)
            else:
                member.size = len(content)
                tar.addfile(member, io.BytesIO(content))
    return stream.getvalue()


def layer(content: bytes) -> Layer:
    """Return an uncompressed layer, indexed."""
    digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
    blob = Descriptor(media_type="application/vnd.oci.image.layer.v1.tar", digest=digest, size=len(content))
    index, late = index_layer(blob, [content], what="a tree")
    assert not late
    return Layer(blob=blob, origin=FolderOrigin(name="a tree", files=()), index=index)
