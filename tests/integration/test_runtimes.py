"""Both runtimes, a bare base, and what users add: really built with podman, and serving."""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import services
from tests.integration.conftest import make_lab, needed
from tests.integration.labs import BY_HAND, Lab, Sources
from tests.integration.offline import joined
from tests.replica import MODELS, Replica, ask
from tests.replica.components import BASED_ON_PYTHON_MODEL


@pytest.fixture(scope="module")
def podman(request: pytest.FixtureRequest, sources: Sources) -> Lab:
    return make_lab(request, "podman", sources)


def models(folder: Path, *names: str) -> Path:
    for name in names:
        subprocess.run(["cp", "-rL", MODELS / name, folder / name], check=True)
    folder.chmod(0o755)  # for a server that is not root's
    return folder


def serves(lab: Lab, tag: str, folder: Path, *names: str, options: tuple[str, ...] = ()) -> None:
    """Serve models of the replica, with responses kept, and compare what they answer."""
    with services.serve(
        lab.runner_env,
        lab.runner,
        tag,
        models(folder, *names),
        arguments=["--cache-config=local,size=1048576"],
        options=options,
    ) as server:
        assert ask.wrong(server.url, list(names)) == {}


# --- a base that the user names ---


@pytest.fixture(scope="module")
def on_debian(podman: Lab) -> str:
    """A composition on bare Debian, as `--base` takes it."""
    tag = "tritonbuild-test/base:debian"
    podman.build(
        *("--backend", "python", "--backend", "identity", "--cache", "local"),
        *("--base", podman.sources.references["cpu-min"]),
        tag=tag,
    )
    return tag


def test_a_bare_base_serves(podman: Lab, on_debian: str, tmp_path: Path) -> None:
    serves(podman, on_debian, tmp_path, "add", "ident")


def test_a_bare_base_is_at_most_two_fifths_of_min(podman: Lab, made_replica: Replica, on_debian: str) -> None:
    """What min has and bare Debian has not is left out; it is some 450 MB here, and gigabytes in NVIDIA's image."""
    tag = "tritonbuild-test/base:min"
    podman.build("--backend", "python", "--backend", "identity", "--cache", "local", tag=tag)
    small, large = podman.config(on_debian)["Size"], podman.config(tag)["Size"]
    images = made_replica.images
    cuda = images["min"].unpacked - images["cpu-min"].unpacked
    print(f"on bare Debian {small:,} bytes, on min {large:,}: {small / large:.1%}; of {cuda:,} of min's")
    assert small <= 0.4 * large
    assert large - small >= 0.9 * cuda


def test_a_cpu_image_out_of_the_gpu_full_image_serves(podman: Lab, tmp_path: Path) -> None:
    """NVIDIA publishes no other full image: what its server is linked to comes along, onto a base without CUDA."""
    images, tag = podman.sources.references, "tritonbuild-test/cpu:from-gpu"
    podman.build(
        *("--backend", "python", "--backend", "identity", "--cache", "local", "--enable-gpu=false"),
        *("--image", f"full,{images['full']}", "--image", f"min,{images['cpu-min']}"),
        tag=tag,
    )
    env = dict(entry.split("=", 1) for entry in podman.config(tag)["Config"]["Env"])
    assert (env["TRITON_SERVER_GPU_ENABLED"], env["TRITON_SERVER_CPU_ONLY"]) == ("0", "1")
    serves(podman, tag, tmp_path, "add", "ident")


# --- what a user adds ---


def own_backend(folder: Path) -> tuple[Path, Path]:
    """Return the folder of a backend in Python, and that of a model for it."""
    mine, inside = folder / "mine", folder / "models"
    mine.mkdir()
    # it multiplies by three, as the model that asks for it says
    output = "pb_utils.Tensor('OUTPUT0', pb_utils.get_input_tensor_by_name(request, 'INPUT0').as_numpy() * 3)"
    (mine / "model.py").write_text(BASED_ON_PYTHON_MODEL.format(name="mine", output=output))
    inside.mkdir()
    models(inside, "scale")
    config = inside / "scale" / "config.pbtxt"
    config.write_text(config.read_text().replace("acme_scale", "mine"))
    return mine, inside


@pytest.mark.parametrize("lab", ["docker"], indirect=True, scope="session")
def test_additions_and_a_bare_base_with_buildkit(lab: Lab, sources: Sources, tmp_path: Path) -> None:
    mine, inside = own_backend(tmp_path)
    tag = "tritonbuild-test/additions:buildkit"
    lab.build(
        *("--backend", f"mine={mine}", "--model-repository", str(inside), "--with-models"),
        *("--models-folder", "/more", "--base", sources.references["cpu-min"], "--user", "triton-server"),
        tag=tag,
    )
    (tmp_path / "none").mkdir(mode=0o755)
    with services.serve(
        lab.runner_env,
        lab.runner,
        tag,
        tmp_path / "none",
        arguments=["--model-repository=/more"],
    ) as server:
        assert ask.wrong(server.url, ["scale"]) == {}


MODELS_INSIDE = "/opt/my-models"


@pytest.fixture(scope="module")
def with_additions(podman: Lab, tmp_path_factory: pytest.TempPathFactory) -> str:
    """Two backends of the user, models, environment, label, user, entry point, instructions."""
    folder = tmp_path_factory.mktemp("additions")
    mine, inside = own_backend(folder)
    (mine / "real.txt").write_text("text\n")
    (mine / "link.txt").symlink_to("real.txt")
    podman.run("pull", "--quiet", podman.sources.references["full"])
    with podman.unpacked(podman.sources.references["full"], tmp_path_factory.mktemp("full")) as files:
        subprocess.run(["cp", "-r", files / "opt/tritonserver/backends/identity", folder / "identity"], check=True)
    (folder / "fragment").write_text('ENV ADDED="by a fragment"\nCOPY conf /etc/mine/\nRUN id -un > /var/tmp/who\n')
    (folder / "context/conf").mkdir(parents=True)
    (folder / "context/conf/words").write_text("copied\n")
    tag = "tritonbuild-test/additions"
    podman.build(
        *("--backend", f"mine={mine}", "--backend", f"identity={folder / 'identity'}", "--cache", "local"),
        *("--model-repository", str(inside), "--with-models", "--models-folder", MODELS_INSIDE),
        *("--env", "MONEY=$5 and more", "--label", "com.example.mine=yes", "--user", "triton-server"),
        *("--entrypoint", "/opt/nvidia/nvidia_entrypoint.sh env -u NOTHING", "--fragment", str(folder / "fragment")),
        *("--context", str(folder / "context")),
        *("--file", f"{folder}/identity=/opt/it's identity", "--file", f"{folder}/mine/real.txt=/etc/mine/"),
        tag=tag,
    )
    return tag


def test_additions_are_in_the_image(podman: Lab, with_additions: str, tmp_path: Path) -> None:
    config = podman.config(with_additions)["Config"]
    assert {"MONEY=$5 and more", "ADDED=by a fragment"} <= set(config["Env"])
    assert config["Labels"]["com.example.mine"] == "yes"
    assert config["User"] == "1000:1000"
    assert config["Entrypoint"] == ["/opt/nvidia/nvidia_entrypoint.sh", "env", "-u", "NOTHING"]
    with podman.unpacked(with_additions, tmp_path) as files:
        backends = files / "opt/tritonserver/backends"
        assert sorted(path.name for path in backends.iterdir()) == ["identity", "mine", "python"]
        assert (backends / "mine/link.txt").readlink() == Path("real.txt")
        assert (files / "var/tmp/who").read_text() == "root\n"
        assert (files / "etc/mine/words").read_text() == "copied\n"
        assert (files / "etc/mine/real.txt").read_text() == "text\n"
        assert (files / "opt/it's identity/libtriton_identity.so").is_file()
        assert [path.name for path in (files / MODELS_INSIDE[1:]).iterdir()] == ["scale"]
        home = files / "home/triton-server"
        assert (home.stat().st_uid, home.stat().st_gid) == (1000, 1000)
        assert home.parent.stat().st_uid == 0


def test_additions_serve(podman: Lab, with_additions: str, tmp_path: Path) -> None:
    with services.serve(
        podman.runner_env,
        podman.runner,
        with_additions,
        models(tmp_path, "ident"),
        arguments=[f"--model-repository={MODELS_INSIDE}", "--cache-config=local,size=1048576"],
    ) as server:
        assert ask.wrong(server.url, ["ident", "scale"]) == {}


def test_a_link_out_of_a_folder_is_refused_before_anything_is_built(podman: Lab, tmp_path: Path) -> None:
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "model.py").symlink_to("/etc/passwd")
    done = podman.tritonbuild("--backend", f"mine={tmp_path / 'mine'}")
    assert done.returncode == 2
    assert f"link '{tmp_path}/mine/model.py' leads out of '{tmp_path}/mine'" in done.stderr


# --- install ---


@pytest.fixture(scope="module")
def outside(request: pytest.FixtureRequest, isolated: int) -> list[str]:
    """What begins a command for the network this process was started in, with a package mirror."""
    words = ["nsenter", f"--net=/proc/{os.getpid()}/fd/{isolated}"]
    form = "$(REPO_URI)dists/$(RELEASE)/InRelease"
    told = subprocess.run(["apt-get", "indextargets", "--format", form], capture_output=True, text=True, check=False)
    urls = [line for line in told.stdout.splitlines() if line.startswith("http") and "bookworm/InRelease" in line]
    program = "import sys, urllib.request; urllib.request.urlopen(sys.argv[1], timeout=20).read(1)"
    for url in urls[:1]:
        if not subprocess.run([*words, "python3", "-c", program, url], check=False, capture_output=True).returncode:
            return words
    with needed(request, "mirror"):
        raise services.MissingProgramError("a package mirror", "none can be reached")


def installed(lab: Lab, outside: list[str], tag: str, *arguments: str) -> str:
    """Build in the network outside, from images that are pulled inside, where the registry is."""
    for name in ("full", "min", "cpu-min"):
        lab.run("pull", "--quiet", lab.sources.references[name])
    command = lab.command("--json", "--skip-pull", "--runtime", "install", "--output-name", tag, *arguments)
    done = subprocess.run(
        [*outside, *command], env=lab.environment(), capture_output=True, text=True, timeout=1500, check=False
    )
    assert done.returncode == 0, done.stderr[-6000:]
    assert json.loads(done.stdout)["tags"] == [tag]
    return tag


@pytest.fixture(scope="module")
def plugin(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Instructions of the user: the replica's repeat opens a library that full alone has, as `copy` would find out."""
    path = tmp_path_factory.mktemp("fragment") / "fragment"
    path.write_text("COPY --from=full /usr/lib/x86_64-linux-gnu/libacme_plugin.so.1 /usr/lib/x86_64-linux-gnu/\n")
    return str(path)


@pytest.fixture(scope="module")
def pip(tmp_path_factory: pytest.TempPathFactory) -> tuple[str, ...]:
    """Options that lead pip in a build to the index that this machine's pip uses: its settings and certificates."""
    told = subprocess.run([sys.executable, "-m", "pip", "config", "list"], capture_output=True, text=True, check=True)
    lines = (line.partition("=") for line in told.stdout.splitlines())
    found = {name.rpartition(".")[2]: value.strip("'") for name, _, value in lines}
    kept = [f"{name} = {found[name]}\n" for name in ("index-url", "extra-index-url", "trusted-host") if name in found]
    file = tmp_path_factory.mktemp("pip") / "pip.conf"
    options = ["--opt", f"volume={file}:/etc/pip.conf:ro"]
    if "cert" in found:
        kept.append("cert = /etc/pip.crt\n")
        options += ["--opt", f"volume={found['cert']}:/etc/pip.crt:ro"]
    file.write_text("".join(("[global]\n", *kept)))
    return tuple(options)


@pytest.fixture(scope="module")
def installed_gpu(podman: Lab, outside: list[str], plugin: str, pip: tuple[str, ...]) -> str:
    """The GPU flavour on min; DCGM out of full, since NVIDIA's package repository is none of the machine's mirrors."""
    arguments = ("--backend", "python", "--backend", "repeat", "--cache", "local", "--dcgm", "copy")
    return installed(podman, outside, "tritonbuild-test/install:gpu", *arguments, "--fragment", plugin, *pip)


def test_install_serves(podman: Lab, installed_gpu: str, tmp_path: Path) -> None:
    """The python backend among them, with the numpy that pip brought."""
    serves(podman, installed_gpu, tmp_path, "repeat", "add")


def test_install_leaves_no_package_lists_and_has_the_packages(podman: Lab, installed_gpu: str, tmp_path: Path) -> None:
    with podman.unpacked(installed_gpu, tmp_path) as files:
        assert list((files / "var/lib/apt/lists").iterdir()) == []
        assert list((files / "var/cache/apt/archives").glob("*.deb")) == []
        status = (files / "var/lib/dpkg/status").read_text()
        for package in ("libre2-9", "libb64-0d", "libnuma-dev", "ca-certificates", "clang"):
            assert f"\nPackage: {package}\nStatus: install ok installed\n" in f"\n{status}"
        assert (files / "opt/tritonserver/bin/tritonserver").stat().st_uid == 1000
        assert (files / "usr/bin/serve").exists()
        assert (files / "lib").is_symlink()
        compat = files / "etc/ld.so.conf.d/00-cuda-compat.conf"
        assert not compat.exists() or compat.read_text() == "/usr/local/cuda/compat/lib\n"


def test_install_for_cpu_serves(podman: Lab, outside: list[str], plugin: str, tmp_path: Path) -> None:
    images = podman.sources.references
    tag = installed(
        podman,
        outside,
        "tritonbuild-test/install:cpu",
        *("--backend", "repeat", "--cache", "local", "--no-enable-gpu", "--fragment", plugin),
        *("--image", f"full,{images['full']}", "--image", f"min,{images['cpu-min']}"),
    )
    serves(podman, tag, tmp_path, "repeat")


@pytest.fixture(scope="module")
def buildkit_outside(  # noqa: PLR0917 - fixtures
    request: pytest.FixtureRequest,
    outside: list[str],
    isolated: int,
    made_replica: Replica,
    containers: services.Containers,
    tmp_path_factory: pytest.TempPathFactory,
) -> Iterator[Lab]:
    """BuildKit in the network outside, with a registry of its own: it has no store to pull into beforehand."""
    folder = tmp_path_factory.mktemp("outside")
    with contextlib.ExitStack() as stack:
        with joined(isolated), needed(request, "buildctl"):
            registry = stack.enter_context(services.registry(folder / "registry"))
            sources = Sources(host=registry.host, references=made_replica.push(registry.host))
            daemon = stack.enter_context(services.buildkitd(folder / "root", insecure=[registry.host]))
        yield Lab(
            name="buildctl",
            engine="buildctl",
            env=daemon.env,
            runner="podman",
            runner_env=containers.env,
            sources=sources,
            by_hand=BY_HAND["buildctl"],
            archives=folder,
        )


def test_install_serves_with_buildkit(buildkit_outside: Lab, plugin: str, tmp_path: Path) -> None:
    tag = "tritonbuild-test/install:buildkit"
    arguments = ("--backend", "repeat", "--cache", "local", "--dcgm", "copy", "--fragment", plugin)
    buildkit_outside.build("--runtime", "install", *arguments, tag=tag)
    serves(buildkit_outside, tag, tmp_path, "repeat")


def test_packages_of_the_distribution_are_installed_on_the_base(
    podman: Lab, outside: list[str], tmp_path: Path
) -> None:
    """Their files count as the base's: a library that full has too is not copied."""
    tag = "tritonbuild-test/apt"
    podman.run("pull", "--quiet", podman.sources.references["full"])
    podman.run("pull", "--quiet", podman.sources.references["cpu-min"])
    command = ("--skip-pull", "--output-name", tag, "--backend", "identity", "--apt", "libb64-0d", "--apt", "tini")
    done = subprocess.run(
        [*outside, *podman.command(*command, "--base", podman.sources.references["cpu-min"])],
        env=podman.environment(),
        capture_output=True,
        text=True,
        timeout=600,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-6000:]
    with podman.unpacked(tag, tmp_path) as files:
        status = (files / "var/lib/dpkg/status").read_text()
        for package in ("libb64-0d", "tini"):
            assert f"\nPackage: {package}\nStatus: install ok installed\n" in f"\n{status}"
        assert (files / "usr/bin/tini").is_file()
        assert list((files / "var/lib/apt/lists").iterdir()) == []
        assert not (files / "tmp/packages.sh").exists()


def test_what_no_package_brings_is_named(podman: Lab, outside: list[str], installed_gpu: str) -> None:
    """The replica's identity is linked to a library that full alone has; nothing that is installed brings it."""
    command = podman.command("--skip-pull", "--runtime", "install", "--dcgm", "copy", "--backend", "identity")
    done = subprocess.run(
        [*outside, *command], env=podman.environment(), capture_output=True, text=True, timeout=900, check=False
    )
    assert done.returncode == 4
    assert "libtriton_identity.so needs libacme_direct.so.1, which the composed image does not have" in done.stderr


def test_nvidias_packages_are_refused_on_another_distribution(podman: Lab, outside: list[str]) -> None:
    for name in ("full", "min"):
        podman.run("pull", "--quiet", podman.sources.references[name])
    done = podman.tritonbuild("--skip-pull", "--runtime", "install", "--backend", "identity", "--opt", "network=none")
    assert done.returncode == 4
    assert "NVIDIA's packages are for ubuntu 22.04, but the base image is " in done.stderr
    assert "debian" in done.stderr
