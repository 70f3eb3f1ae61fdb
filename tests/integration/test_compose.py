"""The main job on every engine: an image is composed, it is exact, and it serves."""

from __future__ import annotations

import hashlib
import io
import signal
import stat
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import attrs
import pytest

from tests import services
from tests.integration import elf
from tests.integration.labs import EMBEDDED, ENGINES, Lab
from tests.replica import MODELS, Replica, ask, oci

pytestmark = pytest.mark.parametrize("lab", [*ENGINES, EMBEDDED], indirect=True, scope="session")

SERVER = "/opt/tritonserver"
WRITTEN_HERE = {
    "etc/group",
    "etc/ld.so.cache",
    "etc/passwd",
    "etc/shadow",
    "etc/ld.so.conf.d/tritonbuild.conf",
}
"""Files of a composed image that are in no source image as they are."""

MADE_BY_THE_RUNNER = {
    ".dockerenv",
    "dev",
    "etc/hostname",
    "etc/hosts",
    "etc/mtab",
    "etc/resolv.conf",
    "proc",
    "run",
    "sys",
}


@attrs.frozen(kw_only=True)
class Composed:
    """A composed image, with the lab that made it."""

    lab: Lab
    tag: str
    result: dict[str, object]


@pytest.fixture(scope="module")
def composed(lab: Lab) -> Composed:
    """The replica with the python backend and the local cache."""
    tag = f"tritonbuild-test/{lab.name}:python"
    return Composed(lab=lab, tag=tag, result=lab.build("--backend", "python", "--cache", "local", tag=tag))


@pytest.fixture(scope="module")
def files(composed: Composed, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """The composed image's files."""
    with composed.lab.unpacked(composed.tag, tmp_path_factory.mktemp("unpacked")) as folder:
        yield folder


def models(folder: Path, *names: str) -> Path:
    """Return a model repository of the replica's models of those names."""
    for name in names:
        (folder / name).symlink_to(MODELS / name)
    copied = folder.with_name(f"{folder.name}-models")
    subprocess.run(["cp", "-rL", folder, copied], check=True)
    return copied


def test_the_result_says_what_was_built(composed: Composed) -> None:
    result = composed.result
    assert composed.lab.config(composed.tag)["Id"].removeprefix("sha256:") == str(result["image_id"])[7:]
    assert result["tags"] == [composed.tag]
    assert result["engine"] == composed.lab.engine
    assert Path(str(result["log"])).stat().st_size > 0


def test_it_serves_the_right_numbers(composed: Composed, tmp_path: Path) -> None:
    repository = models(tmp_path, "add")
    with services.serve(
        composed.lab.runner_env,
        composed.lab.runner,
        composed.tag,
        repository,
        arguments=["--cache-config=local,size=1048576"],
    ) as server:
        assert server.get("/v2/health/ready") == b""
        assert ask.wrong(server.url, ["add"]) == {}


def test_it_has_the_selection_and_nothing_else_of_triton(files: Path) -> None:
    server = files / SERVER.lstrip("/")
    assert sorted(path.name for path in server.iterdir()) == [
        "LICENSE",
        "NVIDIA_Deep_Learning_Container_License.pdf",
        "TRITON_VERSION",
        "backends",
        "bin",
        "caches",
        "lib",
    ]
    assert [path.name for path in (server / "backends").iterdir()] == ["python"]
    assert [path.name for path in (server / "caches").iterdir()] == ["local"]


def test_every_elf_file_resolves_inside_the_image(composed: Composed, files: Path) -> None:
    env = dict(entry.split("=", 1) for entry in composed.lab.config(composed.tag)["Config"]["Env"])
    # The server's library is in the process before it opens a plug-in.
    env["LD_LIBRARY_PATH"] = f"{SERVER}/lib:{env.get('LD_LIBRARY_PATH', '')}"
    found = list(elf.elf_files(files, [SERVER, "/usr/lib/python3.11", "/usr/lib/python3"]))
    assert len(found) > 20
    assert elf.missing(files, found, env) == {}


def digests_of(replica: Replica, *names: str) -> dict[str, set[str]]:
    """Return the digests of the contents that each path has in any of those source images; a link's is its target."""
    found: dict[str, set[str]] = {}
    for name in names:
        manifest = oci.read_json(replica.layout, replica.images[name].digest)
        for layer in manifest["layers"]:
            blob = replica.layout / "blobs" / layer["digest"].replace(":", "/")
            with tarfile.open(blob) as archive:
                for member in archive:
                    path = member.name.removeprefix("./").strip("/")
                    if member.issym():
                        found.setdefault(path, set()).add(member.linkname)
                    elif member.isfile():
                        content = archive.extractfile(member) or io.BytesIO()
                        found.setdefault(path, set()).add(hashlib.sha256(content.read()).hexdigest())
                    elif member.islnk():
                        found.setdefault(path, set()).update(found[member.linkname.removeprefix("./").strip("/")])
    return found


@pytest.fixture(scope="module")
def source_digests(made_replica: Replica) -> dict[str, set[str]]:
    return digests_of(made_replica, "full", "min")


def test_it_carries_nothing_that_the_source_images_do_not_have(
    files: Path, source_digests: dict[str, set[str]]
) -> None:
    strange = []
    for path in files.rglob("*"):
        name = str(path.relative_to(files))
        if name in WRITTEN_HERE or name in MADE_BY_THE_RUNNER or name.split("/", 1)[0] in {"dev", "proc", "sys", "run"}:
            continue
        mode = path.lstat().st_mode
        if stat.S_ISLNK(mode):
            digest = str(path.readlink())
        elif stat.S_ISREG(mode):
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
        else:
            continue
        if digest not in source_digests.get(name, set()):
            strange.append(name)
    assert strange == []


def test_what_it_adds_to_the_base_is_roots_and_not_for_all_to_write(files: Path) -> None:
    wrong = [
        str(path)
        for path in (files / "opt/tritonserver").rglob("*")
        if (path.lstat().st_uid, path.lstat().st_gid) != (0, 0)
        or (not path.is_symlink() and path.lstat().st_mode & stat.S_IWOTH)
    ]
    assert wrong == []


def test_the_base_is_as_it_was(files: Path) -> None:
    for link in ("bin", "lib", "lib64", "sbin"):
        assert (files / link).is_symlink(), f"/{link} is no longer a link"
    assert stat.S_IMODE((files / "tmp").stat().st_mode) == 0o1777
    assert not (files / "tritonbuild").exists()
    assert list((files / "tmp").iterdir()) == []


def test_accounts_environment_labels_and_entry_point(composed: Composed, files: Path) -> None:
    accounts = (files / "etc/passwd").read_text().splitlines()
    assert "triton-server:x:1000:1000::/home/triton-server:/bin/bash" in accounts
    assert any(line.startswith("root:") for line in accounts)
    config = composed.lab.config(composed.tag)["Config"]
    env = dict(entry.split("=", 1) for entry in config["Env"])
    assert env["TRITON_SERVER_VERSION"] == "2.51.0"
    assert env["NVIDIA_TRITON_SERVER_VERSION"] == "24.10"
    assert env["PATH"].startswith("/opt/tritonserver/bin:/usr/local/")
    assert env["CUDA_VERSION"].startswith("12.6")
    assert config["Labels"]["com.nvidia.tritonserver.version"] == "2.51.0"
    assert config["Labels"]["org.opencontainers.image.base.name"].endswith("/nvidia/tritonserver:24.10-py3-min")
    assert config["WorkingDir"] == SERVER
    assert config["Entrypoint"] == ["/opt/nvidia/nvidia_entrypoint.sh"]
    assert config.get("User") in {None, "", "root"}


def test_one_more_backend_takes_the_layers_that_are_there(composed: Composed) -> None:
    lab = composed.lab
    more = f"tritonbuild-test/{lab.name}:more"
    lab.build("--backend", "python", "--cache", "local", "--backend", "identity", tag=more)
    first = lab.layers(composed.tag)
    # Not the same: the runtime, the loader's cache and, with some engines, the layer of the working directory.
    assert shared(first, lab.layers(more)) >= len(first) - 3


def shared(first: list[str], second: list[str]) -> int:
    """Return how many layers, from the base's on, both images have."""
    return next(
        (n for n, (a, b) in enumerate(zip(first, second, strict=False)) if a != b), min(len(first), len(second))
    )


def test_libraries_found_in_odd_places_come_along(lab: Lab, tmp_path: Path) -> None:
    """One only transitively needed, one found through ld.so.conf.d, one opened by name at run time; all serve."""
    tag = f"tritonbuild-test/{lab.name}:compiled"
    result = lab.build("--backend", "identity", "--backend", "square", "--repoagent", "checksum", tag=tag)
    assert result["image_id"]
    repository = models(tmp_path, "ident", "square", "checked")
    with services.serve(lab.runner_env, lab.runner, tag, repository) as server:
        assert ask.wrong(server.url, ["ident", "square", "checked"]) == {}


def test_python_based_backends_serve(lab: Lab, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        "".join(f'[[component]]\nname = "{n}"\nrequires = ["python"]\n' for n in ("acme_scale", "acme_reverse"))
    )
    tag = f"tritonbuild-test/{lab.name}:based"
    lab = attrs.evolve(lab, env={**lab.env, "TRITONBUILD_CONFIG": str(config)})
    lab.build("--backend", "acme_scale", "--backend", "acme_reverse", tag=tag)
    (tmp_path / "models").mkdir()
    repository = models(tmp_path / "models", "scale", "reverse")
    with services.serve(lab.runner_env, lab.runner, tag, repository) as server:
        assert ask.wrong(server.url, ["scale", "reverse"]) == {}


def test_for_cpu(lab: Lab, tmp_path: Path) -> None:
    tag = f"tritonbuild-test/{lab.name}:cpu"
    references = lab.sources.references
    images = (f"full,{references['cpu-full']}", f"min,{references['cpu-min']}")
    lab.build("--enable-gpu=false", "--image", images[0], "--image", images[1], "--backend", "python", tag=tag)
    env = dict(entry.split("=", 1) for entry in lab.config(tag)["Config"]["Env"])
    assert env["TRITON_SERVER_GPU_ENABLED"] == "0"
    with services.serve(lab.runner_env, lab.runner, tag, models(tmp_path, "add")) as server:
        assert ask.wrong(server.url, ["add"]) == {}


def test_a_dry_runs_file_builds_as_it_is(lab: Lab, tmp_path: Path) -> None:
    if lab.engine == EMBEDDED:
        pytest.skip("it reads no Containerfile")
    done = lab.tritonbuild("--dry-run", "--work-dir", str(tmp_path), "--backend", "identity")
    assert (done.returncode, done.stdout) == (0, f"{tmp_path}/Dockerfile.compose\n")
    context = tmp_path / "context"
    context.mkdir()
    lab.build_by_hand(tmp_path / "Dockerfile.compose", context, "tritonbuild-test/dry:run")
    assert list(context.iterdir()) == []


def test_a_full_image_without_the_server_fails_the_build(lab: Lab) -> None:
    """It fails with 4, says what is missing and leaves no image."""
    references = lab.sources.references
    done = lab.tritonbuild(
        *("--image", f"full,{references['min']}", "--image", f"min,{references['min']}"),
        *("--backend", "python", "--output-name", "tritonbuild-test/never:1"),
    )
    assert done.returncode == 4
    assert done.stdout == ""
    assert f"{SERVER}/" in done.stderr
    assert "Traceback" not in done.stderr
    with pytest.raises(services.ServiceError):
        lab.run("image", "inspect", "tritonbuild-test/never:1")


def test_a_library_that_full_lacks_too_is_named_and_no_fault(lab: Lab, broken_full: str) -> None:
    """The composed image is no worse than its source."""
    images = ("--image", f"full,{broken_full}", "--image", f"min,{lab.sources.references['min']}")
    words = ("--backend", "identity", "--opt", "no_cache=true", "-t", f"tritonbuild-test/{lab.name}:lacking")
    done = lab.tritonbuild(*images, *words)
    assert done.returncode == 0, done.stderr[-2000:]
    needs = f"{SERVER}/backends/identity/libtriton_identity.so needs libacme_deep.so.2, which the full image lacks too"
    assert needs in done.stderr


def test_a_library_that_is_missing_fails_the_build(lab: Lab, hollow_min: str) -> None:
    """File and library are named unless the library is exempt."""
    images = ("--image", f"full,{lab.sources.references['full']}", "--image", f"min,{hollow_min}")
    done = lab.tritonbuild(*images, "--backend", "identity")
    assert done.returncode == 4
    needs = f": {SERVER}/backends/identity/libtriton_identity.so needs libacme_deep.so.2, which the composed"
    assert needs in done.stderr
    tag = f"tritonbuild-test/{lab.name}:exempt"
    lab.build(*images, "--backend", "identity", "--exempt-library", "libacme_deep*", tag=tag)


def test_a_source_image_that_does_not_exist(lab: Lab) -> None:
    done = lab.tritonbuild("--container-version", "24.09", "--backend", "python")
    assert done.returncode == 4
    assert "24.09-py3" in done.stderr
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM], ids=["SIGINT", "SIGTERM"])
def test_an_interrupt_leaves_nothing_running(lab: Lab, number: signal.Signals, tmp_path: Path) -> None:
    """In the middle of a RUN that takes a day; the embedded engine runs nothing: as soon as it is there."""
    temporary, fragment = tmp_path / "tmp", tmp_path / "fragment"
    temporary.mkdir()
    running = str(temporary) if lab.engine == EMBEDDED else services.a_day()
    fragment.write_text("" if lab.engine == EMBEDDED else f"RUN sleep {running}\n")
    env = {**lab.environment(), "TMPDIR": str(temporary)}
    words = ("--backend", "pytorch", "--no-enable-gpu", *images_of(lab), "--fragment", str(fragment))
    argv = lab.command(*words, "--opt", "no_cache=true", "--opt", "network=none")
    with services.running(argv, env=env) as process:
        assert services.wait_for(running, timeout=120), "no RUN was seen"
        process.send_signal(number)
        output, error = process.communicate(timeout=60)
    assert process.returncode == 130, error[-3000:]
    assert output == ""
    assert error.endswith("tritonbuild: interrupted\n")
    assert services.left(running) == ()
    assert [path for path in temporary.iterdir() if path.name.startswith("tritonbuild-")] == []


def images_of(lab: Lab) -> list[str]:
    references = lab.sources.references
    return ["--image", f"full,{references['full']}", "--image", f"min,{references['cpu-min']}"]


def test_nothing_but_this_machine_could_be_reached(lab: Lab) -> None:
    """All of the above ran in a network that has no route to anywhere."""
    routes = Path("/proc/thread-self/net/route").read_text().splitlines()
    assert routes[1:] == []
    assert Path("/proc/thread-self/net/dev").read_text().count(":") == 1  # loopback alone
