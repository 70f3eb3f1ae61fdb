"""Leftovers of a build that fails: the containers of this build are removed, and no others."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Final

import pytest

from tritonbuild import backends, run_build
from tritonbuild.engine import Health
from tritonbuild.errors import BuildFailedError

FakeProgram = Callable[[str, str], Path]

RECORD: Final = """
for token; do case $token in --secret=*) mark=${{token#--secret=}} ;; esac; done
mkdir -p '{storage}/overlay-containers/ours/userdata' "$TMPDIR/buildah1"
echo "{{\\"Secrets\\": [\\"$mark\\"]}}" > '{storage}/overlay-containers/ours/userdata/buildah.json'
"""
"""Shell commands that write the files which podman and buildah write when a build begins."""

INFO: Final = {
    "podman": '{{"host": {{"serviceIsRemote": {remote}}}, "store": {{"graphRoot": "{storage}"}}}}',
    "buildah": '{{"host": {{}}, "store": {{"GraphRoot": "{storage}"}}}}',
}


def build(
    engine: str, program: FakeProgram, folder: Path, *, ends: str, remote: str = "false"
) -> tuple[list[str], str]:
    """Fail to build with a recording program; return its other calls, and what is written to the echo."""
    storage = folder / "storage"
    (storage / "overlay-containers/theirs/userdata").mkdir(parents=True)
    (storage / "overlay-containers/theirs/userdata/buildah.json").write_text('{"Secrets": ["id=tritonbuild-0,src=/x"]}')
    info = INFO[engine].format(storage=storage, remote=remote)
    calls = program(engine, f"case $1 in info) echo '{info}' ;; build) {RECORD.format(storage=storage)} {ends} ;; esac")
    with (folder / "echo").open("wb") as echo:
        job = run_build.Job(
            engine=backends.get_backend(engine),
            document="FROM a\n",
            tags=("a",),
            health=Health(ok=True, engine=engine, version="9.0"),
            timeout=2,
            echo=echo.fileno(),
        )
        with pytest.raises(BuildFailedError):
            run_build.run(job)
    made = [line for line in calls.read_text().splitlines() if not line.startswith("build")]
    return made, (folder / "echo").read_text()


@pytest.mark.parametrize("ends", ["exit 1", "sleep 60"])
@pytest.mark.parametrize(("engine", "words"), [("podman", "rm\t--force\tours"), ("buildah", "rm\tours")])
def test_the_containers_of_the_build_are_removed(  # noqa: PLR0917 - fixtures
    engine: str, words: str, ends: str, fake_program: FakeProgram, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setenv("TMPDIR", str(temporary))
    calls, echoed = build(engine, fake_program, tmp_path, ends=ends)
    assert (calls[1:], echoed) == ([words], "")
    assert list(temporary.iterdir()) == []


def test_a_service_that_goes_on_is_reported(fake_program: FakeProgram, tmp_path: Path) -> None:
    calls, echoed = build("podman", fake_program, tmp_path, ends="exit 1", remote="true")
    assert len(calls) == 1
    assert echoed == (
        "tritonbuild: the service of podman may go on with the build: podman ps --all --external lists its containers\n"
    )
