"""Real registries: what is pushed to each is what crane, skopeo and podman accept, and what they write is read."""

from __future__ import annotations

import contextlib
import json
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.lab import programs as lab
from tests.replica import layers
from tests.replica.push import push
from tests.services import programs
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tritonbuild.embedded.request import Request

pytestmark = pytest.mark.integration

REGISTRIES = ("distribution 2", "distribution 3", "go-containerregistry")


@pytest.fixture(scope="module", params=REGISTRIES)
def host(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory, tiny_layout: Path) -> Iterator[str]:
    """A registry with the small images."""
    root = tmp_path_factory.mktemp("lab") / "root"
    images = {f"src/{name}": digest for name, digest in tiny.digests(tiny_layout).items()}
    try:
        if request.param == "go-containerregistry":
            with lab.locking_registry(root) as found:
                push(tiny_layout, found, images)
                yield found
        else:
            program = lab.built("distribution") / "registry" if request.param == "distribution 3" else None
            with services.registry(root, program=program) as registry:
                push(tiny_layout, registry.host, images)
                yield registry.host
    except services.MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def crane() -> Path:
    try:
        return lab.built("crane") / "crane"
    except services.MissingProgramError as error:
        pytest.skip(str(error))


def run(*argv: str | Path) -> str:
    return programs.run(argv, timeout=120)


def wanted(host: str) -> Request:
    return tiny.request(f"{host}/src/{tiny.FULL}", f"{host}/src/{tiny.BASE}", "a", "b")


def test_a_push_that_others_accept(host: str, crane: Path, bench: Bench, tmp_path: Path) -> None:
    local = bench.run(bench.request("a", "b"), f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    name = f"{host}/lab/image:1"
    done = bench.run(wanted(host), f"--tag={name}", "--push", cache=tmp_path / "cache")
    assert done.code == 0, done.err
    config = json.loads(run(crane, "config", name))
    # The name of the base is the one difference from an image out of a layout.
    assert (
        config["rootfs"]
        == json.loads((tmp_path / "out" / "blobs" / _config(tmp_path / "out", local.digest)).read_bytes())["rootfs"]
    )
    assert run(crane, "digest", name).strip() == done.digest
    run(crane, "validate", "--remote", name)
    run(crane, "copy", name, f"{host}/lab/copied:1")
    skopeo = programs.find("skopeo")
    run(skopeo, "inspect", "--tls-verify=false", f"docker://{name}")
    run(skopeo, "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{tmp_path / 'copied'}:1")
    again = bench.run(wanted(host), f"--tag={name}", "--push", cache=tmp_path / "cache")
    assert (again.code, again.digest) == (0, done.digest)


@contextlib.contextmanager
def unpacked_by_umoci(name: str, folder: Path) -> Iterator[Path]:
    """Yield the root file system of an image that skopeo fetched and umoci unpacked, which verifies diff IDs."""
    run(programs.find("skopeo"), "copy", "--src-tls-verify=false", f"docker://{name}", f"oci:{folder / 'umoci'}:1")
    run(lab.built("umoci") / "umoci", "unpack", f"--image={folder / 'umoci'}:1", folder / "bundle")
    yield folder / "bundle" / "rootfs"


@contextlib.contextmanager
def pulled_by_podman(name: str, folder: Path) -> Iterator[Path]:
    """Yield the root file system of an image that podman pulled into a storage of its own."""
    with tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp") as short:  # podman takes no long path
        storage = [f"--root={folder / 'root'}", f"--runroot={short}", "--storage-driver=vfs"]
        podman: list[str | Path] = [programs.find("podman"), *storage]
        run(*podman, "pull", "--quiet", "--tls-verify=false", name)
        yield Path(run(*podman, "image", "mount", name).strip())
        run(*podman, "image", "unmount", "--all")
        run(*podman, "image", "rm", "--force", name)


UNPACKED = {"umoci": unpacked_by_umoci, "podman": pulled_by_podman}


@pytest.mark.parametrize("judge", UNPACKED)
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_a_push_that_is_unpacked(judge: str, compression: str, host: str, bench: Bench, tmp_path: Path) -> None:
    """Every file of the chosen component has its content, its mode and its owner, and the others are not there."""
    name = f"{host}/lab/{judge}-{compression}:1"
    done = bench.run(wanted(host), f"--tag={name}", "--push", f"--compression={compression}")
    assert done.code == 0, done.err
    tree = tiny.server_tree()
    with UNPACKED[judge](name, tmp_path) as root:
        server = root / tiny.SERVER_FOLDER
        for path, entry in tree.items():
            if not path.startswith((f"{tiny.SERVER_FOLDER}/backends/a/", f"{tiny.SERVER_FOLDER}/backends/b/")):
                continue
            found = root / path
            if entry.kind == "symlink":
                assert str(found.readlink()) == entry.target
            else:
                assert found.read_bytes() == layers.bytes_of(entry.content)
                assert (found.stat().st_mode & 0o7777, found.stat().st_uid) == (entry.mode, 0)
        assert {path.name for path in (server / "backends").iterdir()} == {"a", "b"}
        assert b"triton-server:x:1000:" in (root / "etc/passwd").read_bytes()


def _config(layout: Path, digest: str) -> str:
    manifest = json.loads((layout / "blobs" / digest.replace(":", "/")).read_bytes())
    return str(manifest["config"]["digest"]).replace(":", "/")


@pytest.mark.parametrize("form", ["oci", "tarball", "legacy"])
def test_sources_as_crane_pulls_them(form: str, host: str, crane: Path, bench: Bench, tmp_path: Path) -> None:
    kind = "oci" if form == "oci" else "docker-archive"
    names = {}
    for name in (tiny.FULL, tiny.BASE):
        path = tmp_path / name.replace(":", "-")
        run(crane, "pull", f"--format={form}", f"{host}/src/{name}", path)
        names[name] = f"{kind}:{path}"
    request = tiny.request(names[tiny.FULL], names[tiny.BASE], "a")
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == 0, done.err
    subprocess.run([crane, "validate", "--remote", f"{host}/src/{tiny.BASE}"], check=True, timeout=60)


def test_archives_that_crane_accepts(crane: Path, bench: Bench, tmp_path: Path) -> None:
    archive = tmp_path / "image.tar"
    done = bench.run(bench.request("a"), f"--output=type=docker-archive,dest={archive}", "--tag=a/b:1")
    assert done.code == 0, done.err
    run(crane, "validate", "--tarball", archive)
