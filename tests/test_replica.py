import functools
import gzip
import hashlib
import os
import shutil
import socket
import subprocess
import tarfile
import time
import zlib
from collections.abc import Iterator
from pathlib import Path
from typing import IO, Any

import pytest

from tests import replica as package
from tests.replica import MODELS, Replica, ReplicaError, ask, compiler, images, layers, oci, programs, wheel
from tests.replica.layers import Tree, directory, file, symlink
from tests.replica.push import push

SERVER = "opt/tritonserver"


@pytest.fixture(scope="module")
def replica() -> Replica:
    try:
        programs.require()
    except ReplicaError as reason:
        pytest.skip(str(reason))
    return package.make()


def blob(replica: Replica, digest: str) -> Path:
    return replica.layout / "blobs" / digest.replace(":", "/")


def manifest(replica: Replica, name: str) -> Any:
    return oci.read_json(replica.layout, replica.images[name].digest)


def config(replica: Replica, name: str) -> Any:
    return oci.read_json(replica.layout, manifest(replica, name)["config"]["digest"])


def sha256(content: IO[bytes] | gzip.GzipFile) -> str:
    digest = hashlib.sha256()
    while chunk := content.read(1 << 20):
        digest.update(chunk)
    return digest.hexdigest()


@functools.cache
def paths(replica: Replica, name: str) -> dict[str, tarfile.TarInfo]:
    """Return the files of the image *name*; none of its layers removes a file."""
    found: dict[str, tarfile.TarInfo] = {}
    for layer in manifest(replica, name)["layers"]:
        with tarfile.open(blob(replica, layer["digest"]), "r:gz") as tar:
            found |= {member.name: member for member in tar}
    return found


@pytest.fixture(scope="module")
def full(replica: Replica) -> dict[str, tarfile.TarInfo]:
    return paths(replica, "full")


@pytest.fixture(scope="module")
def minimal(replica: Replica) -> dict[str, tarfile.TarInfo]:
    return paths(replica, "min")


# writing layers


def tree(folder: Path) -> Tree:
    source = folder / "source"
    source.write_bytes(b"x" * 1000)
    return {
        "usr/lib/b.so": symlink("a.so"),
        "usr/lib/a.so": layers.on_disk(source),
        "usr/lib/c.so": layers.on_disk(source),
        "home/one": layers.owned({"": directory(0o750)}, 1000, 1000)[""],
        "usr/bin/run": file(b"#!/bin/sh\n", 0o755),
    }


def test_a_tree_always_gives_the_same_layer(tmp_path: Path) -> None:
    members = tree(tmp_path)
    turned = dict(reversed(members.items()))
    os.utime(tmp_path / "source", (1, 1))
    (tmp_path / "one").mkdir()
    (tmp_path / "other").mkdir()

    one = layers.write_layer(members, tmp_path / "one", "a")
    other = layers.write_layer(turned, tmp_path / "other", "a")

    assert one == other
    packed = (tmp_path / "one" / one.digest.removeprefix("sha256:")).read_bytes()
    assert one.digest == f"sha256:{hashlib.sha256(packed).hexdigest()}"
    assert one.diff_id == f"sha256:{hashlib.sha256(gzip.decompress(packed)).hexdigest()}"
    assert one.size == len(packed)
    assert packed[4:8] == bytes(4), "gzip's time"
    assert list((tmp_path / "one").iterdir()) == [tmp_path / "one" / one.digest.removeprefix("sha256:")]


def test_a_written_tree_is_read_back(tmp_path: Path) -> None:
    members = tree(tmp_path)
    with (tmp_path / "a.tar").open("wb") as out:
        layers.write_tar(layers.with_parents(members), out)

    with tarfile.open(tmp_path / "a.tar") as tar:
        assert [(member.name, member.type, member.mtime) for member in tar] == [
            ("home", tarfile.DIRTYPE, layers.EPOCH),
            ("home/one", tarfile.DIRTYPE, layers.EPOCH),
            ("usr", tarfile.DIRTYPE, layers.EPOCH),
            ("usr/bin", tarfile.DIRTYPE, layers.EPOCH),
            ("usr/bin/run", tarfile.REGTYPE, layers.EPOCH),
            ("usr/lib", tarfile.DIRTYPE, layers.EPOCH),
            ("usr/lib/a.so", tarfile.REGTYPE, layers.EPOCH),
            ("usr/lib/b.so", tarfile.SYMTYPE, layers.EPOCH),
            ("usr/lib/c.so", tarfile.LNKTYPE, layers.EPOCH),
        ]
    found = layers.read(tmp_path / "a.tar")
    assert found.keys() == layers.with_parents(members).keys()
    assert all(layers.same(found[path], entry) for path, entry in members.items())
    assert found["home/one"].uid == 1000


def test_the_difference_makes_upper_of_lower() -> None:
    lower = {"etc": directory(), "etc/a": file(b"1"), "etc/b": file(b"1"), "old": directory(), "old/x": file(b"")}
    upper = {"etc": directory(0o700), "etc/a": file(b"1"), "etc/b": file(b"2"), "new": symlink("etc")}

    assert layers.difference(lower, upper) == {
        "etc": directory(0o700),
        "etc/b": file(b"2"),
        "new": symlink("etc"),
        ".wh.old": file(b""),
    }


def test_ballast_is_always_the_same_and_halves() -> None:
    once = b"".join(compiler.ballast("libtorch_cpu.so", 0.25))

    assert once == b"".join(compiler.ballast("libtorch_cpu.so", 0.25))
    assert once != b"".join(compiler.ballast("libtorch_cuda.so", 0.25))
    assert len(once) == 1 << 18
    assert 0.45 < len(zlib.compress(once)) / len(once) < 0.6


# the parts of it that can go wrong


def test_names_in_elf_files_become_sonames_in_place() -> None:
    mangled = b"\x7fELF\0libcudart-09529672.so.12.6.77\0libc.so.6\0$ORIGIN/../../../../nvidia_pytriton.libs\0end"

    plain = wheel.unmangle(mangled)

    assert len(plain) == len(mangled)
    assert [part for part in plain.split(b"\0") if part] == [
        b"\x7fELF",
        b"libcudart.so.12",
        b"libc.so.6",
        b"$ORIGIN",
        b"end",
    ]


def test_missing_programs_are_named_with_their_packages(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "tar").symlink_to("/bin/true")
    monkeypatch.setenv("PATH", str(tmp_path))

    with pytest.raises(ReplicaError) as raised:
        programs.require()

    expected = "apt-get, gcc, mmdebstrap not found: install the Debian packages apt gcc mmdebstrap"
    assert str(raised.value) == expected


def test_a_program_that_fails_is_told_with_its_last_words() -> None:
    with pytest.raises(ReplicaError) as raised:
        programs.run(["sh", "-c", "for i in 1 2 3 4 5 6; do echo $i; done; exit 3"])

    assert str(raised.value) == "sh failed with 3: 2 | 3 | 4 | 5 | 6"


def test_a_run_that_fails_leaves_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    def interrupted(folder: Path, layout: Path, downloaded: Path) -> None:
        layout.mkdir()
        raise KeyboardInterrupt

    monkeypatch.setattr(programs, "require", lambda: None)
    monkeypatch.setattr(wheel, "fetch", lambda cache: cache)
    monkeypatch.setattr(images, "make", interrupted)

    with pytest.raises(KeyboardInterrupt):
        package.make(tmp_path)

    assert [path.name for path in tmp_path.iterdir()] == ["lock"]


def test_a_registry_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(ReplicaError, match=r"^cannot push to the registry localhost:1: "):
        push(write_layout(tmp_path), "localhost:1", {"a:b": first_digest(tmp_path)})


def write_layout(folder: Path) -> Path:
    (folder / "blobs" / "sha256").mkdir(parents=True)
    oci.write_index(folder, {"a:b": oci.ImageConfig(layers=[], env={})})
    return folder


def first_digest(layout: Path) -> str:
    digest = oci.read_json_file(layout / "index.json")["manifests"][0]["digest"]
    return str(digest)


# the images


@pytest.mark.integration
def test_every_digest_is_right(replica: Replica) -> None:
    for path in (replica.layout / "blobs" / "sha256").iterdir():
        with path.open("rb") as content:
            assert sha256(content) == path.name
    for name in replica.references:
        diff_ids = config(replica, name)["rootfs"]["diff_ids"]
        for layer, diff_id in zip(manifest(replica, name)["layers"], diff_ids, strict=True):
            path = blob(replica, layer["digest"])
            assert path.stat().st_size == layer["size"]
            with gzip.open(path) as plain:
                assert f"sha256:{sha256(plain)}" == diff_id


@pytest.mark.integration
def test_a_second_call_takes_no_time(replica: Replica) -> None:
    start = time.monotonic()

    assert package.make() == replica
    assert time.monotonic() - start < 1


@pytest.mark.integration
def test_the_images_have_their_names(replica: Replica) -> None:
    assert {name: image.reference for name, image in replica.images.items()} == {
        "full": "tritonserver:24.10-py3",
        "min": "tritonserver:24.10-py3-min",
        "cpu-full": "tritonserver:24.10-cpu-only-py3",
        "cpu-min": "base:bookworm",
    }


@pytest.mark.integration
@pytest.mark.parametrize(("upper", "lower"), [("full", "min"), ("min", "cpu-min"), ("cpu-full", "cpu-min")])
def test_images_share_the_layers_of_their_base(replica: Replica, upper: str, lower: str) -> None:
    base = manifest(replica, lower)["layers"]

    assert manifest(replica, upper)["layers"][: len(base)] == base


@pytest.mark.integration
@pytest.mark.parametrize("name", ["full", "min", "cpu-full", "cpu-min"])
def test_usr_is_merged(replica: Replica, name: str) -> None:
    found = paths(replica, name)

    assert found["lib"].linkname == "usr/lib"
    assert not [path for path in found if path.startswith("lib/")]


@pytest.mark.integration
def test_min_has_neither_python_nor_the_server(minimal: dict[str, tarfile.TarInfo]) -> None:
    assert not [path for path in minimal if path.startswith((SERVER, "usr/bin/python", "usr/lib/python3"))]
    names = {path.rpartition("/")[2].partition(".so")[0] for path in minimal if ".so" in path}
    lacking = {"libarchive", "libb64", "libcurl", "libdcgm", "libgomp", "libnuma", "libpython3.11", "libssl", "libxml2"}
    assert names & lacking == set()
    assert {"libcudart", "libcublas", "libnvinfer", "libucc"} <= names
    assert not [name for name in names if name.startswith("libacme")]


BACKENDS = [
    *("acme_reverse", "acme_scale", "dali", "fil", "identity", "onnxruntime", "openvino", "python", "pytorch"),
    *("repeat", "square", "tensorrt"),
]


def components(found: dict[str, tarfile.TarInfo], kind: str) -> list[str]:
    return sorted({path.split("/")[3] for path in found if path.startswith(f"{SERVER}/{kind}/")})


@pytest.mark.integration
def test_full_has_what_nvidias_has(full: dict[str, tarfile.TarInfo]) -> None:
    assert components(full, "backends") == BACKENDS
    assert components(full, "caches") == ["local", "redis"]
    assert components(full, "repoagents") == ["checksum"]
    assert {
        f"{SERVER}/LICENSE",
        f"{SERVER}/NVIDIA_Deep_Learning_Container_License.pdf",
        f"{SERVER}/TRITON_VERSION",
        f"{SERVER}/backends/python/triton_python_backend_stub",
        f"{SERVER}/bin/tritonserver",
        f"{SERVER}/include/triton/core/tritonbackend.h",
        f"{SERVER}/lib/libtritonserver.so",
        f"{SERVER}/third-party-src/README",
        "etc/alternatives/libblas.so.3-x86_64-linux-gnu",
        "etc/ld.so.conf.d/acme.conf",
        "opt/acme/lib/libacme_confd.so.1",
        "opt/nvidia/entrypoint.d/10-banner.sh",
        "opt/nvidia/entrypoint.d/10-banner.txt",
        "usr/bin/python3.11",
        "usr/bin/serve",
        "usr/lib/x86_64-linux-gnu/libacme_deep.so.2",
        "usr/lib/x86_64-linux-gnu/libdcgm.so.3",
    } <= full.keys()
    assert {(full[path].uid, full[path].gid) for path in full if path.startswith(SERVER)} == {(1000, 1000)}


@pytest.mark.integration
def test_the_cpu_flavour_lacks_what_needs_a_gpu(replica: Replica) -> None:
    found = paths(replica, "cpu-full")

    assert components(found, "backends") == [name for name in BACKENDS if name not in {"dali", "tensorrt"}]
    assert "opt/nvidia/nvidia_entrypoint.sh" in found


@pytest.mark.integration
def test_full_says_what_it_is(replica: Replica) -> None:
    runtime = config(replica, "full")["config"]

    assert runtime["Entrypoint"] == ["/opt/nvidia/nvidia_entrypoint.sh"]
    assert runtime["WorkingDir"] == "/opt/tritonserver"
    assert runtime["Labels"]["com.nvidia.tritonserver.version"] == "2.51.0"
    env = dict(variable.split("=", 1) for variable in runtime["Env"])
    assert env["PATH"].startswith("/opt/tritonserver/bin:/usr/local/nvidia/bin:")
    assert (env["TRITON_SERVER_VERSION"], env["NVIDIA_TRITON_SERVER_VERSION"]) == ("2.51.0", "24.10")
    assert (env["TRITON_SERVER_GPU_ENABLED"], env["DCGM_VERSION"]) == ("1", "3.2.6")
    assert "TRITON_SERVER_GPU_ENABLED=0" in config(replica, "cpu-full")["config"]["Env"]


# serving

NAMESPACES = ("unshare", "--mount", "--pid", "--fork", "--kill-child")
ENTER = """
root=$1; shift
mount --rbind /dev "$root/dev"
mount -t tmpfs none "$root/dev/shm"
mount -t proc none "$root/proc"
mount --bind "$MODELS" "$root/mnt"
mount -o remount,bind,ro "$root/mnt"
exec chroot "$root" "$@"
"""


@pytest.fixture(params=["full", "cpu-full"])
def server(request: pytest.FixtureRequest, replica: Replica, tmp_path: Path) -> Iterator[str]:
    """Start the server of an image in private namespaces, so that it leaves nothing behind."""
    root = tmp_path / "root"
    root.mkdir()
    for layer in manifest(replica, request.param)["layers"]:
        programs.run(["tar", "-C", str(root), "-xpzf", str(blob(replica, layer["digest"]))])
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    runtime = config(replica, request.param)["config"]
    env = dict(variable.split("=", 1) for variable in runtime["Env"])
    arguments = [
        *(*runtime["Entrypoint"], "tritonserver", "--model-repository=/mnt", "--http-address=127.0.0.1"),
        *(f"--http-port={port}", "--allow-grpc=false", "--allow-metrics=false", "--cache-config=local,size=1048576"),
    ]
    log = tmp_path / "log"
    with log.open("wb") as out:
        process = subprocess.Popen(
            [*NAMESPACES, "sh", "-euc", ENTER, "sh", str(root), *arguments],
            env=env | {"MODELS": str(MODELS), "PATH": f"{env['PATH']}:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=out,
        )
    url = f"http://127.0.0.1:{port}"
    try:
        ask.wait_until_ready(url, alive=lambda: process.poll() is None)
        yield url
    except TimeoutError as late:
        pytest.fail(f"{late}\n{log.read_text(errors='replace')}")
    finally:
        process.kill()
        process.wait(30)
        shutil.rmtree(root)


@pytest.mark.integration
def test_the_server_serves(server: str) -> None:
    assert ask.wrong(server) == {}
    assert ask.wrong(server) == {}, "out of the cache"
