"""What users add: checked where it is given, put into the build context without following links out of it."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Any

import attrs
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tritonbuild import build_context
from tritonbuild import fragment as fragments
from tritonbuild.composition import Composition, sources
from tritonbuild.errors import InvalidInputError
from tritonbuild.recipe import containerfile


def compose(**keywords: Any) -> Composition:
    return Composition(**{"backends": ("python",), "container_version": "24.10", **keywords})


def last_stage(composition: Composition) -> list[str]:
    return containerfile(composition).rpartition("\nFROM ")[2].splitlines()


@pytest.fixture
def mine(tmp_path: Path) -> Path:
    folder = tmp_path / "mine"
    folder.mkdir()
    (folder / "libtriton_mine.so").write_text("library")
    return folder


# --- components of the user ---


def test_a_compiled_backend(mine: Path) -> None:
    composition = compose(backends=[f"mine={mine}"])
    assert [component.name for component in composition.components] == ["mine"]
    assert composition.context() == (("backends/mine", mine),)
    text = containerfile(composition)
    assert text.count("COPY --chown=0:0 backends/mine/ /opt/tritonserver/backends/mine/\n") == 2
    assert "'backends/mine'" in text
    assert "# Needs a build context with backends/mine and no network.\n" in text


def test_a_backend_in_python_brings_the_python_backend(mine: Path) -> None:
    (mine / "libtriton_mine.so").rename(mine / "model.py")
    assert [component.name for component in compose(backends=[f"mine={mine}"]).components] == ["mine", "python"]


@pytest.mark.parametrize(
    ("kind", "keyword", "library"),
    [("repoagent", "repoagents", "libtritonrepoagent_my.so"), ("cache", "caches", "libtritoncache_my.so")],
)
def test_agents_and_caches(tmp_path: Path, kind: str, keyword: str, library: str) -> None:
    message = f"folder '{tmp_path}' of {kind} 'my' has no {library}"
    with pytest.raises(InvalidInputError, match=message):
        compose(**{keyword: [f"my={tmp_path}"]})
    (tmp_path / library).touch()
    text = containerfile(compose(**{keyword: [f"my={tmp_path}"]}))
    assert f"COPY --chown=0:0 {keyword}/my/ /opt/tritonserver/{keyword}/my/\n" in text


def test_a_backend_in_place_of_the_releases(mine: Path) -> None:
    (mine / "libtriton_identity.so").touch()
    composition = compose(backends=[f"identity={mine}"])
    assert composition.notes == (f"Triton backend 'identity' is the folder '{mine}', not the release's",)
    assert "COPY --from=full --chown=0:0 /opt/tritonserver/backends/identity" not in containerfile(composition)


REFUSED: list[tuple[str, dict[str, Any], str, str]] = [
    ("folder", {"backends": ["a=/nowhere"]}, "the folder of backend 'a', '/nowhere', does not exist", ""),
    (
        "no folder",
        {"backends": ["a="]},
        "the folder of backend 'a', '', does not exist",
        "use --backend a=FOLDER",
    ),
    ("name", {"backends": ["../a=/tmp"]}, "'../a' is not a component name", ""),
    ("pip option", {"pip": ["--index-url=x"]}, "'--index-url=x' is not a pip requirement", ""),
    ("pip line", {"pip": ["numpy\nRUN x"]}, "'numpy\\nRUN x' is not a pip requirement", ""),
    (
        "pip without python",
        {"backends": ["identity"], "pip": ["numpy"]},
        "pip packages need the python backend, which is not chosen",
        "add --backend python",
    ),
    ("requirements", {"requirements": ["/nowhere"]}, "requirements file '/nowhere' does not exist", "name a file"),
    ("file", {"files": {"/nowhere": "/a"}}, "file '/nowhere' does not exist", "name a file or folder"),
    ("file nowhere", {"files": {"": "/a"}}, "file '' does not exist", ""),
    (
        "file relative",
        {"files": {"/etc": "a"}},
        "'a' is not a path for --file /etc",
        "give an absolute path, for example /models",
    ),
    ("file up", {"files": {"/etc": "/a/../b"}}, "'/a/../b' is not a path for --file /etc", ""),
    ("file root", {"files": {"/etc": "/"}}, "'/' is not a path for --file /etc", ""),
    (
        "file twice",
        {"files": {"/etc/passwd": "/a/", "/etc": "/a/passwd"}},
        "two files have the path '/a/passwd' in the image",
        "give each its own path",
    ),
    ("apt option", {"apt": ["-o=x"]}, "'-o=x' is not a package for apt", "write it as libgl1 or libgl1=1.6.0-1"),
    ("apt blank", {"apt": ["a b"]}, "'a b' is not a package for apt", ""),
    ("context", {"fragment_context": "/nowhere"}, "build context '/nowhere' is not a folder", "name a local folder"),
    ("context alone", {"fragment_context": "/"}, "--context is given without a fragment", "add --fragment FILE"),
    ("models", {"models": ["/nowhere"]}, "model repository '/nowhere' is not a folder", "name a local folder"),
    ("models folder", {"models_folder": "a/b"}, "'a/b' is not a folder for models", ""),
    ("models root", {"models_folder": "//"}, "'//' is not a folder for models", ""),
    ("models up", {"models_folder": "/a/../b"}, "'/a/../b' is not a folder for models", ""),
    ("variable", {"environment": {"a b": "c"}}, "'a b' is not the name of an environment variable", ""),
    ("value", {"environment": {"A": "b\nUSER x"}}, "environment variable A cannot be 'b\\nUSER x'", ""),
    ("label", {"labels": {"a b": "c"}}, "'a b' is not the name of a label", ""),
    ("label value", {"labels": {"a": "b\n"}}, "label a cannot be 'b\\n'", ""),
    ("user", {"user": "a b"}, "'a b' is not a user", "write it as triton-server, 1000 or 1000:1000"),
    ("entrypoint", {"entrypoint": ["a\nb"]}, "the entry point cannot be 'a\\nb'", ""),
    ("fragment", {"fragment": "/nowhere"}, "fragment '/nowhere' does not exist", "name a file"),
    ("runtime", {"runtime": "instal"}, "unknown runtime 'instal'", "did you mean 'install'?"),
    ("dcgm", {"dcgm": "copy"}, "--dcgm requires --runtime install", ""),
    (
        "base and min",
        {"base": "a", "images": {"full": "b", "min": "c"}},
        "--base and --image min,REF both name the base",
        "give one of them",
    ),
    (
        "feature",
        {"container_version": "22.01", "features": ["python"]},
        "release 22.01 has no Python packages of the server",
        "23.09 is the first",
    ),
    (
        "clients installed",
        {"runtime": "install", "features": ["clients"]},
        "feature 'clients' requires --runtime copy",
        "use --runtime copy; install omits the libraries that the clients are linked to",
    ),
    (
        "sdk without clients",
        {"images": {"full": "a", "min": "b", "sdk": "c"}},
        "source image 'sdk' requires the feature 'clients'",
        "add --features clients",
    ),
    ("platform", {"platform": "linux/s390x"}, "triton has no images for platform 'linux/s390x'", ""),
    (
        "not there",
        {"backends": ["openvino"], "platform": "linux/arm64"},
        "Triton backend 'openvino' is not on linux/arm64 in 24.10",
        "",
    ),
    ("vllm", {"backends": ["vllm"], "runtime": "install"}, "--runtime install cannot compose the 'vllm' image", ""),
]


@pytest.mark.parametrize(("keywords", "message", "hint"), [row[1:] for row in REFUSED], ids=[row[0] for row in REFUSED])
def test_what_cannot_be_is_refused(keywords: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        compose(**keywords)
    assert str(caught.value) == message
    assert caught.value.hint == hint or not hint
    assert str(caught.value).isprintable()


@pytest.mark.parametrize(("folder", "names"), [("/it's", ["python"]), ("/it's", ["identity"]), ("/models", ["python"])])
def test_a_folder_that_the_python_backend_cannot_load_from(tmp_path: Path, folder: str, names: list[str]) -> None:
    notes = compose(backends=names, models=[tmp_path], models_folder=folder).notes
    note = """the python backend loads no models from "/it's": it gives the path to a shell, unquoted"""
    assert notes == ((note,) if (folder, names) == ("/it's", ["python"]) else ())


# --- the end of the image ---


def test_how_the_image_ends(tmp_path: Path) -> None:
    fragment = tmp_path / "fragment"
    fragment.write_text("# a comment\r\nRUN echo \\\n  from here\n\nEXPOSE 8000\n")
    composition = compose(
        models=[tmp_path],
        models_folder="/srv/models",
        environment={"MONEY": "$5"},
        labels={"com.example": 'a "b" $c'},
        user="1000:1000",
        entrypoint=["tini", "--"],
        fragment=fragment,
    )
    assert composition.network
    lines = last_stage(composition)
    assert "COPY --chown=0:0 models/ /srv/models/" in lines
    assert '    MONEY="\\$5"' in lines
    assert '    "com.example"="a \\"b\\" \\$c"' in lines
    assert lines[-9:] == [
        'ENTRYPOINT ["tini", "--"]',
        "USER root",
        "# The user's instructions.",
        "# a comment",
        "RUN echo \\",
        "  from here",
        "",
        "EXPOSE 8000",
        "USER 1000:1000",
    ]
    fragment.write_text("USER 5\n")
    assert last_stage(compose(user="1000", fragment=fragment))[-3:] == [
        "USER root",
        "# The user's instructions.",
        "USER 5",
    ]
    fragment.write_text("EXPOSE 80\n")
    assert not any(line.startswith("USER") for line in last_stage(compose(fragment=fragment)))
    assert not compose(fragment=fragment).network


def test_files_of_the_user(tmp_path: Path) -> None:
    (tmp_path / "folder").mkdir()
    (tmp_path / "a=b").touch()
    composition = compose(files={str(tmp_path / "folder"): "/opt/it's", str(tmp_path / "a=b"): "/etc/x/"})
    assert composition.context() == (("files/0", tmp_path / "folder"), ("files/1", tmp_path / "a=b"))
    assert not composition.network
    for runtime, stage in (("copy", "runtime"), ("install", "extras")):
        text = containerfile(attrs.evolve(composition, runtime=runtime))
        assert 'COPY --chown=0:0 ["files/0/", "/opt/it\\\\\'s/"]\nCOPY --chown=0:0 files/1 /etc/x/a=b\n' in text
        assert "/bin/sh /tmp/files.sh '/opt/it'\\''s' '/etc/x/a=b'\n" in text
        assert f"COPY --from={stage} /tritonbuild/files.list /tritonbuild/files.all\n" in text
    assert "files.sh" not in containerfile(compose())


def test_packages_of_the_distribution_are_installed_below_the_components() -> None:
    composition = compose(apt=["libgl1", "tini=0.19.0-1"])
    assert composition.network
    text = containerfile(composition)
    assert "&& /bin/sh /tmp/packages.sh 'apt=libgl1' 'apt=tini=0.19.0-1'\n" in text
    assert "\nFROM nvcr.io/nvidia/tritonserver:24.10-py3-min AS base-packages\nUSER root\nRUN " in text
    assert text.count("FROM base-packages AS ") == 2
    assert "AS base-packages" not in containerfile(compose())
    installed = containerfile(compose(apt=["libgl1"], runtime="install"))
    assert " 'apt=libgl1' " in installed
    assert "AS base-packages" not in installed


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("FROM scratch", "has FROM in line 1"),
        ("RUN a\n  from b AS c", "has FROM in line 2"),
        ("RUN a\nFR\\\nOM x", "has FROM in line 3"),
        ("FR\\\n# a comment\nOM x", "has FROM in line 3"),
        ("FR\\\n\nOM x", "has FROM in line 3"),
        ("RUN a \\\n# FROM\n\nFROM x", "has FROM in line 4"),
        ("RUN a\0b", "has a control character in line 1"),
        ("RUN a \\", "ends in the middle of an instruction"),
    ],
)
def test_a_fragment_that_is_refused(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "fragment"
    path.write_text(text)
    with pytest.raises(InvalidInputError, match=message):
        fragments.load(path)


def test_a_fragment_that_is_no_text(tmp_path: Path) -> None:
    (tmp_path / "fragment").write_bytes(b"\xff")
    with pytest.raises(InvalidInputError, match="cannot be read as text"):
        fragments.load(tmp_path / "fragment")


# --- pip ---


def test_packages_of_pip_need_a_network_and_nothing_else_does(tmp_path: Path) -> None:
    file = tmp_path / "r.txt"
    file.write_text("requests\n")
    composition = compose(pip=["numpy<2"], requirements=[file])
    text = containerfile(composition)
    assert composition.network
    assert not compose().network
    assert "FROM full AS packages\n" in text
    assert "FROM packages AS runtime\n" in text
    assert "/tmp/pip.sh 'numpy<2' '--requirement=/tritonbuild/requirements/0.txt'\n" in text
    assert composition.context() == (("requirements/0.txt", file),)
    assert "FROM full AS packages" not in containerfile(compose())


def test_wheels_are_files(tmp_path: Path) -> None:
    one = tmp_path / "one-1.0-py3-none-any.whl"
    one.touch()
    composition = compose(pip=[str(one), "numpy<2"])
    assert composition.wheels == (one,)
    assert composition.context() == (("wheels/one-1.0-py3-none-any.whl", one),)
    text = containerfile(composition)
    assert "\nCOPY wheels/ /tritonbuild/wheels/\n" in text
    assert "/tmp/pip.sh '/tritonbuild/wheels/one-1.0-py3-none-any.whl' 'numpy<2'\n" in text
    (tmp_path / "more").mkdir()
    (tmp_path / "more" / one.name).touch()
    with pytest.raises(InvalidInputError, match=r"wheel 'one-1.0-py3-none-any.whl' is given twice"):
        compose(pip=[str(one), str(tmp_path / "more" / one.name)])
    with pytest.raises(InvalidInputError, match=r"wheel '/nowhere/x.whl' does not exist"):
        compose(pip=["/nowhere/x.whl"])
    (tmp_path / "a b.whl").touch()
    with pytest.raises(InvalidInputError, match=r"'a b.whl' is not a file name of a wheel"):
        compose(pip=[str(tmp_path / "a b.whl")])


def test_features_bring_what_is_not_needed_to_run() -> None:
    plain, whole = containerfile(compose()), containerfile(compose(features=["nvidia"]))
    for part in ("/opt/tritonserver/include", "/opt/tritonserver/python", "/opt/tritonserver/third-party-src"):
        assert f"COPY --from=full --chown=0:0 {part} {part}\n" in whole
        assert part not in plain
    for part in ("'name=libjemalloc.so*'", "'name=libdcgm*.so*'", "'file=/usr/bin/dcgmi'"):
        assert part in whole
        assert part not in plain
    old = containerfile(compose(container_version="22.01", features=["nvidia"]))
    assert "/opt/tritonserver/python" not in old


def test_clients_come_out_of_the_sdk_image_with_what_they_need() -> None:
    composition = compose(features=["clients"])
    text = containerfile(composition)
    assert str(sources(composition)["sdk"]) == "nvcr.io/nvidia/tritonserver:24.10-py3-sdk"
    assert "\nFROM nvcr.io/nvidia/tritonserver:24.10-py3-sdk AS sdk\n" in text
    assert "\nFROM sdk AS clients\n" in text
    assert "&& /bin/sh /tmp/runtime.sh 'root=/workspace/install'\n" in text
    assert "\nCOPY --from=sdk --chown=0:0 /workspace/install /workspace/install\n" in text
    assert 'PATH="/opt/tritonserver/bin:${PATH}:/workspace/install/bin"' in text
    first, last = (text.index(f"COPY --from={stage} /tritonbuild/runtime/ /\n") for stage in ("clients", "runtime"))
    assert first < last
    own = {"full": "a:1", "min": "b:1", "sdk": "c:1"}
    assert "\nFROM docker.io/library/c:1 AS sdk\n" in containerfile(compose(features=["clients"], images=own))
    parity = compose(features=["nvidia"])
    assert "sdk" not in sources(parity)
    assert "FROM sdk" not in containerfile(parity)


# --- the build context ---


def test_folders_and_files_go_where_they_are_to_go(tmp_path: Path) -> None:
    source, target = tmp_path / "source", tmp_path / "context"
    (source / "deep").mkdir(parents=True)
    target.mkdir()
    (source / "deep" / "file").write_text("text")
    (source / "relative").symlink_to("deep/file")
    (source / "absolute").symlink_to(source / "deep")
    build_context.fill(target, [("backends/a", source), ("requirements/0.txt", source / "deep" / "file")])
    assert (target / "backends/a/deep/file").read_text() == "text"
    assert (target / "backends/a/relative").readlink() == Path("deep/file")
    assert (target / "backends/a/absolute").readlink() == Path("deep")
    assert (target / "requirements/0.txt").read_text() == "text"


@pytest.mark.parametrize("link", ["/etc/passwd", "../outside", "up/../../outside", "/nowhere"])
def test_a_link_that_leads_out_is_refused(tmp_path: Path, link: str) -> None:
    source = tmp_path / "source"
    (source / "up").mkdir(parents=True)
    (tmp_path / "outside").write_text("secret")
    (source / "link").symlink_to(link)
    (tmp_path / "context").mkdir()
    with pytest.raises(InvalidInputError, match="leads out of"):
        build_context.fill(tmp_path / "context", [("a", source)])
    assert not os.path.lexists(tmp_path / "context" / "a" / "link")


def test_two_repositories_with_one_model_are_refused(tmp_path: Path) -> None:
    for name in ("a", "b"):
        (tmp_path / name / "model").mkdir(parents=True)
    (tmp_path / "context").mkdir()
    with pytest.raises(
        InvalidInputError, match="b/model' has the same path in the image as an entry of another folder"
    ):
        build_context.fill(tmp_path / "context", [("models", tmp_path / "a"), ("models", tmp_path / "b")])


def test_what_is_no_file_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a").mkdir()
    (tmp_path / "context").mkdir()
    os.mkfifo(tmp_path / "a" / "pipe")
    with pytest.raises(InvalidInputError, match="is neither a file nor a folder"):
        build_context.fill(tmp_path / "context", [("a", tmp_path / "a")])


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow], max_examples=200)
@given(text=st.text(max_size=40))
def test_a_fragment_is_taken_as_it_is_or_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "fragment"
    path.write_text(text, encoding="utf-8", errors="surrogatepass", newline="")
    with contextlib.suppress(InvalidInputError):
        lines = last_stage(compose(fragment=path))
        assert not any(line.upper().startswith("FROM ") for line in lines[lines.index("WORKDIR /opt/tritonserver") :])
