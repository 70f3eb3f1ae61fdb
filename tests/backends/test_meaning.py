"""Options that mean the same with every engine: the exact command lines, what follows a build, and what is refused."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import pytest

import tritonbuild
from tritonbuild import run_build
from tritonbuild.backends import _options
from tritonbuild.engine import Engine, Health
from tritonbuild.errors import BuildFailedError, InvalidInputError

FakeProgram = Callable[[str, str], Path]

ENGINES: Final = ("docker", "podman", "buildah", "nerdctl", "buildx", "buildctl")
TAG: Final = "reg:5000/a:1"
ID: Final = "sha256:" + "0b" * 32


def tokens(engine: str, **options: Any) -> list[str]:
    """The tokens of a build of `/f/Containerfile`, without those that every build of that engine has."""
    if engine == "buildctl":
        made = tritonbuild.get_backend(engine).construct_build_args(
            file="/f/Containerfile", context_path="/c", **options
        )
        base = [
            "--frontend=dockerfile.v0",
            "--local=context=/c",
            "--local=dockerfile=/f",
            "--opt=filename=Containerfile",
        ]
        assert set(base) <= set(made)
        return [token for token in made if token not in base]
    made = tritonbuild.get_backend(engine).construct_build_args(file="/f/Containerfile", context_path="/c", **options)
    *made, context = made
    assert context == "/c"
    base = ["--file=/f/Containerfile", *(["--layers"] if engine == "buildah" else [])]
    assert set(base) <= set(made)
    return [token for token in made if token not in base]


def follow_up(engine: str, scratch: Path, **options: Any) -> Iterator[list[str]]:
    made = tritonbuild.get_backend(engine).follow_up
    assert made is not None
    for argv in made(ID, scratch=scratch, file="/f/Containerfile", context_path="/c", tag=(TAG, "b"), **options):
        yield list(argv)


PUSHED: Final = f"--output=type=image,push=true,name={TAG}"
SAME: Final = {"tag": (TAG,)}
CASES: Final[list[tuple[str, dict[str, Any], list[str]]]] = [
    *[(e, {"tag": (TAG, "b")}, [f"--tag={TAG}", "--tag=b"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("buildx", {"tag": (TAG, "b")}, ["--load", f"--tag={TAG}", "--tag=b"]),
    ("buildctl", {"tag": (TAG, "b"), "push": True}, [f'--output=type=image,push=true,"name={TAG},b"']),
    *[(e, {"load": True}, []) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("buildx", {"load": True}, ["--load"]),
    *[(e, {"push": True}, []) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("buildx", {"push": True}, ["--push"]),
    ("buildx", {"push": True, "load": True}, ["--load", "--push"]),
    ("buildx", {"push": True, "load": False}, ["--load=false", "--push"]),
    ("buildctl", {**SAME, "push": True, "load": False}, [PUSHED]),
    *[(e, {"output": "out"}, []) for e in ("docker", "nerdctl")],
    *[(e, {"output": "out"}, ["--no-cache", "--output=type=local,dest={cwd}/out"]) for e in ("podman", "buildah")],
    *[
        (e, {"output": Path("out")}, ["--no-cache", "--output=type=local,dest={cwd}/out"])
        for e in ("podman", "buildah")
    ],
    ("buildx", {"output": "out"}, ["--output=out"]),
    ("buildctl", {"output": "out", **SAME}, ["--output=type=local,dest={cwd}/out"]),
    ("buildctl", {"output": {"type": "tar", "dest": "x"}}, ["--output=type=tar,dest={cwd}/x"]),
    *[(e, {"output": "type=oci,dest=x"}, []) for e in ("docker", "podman", "buildah", "nerdctl")],
    *[(e, {"output": {"type": "docker", "dest": "x"}}, []) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("buildx", {"output": "type=oci,dest=x"}, ["--output=type=oci,dest=x"]),
    ("buildctl", {"output": "type=oci,dest=x", **SAME}, [f"--output=type=oci,dest={{cwd}}/x,name={TAG}"]),
    (
        "buildctl",
        {"output": ("type=oci,dest=x", "o"), **SAME, "push": True},
        [f"--output=type=oci,dest={{cwd}}/x,name={TAG}", "--output=type=local,dest={cwd}/o", PUSHED],
    ),
    ("buildctl", {"output": f"type=registry,name={TAG}"}, [f"--output=type=image,name={TAG},push=true"]),
    *[(e, {"output": f"type=image,name={TAG}"}, [f"--tag={TAG}"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    *[(e, {"output": "type=docker"}, []) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("docker", {"platform": ("linux/amd64", "linux/arm64")}, ["--platform=linux/amd64,linux/arm64"]),
    ("podman", {"platform": "linux/arm64"}, ["--platform=linux/arm64"]),
    ("buildctl", {"platform": "linux/arm64", **SAME, "push": True}, ["--opt=platform=linux/arm64", PUSHED]),
    *[(e, {"label": {"a": "b"}}, ["--label=a=b"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("buildctl", {"label": {"a": "b"}, **SAME, "push": True}, ["--opt=label:a=b", PUSHED]),
    *[(e, {"annotation": {"a": "b"}}, ["--annotation=a=b", "--no-cache"]) for e in ("podman", "buildah")],
    ("buildx", {"annotation": {"a": "b"}}, ["--annotation=a=b", "--load"]),
    ("buildctl", {"annotation": {"a": "b"}, **SAME, "push": True}, [f"{PUSHED},annotation.a=b"]),
    ("buildctl", {"annotation": "index:a=b", **SAME, "push": True}, [f"{PUSHED},annotation-index.a=b"]),
    ("buildctl", {"annotation": "x.y:a=b", **SAME, "push": True}, [f"{PUSHED},annotation.x.y:a=b"]),
    *[(e, {"secret": {"id": "s", "source": "/s"}}, ["--secret=id=s,src=/s"]) for e in ("podman", "buildah")],
    *[(e, {"secret": "id=s,env=S"}, ["--secret=id=s,type=env,src=S"]) for e in ("podman", "buildah")],
    *[(e, {"secret": {"id": "s", "source": "/s"}}, ["--secret=id=s,source=/s"]) for e in ("docker", "nerdctl")],
    *[(e, {"ssh": "default"}, ["--ssh=default"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("docker", {"cache_from": {"type": "registry", "ref": "r/c"}}, ["--cache-from=r/c"]),
    ("docker", {"cache_from": ("a", "b")}, ["--cache-from=a", "--cache-from=b"]),
    *[(e, {"cache_from": {"type": "registry", "ref": "r/c"}}, ["--cache-from=r/c"]) for e in ("podman", "buildah")],
    *[(e, {"cache_to": "type=registry,ref=r:5/c"}, ["--cache-to=r:5/c"]) for e in ("podman", "buildah")],
    ("buildctl", {"cache_from": "r/c", **SAME, "push": True}, ["--import-cache=type=registry,ref=r/c", PUSHED]),
    ("buildctl", {"cache_to": "type=inline", **SAME, "push": True}, ["--export-cache=type=inline", PUSHED]),
    *[(e, {"no_cache": True}, ["--no-cache"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    *[(e, {"pull": True}, ["--pull"]) for e in ("docker", "nerdctl")],
    *[(e, {"pull": True}, ["--pull=always"]) for e in ("podman", "buildah")],
    *[(e, {"pull": False}, ["--pull=missing"]) for e in ("podman", "buildah")],
    *[(e, {"pull": False}, ["--pull=false"]) for e in ("docker", "nerdctl")],
    ("buildctl", {"pull": True, **SAME, "push": True}, ["--opt=image-resolve-mode=pull", PUSHED]),
    *[(e, {"network": "none"}, ["--network=none"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    *[(e, {"network": "default"}, []) for e in ("podman", "buildah")],
    ("buildx", {"network": "none"}, ["--load", "--network=none"]),
    ("buildctl", {"network": "none", **SAME, "push": True}, ["--opt=force-network-mode=none", PUSHED]),
    (
        "buildctl",
        {"network": "host", **SAME, "push": True},
        ["--allow=network.host", "--opt=force-network-mode=host", PUSHED],
    ),
    *[(e, {"progress": "plain"}, []) for e in ("podman", "buildah")],
    *[(e, {"progress": "quiet"}, ["--quiet"]) for e in ("podman", "buildah")],
    *[(e, {"quiet": True}, ["--quiet"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("buildctl", {"quiet": True, **SAME, "push": True}, ["--progress=quiet", PUSHED]),
    *[(e, {"iidfile": "i"}, ["--iidfile={cwd}/i"]) for e in ("docker", "podman", "buildah", "nerdctl")],
    ("buildctl", {"iidfile": "i", **SAME, "push": True}, [PUSHED]),
    ("buildx", {"metadata_file": "m"}, ["--load", "--metadata-file={cwd}/m"]),
    ("buildctl", {"metadata_file": "m", **SAME, "push": True}, ["--metadata-file={cwd}/m", PUSHED]),
]


@pytest.mark.parametrize(("engine", "options", "expected"), CASES, ids=lambda value: str(value)[:60])
def test_the_command_line(
    engine: str, options: dict[str, Any], expected: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    assert tokens(engine, **options) == [token.replace("{cwd}", str(tmp_path)) for token in expected]


def test_a_build_argument_without_a_value_comes_from_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TAKEN", "x")
    monkeypatch.delenv("LEFT", raising=False)
    made = tokens("buildctl", build_arg={"TAKEN": None, "LEFT": None, "GIVEN": "y"}, **SAME, push=True)
    assert made == ["--opt=build-arg:GIVEN=y", "--opt=build-arg:TAKEN=x", PUSHED]


NOT_BY: Final = {
    "annotation": ("docker", "nerdctl"),
    "cache_to": ("docker", "embedded"),
    "load": ("buildctl", "embedded"),
    "metadata_file": ("docker", "nerdctl"),
}
VALUES: Final[Mapping[str, Any]] = {
    "annotation": {"a": "b"},
    "cache_to": "type=registry,ref=r/c",
    "load": True,
    "metadata_file": "m",
}


@pytest.mark.parametrize(
    ("option", "engine"), [(option, e) for option, engines in NOT_BY.items() for e in engines if e in ENGINES]
)
def test_what_an_engine_cannot_do_names_those_that_can(option: str, engine: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        tokens(engine, **{option: VALUES[option]}, **SAME)
    assert str(caught.value) == f"engine {engine!r} cannot do {option}"
    can = {*ENGINES, "embedded"} - set(NOT_BY[option])
    assert caught.value.hint == f"engines that can: {', '.join(sorted(can))}"


REFUSED: Final[list[tuple[str, dict[str, Any], str]]] = [
    *[(e, {"load": False}, f"engine {e!r} cannot do load=False") for e in ("docker", "podman", "buildah", "nerdctl")],
    (
        "buildx",
        {"load": False},
        "the image has no destination, and engine 'buildx' keeps none itself",
    ),
    ("buildctl", {}, "the image has no destination, and engine 'buildctl' keeps none itself"),
    ("buildctl", {"output": "type=docker"}, "engine 'buildctl' cannot do load"),
    (
        "buildctl",
        {"output": "o", "annotation": {"a": "b"}},
        "engine 'buildctl' cannot do annotation of an output that is no image",
    ),
    (
        "podman",
        {"platform": ("a", "b"), "output": "o"},
        "engine 'podman' cannot do output type=local of several platforms",
    ),
    (
        "podman",
        {"platform": ("a", "b"), "output": "type=docker,dest=x"},
        "engine 'podman' cannot do output type=docker of several platforms",
    ),
    ("buildah", {"platform": ("a", "b")}, "engine 'buildah' cannot do several platforms"),
    ("podman", {"progress": "tty"}, "engine 'podman' cannot do progress=tty"),
    ("buildah", {"output": ("a", "b")}, "engine 'buildah' cannot do several outputs of type local or tar"),
    ("buildah", {"output": "type=oci"}, "engine 'buildah' cannot do output type=oci without dest"),
    (
        "nerdctl",
        {"output": "type=oci,dest=x,compression=zstd"},
        "engine 'nerdctl' cannot do output type=oci,compression",
    ),
    ("docker", {"output": "type=cacheonly"}, "engine 'docker' cannot do output type=cacheonly without dest"),
    ("docker", {"output": "dest=x,a=b"}, "output 'dest=x,a=b' of engine 'docker' has no type"),
    ("docker", {"output": "-"}, "output '-' of engine 'docker' is standard output, which goes to the log"),
    ("docker", {"output": "type=oci,dest=/no/x"}, "cannot write '/no/x': its folder does not exist"),
    ("docker", {"output": "type=oci,dest=/tmp"}, "cannot write '/tmp': it is a folder"),
    ("docker", {"cache_from": "type=gha"}, "engine 'docker' cannot do cache_from other than type=registry,ref=IMAGE"),
    ("podman", {"cache_to": "type=gha"}, "engine 'podman' cannot do cache_to other than type=registry,ref=REPOSITORY"),
    ("podman", {"cache_from": "type=registry,ref=a:1"}, "engine 'podman' cannot do cache_from with a tag"),
    (
        "buildah",
        {"output": "type=oci,dest=a:b"},
        "engine 'buildah' cannot write the archive '{cwd}/a:b': its path has a colon",
    ),
    ("podman", {"load": "yes"}, "option 'load' of engine 'podman' expects True or False, not 'yes'"),
    ("nerdctl", {"push": 1}, "option 'push' of engine 'nerdctl' expects True or False, not 1"),
    ("buildctl", {"quiet": "x"}, "option 'quiet' of engine 'buildctl' expects True or False, not 'x'"),
]


@pytest.mark.parametrize(("engine", "options", "message"), REFUSED, ids=lambda value: str(value)[:60])
def test_what_is_refused(
    engine: str, options: dict[str, Any], message: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InvalidInputError) as caught:
        tokens(engine, **options)
    assert str(caught.value) == message.replace("{cwd}", str(tmp_path))


@pytest.mark.parametrize("engine", ENGINES)
def test_every_option_is_known_to_every_engine(engine: str) -> None:
    """So that the command line reads it, and an engine that cannot says so itself."""
    assert set(_options.UNIFIED) <= set(tritonbuild.get_backend(engine).options)


def test_what_engines_declare_is_true(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    tried: dict[str, dict[str, Any]] = {
        **{name: {name: value} for name, value in VALUES.items()},
        "cache_from other than type=registry,ref=IMAGE": {"cache_from": "type=gha"},
        "load=False": {"load": False, "push": True},
        "output type=docker": {"output": "type=docker,dest=x"},
        "output type=oci": {"output": "type=oci,dest=x"},
        "progress=tty": {"progress": "tty"},
        "push": {"push": True},
        "several outputs of type local or tar": {"output": ("a", "b")},
        "several platforms": {"platform": ("linux/amd64", "linux/arm64")},
    }
    for what, options in tried.items():
        for engine in ENGINES:
            if what == "cache_from other than type=registry,ref=IMAGE" and engine in {"podman", "buildah"}:
                continue  # they have a refusal of their own
            needed = {"push": True} if engine == "buildctl" and not {"load", "output"} & set(options) else {}
            try:
                tokens(engine, **{**options, **needed, **SAME})
                can = True
            except InvalidInputError:
                can = False
            # docker takes several platforms, and its daemon says whether it can build them.
            declared = engine in _options.engines_that_can(what) or (what, engine) == (
                "several platforms",
                "docker",
            )
            assert (what, engine, can) == (what, engine, declared)


# --- what follows a build

PUSHES: Final = [
    ("docker", {}, [["push", TAG], ["push", "b"]]),
    ("docker", {"quiet": True}, [["push", "--quiet", TAG], ["push", "--quiet", "b"]]),
    (
        "podman",
        {"creds": ("me", "pw"), "tls_verify": False},
        [
            ["push", "--creds=me:pw", "--tls-verify=false", "--digestfile={tmp}/digest", ID, f"docker://{TAG}"],
            ["push", "--creds=me:pw", "--tls-verify=false", "--digestfile={tmp}/digest", ID, "docker://b"],
        ],
    ),
    (
        "buildah",
        {"authfile": "/a", "quiet": True},
        [
            ["push", "--quiet", "--authfile=/a", "--digestfile={tmp}/digest", ID, f"docker://{TAG}"],
            ["push", "--quiet", "--authfile=/a", "--digestfile={tmp}/digest", ID, "docker://b"],
        ],
    ),
    (
        "nerdctl",
        {"namespace": "n", "platform": "linux/arm64"},
        [["push", "--platform=linux/arm64", name] for name in (TAG, "b")],
    ),
    ("buildx", {}, []),
    ("buildctl", {}, []),
]


@pytest.mark.parametrize(
    ("engine", "options", "expected"), PUSHES, ids=[f"{e}-{n}" for n, (e, *_) in enumerate(PUSHES)]
)
def test_pushing(engine: str, options: dict[str, Any], expected: list[list[str]], tmp_path: Path) -> None:
    made = list(follow_up(engine, tmp_path, push=True, **options))
    assert made == [[token.replace("{tmp}", str(tmp_path)) for token in argv] for argv in expected]
    assert list(follow_up(engine, tmp_path, **options)) == []


SAVES: Final = [
    ("docker", "docker", ["save", "--output={file}", TAG, "b:latest"]),
    ("podman", "docker", ["save", "--quiet", "--format=docker-archive", "--output={file}", ID, TAG, "b"]),
    ("podman", "oci", ["save", "--quiet", "--format=oci-archive", "--output={file}", TAG]),
    ("buildah", "docker", ["push", "--quiet", ID, f"docker-archive:{{file}}:{TAG}"]),
    ("buildah", "oci", ["push", "--quiet", ID, f"oci-archive:{{file}}:{TAG}"]),
    ("nerdctl", "docker", ["save", "--output={file}", TAG, "b"]),
    ("nerdctl", "oci", ["save", "--output={file}", TAG, "b"]),
]


@pytest.mark.parametrize(("engine", "kind", "expected"), SAVES, ids=[f"{e}-{k}" for e, k, _ in SAVES])
def test_saving_is_whole_or_not_at_all(engine: str, kind: str, expected: list[str], tmp_path: Path) -> None:
    target = tmp_path / "image.tar"
    target.write_text("before")
    steps = follow_up(engine, tmp_path, output={"type": kind, "dest": str(target)})
    argv = next(steps)
    (temporary,) = (
        word for token in argv for word in token.replace("=", ":").split(":") if word.startswith(str(tmp_path))
    )
    assert argv == [token.replace("{file}", temporary) for token in expected]
    Path(temporary).write_text("half")
    steps.close()  # type: ignore[attr-defined]
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("image.tar", "before")]
    steps = follow_up(engine, tmp_path, output={"type": kind, "dest": str(target)})
    argv = next(steps)
    (temporary,) = (
        word for token in argv for word in token.replace("=", ":").split(":") if word.startswith(str(tmp_path))
    )
    Path(temporary).write_text("after")
    assert list(steps) == []
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("image.tar", "after")]


@pytest.mark.parametrize("engine", ["docker", "nerdctl"])
def test_files_are_written_by_a_second_build_out_of_the_cache(engine: str, tmp_path: Path) -> None:
    options = {
        "output": {"type": "local", "dest": "/o,1"},
        "no_cache": True,
        "pull": True,
        "iidfile": str(tmp_path / "i"),
    }
    (argv,) = follow_up(engine, tmp_path, build_arg={"A": "1"}, network="none", **options)
    tail = ["--build-arg=A=1", "--file=/f/Containerfile", "--network=none", "/c"]
    assert argv == ["build", '--output=type=local,"dest=/o,1"', *tail]


@pytest.mark.parametrize("engine", ["nerdctl", "buildctl"])
def test_the_iidfile_says_the_id(engine: str, tmp_path: Path) -> None:
    assert list(follow_up(engine, tmp_path, iidfile=str(tmp_path / "i"))) == []
    assert (tmp_path / "i").read_text() == ID


# --- what only the probe tells


def adapt(engine: str, health: Health, **options: Any) -> Mapping[str, object] | None:
    made = tritonbuild.get_backend(engine).adapt
    assert made is not None
    return made(health, **options)


@pytest.mark.parametrize("option", [{"secret": "id=a"}, {"ssh": "default"}, {"progress": "plain"}, {"output": "o"}])
def test_docker_without_buildkit(option: dict[str, Any]) -> None:
    health = Health(ok=True, engine="docker", version="28.0.0", client="28.0.0")
    with pytest.raises(InvalidInputError) as caught:
        adapt("docker", health, **option)
    assert str(caught.value) == f"option {next(iter(option))!r} of engine 'docker' needs BuildKit"
    adapt("docker", with_buildkit(health), **option)
    assert adapt("docker", health, platform="linux/arm64", output="type=oci,dest=/tmp/x.tar") is None


def with_buildkit(health: Health) -> Health:
    return Health(
        ok=True, engine=health.engine, version=health.version, client=health.client, features=frozenset({"buildkit"})
    )


@pytest.mark.parametrize(
    ("client", "option", "refused"),
    [("20.10.24", "shm_size", True), ("28.1.0", "shm_size", False), ("28.1.0", "memory", True)],
)
def test_what_buildkit_would_ignore(client: str, option: str, refused: bool) -> None:
    health = with_buildkit(Health(ok=True, engine="docker", version="20.10", client=client))
    if not refused:
        assert adapt("docker", health, **{option: "64m"}) is None
        return
    with pytest.raises(InvalidInputError) as caught:
        adapt("docker", health, **{option: "64m"})
    assert str(caught.value) == f"option {option!r} of engine 'docker' needs the builder without BuildKit"
    assert caught.value.hint == "set DOCKER_BUILDKIT=0, or leave the option out"


@pytest.mark.parametrize(("engine", "old", "new"), [("podman", "4.3.1", "4.4"), ("buildah", "1.28.2", "1.29")])
def test_a_pull_policy_of_a_newer_version(engine: str, old: str, new: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        adapt(engine, Health(ok=True, engine=engine, version=old), pull="newer")
    assert str(caught.value) == f"pull='newer' of engine {engine!r} needs {engine} {new} or newer, and this is {old}"
    files = {"context_path": "/c", "file": "/f"}
    assert adapt(engine, Health(ok=True, engine=engine, version="9.0"), pull="newer", **files)


INSPECTED: Final = "printf 'Name: default\\nDriver:        %s\\n'"


@pytest.mark.parametrize(
    ("driver", "store", "left"),
    [("docker", (), True), ("remote", (), False), ("docker", ("containerd-store",), False)],
)
def test_archives_that_dockers_own_builder_cannot_write(
    driver: str, store: tuple[str, ...], left: bool, fake_program: FakeProgram, tmp_path: Path
) -> None:
    fake_program("docker", INSPECTED % driver)
    health = Health(ok=True, engine="buildx", version="0.29.1", features=frozenset({"load", *store}))
    options = {"output": (f"type=docker,dest={tmp_path}/x", "files"), "tag": (TAG,)}
    given = adapt("buildx", health, **options)
    if not left:
        assert given is None
        return
    assert given is not None
    made = tritonbuild.get_backend("buildx")
    assert list(made.construct_build_args(**given)) == [
        "--load",
        f"--output=type=local,dest={Path.cwd()}/files",
        f"--tag={TAG}",
        ".",
    ]
    assert made.follow_up is not None
    steps = iter(made.follow_up(ID, scratch=tmp_path, **given))
    assert [token.rpartition(".")[0] for token in next(steps)][1] == f"--output={tmp_path}/.x"
    steps.close()  # type: ignore[attr-defined]


# --- the whole way

METADATA: Final = """
for token; do case $token in
--metadata-file=*) echo '%s' > "${token#--metadata-file=}" ;;
--iidfile=*) printf '%s' > "${token#--iidfile=}" ;;
--digestfile=*) printf '%s' > "${token#--digestfile=}" ;;
esac; done
"""
DIGEST: Final = "sha256:" + "cd" * 32
HEALTHY: Final = Health(ok=True, engine="x", version="99.0")


def run(engine: str, **options: Any) -> tritonbuild.BuildResult:
    """A build on a recording program, its daemon's answer made up."""
    return run_build.run(job(tritonbuild.get_backend(engine), HEALTHY, options))


def job(engine: Engine, health: Health, options: Mapping[str, Any]) -> run_build.Job:
    return run_build.Job(engine=engine, document="FROM a\n", tags=(TAG,), health=health, options=options)


METADATA_CASES: Final = [
    (f'{{"containerimage.config.digest": "{ID}", "containerimage.digest": "{DIGEST}"}}', ID, DIGEST),
    (f'{{"containerimage.config.digest": "{ID}", "containerimage.digest": "{ID}"}}', ID, ""),
    (f'{{"containerimage.digest": "{ID}"}}', ID, ""),
    (f'{{"containerimage.digest": "{DIGEST}", "containerimage.descriptor": {{}}}}', DIGEST, DIGEST),
]


@pytest.mark.parametrize("engine", ["buildx", "buildctl"])
@pytest.mark.parametrize(("metadata", "image_id", "digest"), METADATA_CASES)
def test_id_and_digest_out_of_buildkits_metadata(
    engine: str, metadata: str, image_id: str, digest: str, fake_program: FakeProgram
) -> None:
    fake_program("docker" if engine == "buildx" else engine, METADATA % (metadata, "", ""))
    result = run(engine, push=True)
    assert (result.image_id, result.digest) == (image_id, digest)


@pytest.mark.parametrize("engine", ["podman", "buildah"])
def test_the_digest_of_what_was_pushed(engine: str, fake_program: FakeProgram) -> None:
    calls = fake_program(engine, METADATA % ("", ID, DIGEST))
    result = run(engine, push=True)
    assert (result.image_id, result.digest) == (ID, DIGEST)
    assert [line.split("\t")[0] for line in calls.read_text().splitlines()][:2] == ["build", "push"]


def test_nerdctls_id_is_asked_for(fake_program: FakeProgram) -> None:
    script = f'case "$*" in *.Id*) echo {ID}; exit ;; *.Size*) echo 7; exit ;; esac\n'
    calls = fake_program("nerdctl", script + METADATA % ("", DIGEST, ""))
    result = run("nerdctl", namespace="n")
    assert (result.image_id, result.digest, result.size) == (ID, DIGEST, 7)
    asked = [line.split("\t") for line in calls.read_text().splitlines()][1:]
    assert asked == [
        ["--namespace=n", "image", "inspect", "--format", f"{{{{.{what}}}}}", DIGEST] for what in ("Id", "Size")
    ]


def test_dockers_digest_after_a_push(fake_program: FakeProgram) -> None:
    script = f'case "$*" in *RepoDigests*) echo reg:5000/a@{DIGEST}; exit ;; esac\n'
    fake_program("docker", script + METADATA % ("", ID, ""))
    assert run("docker", push=True).digest == DIGEST
    assert run("docker").digest == ""


@pytest.mark.parametrize("engine", ["buildx", "buildctl"])
def test_files_alone_have_no_id(engine: str, fake_program: FakeProgram, tmp_path: Path) -> None:
    folder = tmp_path / "o"
    calls = fake_program("docker" if engine == "buildx" else engine, f"mkdir -p {folder}")
    assert run(engine, output=str(folder)).image_id == ""
    assert "metadata" not in calls.read_text()
    with pytest.raises(BuildFailedError, match="without an image id"):
        run(engine, push=True)


@pytest.mark.parametrize("output", ["type=local,dest={folder}/x", "type=oci,dest={folder}/x", "{folder}/x"])
def test_a_file_that_is_missing_after_success_fails_the_build(
    output: str, fake_program: FakeProgram, tmp_path: Path
) -> None:
    metadata = f'{{"containerimage.config.digest": "{ID}", "containerimage.digest": "{DIGEST}"}}'
    fake_program("docker", METADATA % (metadata, "", ""))
    assert run("buildx", push=True).digest == DIGEST
    with pytest.raises(BuildFailedError) as caught:
        run("buildx", output=output.format(folder=tmp_path), push=True)
    assert str(caught.value) == (
        f"the build with engine 'buildx' ended with success, but without the file '{tmp_path}/x'"
    )


def test_a_save_that_fails_leaves_what_was_there(fake_program: FakeProgram, tmp_path: Path) -> None:
    save = 'for t; do case $t in --output=*) echo half > "${t#--output=}";; esac; done; exit 1'
    script = f'if [ "$1" = save ]; then {save}; fi\n'
    fake_program("podman", script + METADATA % ("", ID, ""))
    (tmp_path / "x").write_text("before")
    folder = tmp_path / "only"
    folder.mkdir()
    (folder / "x").write_text("before")
    with pytest.raises(BuildFailedError):
        run("podman", output=f"type=oci,dest={folder}/x")
    assert [(path.name, path.read_text()) for path in folder.iterdir()] == [("x", "before")]


def test_a_save_to_a_folder_that_vanished(fake_program: FakeProgram, tmp_path: Path) -> None:
    script = 'if [ "$1" = save ]; then exit 0; fi\n'
    fake_program("podman", script + METADATA % ("", ID, ""))
    with pytest.raises(BuildFailedError, match=r"the build with engine 'podman' broke off: No such file or directory"):
        run("podman", output=f"type=oci,dest={tmp_path}/x")


@pytest.mark.parametrize("engine", [e for e in ENGINES if e not in {"docker", "nerdctl", "buildx"}])
def test_an_option_of_a_newer_version(engine: str, fake_program: FakeProgram) -> None:
    record: Engine = tritonbuild.get_backend(engine)
    name = next(name for name, kind in record.options.items() if kind.since)
    value: Any = {"build_arg_file": "f", "cpu_period": 1}[name]
    options = {name: value, "push": True}
    calls = fake_program(engine, "exit 1")
    old = Health(ok=True, engine=engine, version="0.11")
    with pytest.raises(InvalidInputError) as caught:
        run_build.run(job(record, old, options))
    since = record.options[name].since
    assert (
        str(caught.value) == f"option {name!r} of engine {engine!r} needs {engine} {since} or newer, and this is 0.11"
    )
    assert not calls.exists()


def test_dockers_options_count_by_its_client(fake_program: FakeProgram) -> None:
    fake_program("docker", "exit 1")
    old = Health(ok=True, engine="docker", version="28.0", client="18.06.1", features=frozenset({"buildkit"}))
    with pytest.raises(InvalidInputError) as caught:
        run_build.run(job(tritonbuild.get_backend("docker"), old, {"secret": "id=a"}))
    assert str(caught.value) == "option 'secret' of engine 'docker' needs docker 18.09 or newer, and this is 18.06.1"


@pytest.mark.parametrize("platform", ["linux/amd64,linux/arm64", ("linux/amd64,linux/arm64",)])
def test_platforms_in_one_text_are_several(platform: object) -> None:
    """podman's images get no names, since the list of them gets these."""
    with pytest.raises(InvalidInputError, match="engine 'buildah' cannot do several platforms"):
        tokens("buildah", platform=platform)
    found = tokens("podman", platform=platform, tag=("a", "b"), manifest="list")
    assert [token for token in found if token.startswith(("--platform", "--tag", "--manifest"))] == [
        *("--manifest=list", "--platform=linux/amd64", "--platform=linux/arm64"),
    ]


@pytest.mark.parametrize(
    ("entries", "missing"),
    [
        (("linux/amd64", "linux/arm64"), ""),
        (("linux/arm64",), "linux/amd64"),
        ((), "linux/amd64 and linux/arm64"),
    ],
)
def test_podmans_list_has_the_platforms_or_the_build_fails(
    entries: tuple[str, ...], missing: str, fake_program: FakeProgram, tmp_path: Path
) -> None:
    pairs = [entry.split("/") for entry in entries]
    found = {"manifests": [{"platform": {"os": os_, "architecture": architecture}} for os_, architecture in pairs]}
    script = f"""
for token; do case $token in
--iidfile=*) printf '%s' '{ID}' > "${{token#--iidfile=}}" ;;
--digestfile=*) printf '%s' '{ID}' > "${{token#--digestfile=}}" ;;
esac; done
[ "$1 $2" != 'manifest inspect' ] || echo '{json.dumps(found)}'
"""
    calls = fake_program("podman", script)
    health = Health(ok=True, engine="podman", version="5.8.6")
    options = {"platform": "linux/amd64,linux/arm64", "push": True}
    planned = job(tritonbuild.get_backend("podman"), health, options)
    if missing:
        with pytest.raises(BuildFailedError) as caught:
            run_build.run(planned)
        assert str(caught.value) == f"the image that engine 'podman' built lacks the platform {missing}"
        return
    assert run_build.run(planned).digest == ID
    made = [line.split("\t") for line in calls.read_text().splitlines()]
    (name,) = {token.partition("=")[2] for line in made for token in line if token.startswith("--manifest=")}
    assert made[2] == ["tag", name, TAG]
    assert made[3][:3] == ["manifest", "push", "--all"]
    assert made[3][-2:] == [name, f"docker://{TAG}"]
    assert made[4] == ["manifest", "rm", name]
    assert made[5:] in ([], [["image", "inspect", "--format", "{{.Size}}", ID]])


def test_the_catalog_checks_the_platform_of_an_option() -> None:
    for platform in ("linux/arm64", "linux/amd64,linux/arm64"):
        with pytest.raises(InvalidInputError, match="openvino"):
            tritonbuild.build(backends=["openvino"], backend="docker", options={"platform": platform})


def test_platforms_with_different_containerfiles_are_refused() -> None:
    with pytest.raises(InvalidInputError, match="the Containerfiles for linux/amd64 and linux/arm64 differ"):
        tritonbuild.build(
            backends=["python"],
            runtime="install",
            backend="buildx",
            options={"platform": "linux/amd64,linux/arm64", "push": True},
        )
