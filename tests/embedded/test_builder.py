"""The engine's process: the same image everywhere, out of and into everything it knows."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import attrs
import pytest

from tests.replica import layers, oci
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tests.tiny.proxy import Proxy
from tritonbuild.embedded.request import RequestedComponent
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.registry import Registries
from tritonbuild.reference import parse_reference
from tritonbuild.wellknown import SERVER

NOBODY = 65534


def layout_option(folder: Path) -> str:
    return f"--output=type=oci-layout,dest={folder}"


def config_of(layout: Path, digest: str) -> dict[str, object]:
    manifest = oci.read_json(layout, digest)
    found = oci.read_json(layout, manifest["config"]["digest"])
    assert isinstance(found, dict)
    return found


def test_the_result(bench: Bench, tmp_path: Path) -> None:
    done = bench.run(
        bench.request("b", "a"), layout_option(tmp_path), "--tag=my/image:1", "--annotation=a=b", "--label=c=d"
    )
    assert done.code == 0, done.err
    assert done.out == f"{done.digest}\n"
    config = config_of(tmp_path, done.digest)
    assert config["config"] == {
        "Entrypoint": ["/entry.sh"],
        "Env": [f"PATH={SERVER}/bin:/usr/bin:/bin", "MODE=tiny"],
        "Labels": {
            "c": "d",
            "com.nvidia.build.id": "42",
            "org.opencontainers.image.base.digest": tiny.digests(bench.layout)[tiny.BASE],
            "org.opencontainers.image.version": "24.10",
        },
        "WorkingDir": SERVER,
    }
    assert [one.get("created_by") for one in config["history"]] == [  # type: ignore[attr-defined]
        "base",
        "tritonbuild: server",
        "tritonbuild: backend b",
        "tritonbuild: backend a",
        "tritonbuild: runtime of server",
        "tritonbuild: accounts and the loader's cache",
    ]
    manifest = oci.read_json(tmp_path, done.digest)
    assert manifest["annotations"]["a"] == "b"
    assert manifest["layers"][0] == oci.read_json(bench.layout, tiny.digests(bench.layout)[tiny.BASE])["layers"][0]


@pytest.mark.parametrize("form", ["layout", "archive", "docker"])
def test_an_image_out_of_what_was_written(form: str, bench: Bench, tmp_path: Path) -> None:
    place = tmp_path / "out"
    option = {"layout": "oci-layout", "archive": "oci", "docker": "docker-archive"}[form]
    done = bench.run(bench.request("a"), f"--output=type={option},dest={place}", "--tag=my/image:1")
    assert done.code == 0, done.err
    kind = "oci" if form == "layout" else "docker-archive" if form == "docker" else "oci-archive"
    request = attrs.evolve(bench.request("a"), full=bench.full, base=f"{kind}:{place}:my/image:1")
    again = bench.run(request, layout_option(tmp_path / "again"))
    assert again.code == 0, again.err


def test_the_accounts(bench: Bench, tmp_path: Path) -> None:
    done = bench.run(bench.request("a"), layout_option(tmp_path))
    last = oci.read_json(tmp_path, done.digest)["layers"][-1]["digest"]
    with tarfile.open(tmp_path / "blobs" / last.replace(":", "/")) as tar:
        found = {member.name: member for member in tar}
        files = {name: tar.extractfile(member) for name, member in found.items()}
        contents = {name: file.read().decode(errors="replace") for name, file in files.items() if file}
    assert contents["etc/passwd"].splitlines() == [
        "root:x:0:0:root:/root:/bin/sh",
        "triton-server:x:1000:1000::/home/triton-server:/bin/bash",
    ]
    assert contents["etc/group"].splitlines() == ["root:x:0:", "adm:x:4:syslog", "triton-server:x:1000:"]
    assert contents["etc/shadow"].splitlines() == ["root:*:1:0:::::", "triton-server:!:19000:0:99999:7:::"]
    assert found["etc/shadow"].mode == 0o640
    home = found["home/triton-server"]
    assert (home.isdir(), home.mode, home.uid, home.gid) == (True, 0o755, 1000, 1000)
    assert (found["home"].uid, found["home"].mode) == (0, 0o755)
    assert contents["etc/ld.so.cache"].startswith("glibc-ld.so.cache1.1")


def test_an_image_on_scratch(bench: Bench, tmp_path: Path) -> None:
    done = bench.run(attrs.evolve(bench.request("a"), base="scratch"), layout_option(tmp_path))
    assert done.code == 0, done.err
    config = config_of(tmp_path, done.digest)
    assert config["config"] == {
        "Entrypoint": ["/entry.sh"],
        "Env": ["MODE=tiny", f"PATH={SERVER}/bin:"],
        "Labels": {"com.nvidia.build.id": "42", "org.opencontainers.image.version": "24.10"},
        "WorkingDir": SERVER,
    }
    assert (config["os"], config["architecture"]) == ("linux", "amd64")
    manifest = oci.read_json(tmp_path, done.digest)
    assert not [name for name in manifest["annotations"] if ".base." in name]
    assert len(manifest["layers"]) == len(config["history"]) == len(config["rootfs"]["diff_ids"])  # type: ignore[arg-type,index]
    members: dict[str, tarfile.TarInfo] = {}
    for layer in manifest["layers"]:
        with tarfile.open(tmp_path / "blobs" / layer["digest"].replace(":", "/")) as tar:
            members |= {member.name: member for member in tar}
    assert members["bin"].linkname == "usr/bin"
    assert members["etc/shadow"].mode == 0o640
    assert {"etc/passwd", "home/triton-server", f"{SERVER}/backends/a".strip("/")} <= members.keys()
    assert not {"usr/bin/base", f"{SERVER}/backends/b".strip("/")} & members.keys()


SURROUNDINGS = {
    "another time zone": {"TZ": "Pacific/Chatham"},
    "another locale": {"LC_ALL": "tr_TR.UTF-8", "LANG": "tr_TR.UTF-8"},
    "the plain locale": {"LC_ALL": "C", "PYTHONUTF8": "0"},
    "another hash": {"PYTHONHASHSEED": "4711"},
    "one core": {},
}


@pytest.mark.parametrize("name", SURROUNDINGS)
@pytest.mark.parametrize("compression", ["gzip", "zstd"])
def test_the_same_digest(name: str, compression: str, bench: Bench, tmp_path: Path) -> None:
    options = [f"--compression={compression}", "--tag=x/y:1"]
    one = bench.run(bench.request("a", "b"), layout_option(tmp_path / "one"), *options)
    before = os.umask(0o077)
    try:
        one_core = (lambda: os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})) if name == "one core" else None
        other = bench.run(
            bench.request("a", "b"),
            layout_option(tmp_path / "other"),
            *options,
            cache=tmp_path / "cache",
            env=SURROUNDINGS[name],
            preexec_fn=one_core,
        )
    finally:
        os.umask(before)
    assert (one.code, other.code) == (0, 0), one.err + other.err
    assert one.digest == other.digest
    assert (tmp_path / "one" / "index.json").read_bytes() == (tmp_path / "other" / "index.json").read_bytes()


def test_source_date_epoch(bench: Bench, tmp_path: Path) -> None:
    done = bench.run(bench.request("a"), layout_option(tmp_path), env={"SOURCE_DATE_EPOCH": "86400"})
    assert config_of(tmp_path, done.digest)["created"] == "1970-01-02T00:00:00Z"
    wrong = bench.run(bench.request("a"), layout_option(tmp_path), env={"SOURCE_DATE_EPOCH": "soon"})
    assert (wrong.code, "SOURCE_DATE_EPOCH is 'soon'" in wrong.err) == (2, True)


def test_the_plan_writes_nothing(bench: Bench, tmp_path: Path) -> None:
    plan = tmp_path / "plan"
    done = bench.run(bench.request("a"), f"--plan-file={plan}", "--quiet", env={"XDG_DATA_HOME": str(tmp_path / "own")})
    assert (done.code, done.out, done.err) == (0, "", "")
    planned = json.loads(plan.read_bytes())
    assert [layer["title"] for layer in planned["layers"]] == [
        "server",
        "backend a",
        "runtime of server",
        "accounts and the loader's cache",
    ]
    model = {"path": f"{SERVER}/backends/a/model.bin", "size": 999986}
    assert model in planned["layers"][1]["files"]
    assert [*(bench.cache / "blobs").iterdir()] == []
    assert not (tmp_path / "own").exists()


def test_an_own_folder_where_nothing_is_said(bench: Bench, tmp_path: Path) -> None:
    done = bench.run(bench.request("a"), "--tag=x:1", env={"XDG_DATA_HOME": str(tmp_path)})
    assert done.code == 0, done.err
    index = json.loads((tmp_path / "tritonbuild" / "images" / "index.json").read_bytes())
    assert [entry["digest"] for entry in index["manifests"]] == [done.digest]
    assert done.facts["tritonbuild.locations"] == [f"oci:{tmp_path}/tritonbuild/images:x:1"]


def test_an_engine_that_does_not_load(bench: Bench, tmp_path: Path, fake_program: Callable[[str, str], Path]) -> None:
    calls = fake_program("podman", "echo 'Error: no room'; echo 'in the storage' >&2; exit 125")
    done = bench.run(bench.request("a"), "--load=podman", "--tag=x:1", env={"TMPDIR": str(tmp_path)})
    assert (done.code, done.out) == (1, "")
    assert done.err.splitlines()[-2] == "error: podman cannot load the image: in the storage"
    assert calls.read_text().startswith("load\t--input\t")
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tritonbuild-")] == []
    done = bench.run(bench.request("a"), "--load=nerdctl", "--tag=x:1", env={"PATH": "/nowhere"})
    assert (done.code, "error: nerdctl is not installed" in done.err) == (2, True)


REFUSED = {
    "no such component": (("nosuch",), (), 1, "the full image has no /opt/tritonserver/backends/nosuch"),
    "no such image": (("a",), ("--source=full=oci:/nowhere:x",), 2, "'/nowhere:x' does not exist"),
    "no such tag": (("a",), ("--source=full=oci:{layout}:nosuch",), 2, "has no image 'nosuch'"),
    "no such platform": (("a",), ("--platform=linux/arm64",), 2, "is for linux/amd64, not for linux/arm64"),
    "no such output": (("a",), ("--output=type=local,dest=x",), 2, "the embedded engine has no output type 'local'"),
    "no such option": (("a",), ("--network=none",), 2, "unrecognized arguments: --network=none"),
    "a push without a tag": (("a",), ("--push",), 2, "a push needs a tag"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(name: str, bench: Bench) -> None:
    components, options, code, message = REFUSED[name]
    done = bench.run(bench.request(*components), *(option.format(layout=bench.layout) for option in options))
    assert done.code == code
    assert message in done.err
    assert "hint: " in done.err


def test_a_base_in_place_of_scratch_is_refused(bench: Bench) -> None:
    done = bench.run(attrs.evolve(bench.request("a"), base="scratch"), f"--source=min={bench.base}")
    assert (done.code, "error: an image on scratch has no base image to replace" in done.err) == (2, True)


def test_another_holder_of_the_id(bench: Bench, tmp_path: Path) -> None:
    blobs = tmp_path / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    tree = {**tiny.base_tree(), "etc/passwd": layers.file(b"dev:x:1000:1000::/:/bin/sh\n")}
    base = layers.write_layer(tree, blobs, "base")
    oci.write_index(tmp_path, {tiny.BASE: oci.ImageConfig(layers=[base], env={})})
    done = bench.run(attrs.evolve(bench.request("a"), base=f"oci:{tmp_path}"), layout_option(tmp_path / "out"))
    assert (done.code, "user id 1000 belongs to 'dev' in the base image" in done.err) == (1, True)


@pytest.mark.integration
def test_only_what_is_new_is_moved(bench: Bench, faulty: Proxy) -> None:
    def run(tag: str, *names: str) -> int:
        request = tiny.request(f"{faulty.host}/src/{tiny.FULL}", f"{faulty.host}/src/{tiny.BASE}", *names)
        done = bench.run(request, f"--tag={faulty.host}/moved/x:{tag}", "--push")
        assert done.code == 0, done.err
        return int(done.facts["tritonbuild.moved"])

    first = run("1", "a", "b")
    assert first > 2_500_000
    faulty.log.clear()
    second = run("2", "a", "b", "c")
    assert 900_000 < second < 1_400_000
    # Nothing of the base, and of the full image nothing but the pieces that hold the component.
    base = oci.read_json(bench.layout, tiny.digests(bench.layout)[tiny.BASE])["layers"][0]["digest"]
    assert not [path for method, path, _ in faulty.log if method == "GET" and base in path]
    third = run("3", "a", "c")
    assert third < 100_000


@pytest.mark.integration
def test_a_bill_of_materials(bench: Bench, faulty: Proxy) -> None:
    request = tiny.request(f"{faulty.host}/src/{tiny.FULL}", f"{faulty.host}/src/{tiny.BASE}", "a")
    done = bench.run(request, f"--tag={faulty.host}/sbom/x:1", "--push", "--sbom")
    assert done.code == 0, done.err
    tag = done.digest.replace(":", "-")
    referrers = [path for method, path, status in faulty.log if method == "PUT" and path.endswith(f"/manifests/{tag}")]
    assert len(referrers) == 1
    # What somebody else has attached stays.
    repository = Registries(TransportSettings()).target(parse_reference(f"{faulty.host}/sbom/x:1"))
    _, content = repository.manifest(tag)
    (own,) = json.loads(content)["manifests"]
    other = {**own, "digest": done.digest, "artifactType": "application/vnd.example"}
    repository.put_manifest(tag, oci.INDEX_TYPE, oci.to_json({**json.loads(content), "manifests": [other]}))
    again = bench.run(request, f"--tag={faulty.host}/sbom/x:1", "--push", "--sbom")
    assert again.code == 0, again.err
    assert json.loads(repository.manifest(tag)[1])["manifests"] == [other, own]


@pytest.mark.integration
@pytest.mark.skipif(os.geteuid() != 0, reason="becoming nobody takes root")
def test_without_privileges(bench: Bench, tmp_path: Path) -> None:
    if shutil.which("setpriv") is None:
        pytest.skip("setpriv is not installed")
    good = bench.run(bench.request("a"), layout_option(tmp_path / "good"))
    folder = Path("/tmp") / f"tritonbuild-nobody-{os.getpid()}"
    shutil.copytree(bench.layout, folder / "layout")
    try:
        request = tiny.request(f"oci:{folder / 'layout'}:{tiny.FULL}", f"oci:{folder / 'layout'}:{tiny.BASE}", "a")
        (folder / "request").write_bytes(request.to_json())
        subprocess.run(["chown", "-R", str(NOBODY), folder], check=True)
        python = [os.path.realpath(sys.executable), "-m", "tritonbuild.embedded", f"--file={folder / 'request'}"]
        done = subprocess.run(
            [
                *("setpriv", f"--reuid={NOBODY}", f"--regid={NOBODY}", "--clear-groups", "--bounding-set=-all"),
                *("--inh-caps=-all", "--no-new-privs", *python),
                *(layout_option(folder / "out"), f"--cache-dir={folder / 'cache'}", "--quiet"),
            ],
            env={"HOME": str(folder), "PATH": "/usr/bin:/bin", "PYTHONPATH": ":".join(filter(None, sys.path))},
            capture_output=True,
            text=True,
            check=False,
        )
        if "Permission denied" in done.stderr and "No module" not in done.stderr and not done.stdout:
            pytest.skip("nobody cannot read this Python")
        assert done.returncode == 0, done.stderr
        assert done.stdout.strip() == good.digest
    finally:
        shutil.rmtree(folder)


@pytest.mark.integration
def test_memory_does_not_grow_with_a_layer(bench: Bench, tmp_path: Path) -> None:
    # 3 GB that compress well, so that the test is quick: memory depends on what comes out as much as on what goes in.
    big = tmp_path / "content"
    with big.open("wb") as out:
        block = tiny.noise(5, 1 << 20)
        for number in range(3000):
            out.write(number.to_bytes(8, "little") * 64 + (block * 2)[number % 4096 : number % 4096 + (1 << 20) - 512])
    blobs = tmp_path / "layout" / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    base = layers.write_layer(tiny.base_tree(), blobs, "base")
    tree = tiny.server_tree()
    tree[f"{tiny.SERVER_FOLDER}/backends/big/model.bin"] = layers.on_disk(big)
    full = layers.write_layer(layers.with_parents(tree), blobs, "server")
    big.unlink()
    env = {"PATH": "/bin"}
    oci.write_index(
        tmp_path / "layout",
        {tiny.BASE: oci.ImageConfig(layers=[base], env=env), tiny.FULL: oci.ImageConfig(layers=[base, full], env=env)},
    )
    place = f"oci:{tmp_path / 'layout'}"
    request = attrs.evolve(
        tiny.request(f"{place}:{tiny.FULL}", f"{place}:{tiny.BASE}", "a"),
        components=[RequestedComponent(title="backend big", folder=f"{SERVER}/backends/big")],
    )
    # The system counts the largest of all children: of a process that has only this one.
    program = "import resource, subprocess, sys; code = subprocess.run(sys.argv[1:], timeout=300).returncode; "
    program += "print(code, resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss >> 10)"
    argv = bench.argv(request, layout_option(tmp_path / "out"))
    done = subprocess.run([sys.executable, "-c", program, *argv], capture_output=True, text=True, check=True)
    code, measured = done.stdout.split()[-2:]
    assert code == "0", done.stderr
    assert int(measured) < 300, f"{measured} MiB"


def test_a_server_without_components(bench: Bench, tmp_path: Path) -> None:
    done = bench.run(bench.request(), layout_option(tmp_path))
    assert done.code == 0, done.err
    history = config_of(tmp_path, done.digest)["history"]
    assert [one.get("created_by") for one in history] == [  # type: ignore[attr-defined]
        "base",
        "tritonbuild: server",
        "tritonbuild: runtime of server",
        "tritonbuild: accounts and the loader's cache",
    ]
