"""Fragments: their instructions are told apart as builders do, and the files that they copy are checked beforehand."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tritonbuild import build_context, fragment
from tritonbuild.composition import Composition
from tritonbuild.errors import InvalidInputError
from tritonbuild.recipe import containerfile


def write(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(name)
    return folder


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return write(tmp_path / "context", "a", "it's a file", "conf/one.json", "conf/two.json", "conf/deep/three.json")


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("RUN a\\\n  b", [("RUN", "a  b")]),
        ("copy\ta b", [("COPY", "a b")]),
        ("# RUN a\n\nRUN \\\n# in between\n\n  b", [("RUN", "b")]),
        ("RUN <<END cat\nCOPY a b\nEND\nUSER c", [("RUN", "<<END cat"), ("USER", "c")]),
        ("COPY <<-'A' <<B /x/\nRUN a\n\tA\nRUN b\nB\nUSER c", [("COPY", "<<-'A' <<B /x/"), ("USER", "c")]),
        ("ENV A=<<B\nUSER c", [("ENV", "A=<<B"), ("USER", "c")]),
    ],
)
def test_instructions(text: str, expected: list[tuple[str, str]]) -> None:
    assert list(fragment.instructions(text)) == expected


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("COPY a /x", ["a"]),
        ("COPY --chown=1:1 --chmod=755 /a ./conf/one.json /x/", ["a", "conf/one.json"]),
        ("""COPY ["it's a file", "/x"]""", ["it's a file"]),
        ("COPY it\\'s\\ a\\ file /x", None),
        ('COPY --chown=1:1 ["a", "/x"]', ["a"]),
        ("ADD conf /x", ["conf"]),
        ("COPY conf/ /x", ["conf"]),
        ("COPY conf conf/one.json a /x", ["a", "conf"]),
        ("COPY conf/*.json /x", ["conf/one.json", "conf/two.json"]),
        ("COPY conf/[^o]*.json c*/d* /x", ["conf/deep", "conf/two.json"]),
        ("COPY . /x", ["a", "conf", "it's a file"]),
        ("COPY --from=full /etc/passwd /x", []),
        ("ADD https://example.com/a git@example.com:a.git /x", []),
        ("COPY <<END /x\nCOPY none /x\nEND", []),
        ("RUN cp none /x", []),
    ],
)
def test_files_that_a_fragment_copies(folder: Path, text: str, expected: list[str] | None) -> None:
    if expected is None:  # a blank ends a word, whatever stands before it
        with pytest.raises(InvalidInputError):
            fragment.context(text, folder, ())
        return
    assert fragment.context(text, folder, ()) == tuple((name, folder / name) for name in expected)


REFUSED = {
    "COPY none /x": "COPY none of the fragment is not in the build context",
    "ADD conf/*.yaml /x": "ADD conf/*.yaml of the fragment is not in the build context",
    "COPY a/b /x": "COPY a/b of the fragment is not in the build context",
    "COPY ../context/a /x": "COPY ../context/a of the fragment leads out of the build context",
    "COPY conf/../../a /x": "COPY conf/../../a of the fragment leads out of the build context",
    "COPY $A /x": "COPY $A of the fragment has a variable, so it cannot be checked before the build",
    "COPY out /x": "COPY out of the fragment is the link",
    "COPY out/file /x": "COPY out/file of the fragment is the link",
    "COPY . /x": "COPY . of the fragment would copy 'models' too, which tritonbuild adds to the build context",
    "COPY m*s /x": "COPY m*s of the fragment would copy 'models' too",
    "COPY models/x /x": "COPY models/x of the fragment would copy 'models' too",
}


@pytest.mark.parametrize("text", REFUSED)
def test_files_that_cannot_be_copied(folder: Path, tmp_path: Path, text: str) -> None:
    (folder / "out").symlink_to(write(tmp_path / "outside", "file"))
    with pytest.raises(InvalidInputError) as caught:
        fragment.context(text, folder, {"models"})
    assert str(caught.value).startswith(REFUSED[text])
    assert caught.value.hint


def test_a_fragment_without_a_build_context_copies_nothing(tmp_path: Path) -> None:
    (tmp_path / "fragment").write_text("COPY a /x\n")
    with pytest.raises(InvalidInputError, match="COPY a of the fragment needs a build context") as caught:
        Composition(backends=["identity"], fragment=tmp_path / "fragment")
    assert caught.value.hint == "add --context FOLDER"


def snapshot(folder: Path) -> Iterator[tuple[Any, ...]]:
    for path in sorted(folder.rglob("*")):
        status = path.lstat()
        yield path, status.st_mode, status.st_mtime_ns, path.read_bytes() if path.is_file() else b""


def test_the_build_context_has_what_is_copied_and_the_users_folder_stays_as_it_is(tmp_path: Path, folder: Path) -> None:
    (folder / ".dockerignore").write_text("*\n!conf")
    (tmp_path / "fragment").write_text("COPY conf conf/one.json /x/\n")
    before = list(snapshot(folder))
    models = write(tmp_path / "models", "m/1/model.py")
    composition = Composition(
        backends=["python"], fragment=tmp_path / "fragment", fragment_context=folder, models=[models]
    )
    assert not composition.network
    assert "# Needs a build context with models, .dockerignore, conf and no network.\n" in containerfile(composition)
    (tmp_path / "filled").mkdir()
    build_context.fill(tmp_path / "filled", composition.context())
    found = {str(path.relative_to(tmp_path / "filled")) for path in (tmp_path / "filled").rglob("*") if path.is_file()}
    conf = {"conf/one.json", "conf/two.json", "conf/deep/three.json"}
    assert found == {".dockerignore", "models/m/1/model.py", *conf}
    assert (tmp_path / "filled/.dockerignore").read_text() == "*\n!conf\n!models\n!models/**\n"
    assert list(snapshot(folder)) == before
