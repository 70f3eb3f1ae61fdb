"""Folders of this machine in an image: what is in it of them, and the same whatever the machine."""

from __future__ import annotations

import os
import shutil
import tarfile
from pathlib import Path

import attrs
import pytest

from tests.replica import oci
from tests.tiny import images as tiny
from tests.tiny.bench import Bench, Outcome
from tritonbuild.embedded.instructions import expanded
from tritonbuild.embedded.request import Addition, Request, RequestedComponent
from tritonbuild.errors import InvalidInputError, TritonBuildError
from tritonbuild.layers import reading
from tritonbuild.layers.layerindex import GRAIN
from tritonbuild.rootfs import local
from tritonbuild.wellknown import SERVER

CREATED = 1729728000
"""When the small images were made."""


def context(folder: Path, *, seconds: int = 0) -> Path:
    """Return a build context with a component and two folders of models."""
    mine = folder / "backends" / "a"
    (mine / "sub").mkdir(parents=True)
    (mine / "empty").mkdir()
    (mine / "libtriton_a.so").write_bytes(tiny.noise(1, 3 * GRAIN))
    (mine / "libtriton_a.so").chmod(0o755)
    (mine / "sub" / "secret").write_text("for the group")
    (mine / "sub" / "secret").chmod(0o640)
    (mine / "nothing").touch()
    (mine / "link").symlink_to("sub/secret")
    (folder / "models" / "one" / "1").mkdir(parents=True)
    (folder / "models" / "one" / "1" / "model.bin").write_bytes(tiny.noise(2, 100_000))
    for path in (folder, *folder.rglob("*")):
        if not path.is_symlink():
            if path.is_dir():
                path.chmod(0o755)
            elif path.stat().st_mode & 0o777 == 0o600:
                path.chmod(0o644)
            os.utime(path, (seconds, seconds))
    return folder


def wanted(bench: Bench, to: str = "/models") -> Request:
    own = RequestedComponent(title="backend a", folder=f"{SERVER}/backends/a", context="backends/a")
    more = Addition(title="models", folder=to, context="models")
    return attrs.evolve(bench.request("b"), components=[own, *bench.request("b").components], additions=[more])


def run(bench: Bench, folder: Path, out: Path, to: str = "/models", **keywords: object) -> Outcome:
    options = (f"--context={folder}", f"--output=type=oci-layout,dest={out}")
    return bench.run(wanted(bench, to), *options, **keywords)  # type: ignore[arg-type]


def members(layout: Path, digest: str, number: int) -> dict[str, tarfile.TarInfo]:
    layer = oci.read_json(layout, digest)["layers"][number]["digest"]
    with tarfile.open(layout / "blobs" / layer.replace(":", "/")) as tar:
        return {member.name: member for member in tar}


def test_what_is_in_the_image(bench: Bench, tmp_path: Path) -> None:
    done = run(bench, context(tmp_path / "c"), tmp_path / "out")
    assert done.code == 0, done.err
    found = members(tmp_path / "out", done.digest, 2)
    top = f"{tiny.SERVER_FOLDER}/backends/a"
    inside = {name.removeprefix(f"{top}/"): member for name, member in found.items() if name.startswith(f"{top}/")}
    # Nothing of the folder that the full image has there.
    assert sorted(inside) == ["empty", "libtriton_a.so", "link", "nothing", "sub", "sub/secret"]
    assert {name: member.mode for name, member in inside.items() if member.isreg()} == {
        "libtriton_a.so": 0o755,
        "nothing": 0o644,
        "sub/secret": 0o640,
    }
    assert inside["link"].linkname == "sub/secret"
    assert {(member.uid, member.gid, member.mtime) for member in inside.values()} == {(0, 0, CREATED)}
    models = members(tmp_path / "out", done.digest, -1)
    assert sorted(models) == ["models", "models/one", "models/one/1", "models/one/1/model.bin"]


def test_the_same_digest_on_another_machine(bench: Bench, tmp_path: Path) -> None:
    one = run(bench, context(tmp_path / "one", seconds=1), tmp_path / "out1")
    before = os.umask(0o077)
    try:
        folder = context(tmp_path / "another" / "folder", seconds=10**9)
        other = run(bench, folder, tmp_path / "out2", cache=tmp_path / "cache", env={"TZ": "Asia/Tokyo"})
    finally:
        os.umask(before)
    assert (one.code, other.code) == (0, 0), one.err + other.err
    assert one.digest == other.digest
    (folder / "models" / "one" / "1" / "model.bin").write_bytes(b"another")
    third = run(bench, folder, tmp_path / "out3")
    assert (third.code, third.digest == one.digest) == (0, False)
    layers = [
        [one["digest"] for one in oci.read_json(tmp_path / f"out{n}", d.digest)["layers"]]
        for n, d in ((1, one), (3, third))
    ]
    assert layers[0][:-1] == layers[1][:-1]


def test_source_date_epoch(bench: Bench, tmp_path: Path) -> None:
    done = run(bench, context(tmp_path / "c"), tmp_path / "out", env={"SOURCE_DATE_EPOCH": "86400"})
    assert done.code == 0, done.err
    times = {member.mtime for member in members(tmp_path / "out", done.digest, -1).values()}
    assert times == {86400}


def test_a_folder_that_the_base_reaches_through_a_link(bench: Bench, tmp_path: Path) -> None:
    # bin is a link to usr/bin
    done = run(bench, context(tmp_path / "c"), tmp_path / "out", to="/bin/models")
    assert done.code == 0, done.err
    assert "usr/bin/models/one" in members(tmp_path / "out", done.digest, -1)
    done = run(bench, tmp_path / "c", tmp_path / "out", to="/tmp")
    found = members(tmp_path / "out", done.digest, -1)
    assert found["tmp"].mode == 0o1777
    done = run(bench, tmp_path / "c", tmp_path / "out", to="/etc/passwd/models")
    assert (done.code, "/etc/passwd is a file in the image, not a folder for /etc/passwd/models" in done.err) == (
        2,
        True,
    )


def test_a_context_without_the_folder(bench: Bench, tmp_path: Path) -> None:
    folder = context(tmp_path / "c")
    shutil.rmtree(folder / "models")
    done = run(bench, folder, tmp_path / "out")
    assert (done.code, "the build context has no 'models'" in done.err) == (2, True)


def test_a_file_that_changes_meanwhile(tmp_path: Path) -> None:
    mine = context(tmp_path / "c") / "backends" / "a"
    layer = local.layer(mine, "x", mtime=0)
    place = list(layer.index.paths).index("x/libtriton_a.so")
    entry = layer.index.entry(place)
    content = (mine / "libtriton_a.so").read_bytes()
    ranges = [(entry.offset + 5, entry.size - 5)]
    assert b"".join(piece for _, piece in reading.read_ranges(layer, ranges)) == content[5:]
    (mine / "libtriton_a.so").write_bytes(content[:-1] + b"!")
    with pytest.raises(TritonBuildError, match="have another digest"):
        list(reading.read_ranges(layer, ranges))
    (mine / "libtriton_a.so").write_bytes(content[:1000])
    with pytest.raises(TritonBuildError, match="is damaged"):
        list(reading.read_ranges(layer, ranges))


def test_what_is_no_file(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")
    with pytest.raises(InvalidInputError, match="is neither a file nor a folder"):
        local.layer(tmp_path, "x", mtime=0)


EXPANDED = {
    "$A": "1",
    "${A}": "1",
    "x:$A:$NONE": "x:1:",
    "x${A:+:$A}": "x:1",
    "x${NONE:+:$NONE}": "x",
    "${EMPTY:-y}": "y",
    "${A:-y}": "1",
    "$5": "$5",
}


@pytest.mark.parametrize("text", EXPANDED)
def test_references_in_the_environment(text: str) -> None:
    assert expanded({"B": text}, {"A": "1", "EMPTY": ""}) == {"A": "1", "EMPTY": "", "B": EXPANDED[text]}
