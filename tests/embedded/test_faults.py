"""Whatever goes wrong: no wrong image, no traceback, no leftovers, and a second run that picks up."""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
from pathlib import Path

import pytest

from tests import services
from tests.replica import layers, oci
from tests.replica.layers import Tree, file
from tests.tiny import images as tiny
from tests.tiny.bench import Bench, Outcome
from tests.tiny.proxy import Fault, Proxy
from tritonbuild.embedded.request import Request
from tritonbuild.errors import TritonBuildError
from tritonbuild.layers import indexing
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.oci.files import chunks

pytestmark = pytest.mark.integration


def is_blob(method: str, path: str) -> bool:
    return method == "GET" and "/blobs/sha256:" in path


def is_upload(method: str, path: str) -> bool:
    return method == "PUT" and "/blobs/uploads/" in path


def is_mount(method: str, path: str) -> bool:
    return method == "POST" and "mount=" in path


def wanted(host: str, *names: str) -> Request:
    return tiny.request(f"{host}/src/{tiny.FULL}", f"{host}/src/{tiny.BASE}", *(names or ("a", "b")))


def settled(bench: Bench, host: str) -> Outcome:
    """Return what a build without faults gives."""
    done = bench.run(
        wanted(host), f"--output=type=oci-layout,dest={bench.folder / 'good'}", cache=bench.folder / "good-cache"
    )
    assert done.code == 0, done.err
    return done


def same(one: Outcome, other: Outcome) -> None:
    """Both gave the same image; if not, what they said has the digest of each layer."""
    assert (one.code, one.digest) == (0, other.digest), f"{other.err}\n{one.err}"


def leftovers(cache: Path) -> list[str]:
    return [str(path) for path in (cache / "new").iterdir()]


SURVIVED = {
    **{f"cut at {tenth} tenths": Fault(when=is_blob, times=3, cut=tenth / 10) for tenth in range(10)},
    "429": Fault(when=is_blob, status=429, headers={"Retry-After": "1"}, times=2),
    "500": Fault(when=is_blob, status=500, times=2),
    "503 on an upload": Fault(when=is_upload, status=503, times=2),
    "an upload cut": Fault(when=is_upload, cut=0.5),
    "a mount answered 202": Fault(when=is_mount, pass_mount=False, times=-1),
    "a manifest with 502": Fault(when=lambda m, p: "/manifests/" in p, status=502, times=2),
}


@pytest.mark.parametrize("name", SURVIVED)
def test_survived(name: str, bench: Bench, faulty: Proxy) -> None:
    fault = SURVIVED[name]
    good = settled(bench, faulty.host)
    faulty.faults.append(
        Fault(**{a: getattr(fault, a) for a in ("when", "times", "status", "headers", "cut", "pass_mount")})
    )
    target = f"t{abs(hash(name))}"
    done = bench.run(wanted(faulty.host), f"--tag={faulty.host}/{target}/x:1", "--push")
    assert done.code == 0, done.err
    same(done, good)
    assert leftovers(bench.cache) == []
    if "429" in name:
        assert sum(status == 429 for _, _, status in faulty.log) == 2


REFUSED = {
    "an altered blob": (Fault(when=is_blob, alter=5000, times=-1), "is damaged"),
    "a truncated blob": (Fault(when=is_blob, shorten=10, times=-1), "breaks off"),
    "a blob that is cut for ever": (Fault(when=is_blob, cut=0.0, times=-1), "breaks off"),
    "500 for ever": (Fault(when=is_blob, status=500, times=-1), "500 Internal Server Error: told to"),
    "not allowed": (Fault(when=lambda m, p: "/manifests/" in p, status=403, times=-1), "403 Forbidden: told to"),
    "not there": (Fault(when=lambda m, p: "/manifests/" in p, status=404, times=-1), "404 Not Found: told to"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused_and_then_done(name: str, bench: Bench, faulty: Proxy) -> None:
    fault, message = REFUSED[name]
    good = settled(bench, faulty.host)
    faulty.faults.append(fault)
    target = f"{faulty.host}/r{abs(hash(name))}/x:1"
    done = bench.run(wanted(faulty.host), f"--tag={target}", "--push", "--retry=2")
    assert done.code == 1
    assert message in done.err
    assert "hint: " in done.err
    assert leftovers(bench.cache) == []
    faulty.faults.clear()
    assert not [path for method, path, status in faulty.log if method == "PUT" and "/manifests/" in path]
    again = bench.run(wanted(faulty.host), f"--tag={target}", "--push")
    same(again, good)


def test_a_layer_of_another_digest(bench: Bench, tiny_layout: Path, tmp_path: Path) -> None:
    layout = tmp_path / "layout"
    subprocess.run(["cp", "-r", tiny_layout, layout], check=True)
    digest = oci.read_json(layout, tiny.digests(layout)[tiny.FULL])["layers"][1]["digest"]
    path = layout / "blobs" / digest.replace(":", "/")
    content = bytearray(path.read_bytes())
    content[-20] ^= 1
    path.write_bytes(content)
    request = tiny.request(f"oci:{layout}:{tiny.FULL}", bench.base, "a")
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == 1
    assert "is damaged" in done.err
    assert not (tmp_path / "out" / "index.json").exists()


def test_tokens_that_run_out(bench: Bench, faulty: Proxy) -> None:
    good = settled(bench, faulty.host)
    faulty.scheme, faulty.user, faulty.password, faulty.token_uses = "bearer", "me", "secret", 3
    logins = bench.folder / "auth.json"
    logins.write_text(f'{{"auths": {{"{faulty.host}": {{"auth": "bWU6c2VjcmV0"}}}}}}')
    done = bench.run(wanted(faulty.host), f"--tag={faulty.host}/tokens/x:1", "--push", f"--authfile={logins}")
    same(done, good)
    assert ["repository:tokens/x:pull,push", "repository:src/tiny:pull"] in faulty.asked


def test_a_wrong_password(bench: Bench, faulty: Proxy) -> None:
    faulty.scheme, faulty.user, faulty.password = "basic", "me", "secret"
    logins = bench.folder / "auth.json"
    logins.write_text(f'{{"auths": {{"{faulty.host}": {{"username": "me", "password": "wrong"}}}}}}')
    done = bench.run(wanted(faulty.host), f"--output=type=oci-layout,dest={bench.folder / 'x'}", f"--authfile={logins}")
    assert done.code == 1
    assert f"log in with `podman login {faulty.host}`" in done.err
    assert "wrong" not in done.err


def test_basic_authentication(bench: Bench, faulty: Proxy) -> None:
    faulty.scheme, faulty.user, faulty.password = "basic", "me", "secret"
    logins = bench.folder / "auth.json"
    logins.write_text(f'{{"auths": {{"{faulty.host}": {{"username": "me", "password": "secret"}}}}}}')
    done = bench.run(wanted(faulty.host), f"--tag={faulty.host}/basic/x:1", "--push", f"--authfile={logins}")
    assert done.code == 0, done.err


@pytest.mark.parametrize("tenth", range(10))
def test_killed(tenth: int, bench: Bench, faulty: Proxy) -> None:
    """In the middle of a request: the first of the build, the last, or one of those between."""
    good = settled(bench, faulty.host)
    faulty.requests = 0
    done = bench.run(wanted(faulty.host), f"--tag={faulty.host}/k{tenth}/before:1", "--push", cache=bench.folder / "x")
    assert done.code == 0, done.err
    last, faulty.requests = faulty.requests, 0
    target = f"{faulty.host}/k{tenth}/x:1"
    argv = bench.argv(wanted(faulty.host), f"--tag={target}", "--push")
    temporary = bench.folder / "tmp"
    temporary.mkdir()
    env = {**os.environ, "TMPDIR": str(temporary)}
    process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=env)
    moment = 1 + (last - 1) * tenth // 9

    def kill(number: int) -> None:
        if number == moment:
            process.send_signal(signal.SIGKILL)
            process.wait(30)

    faulty.on_request = kill
    # The order of requests varies a little, and so does their number.
    assert process.wait(timeout=120) in {-signal.SIGKILL, 0}
    assert tenth == 9 or process.returncode == -signal.SIGKILL
    faulty.on_request = None
    assert [*temporary.iterdir()] == []
    done = bench.run(wanted(faulty.host), f"--tag={target}", "--push")
    same(done, good)
    assert leftovers(bench.cache) == []


def test_interrupted(bench: Bench, faulty: Proxy) -> None:
    faulty.faults.append(Fault(when=is_blob, status=429, headers={"Retry-After": "30"}, times=-1))
    argv = bench.argv(wanted(faulty.host), f"--output=type=docker-archive,dest={bench.folder / 'out.tar'}")
    waiting = threading.Event()
    faulty.on_request = lambda _: waiting.set() if any(status == 429 for *_, status in faulty.log) else None
    with services.running(argv) as process:
        assert waiting.wait(60)
        process.terminate()
        _, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert "Traceback" not in err
    assert leftovers(bench.cache) == []
    assert [path.name for path in bench.folder.iterdir() if "out.tar" in path.name] == []


def test_two_builds_at_once(bench: Bench) -> None:
    outputs = [bench.folder / f"out{number}" for number in range(2)]
    argvs = [bench.argv(bench.request("a", "b"), f"--output=type=oci-layout,dest={out}") for out in outputs]
    running = [subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for argv in argvs]
    ended = [(*process.communicate(timeout=120), process.returncode) for process in running]
    assert [code for _, _, code in ended] == [0, 0], ended
    assert ended[0][0] == ended[1][0]
    # Each layer was read and written by one of them alone.
    told = [line.split("] ")[1] for _, err, _ in ended for line in err.splitlines() if "] read sha" in line]
    assert len(told) == len(set(told)) == 2


def test_two_builds_into_one_layout(bench: Bench, tmp_path: Path) -> None:
    """The index is read and written with the folder locked: what somebody else puts in meanwhile stays."""
    layout = tmp_path / "out"
    layout.mkdir()
    lock = os.open(layout, os.O_RDONLY)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX)
        argv = bench.argv(bench.request("a"), f"--output=type=oci-layout,dest={layout}", "--tag=mine:1")
        process = subprocess.Popen(argv, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        # The last that is written before it waits.
        while not (layout / "oci-layout").exists():
            assert process.poll() is None
        other = {"mediaType": oci.MANIFEST_TYPE, "digest": f"sha256:{'0' * 64}", "size": 2}
        index = {"schemaVersion": 2, "manifests": [{**other, "annotations": {oci.REFERENCE: "other:1"}}]}
        (layout / "index.json").write_text(json.dumps(index))
    finally:
        os.close(lock)
    _, err = process.communicate(timeout=60)
    assert process.returncode == 0, err
    names = [one["annotations"][oci.REFERENCE] for one in oci.read_json_file(layout / "index.json")["manifests"]]
    assert names == ["other:1", "mine:1"]


@pytest.mark.parametrize("kind", ["indexes", "blobs", "layers"])
@pytest.mark.parametrize("how", ["altered", "truncated", "emptied"])
def test_a_damaged_cache_file(kind: str, how: str, bench: Bench) -> None:
    good = bench.run(bench.request("a"), f"--output=type=oci-layout,dest={bench.folder / 'one'}")
    assert good.code == 0, good.err
    for path in (bench.cache / kind).iterdir():
        content = bytearray(path.read_bytes())
        middle = len(content) // 2
        if how == "altered":
            content[middle] ^= 0xFF
        path.write_bytes({"altered": bytes(content), "truncated": bytes(content[:middle]), "emptied": b""}[how])
    outputs = [f"--output=type=oci-layout,dest={bench.folder / name}" for name in ("two", "three")]
    done = bench.run(bench.request("a"), *outputs)
    same(done, good)
    # A blob's content is checked when it is transferred; what else is wrong is noticed when the layer is looked up.
    assert ("in the cache is damaged: writing it again" in done.err) == ((kind, how) == ("blobs", "altered"))
    for path in (bench.cache / "blobs").iterdir():
        assert path.name == f"sha256-{hashlib.sha256(path.read_bytes()).hexdigest()}"


def test_a_damaged_layer_in_the_cache_is_written_again_for_a_registry(bench: Bench, faulty: Proxy) -> None:
    good = settled(bench, faulty.host)
    cache = bench.folder / "good-cache"
    for path in (cache / "blobs").iterdir():
        content = bytearray(path.read_bytes())
        content[len(content) // 2] ^= 0xFF
        path.write_bytes(content)
    done = bench.run(wanted(faulty.host), f"--tag={faulty.host}/healed/x:1", "--push", cache=cache)
    same(done, good)
    assert "in the cache is damaged: writing it again" in done.err


def evil_layout(folder: Path, tree: Tree) -> Path:
    blobs = folder / "blobs" / "sha256"
    blobs.mkdir(parents=True)
    base = layers.write_layer(tiny.base_tree(), blobs, "base")
    full = layers.write_layer(tree, blobs, "evil")
    env = {"PATH": "/bin"}
    oci.write_index(
        folder,
        {tiny.BASE: oci.ImageConfig(layers=[base], env=env), tiny.FULL: oci.ImageConfig(layers=[base, full], env=env)},
    )
    return folder


def test_an_entry_outside(bench: Bench, tmp_path: Path) -> None:
    layout = evil_layout(tmp_path / "l", {**tiny.server_tree(), "opt/../../etc/evil": file(b"x")})
    request = tiny.request(f"oci:{layout}:{tiny.FULL}", f"oci:{layout}:{tiny.BASE}", "a")
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == 1
    assert "has an entry outside of its root: 'opt/../../'" in done.err


def test_absolute_links_stay_inside(bench: Bench, tmp_path: Path) -> None:
    tree = tiny.server_tree()
    tree[f"{tiny.SERVER_FOLDER}/backends/a/host"] = layers.symlink("/../../../../etc/shadow")
    layout = evil_layout(tmp_path / "l", tree)
    request = tiny.request(f"oci:{layout}:{tiny.FULL}", f"oci:{layout}:{tiny.BASE}", "a")
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == 0, done.err


@pytest.mark.parametrize("kind", [tarfile.CHRTYPE, tarfile.BLKTYPE, tarfile.FIFOTYPE])
@pytest.mark.parametrize("chosen", ["a", "b"])
def test_a_device(chosen: str, kind: bytes, bench: Bench, tmp_path: Path) -> None:
    """One that would have to be copied is refused; one beside is nobody's business."""
    layout = evil_layout(tmp_path / "l", tiny.server_tree())
    manifest = oci.read_json(layout, tiny.digests(layout)[tiny.FULL])
    path = layout / "blobs" / manifest["layers"][1]["digest"].replace(":", "/")
    plain = io.BytesIO()
    with tarfile.open(path) as old, tarfile.open(fileobj=plain, mode="w") as new:
        for member in old:
            new.addfile(member, old.extractfile(member) if member.isreg() else None)
        device = tarfile.TarInfo(f"{tiny.SERVER_FOLDER}/backends/a/device")
        device.type, device.devmajor, device.devminor = kind, 1, 5
        new.addfile(device)
    digest = hashlib.sha256(plain.getvalue()).hexdigest()
    (layout / "blobs" / "sha256" / digest).write_bytes(plain.getvalue())
    layer = {"mediaType": "application/vnd.oci.image.layer.v1.tar", "digest": f"sha256:{digest}"}
    config = oci.read_json(layout, manifest["config"]["digest"])
    config["rootfs"]["diff_ids"][1] = f"sha256:{digest}"
    manifest["layers"][1] = {**layer, "size": len(plain.getvalue())}
    manifest["config"] = oci.put(layout, config, oci.CONFIG_TYPE)
    index = json.loads((layout / "index.json").read_bytes())
    for entry in index["manifests"]:
        if entry["annotations"][oci.REFERENCE] == tiny.FULL:
            entry.update(oci.put(layout, manifest, oci.MANIFEST_TYPE))
    (layout / "index.json").write_bytes(oci.to_json(index))
    request = tiny.request(f"oci:{layout}:{tiny.FULL}", f"oci:{layout}:{tiny.BASE}", chosen)
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == (1 if chosen == "a" else 0), done.err
    if chosen == "a":
        assert (
            "error: 'opt/tritonserver/backends/a/device' is a device or a FIFO, which a new layer cannot hold"
            in done.err
        )
        assert not (tmp_path / "out" / "index.json").exists()


def test_a_bomb(bench: Bench, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(indexing, "_LARGEST", 64 << 20)
    big = tmp_path / "zeros"
    with big.open("wb") as out:
        out.truncate(200 << 20)
    (tmp_path / "blobs").mkdir()
    layer = layers.write_layer({"zeros": layers.on_disk(big)}, tmp_path / "blobs", "bomb")
    blob = Descriptor(media_type="", digest=layer.digest, size=layer.size)
    path = tmp_path / "blobs" / layer.digest[7:]
    with pytest.raises(TritonBuildError, match="the layer is damaged: it unpacks to more than 200 times its size"):
        indexing.index_layer(blob, chunks(path), what="the layer")


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
@pytest.mark.parametrize("form", ["oci-layout", "oci", "docker-archive"])
def test_a_full_disk_where_the_image_goes(form: str, bench: Bench, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        done = bench.run(bench.request("a"), f"--output=type={form},dest={small / 'out'}")
        assert done.code == 1
        assert "no space is left in" in done.err
        found = [path.name for path in small.rglob("*") if path.is_file() and len(path.name) != 64]
        assert found == []
    finally:
        subprocess.run(["umount", small], check=True)
    done = bench.run(bench.request("a"), f"--output=type={form},dest={tmp_path / 'out'}")
    assert done.code == 0, done.err


@pytest.mark.skipif(os.geteuid() != 0, reason="mounting takes root")
def test_a_full_disk(bench: Bench, tmp_path: Path) -> None:
    small = tmp_path / "small"
    small.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=1m", "tmpfs", small], check=True)
    try:
        done = bench.run(bench.request("a"), f"--output=type=oci-layout,dest={tmp_path / 'out'}", cache=small / "cache")
        assert done.code == 1
        assert f"no space is left in '{small}/cache'" in done.err
        assert leftovers(small / "cache") == []
        assert not (tmp_path / "out" / "index.json").exists()
    finally:
        subprocess.run(["umount", small], check=True)
    done = bench.run(bench.request("a"), f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == 0, done.err


def test_a_plan_that_fails_when_writing_has_begun(bench: Bench, faulty: Proxy, tmp_path: Path) -> None:
    layout = tiny.make(tmp_path / "large", size=20_000_000)
    tree = {**tiny.base_tree(), "etc/passwd": file(b"dev:x:1000:1000::/:/bin/sh\n")}
    base = layers.write_layer(tree, layout / "blobs" / "sha256", "base")
    own = tmp_path / "base"
    own.mkdir()
    (own / "blobs").symlink_to(layout / "blobs")
    oci.write_index(own, {tiny.BASE: oci.ImageConfig(layers=[base], env={})})
    request = tiny.request(f"oci:{layout}:{tiny.FULL}", f"oci:{own}:{tiny.BASE}", "a", "b")
    folder = tmp_path / "out"
    done = bench.run(request, f"--tag={faulty.host}/failed/x:1", "--push", f"--output=type=oci-layout,dest={folder}")
    assert (done.code, "user id 1000 belongs to 'dev' in the base image" in done.err) == (1, True)
    # The base's layer does not wait for the plan; of the new ones no target has any.
    assert {path.name for path in (folder / "blobs" / "sha256").iterdir()} <= {base.digest.partition(":")[2]}
    ended = [path for method, path, _ in faulty.log if method == "PUT"]
    assert all(base.digest.partition(":")[2] in path for path in ended), ended
    assert leftovers(bench.cache) == []


def with_diff_ids(bench: Bench, name: str, diff_ids: list[str]) -> str:
    """Write an image like one of the small ones, with other diff IDs; return its name."""
    layout = bench.folder / "diff-ids"
    subprocess.run(["cp", "-r", bench.layout, layout], check=True)
    manifest = oci.read_json(layout, tiny.digests(layout)[name])
    config = oci.read_json(layout, manifest["config"]["digest"])
    config["rootfs"]["diff_ids"] = diff_ids
    digest = oci.put(layout, {**manifest, "config": oci.put(layout, config, oci.CONFIG_TYPE)}, oci.MANIFEST_TYPE)
    return f"oci:{layout}@{digest['digest']}"


@pytest.mark.parametrize("warm", [False, True], ids=["read", "indexed"])
@pytest.mark.parametrize("algorithm", ["sha256", "sha512"])
def test_a_base_with_a_wrong_diff_id(algorithm: str, warm: bool, bench: Bench) -> None:
    """The result would take it over; an index from a build with the right one shows it too."""
    zeros = "0" * (64 if algorithm == "sha256" else 128)
    base = with_diff_ids(bench, tiny.BASE, [f"{algorithm}:{zeros}"])
    out = bench.folder / "out"
    if warm:
        good = bench.run(bench.request("a"), f"--output=type=oci-layout,dest={bench.folder / 'good'}")
        assert good.code == 0, good.err
    done = bench.run(tiny.request(bench.full, base, "a"), f"--output=type=oci-layout,dest={out}")
    assert done.code == 1
    assert f"error: {base} is damaged: the diff ID of its layer sha256:" in done.err
    assert f"not {algorithm}:{zeros}" in done.err
    assert not (out / "index.json").exists()


def test_a_layer_of_full_that_is_the_base_later(bench: Bench) -> None:
    """The index of such a layer has no diff ID at first; it is read again then."""
    config = oci.read_json(bench.layout, tiny.digests(bench.layout)[tiny.FULL])["config"]
    diff_ids = oci.read_json(bench.layout, config["digest"])["rootfs"]["diff_ids"]
    outputs = [f"--output=type=oci-layout,dest={bench.folder / name}" for name in ("one", "two", "three")]
    assert bench.run(bench.request("a"), outputs[0]).code == 0
    done = bench.run(tiny.request(bench.full, bench.full, "a"), outputs[1])
    assert done.code == 0, done.err
    assert done.err.count("] read sha256:") == 1
    wrong = with_diff_ids(bench, tiny.FULL, [diff_ids[0], f"sha256:{'1' * 64}"])
    done = bench.run(tiny.request(bench.full, wrong, "a"), outputs[2])
    assert (done.code, f"is {diff_ids[1]}, not sha256:1111" in done.err) == (1, True), done.err


def test_diff_ids_of_full_are_not_taken_over(bench: Bench) -> None:
    full = with_diff_ids(bench, tiny.FULL, [f"sha256:{'0' * 64}"] * 2)
    done = bench.run(tiny.request(full, bench.base, "a"), f"--output=type=oci-layout,dest={bench.folder / 'out'}")
    assert done.code == 0, done.err


@pytest.mark.parametrize("diff_id", ["../../x", "sha256:", "sha256:xyz", "md5:0", ""])
def test_a_diff_id_that_is_no_digest(diff_id: str, bench: Bench) -> None:
    base = with_diff_ids(bench, tiny.BASE, [diff_id])
    done = bench.run(tiny.request(bench.full, base, "a"), f"--output=type=oci-layout,dest={bench.folder / 'out'}")
    assert (done.code, f"rootfs.diff_ids has {diff_id!r}, which is not a digest" in done.err) == (1, True), done.err


def test_the_last_catch_is_no_traceback(bench: Bench) -> None:
    """An input that no reader refuses: the function that fails over it is named."""
    code = (
        "import sys\n"
        "from tritonbuild.embedded import __main__ as engine, builder\n"
        "builder.Builder.sources = lambda self, request: {}['me:secret@x']\n"
        "sys.exit(engine.main(sys.argv[1:]))\n"
    )
    argv = bench.argv(bench.request("a"), f"--output=type=oci-layout,dest={bench.folder / 'out'}")
    done = subprocess.run(
        [sys.executable, "-c", code, *argv[3:]], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 1
    error, hint = done.stderr.splitlines()
    expected = "error: a source image or another input is damaged: unexpected KeyError in __main__, line 3: '***@x'"
    assert error == expected
    assert hint.startswith("hint: check the sources with another program")
    assert leftovers(bench.cache) == []
