"""One suite for every engine: what users mean most, means the same; what goes wrong, is said."""

from __future__ import annotations

import hashlib
import importlib
import json
import os
import re
import signal
import subprocess
import tarfile
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import psutil
import pytest

from tests import services
from tests.integration.conftest import NEW
from tests.integration.labs import ENGINES, Lab
from tritonbuild import backends, flags, fragment, process, testing
from tritonbuild.containerfile import Copy, Run
from tritonbuild.engine import probe
from tritonbuild.errors import BuildFailedError, BuildTimeoutError
from tritonbuild.run_build import BuildResult, Job, run

DAEMONS = {
    "docker": "DOCKER_HOST",
    "docker-legacy": "DOCKER_HOST",
    "buildx": "DOCKER_HOST",
    "nerdctl": "BUILDKIT_HOST",
    "buildctl": "BUILDKIT_HOST",
}
"""What leads to the daemon that builds, by lab."""


def only(*names: str) -> pytest.MarkDecorator:
    """Run a test in these labs alone: those it means something for."""
    return pytest.mark.parametrize("lab", names, indirect=True)


@pytest.fixture
def short() -> Iterator[Path]:
    """A folder whose path is short enough for sockets in it."""
    with tempfile.TemporaryDirectory(prefix="tb-", dir="/tmp") as folder:
        yield Path(folder)


@pytest.fixture
def subject(lab: Lab, monkeypatch: pytest.MonkeyPatch) -> testing.Subject:
    """The lab's engine, in this process."""
    for name, value in lab.env.items():
        monkeypatch.setenv(name, value)
    options = {} if lab.archives is None else {"output": f"type=docker,dest={lab.archive}"}
    return testing.Subject(
        engine=backends.get_backend(lab.engine),
        base=lab.sources.references["cpu-min"],
        options=options,
        registry=f"{lab.sources.host}/conformance",
    )


@pytest.mark.parametrize("check", testing.CHECKS, ids=lambda check: check.__name__)
def test_it_conforms(check: Callable[[testing.Subject], None], subject: testing.Subject) -> None:
    check(subject)


@only("podman", "buildah")
def test_a_stopped_build_leaves_no_container_mount_or_file(
    lab: Lab, subject: testing.Subject, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And what others have in the same storage stays: here a working container of the user."""
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    words = ["podman", "ps", "--all", "--external"] if lab.name == "podman" else ["buildah", "containers"]

    def state() -> tuple[str, list[str], list[Path]]:
        mounts = Path("/proc/self/mountinfo").read_text().splitlines()
        others = [line for line in mounts if "/overlay/" in line and lab.env["TMPDIR"].rpartition("/")[0] in line]
        return services.programs.run([*words, "--quiet"]), others, list(tmp_path.iterdir())

    mine = services.programs.run(["buildah", "from", "--pull=missing", subject.base]).strip()
    try:
        before = state()
        assert before[0].strip()
        day = services.a_day()
        with pytest.raises(BuildTimeoutError):
            subject.build(
                "RUN echo", f"FROM {subject.base}", "RUN true", f"RUN sleep {day}", timeout=12, network="none"
            )
        assert services.left(day) == ()
        assert state() == before
    finally:
        services.programs.run(["buildah", "rm", mine])


@only("buildx")
def test_both_forms_of_a_containerfile_build_the_same_files(lab: Lab, tmp_path: Path) -> None:
    """The form with heredocs, which a build with such an engine takes, and the one for any builder."""
    tags = [f"tritonbuild-test/{lab.name}:{form}" for form in ("readable", "universal")]
    for number, name in enumerate(("readable", "universal", "context")):
        (tmp_path / name).mkdir()
        (tmp_path / f"files-{number}").mkdir()
    words = ("--backend", "identity")
    lab.build("--work-dir", str(tmp_path / "readable"), *words, tag=tags[0])
    assert "<<'EOF-" in (tmp_path / "readable/Dockerfile.compose").read_text()
    done = lab.tritonbuild("--dry-run", "--work-dir", str(tmp_path / "universal"), *words)
    assert done.returncode == 0, done.stderr
    assert "<<" not in (tmp_path / "universal/Dockerfile.compose").read_text()
    lab.build_by_hand(tmp_path / "universal/Dockerfile.compose", tmp_path / "context", tags[1])
    found = []
    for number, tag in enumerate(tags):
        with lab.unpacked(tag, tmp_path / f"files-{number}") as folder:
            found.append({str(path.relative_to(folder)): record(path) for path in folder.rglob("*")})
    assert "opt/tritonserver/backends/identity/libtriton_identity.so" in found[0]
    assert found[0] == found[1]


def record(path: Path) -> tuple[object, ...]:
    status = path.lstat()
    if path.is_symlink():
        return "link", path.readlink()
    return status.st_mode, status.st_uid, status.st_gid, path.read_bytes() if path.is_file() else b""


def labels(reference: str) -> dict[str, str]:
    """Return the labels of an image in the registry."""
    skopeo = services.programs.find("skopeo")
    words: list[str | Path] = [skopeo, "inspect", "--tls-verify=false", "--config", f"docker://{reference}"]
    found = json.loads(services.programs.run(words))["config"].get("Labels") or {}
    assert isinstance(found, dict)
    return found


def pushed(lab: Lab, subject: testing.Subject, name: str, *lines: str, **options: Any) -> tuple[str, BuildResult]:
    """Build and push; return the reference in the registry and the result."""
    reference = f"{lab.sources.host}/conformance/{lab.name}:{name}"
    return reference, subject.build(*lines, tags=(reference,), push=True, network="none", **options)


def test_push_with_two_names(lab: Lab, subject: testing.Subject) -> None:
    names = tuple(f"{lab.sources.host}/conformance/{lab.name}:{name}" for name in ("one", "two"))
    result = subject.build("LABEL a=b", tags=names, push=True)
    assert {services.digest(name) for name in names} == {result.digest}
    assert labels(names[0])["a"] == "b"


def test_label_and_build_arg(lab: Lab, subject: testing.Subject) -> None:
    lines = ("ARG X=", "RUN test \"$X\" = 'a, b=c'", "ARG Y=", "LABEL y=$Y")
    options: dict[str, Any] = {"label": {"l.m": "n, o=p"}, "build_arg": {"X": "a, b=c", "Y": "z"}}
    reference, _ = pushed(lab, subject, "labels", *lines, **options)
    found = labels(reference)
    assert (found["l.m"], found["y"]) == ("n, o=p", "z")


def test_target_and_no_cache(lab: Lab, subject: testing.Subject) -> None:
    lines = ("LABEL stage=one", f"FROM {subject.base} AS two", "LABEL stage=two", f"FROM {subject.base}", "RUN false")
    reference, _ = pushed(lab, subject, "target", *lines, target="two", no_cache=True)
    assert labels(reference)["stage"] == "two"


def test_paths_of_copy_are_literal(subject: testing.Subject) -> None:
    """No builder expands, splits or unquotes a path that tritonbuild writes."""
    path = """/opt/it's "my" $HOME [models] a\\b"""
    copy = Copy(sources=("/tmp/files/",), target=f"{path}/", from_stage="0")
    subject.build(
        *("RUN mkdir -p /tmp/files && touch /tmp/files/file", f"FROM {subject.base}"),
        *(*copy.lines(), *Run(("test", "-f", f"{path}/file")).lines()),
        network="none",
    )


def test_a_build_context_beside_the_users(subject: testing.Subject, tmp_path: Path) -> None:
    """The user's ignore file decides about the user's files, and about no others."""
    for name in ("context/conf/kept", "context/conf/secret", "models/model"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "context/.dockerignore").write_text("*\n!conf\nconf/secret\n")
    lines = ("COPY models/ /m/", "COPY conf /c/", "RUN test -f /m/model && test -f /c/kept && test ! -e /c/secret")
    added = (("models", tmp_path / "models"), *fragment.context(lines[1], tmp_path / "context", {"models"}))
    text = "\n".join((f"FROM {subject.base}", *lines, ""))
    options = {**subject.options, "network": "none"}
    run(Job(engine=subject.engine, document=text, tags=(testing.TAG,), context=added, timeout=300, options=options))


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_an_archive(subject: testing.Subject, kind: str, tmp_path: Path) -> None:
    """It has this image alone, where others have the same name and another tag."""
    archive = tmp_path / "image.tar"
    subject.build("LABEL a=c", tags=(f"{testing.TAG}:other",))
    subject.build("LABEL a=b", output={"type": kind, "dest": str(archive)})
    with tarfile.open(archive) as opened:
        blobs = {member.name: opened.extractfile(member) for member in opened if member.isfile()}
        content = {name: file.read() for name, file in blobs.items() if file}
    if kind == "docker":
        (image,) = json.loads(content["manifest.json"])
        assert json.loads(content[image["Config"]])["config"]["Labels"]["a"] == "b"
    else:
        assert json.loads(content["oci-layout"])["imageLayoutVersion"] == "1.0.0"
        assert len(json.loads(content["index.json"])["manifests"]) == 1
    for name, data in content.items():
        if name.startswith("blobs/sha256/"):
            assert hashlib.sha256(data).hexdigest() == name.rpartition("/")[2]
    assert [entry.name for entry in tmp_path.iterdir()] == ["image.tar"]


@only(*(name for name in ENGINES if name != "docker-legacy"))
def test_a_folder(lab: Lab, subject: testing.Subject, tmp_path: Path) -> None:
    for name in ("first", "cached"):
        folder = tmp_path / name
        subject.build("RUN echo hello > /greeting", output={"type": "local", "dest": str(folder)})
        assert (folder / "greeting").read_text() == "hello\n"
        assert (folder / "etc/debian_version").exists()


def test_the_program_knows_every_flag_of_the_table(lab: Lab, subject: testing.Subject) -> None:
    """Those that this version should have; a flag the program does not know is refused before it helps."""
    answer = probe(subject.engine)
    version = flags.version_numbers(answer.client or answer.version)
    table: flags.Table = importlib.import_module(f"tritonbuild.backends.{lab.engine}").OPTIONS
    asked = {"--opt"} if lab.engine == "buildctl" else set()
    for name, kind in table.items():
        newer = kind.since and version < flags.version_numbers(kind.since)
        gone = kind.until and version >= flags.version_numbers(kind.until)
        flag = kind.spelling(name)
        if not newer and not gone and not flag.startswith("--opt=") and flag != "--":
            asked.add(flag.partition("=")[0])
    command = [subject.engine.binary, *subject.engine.build_cmd]
    with ThreadPoolExecutor(max_workers=4) as pool:
        unknown = [
            flag for flag, known in zip(asked, pool.map(partial(knows, command), asked), strict=True) if not known
        ]
    assert len(asked) > 10
    assert unknown == []
    assert not knows(command, "--no-such-flag")


def knows(command: list[str], flag: str) -> bool:
    done = subprocess.run([*command, f"{flag}=1", "--help"], capture_output=True, text=True, timeout=60, check=False)
    # Engines in Go say it in a line of its own, or as a message in quotation marks.
    refusal = rf"(?:unknown flag: {re.escape(flag)}|not defined: {re.escape(flag[1:])})(?![\w-])"
    return re.search(refusal, done.stdout + done.stderr) is None


def unhealthy(lab: Lab, **env: str) -> tuple[str, float]:
    """Return what a build says in an environment where its daemon is not well, and how long that takes."""
    argv = lab.command("--backend", "python", "--quiet")
    started = time.monotonic()
    done = subprocess.run(
        argv, env={**lab.environment(), **env}, capture_output=True, text=True, timeout=60, check=False
    )
    assert (done.returncode, done.stdout) == (3, ""), done.stderr
    assert "Traceback" not in done.stderr
    assert done.stderr.count("hint: ") == 1
    return done.stderr, time.monotonic() - started


@only(*DAEMONS)
def test_a_daemon_that_is_down_refuses_or_hangs(lab: Lab, short: Path) -> None:
    variable = DAEMONS[lab.name]
    unhealthy(lab, **{variable: f"unix://{short}/none"})
    with services.refused_socket(short) as refused:
        unhealthy(lab, **{variable: f"unix://{refused}"})
    with services.hung_socket(short) as hung:
        said, seconds = unhealthy(lab, **{variable: f"unix://{hung}"})
        assert "gave no answer within" in said
        assert seconds < 20


@only(*(name for name in ENGINES if name not in DAEMONS))
def test_a_storage_that_is_broken(lab: Lab, tmp_path: Path) -> None:
    """Its settings cannot be read; podman goes on where a folder alone is wrong, as its database knows another."""
    config = tmp_path / "storage.conf"
    config.write_text("[storage\n")
    said, _ = unhealthy(lab, CONTAINERS_STORAGE_CONF=str(config))
    assert "toml" in said


def test_probe_says_version_and_what_it_can_do(lab: Lab, subject: testing.Subject) -> None:
    answer = probe(subject.engine)
    assert (answer.ok, answer.reason) == (True, "")
    assert answer.version[0].isdigit()
    assert answer.features


@only("docker", "buildx", "buildctl", "nerdctl")
def test_a_daemon_that_is_killed_in_the_middle_of_a_build(lab: Lab, short: Path) -> None:
    """The build fails with 4 and one line, and soon; the client does not wait for ever."""
    root, day, references = short / "d", services.a_day(), lab.sources.references
    (short / "fragment").write_text(f"RUN sleep {day}\n")
    start: Any = services.buildkitd(root, insecure=[lab.sources.host])
    if lab.engine == "docker":
        start = services.dockerd(root, insecure=[lab.sources.host])
    elif lab.engine == "buildx":
        start = services.dockerd(root, which=NEW, buildx=NEW, insecure=[lab.sources.host])
    with start as daemon:
        env = {**lab.environment(), **daemon.env}
        images = (f"--image=full,{references['cpu-full']}", f"--image=min,{references['cpu-min']}")
        words = ("--backend", "python", "--no-enable-gpu", *images, "--fragment", str(short / "fragment"), "--quiet")
        with services.running(lab.command(*words, "--opt", "network=none"), env=env) as process:
            assert services.wait_for(day, timeout=180)
            os.kill(daemon.pid, signal.SIGKILL)
            output, error = process.communicate(timeout=90)
        for row in services.marked(day):  # nobody's any more
            os.kill(row.pid, signal.SIGKILL)
    assert (process.returncode, output) == (4, ""), error
    assert "Traceback" not in error
    assert f"tritonbuild: the build with engine {lab.engine!r} failed with exit status" in error


@only(*(name for name in ENGINES if name not in DAEMONS))
def test_an_engine_without_a_daemon_that_is_killed_in_the_middle_of_a_build(
    lab: Lab, subject: testing.Subject, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The nearest there is to a daemon's end: the program itself is killed, and leaves its RUN step to nobody."""
    day = services.a_day()
    seen, look = threading.Event(), process.descendants

    def looked(pid: int) -> list[process.Member]:
        found = look(pid)
        if {row.pid for row in services.marked(day)} & {member.pid for member in found}:
            seen.set()
        return found

    monkeypatch.setattr(process, "_LOOK_EVERY", 0.2)
    monkeypatch.setattr(process, "descendants", looked)
    with ThreadPoolExecutor(max_workers=1) as pool:
        build = pool.submit(subject.build, f"RUN sleep {day}", network="none")
        assert seen.wait(120)
        (program,) = [child for child in psutil.Process().children() if child.name() == lab.engine]
        program.kill()
        with pytest.raises(BuildFailedError, match=f"the build with engine {lab.engine!r} failed with signal 9"):
            build.result(timeout=60)
    assert services.left(day) == ()
