"""The order inside a build, its result and its errors, on recording programs (what works is shown by integration)."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import attrs
import pytest

import tritonbuild
from tritonbuild import Engine, Health, backends, run_build
from tritonbuild.errors import (
    BuildFailedError,
    BuildTimeoutError,
    InvalidInputError,
    TritonBuildError,
    UnhealthyEngineError,
)

ID = "sha256:" + "0b" * 32
FakeProgram = Callable[[str, str], Path]


def builder(*tokens: str, **constants: Any) -> Engine:
    """Return an engine whose program is `fake`."""

    def construct(*, file: str, iidfile: str, context_path: str, **_: object) -> list[str]:
        return [f"--file={file}", f"--iidfile={iidfile}", *tokens, context_path]

    return Engine(
        **{
            "name": "fake",
            "binary": "fake",
            "health": lambda: Health(ok=True, engine="fake", version="1.2"),
            "construct_build_args": construct,
            **constants,
        }
    )


WRITES_ID = f"""
for token; do case $token in --iidfile=*) printf '{ID}' > "${{token#--iidfile=}}" ;; esac; done
echo built
"""


def build(engine: Engine, **options: Any) -> tritonbuild.BuildResult:
    with tritonbuild.registered(engine):
        return tritonbuild.build(backends=["python"], container_version="24.10", backend=engine.name, **options)


def leftovers(folder: Path) -> list[str]:
    return [path.name for path in folder.iterdir() if path.name.startswith("tritonbuild-")]


@pytest.fixture(autouse=True)
def temporary(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_a_result(fake_program: FakeProgram, temporary: Path) -> None:
    calls = fake_program("fake", 'cat "${2#--file=}"; ls -A "$4" | wc -l\n' + WRITES_ID)
    result = build(builder(), image_tag=("a:1", "b"))
    assert (result.image_id, result.tags, result.engine, result.version) == (ID, ("a:1", "b"), "fake", "1.2")
    assert (result.size, result.digest) == (None, "")
    assert result.log.read_text() == f"{result.containerfile}0\nbuilt\n"
    assert calls.read_text().rstrip("\n").split("\t") == list(result.argv[1:])
    assert leftovers(temporary) == []


def test_the_containerfile_stays_in_a_work_folder(fake_program: FakeProgram, tmp_path: Path) -> None:
    fake_program("fake", WRITES_ID)
    result = build(builder(), work_dir=tmp_path)
    assert (tmp_path / "Dockerfile.compose").read_text() == result.containerfile


def test_a_failed_build(fake_program: FakeProgram, temporary: Path) -> None:
    fake_program("fake", "echo almost; echo 'no such thing' >&2; exit 9")
    with pytest.raises(BuildFailedError) as caught:
        build(builder("--build-arg=TOKEN=hunter2"))
    error = caught.value
    assert str(error) == "the build with engine 'fake' failed with exit status 9"
    assert (error.returncode, error.tail) == (9, ("almost", "no such thing"))
    assert error.log is not None
    assert error.log.read_text() == "almost\nno such thing\n"
    assert "hunter2" not in " ".join(error.argv)
    assert leftovers(temporary) == []


def test_success_without_an_image_id_is_a_failure(fake_program: FakeProgram) -> None:
    fake_program("fake", "exit 0")
    with pytest.raises(BuildFailedError, match="ended with success, but without an image id"):
        build(builder())


def test_a_build_that_takes_too_long(fake_program: FakeProgram, temporary: Path) -> None:
    fake_program("fake", "exec sleep 60")
    with pytest.raises(BuildTimeoutError) as caught:
        build(builder(), timeout=0.3)
    assert str(caught.value) == "the build with engine 'fake' took longer than 0.3 s and was stopped"
    assert leftovers(temporary) == []


def test_a_callable_that_hangs_is_given_up(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tritonbuild.engine.PROBE_TIMEOUT", 0.2)
    hangs = threading.Event()
    with pytest.raises(TritonBuildError) as caught:
        build(builder(construct_build_args=lambda **_: [str(hangs.wait())]))
    assert str(caught.value) == "construct_build_args of engine 'fake' gave no answer within 0.2 s"
    assert caught.value.hint == "fix the callable that was registered"
    hangs.set()


def test_the_containerfile_is_written_while_the_probe_goes_on() -> None:
    """And the engine runs only when the probe has ended."""
    written = threading.Event()

    def health() -> bool:
        return written.wait(30) and False

    def document(*, heredocs: bool) -> str:
        del heredocs
        written.set()
        return "FROM a\n"

    engine = attrs.evolve(builder(), health=health, binary="/nowhere")
    with pytest.raises(UnhealthyEngineError, match="its health probe returned False"):
        run_build.run(run_build.Job(engine=engine, document=document, tags=("a",)))


@pytest.mark.parametrize("features", [(), ("heredocs",)])
def test_the_form_of_the_containerfile_is_the_builders(fake_program: FakeProgram, features: tuple[str, ...]) -> None:
    fake_program("fake", WRITES_ID)
    engine = builder(health=lambda: Health(ok=True, engine="fake", features=frozenset(features)))
    with backends.registered(engine):
        result = tritonbuild.build(backend="fake", backends=["python"])
    assert ("<<'EOF-" in result.containerfile) is bool(features)
    assert result.containerfile == tritonbuild.get_containerfile(backends=["python"], enable_buildkit=bool(features))


def test_an_unhealthy_engine_builds_nothing(fake_program: FakeProgram, temporary: Path) -> None:
    calls = fake_program("fake", WRITES_ID)
    engine = builder(health=lambda: Health(ok=False, engine="fake", reason="it is down", hint="start it"))
    with pytest.raises(UnhealthyEngineError) as caught:
        build(engine)
    assert (str(caught.value), caught.value.hint) == ("engine 'fake' is not healthy: it is down", "start it")
    assert not calls.exists()
    assert leftovers(temporary) == []


def test_a_bad_option_fails_before_the_probe() -> None:
    probed: list[int] = []

    def health() -> bool:
        probed.append(1)
        return True

    engine = builder(health=health, construct_build_args=lambda *, tag, **_: 1 / 0)
    with pytest.raises(TritonBuildError) as caught:
        build(engine)
    assert str(caught.value) == "construct_build_args of engine 'fake' raised ZeroDivisionError: division by zero"
    assert probed == []


@pytest.mark.parametrize("tokens", ["--file=x", [1], None, b"x"], ids=repr)
def test_tokens_of_a_wrong_type(tokens: object) -> None:
    with pytest.raises(TritonBuildError, match="construct_build_args of engine 'fake'"):
        build(builder(construct_build_args=lambda **_: tokens))


def test_a_callable_gets_only_the_defaults_it_takes(fake_program: FakeProgram) -> None:
    fake_program("fake", "exit 0")
    seen: dict[str, object] = {}

    def construct(*, tag: tuple[str, ...], file: str, context_path: str, flavour: str = "") -> list[str]:
        seen.update(tag=tag, file=file, context_path=context_path, flavour=flavour)
        return [context_path]

    result = build(builder(construct_build_args=construct), image_tag="a", flavour="sour")
    assert seen["tag"] == ("a",)
    assert seen["flavour"] == "sour"
    assert result.image_id == ""


def test_what_follows_a_build(fake_program: FakeProgram) -> None:
    calls = fake_program("fake", WRITES_ID)
    engine = builder(follow_up=lambda image_id, *, tag, **_: [["push", image_id, *tag]])
    build(engine, image_tag="a")
    assert calls.read_text().splitlines()[1].split("\t") == ["push", ID, "a"]


def test_what_follows_a_build_can_fail(fake_program: FakeProgram) -> None:
    fake_program("fake", 'if [ "$1" = push ]; then echo refused; exit 1; fi\n' + WRITES_ID)
    with pytest.raises(BuildFailedError) as caught:
        build(builder(follow_up=lambda _, **__: [["push"]]))
    assert caught.value.tail == ("refused",)


def test_a_size(fake_program: FakeProgram) -> None:
    fake_program("fake", 'if [ "$1" = size ]; then echo 42; exit; fi\n' + WRITES_ID)
    assert build(builder(size_query=("size",))).size == 42
    packed = Health(ok=True, engine="fake", features=frozenset({"containerd-store"}))
    result = build(builder(size_query=("size",), health=lambda: packed))
    assert (result.size, result.packed_size) == (None, 42)


def test_a_tag_is_checked_before_anything_runs() -> None:
    with pytest.raises(InvalidInputError, match="'a b' is not an image reference"):
        build(builder(), image_tag="a b")
    with pytest.raises(InvalidInputError, match="names an image by digest"):
        build(builder(), image_tag=f"a@{ID}")


def test_a_work_folder_that_does_not_exist(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        build(builder(), work_dir=tmp_path / "none")
    assert str(caught.value) == f"work folder {str(tmp_path / 'none')!r} does not exist"


def test_an_unknown_keyword_of_get_containerfile() -> None:
    with pytest.raises(InvalidInputError, match="get_containerfile takes no 'backend'"):
        tritonbuild.get_containerfile(backends=["python"], backend="podman")


def test_a_containerfile_is_written_whole(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    text = tritonbuild.get_containerfile(backends=["python"], output_path=tmp_path)
    target = tmp_path / "Dockerfile.compose"
    assert target.read_text() == text
    assert target.stat().st_mode & 0o777 == 0o666 & ~_umask()

    def broken(self: Path, target: Path) -> Path:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(Path, "replace", broken)
    with pytest.raises(OSError, match="No space"):
        tritonbuild.get_containerfile(backends=["dali"], output_path=target)
    assert target.read_text() == text
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith(".")] == []


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def test_a_folder_that_cannot_be_written_to(tmp_path: Path) -> None:
    with pytest.raises(InvalidInputError) as caught:
        tritonbuild.get_containerfile(backends=["python"], output_path=tmp_path / "none" / "file")
    assert str(caught.value) == f"cannot write {str(tmp_path / 'none' / 'file')!r}: No such file or directory"


def test_old_logs_are_removed(fake_program: FakeProgram, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    fake_program("fake", WRITES_ID)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path))
    monkeypatch.setattr(run_build, "_KEPT_LOGS", 3)
    for _ in range(6):
        build(builder())
    assert len(list((tmp_path / "tritonbuild" / "logs").iterdir())) == 4


def test_health_never_raises_for_an_unhealthy_engine(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    for engine in ("docker", "podman", "buildah"):
        assert tritonbuild.health(engine) is False
        assert tritonbuild.probe(engine).reason == f"{engine} is not installed"
    with pytest.raises(ValueError, match="unknown engine 'dockr'"):
        tritonbuild.health("dockr")


# --- what the composition has the engine do ---


def test_the_platform_and_the_users_folders_reach_the_engine(fake_program: FakeProgram, tmp_path: Path) -> None:
    calls = fake_program("fake", f'{WRITES_ID}\nfind "$5" -type f > "{tmp_path}/context"')
    mine = tmp_path / "mine"
    mine.mkdir()
    (mine / "model.py").write_text("")

    def construct(*, file: str, iidfile: str, context_path: str, platform: str, **_: object) -> list[str]:
        return [f"--file={file}", f"--iidfile={iidfile}", f"--platform={platform}", context_path]

    engine = builder(construct_build_args=construct)
    with tritonbuild.registered(engine):
        tritonbuild.build(backends=[f"mine={mine}"], backend="fake", platform="arm64", features=["headers"])
    assert "--platform=linux/arm64" in calls.read_text()
    assert (tmp_path / "context").read_text().endswith("/context/backends/mine/model.py\n")


def test_a_platform_that_an_engine_cannot_be_told_is_an_error(fake_program: FakeProgram) -> None:
    calls = fake_program("fake", WRITES_ID)

    def construct(*, file: str, context_path: str) -> list[str]:
        return [file, context_path]

    with pytest.raises(InvalidInputError, match="engine 'fake' accepts no platform"):
        build(builder(construct_build_args=construct), platform="linux/arm64")
    assert not calls.exists()


def test_a_name_that_both_have_is_the_compositions_and_options_are_the_engines(fake_program: FakeProgram) -> None:
    calls = fake_program("podman", f'if [ "$2" = version ]; then echo 4.3.1; exit; fi\n{WRITES_ID}')
    wanted: dict[str, Any] = {"backends": ["python"], "container_version": "24.10", "backend": "podman"}
    tritonbuild.build(**wanted, options={"runtime": "/usr/bin/crun"}, env={"A": "b"})
    assert {"--runtime=/usr/bin/crun", "--env=A=b", "--network=none"} <= set(calls.read_text().split("\t"))
    result = tritonbuild.build(**wanted, runtime="install")
    assert "packages.sh" in result.containerfile
    assert not any(token.startswith(("--network", "--runtime")) for token in result.argv)
    with pytest.raises(InvalidInputError) as caught:
        tritonbuild.build(**wanted, runtime="/usr/bin/crun")
    assert str(caught.value) == "unknown runtime '/usr/bin/crun'"


COLLIDING: list[tuple[str, dict[str, Any], str]] = [
    (
        "platform",
        {"platform": "linux/amd64", "options": {"platform": "linux/arm64"}},
        "platform is 'linux/amd64', and the option 'platform' of engine 'podman' has another value",
    ),
    (
        "platforms",
        {"platform": "linux/amd64", "options": {"platform": ("linux/amd64", "linux/arm64")}},
        "platform is 'linux/amd64', and the option 'platform' of engine 'podman' has another value",
    ),
    (
        "runtime",
        {"runtime": "install", "options": {"runtime": "crun"}},
        "runtime is 'install', and the option 'runtime' of engine 'podman' has another value",
    ),
    (
        "keyword",
        {"no_cache": True, "options": {"no_cache": False}},
        "option 'no_cache' is given twice with different values",
    ),
    ("tag", {"image_tag": "a", "options": {"tag": "b"}}, "the image's name is given twice with different values"),
    ("file", {"options": {"file": "Dockerfile"}}, "option 'file' is set by tritonbuild"),
    ("context", {"context_path": "."}, "option 'context_path' is set by tritonbuild"),
]


@pytest.mark.parametrize(("keywords", "message"), [row[1:] for row in COLLIDING], ids=[row[0] for row in COLLIDING])
def test_values_that_contradict_each_other(keywords: dict[str, Any], message: str, fake_program: FakeProgram) -> None:
    calls = fake_program("podman", "exit 99")
    with pytest.raises(InvalidInputError) as caught:
        tritonbuild.build(backends=["python"], backend="podman", **keywords)
    assert str(caught.value) == message
    assert not calls.exists()


def test_values_that_agree(fake_program: FakeProgram) -> None:
    calls = fake_program("podman", f'if [ "$2" = version ]; then echo 4.3.1; exit; fi\n{WRITES_ID}')
    both: dict[str, Any] = {"platform": "arm64", "options": {"platform": ["linux/arm64"], "no_cache": True, "tag": "a"}}
    tritonbuild.build(backends=["python"], backend="podman", image_tag=["a"], no_cache=True, **both)
    words = next(line for line in calls.read_text().splitlines() if line.startswith("build")).split("\t")
    assert [word for word in words if word.startswith("--platform")] == ["--platform=linux/arm64"]
    assert {"--no-cache", "--tag=a"} <= set(words)


def test_a_custom_engine_gets_every_option_that_was_meant_for_it(fake_program: FakeProgram) -> None:
    fake_program("fake", "exit 0")
    seen: dict[str, object] = {}

    def construct(**options: object) -> list[str]:
        seen.update(options)
        return []

    meant = {"user": "me", "registry": "push.example", "base": 1, "labels": ["a"], "runtime": "crun", "features": 0}
    build(builder(construct_build_args=construct), options=meant, user="1000", colour="red")
    assert {name: seen[name] for name in meant} == meant
    assert seen["colour"] == "red"


def test_a_plan(tmp_path: Path) -> None:
    plan = tritonbuild.plan(backends=["python"], container_version="24.10", models=[tmp_path])
    assert plan.images == {
        "full": "nvcr.io/nvidia/tritonserver:24.10-py3",
        "min": "nvcr.io/nvidia/tritonserver:24.10-py3-min",
    }
    assert (plan.network, plan.context) == (False, (("models", tmp_path),))
    with pytest.raises(InvalidInputError, match="plan takes no 'no_cache'"):
        tritonbuild.plan(backends=["python"], no_cache=True)
