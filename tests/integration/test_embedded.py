"""The embedded engine's image beside BuildKit's of the same composition, and in every program that runs images."""

from __future__ import annotations

import hashlib
import json
import tarfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests import services
from tests.integration.conftest import make_lab
from tests.integration.labs import EMBEDDED, Lab, Sources
from tests.integration.test_compose import MADE_BY_THE_RUNNER, WRITTEN_HERE, models
from tests.integration.test_runtimes import own_backend
from tests.replica import Replica, ask, oci
from tests.rootfs.test_wheels import wheel

SELECTION = (
    *("--backend", "python", "--backend", "identity", "--backend", "square"),
    *("--repoagent", "checksum", "--cache", "local"),
)
ASKED = ("add", "ident", "square", "checked")

ONLY_EMBEDDED = {"com.nvidia.build.id", "com.nvidia.build.ref", "org.opencontainers.image.base.digest"}
"""Labels that no Containerfile can take over, or knows."""


@attrs.frozen(kw_only=True)
class Member:
    """What an image says of a path; a hard link is the file it names."""

    kind: str
    mode: int
    owner: tuple[int, int]
    mtime: int
    link: str
    digest: str
    attributes: Mapping[str, str]


@attrs.frozen(kw_only=True)
class Exported:
    """The files of an image, and which of them are one file."""

    members: Mapping[str, Member]
    same: frozenset[frozenset[str]]
    contents: Mapping[str, bytes]


def exported(lab: Lab, image: str, folder: Path) -> Exported:
    archive = folder / "image.tar"
    name = f"exported-{folder.name}"
    lab.run("create", f"--name={name}", "--network=none", image, "true")
    try:
        lab.run("export", f"--output={archive}", name)
    finally:
        lab.run("rm", "--force", name)
    members: dict[str, Member] = {}
    contents: dict[str, bytes] = {}
    groups: dict[str, set[str]] = {}
    with tarfile.open(archive) as tar:
        for member in tar:
            path = member.name.strip("/")
            if member.islnk():
                members[path] = members[member.linkname]
                groups.setdefault(member.linkname, {member.linkname}).add(path)
                continue
            file = tar.extractfile(member) if member.isreg() else None
            content = file.read() if file else b""
            if path.startswith("etc/"):
                contents[path] = content
            members[path] = Member(
                kind=member.type.decode(),
                mode=member.mode,
                owner=(member.uid, member.gid),
                mtime=int(member.mtime),
                link=member.linkname,
                digest=hashlib.sha256(content).hexdigest(),
                attributes=member.pax_headers,
            )
    archive.unlink()
    return Exported(members=members, same=frozenset(map(frozenset, groups.values())), contents=contents)


def embedded(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Lab:
    """Return the embedded engine, with what runs the images of *lab*."""
    cache = tmp_path_factory.mktemp("embedded")
    return attrs.evolve(
        lab,
        name=EMBEDDED,
        engine=EMBEDDED,
        env={**lab.env, "XDG_CACHE_HOME": str(cache)},
        archives=None,
        options=(f"--opt=load={lab.runner}",),
    )


@pytest.fixture(scope="module")
def docker(request: pytest.FixtureRequest, sources: Sources) -> Lab:
    return make_lab(request, "docker", sources)


def additions(folder: Path, layout: Path, full: str) -> tuple[str, ...]:
    """Return options for what users add: two backends, one of them in place of the release's, models, and words."""
    mine, inside = own_backend(folder)
    (mine / "real.txt").write_text("text\n")
    (mine / "real.txt").chmod(0o640)
    (mine / "link.txt").symlink_to("real.txt")
    (mine / "empty").mkdir(mode=0o750)
    for layer in oci.read_json(layout, full)["layers"]:
        with tarfile.open(layout / "blobs" / layer["digest"].replace(":", "/")) as tar:
            chosen = [one for one in tar if one.name.startswith("opt/tritonserver/backends/identity")]
            tar.extractall(folder / "full", chosen, filter="data")
    identity = folder / "full/opt/tritonserver/backends/identity"
    (identity / "NOTE").write_text("this one is the user's\n")
    (folder / "fragment").write_text(
        """ENV SAID="a word, $MONEY" \\
    # in between
    AGAIN=${SAID:-else}
LABEL "com.example.more"='$yes'
CMD ["tritonserver", "--help"]
EXPOSE 8000 8001-8002/udp
VOLUME /var/tmp
STOPSIGNAL SIGINT
WORKDIR ../newly/made
"""
    )
    return (
        *("--backend", f"mine={mine}", "--backend", f"identity={identity}", "--cache", "local"),
        *("--model-repository", str(inside), "--with-models", "--models-folder", "/var/run/more"),
        *("--env", "MONEY=$5, $HOME and ${PATH}", "--label", "com.example.mine=yes", "--user", "triton-server"),
        *("--entrypoint", "/opt/nvidia/nvidia_entrypoint.sh env -u NOTHING"),
        *("--features", "headers", "--features", "sources", "--features", "dcgm"),
        *("--fragment", str(folder / "fragment")),
    )


@attrs.frozen(kw_only=True)
class Both:
    """Files and configuration of both images of one composition."""

    files: tuple[Exported, Exported]
    configs: tuple[dict[str, Any], dict[str, Any]]


ON_SCRATCH = ("--backend", "python", "--cache", "local", "--user", "triton-server", "--base", "scratch")


@pytest.fixture(scope="module", params=["the release's", "with additions", "on scratch"])
def both(
    request: pytest.FixtureRequest,
    docker: Lab,
    made_replica: Replica,
    tmp_path_factory: pytest.TempPathFactory,
) -> Both:
    selection: tuple[str, ...] = SELECTION
    if request.param == "on scratch":
        selection = ON_SCRATCH
    elif request.param == "with additions":
        folder = tmp_path_factory.mktemp("additions")
        selection = additions(folder, made_replica.layout, made_replica.images["full"].digest)
    files, configs = [], []
    for lab in (docker, embedded(docker, tmp_path_factory)):
        tag = f"tritonbuild-test/same:{lab.name}"
        lab.build(*selection, tag=tag)
        files.append(exported(docker, tag, tmp_path_factory.mktemp("exported")))
        configs.append(docker.config(tag)["Config"])
    return Both(files=(files[0], files[1]), configs=(configs[0], configs[1]))


def differences(one: Mapping[str, Member], other: Mapping[str, Member]) -> dict[str, set[str]]:
    """Return what is another, by path; a path that one of them lacks differs in everything."""
    names = [field.name for field in attrs.fields(Member)]
    found = {}
    for path in one.keys() | other.keys():
        here, there = one.get(path), other.get(path)
        if here != there:
            found[path] = {name for name in names if getattr(here, name, None) != getattr(there, name, None)}
    return found


def test_its_files_are_buildkits(both: Both) -> None:
    """Paths, kinds, modes, owners, contents, links and hard links are the same in the whole image.

    Other times: of folders, which COPY makes, of what is made during the build, and of what the user adds, which has
    the image's time. The loader's cache says in its last words which ldconfig wrote it.
    """
    one, other = (side.members for side in both.files)
    found = differences(one, other)
    own = ("opt/tritonserver/backends/mine/", "opt/tritonserver/backends/identity/", "run/more/")
    times = {
        path
        for path in found
        if one[path].kind == other[path].kind == tarfile.DIRTYPE.decode()
        or path in WRITTEN_HERE
        or path.startswith(own)
        or path.split("/")[0] in MADE_BY_THE_RUNNER
        or path in MADE_BY_THE_RUNNER
    }
    assert {path for path, what in found.items() if what == {"mtime"}} <= times
    assert {path: what for path, what in found.items() if what != {"mtime"}} == {"etc/ld.so.cache": {"mtime", "digest"}}
    assert both.files[0].same == both.files[1].same
    assert len([path for path in one if path.startswith("opt/tritonserver/")]) >= 15


def test_the_loaders_cache_has_the_same_lines(both: Both, tmp_path: Path) -> None:
    lines = []
    for number, side in enumerate(both.files):
        cache = tmp_path / str(number)
        cache.write_bytes(side.contents["etc/ld.so.cache"])
        words: list[str | Path] = ["/sbin/ldconfig", "-p", "-C", cache]
        lines.append([line for line in services.programs.run(words).splitlines() if "=>" in line])
    assert lines[0] == lines[1]
    assert len(lines[0]) > 50


def test_its_configuration_is_buildkits(both: Both) -> None:
    one, other = (
        {**config, "Env": dict(pair.split("=", 1) for pair in config["Env"]), "Labels": dict(config["Labels"])}
        for config in both.configs
    )
    assert other["Env"].pop("NVIDIA_BUILD_ID") == "117960218"
    only = {
        name for name in ONLY_EMBEDDED if "base" not in name or "org.opencontainers.image.base.name" in one["Labels"]
    }
    assert {name for name in ONLY_EMBEDDED if other["Labels"].pop(name, None)} == only
    for name in ("Cmd", "Entrypoint", "Env", "ExposedPorts", "Labels", "StopSignal", "User", "Volumes", "WorkingDir"):
        assert one.get(name) == other.get(name), name


RUNNERS = ["docker", "buildx", "nerdctl", "podman"]
"""Labs whose programs run images: two dockers, of 2020 and of 2025."""


@pytest.mark.parametrize("name", RUNNERS)
@pytest.mark.parametrize("way", ["load", "archive"])
def test_it_is_loaded_and_serves(  # noqa: PLR0917 - fixtures
    way: str,
    name: str,
    request: pytest.FixtureRequest,
    sources: Sources,
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    lab = embedded(make_lab(request, name, sources), tmp_path_factory)
    if way == "archive":
        lab = attrs.evolve(lab, archives=tmp_path, options=())
    tag = f"tritonbuild-test/{way}:{name}"
    lab.build(*SELECTION, tag=tag)
    (tmp_path / "links").mkdir()
    repository = models(tmp_path / "links", *ASKED)
    with services.serve(
        lab.runner_env, lab.runner, tag, repository, arguments=["--cache-config=local,size=1048576"]
    ) as server:
        assert ask.wrong(server.url, list(ASKED)) == {}


def test_additions_serve(docker: Lab, made_replica: Replica, tmp_path: Path, tmp_path_factory: Any) -> None:
    """With a wheel, which the user's backend imports."""
    selection = additions(tmp_path, made_replica.layout, made_replica.images["full"].digest)
    model = tmp_path / "mine" / "model.py"
    model.write_text(
        "import acme_three\n" + model.read_text().replace("as_numpy() * 3", "as_numpy() * acme_three.VALUE")
    )
    assert model.read_text().count("acme_three") == 2
    three = wheel(tmp_path / "wheels", "acme_three", requires=("numpy",))
    lab = embedded(docker, tmp_path_factory)
    tag = "tritonbuild-test/additions:embedded"
    lab.build(*selection, "--pip", str(three), tag=tag)
    (tmp_path / "links").mkdir()
    repository = models(tmp_path / "links", "ident")
    repository.chmod(0o755)
    words = ["--model-repository=/var/run/more", "--cache-config=local,size=1048576"]
    with services.serve(lab.runner_env, lab.runner, tag, repository, arguments=words) as server:
        assert ask.wrong(server.url, ["ident", "scale"]) == {}


SAVED = {
    "docker 20": ("docker", (), "docker-archive"),
    "docker 28": ("buildx", (), "docker-archive"),
    "podman, docker's": ("podman", ("--format=docker-archive",), "docker-archive"),
    "podman, OCI": ("podman", ("--format=oci-archive",), "oci-archive"),
    "nerdctl": ("nerdctl", (), "oci-archive"),
}
"""Lab, options of its `save`, what that writes."""


@pytest.mark.parametrize("how", SAVED)
def test_a_saved_image_is_a_source(
    how: str, request: pytest.FixtureRequest, sources: Sources, tmp_path: Path, tmp_path_factory: Any
) -> None:
    """Its files are the same, so what is written on it is, too; a layer that is not compressed has another digest."""
    name, options, kind = SAVED[how]
    lab = attrs.evolve(embedded(make_lab(request, name, sources), tmp_path_factory), options=())
    base = sources.references["cpu-min"]
    lab.run("pull", base)
    archive = tmp_path / "saved.tar"
    lab.run("save", *options, f"--output={archive}", base)
    images = ("--image", f"full,{sources.references['full']}", "--image", f"min,{base}", "--backend", "identity")
    layers = []
    for number, source in enumerate(((), (f"--opt=source=min={kind}:{archive}",))):
        layout = tmp_path / str(number)
        output = f"--opt=output=type=oci-layout,dest={layout}"
        done = lab.tritonbuild("--json", output, *source, *images)
        assert done.returncode == 0, done.stderr[-3000:]
        manifest = oci.read_json(layout, json.loads(done.stdout)["digest"])
        config = oci.read_json(layout, manifest["config"]["digest"])
        layers.append((config["rootfs"]["diff_ids"], [one["digest"] for one in manifest["layers"][1:]]))
    assert layers[0] == layers[1]
