"""Model repositories: what is read from folders, what Triton would decide, and what a release has of it."""

from __future__ import annotations

import ast
import json
import os
import tempfile
from collections.abc import Mapping
from importlib import metadata
from pathlib import Path
from typing import Any, TypeAlias

import attrs
import pytest
from google.protobuf import descriptor_pb2, text_format
from hypothesis import given, settings
from hypothesis import strategies as st

from tritonbuild import modelrepo
from tritonbuild.catalog import BUILTIN
from tritonbuild.composition import Composition
from tritonbuild.errors import InvalidInputError, TritonBuildError, UnknownNameError
from tritonbuild.modelrepo import Model, Need, Problem, Repository, Selection, config, reading

Tree: TypeAlias = Mapping[str, "Tree | str | bytes | Path"]
"""A folder: what it holds by name, where a path is a link's target."""

ENSEMBLE = 'platform: "ensemble" ensemble_scheduling { step [ { model_name: "a" }, { model_name: "b" } ] }'
BACKEND_HINT = "add a config.pbtxt that names the backend"


def grow(folder: Path, tree: Tree) -> Path:
    """Make *tree* real in *folder*; what the file system refuses is left out."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in tree.items():
        path = folder / name
        if isinstance(content, Path):
            path.symlink_to(content)
        elif isinstance(content, (str, bytes)):
            path.write_bytes(content.encode() if isinstance(content, str) else content)
        else:
            grow(path, content)
    return folder


@pytest.fixture
def models(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Return the relative path of an empty repository, so that messages are the same everywhere."""
    monkeypatch.chdir(tmp_path)
    Path("models").mkdir()
    return Path("models")


def one(folder: Path, tree: Tree, name: str = "m", **options: Any) -> Model:
    """Return the one model of a repository."""
    grow(folder, {name: tree})
    (model,) = modelrepo.read(folder, **options).models
    return model


# What a model needs, and why


def needed(model: Model) -> list[tuple[str, str, str]]:
    return [(need.kind, need.name, need.reason) for need in model.needs]


@pytest.mark.parametrize(
    ("text", "name", "reason"),
    [
        ('backend: "onnxruntime"', "onnxruntime", 'config.pbtxt says backend: "onnxruntime"'),
        ('backend: "vllm"', "vllm", 'config.pbtxt says backend: "vllm"'),
        ('backend: "tensorrt" platform: "tensorrt_plan"', "tensorrt", 'config.pbtxt says backend: "tensorrt"'),
        ('platform: "tensorrt_plan"', "tensorrt", 'config.pbtxt says platform: "tensorrt_plan"'),
        ('platform: "onnxruntime_onnx"', "onnxruntime", 'config.pbtxt says platform: "onnxruntime_onnx"'),
        ('platform: "pytorch_libtorch"', "pytorch", 'config.pbtxt says platform: "pytorch_libtorch"'),
        ('platform: "libtorch"', "pytorch", 'config.pbtxt says platform: "libtorch"'),
        ('platform: "torch_aoti"', "pytorch", 'config.pbtxt says platform: "torch_aoti"'),
        ('platform: "tensorflow_graphdef"', "tensorflow", 'config.pbtxt says platform: "tensorflow_graphdef"'),
        ('platform: "tensorflow_savedmodel"', "tensorflow", 'config.pbtxt says platform: "tensorflow_savedmodel"'),
        ('default_model_filename: "model.plan"', "tensorrt", 'config.pbtxt says default_model_filename: "model.plan"'),
        ('default_model_filename: "model.xml"', "openvino", 'config.pbtxt says default_model_filename: "model.xml"'),
        ('default_model_filename: "model.py"', "python", 'config.pbtxt says default_model_filename: "model.py"'),
        (
            'platform: "pytorch_libtorch" default_model_filename: "model.savedmodel"',
            "pytorch",
            'config.pbtxt says platform: "pytorch_libtorch"',
        ),
        (
            'platform: "other" default_model_filename: "model.onnx"',
            "onnxruntime",
            'config.pbtxt says default_model_filename: "model.onnx"',
        ),
        ('platform: "ensemble" ensemble_scheduling { }', "ensemble", 'config.pbtxt says platform: "ensemble"'),
        ("max_batch_size: 8", "python", "config.pbtxt names no backend; folder 1 holds model.py"),
        ("", "python", "config.pbtxt names no backend; folder 1 holds model.py"),
    ],
    ids=lambda value: value if value.startswith(("backend", "platform", "default")) else "",
)
def test_a_configuration_decides(models: Path, text: str, name: str, reason: str) -> None:
    assert needed(one(models, {"config.pbtxt": text, "1": {"model.py": ""}})) == [("backend", name, reason)]


@pytest.mark.parametrize(
    ("version", "name", "file"),
    [
        ({"model.plan": ""}, "tensorrt", "model.plan"),
        ({"model.onnx": ""}, "onnxruntime", "model.onnx"),
        ({"model.onnx": {"model.onnx": "", "weights": ""}}, "onnxruntime", "model.onnx"),
        ({"model.pt": ""}, "pytorch", "model.pt"),
        ({"model.pt2": ""}, "pytorch", "model.pt2"),
        ({"model.graphdef": ""}, "tensorflow", "model.graphdef"),
        ({"model.savedmodel": {"saved_model.pb": ""}}, "tensorflow", "model.savedmodel"),
        ({"model.xml": "", "model.bin": ""}, "openvino", "model.xml"),
        ({"model.py": "", "labels.txt": ""}, "python", "model.py"),
        ({"model.py": "", "model.onnx": ""}, "onnxruntime", "model.onnx"),
        ({"model.plan": "", "model.savedmodel": {}}, "tensorflow", "model.savedmodel"),
        ({"model.plan": {}, "model.py": ""}, "python", "model.py"),
        ({"model.savedmodel": "", "model.py": ""}, "python", "model.py"),
    ],
    ids=[
        *("plan", "onnx", "onnx-folder", "pt", "pt2", "graphdef", "savedmodel", "xml", "py"),
        *("onnx-before-py", "tensorflow-first", "plan-is-no-folder", "savedmodel-is-no-file"),
    ],
)
def test_without_a_configuration_a_file_decides(models: Path, version: Tree, name: str, file: str) -> None:
    model = one(models, {"1": version})
    assert needed(model) == [("backend", name, f"no config.pbtxt; folder 1 holds {file}")]
    assert (model.config, model.problems) == ("", ())


def test_the_first_folder_decides_whatever_its_name(models: Path) -> None:
    model = one(models, {"10": {"model.onnx": ""}, "9": {"model.py": ""}, "configs": {}})
    assert needed(model) == [("backend", "onnxruntime", "no config.pbtxt; folder 10 holds model.onnx")]
    model = one(models, {"0": {"model.plan": ""}})
    assert needed(model) == [("backend", "tensorrt", "no config.pbtxt; folder 0 holds model.plan")]


def test_a_models_name_decides_at_last(models: Path) -> None:
    model = one(models, {"1": {"weights": ""}}, name="resize.dali")
    assert needed(model) == [("backend", "dali", 'no config.pbtxt; the model\'s name ends in ".dali"')]


def test_agents_and_the_cache_are_needed_too(models: Path) -> None:
    text = """
    backend: "python"
    response_cache { enable: true }
    model_repository_agents { agents [ { name: "checksum" parameters { key: "a" value: "b" } }, { name: "other" } ] }
    """
    model = one(models, {"config.pbtxt": text, "1": {}}, cache="redis")
    started = "start the server with --cache-config=redis,..."
    assert needed(model)[1:] == [
        ("repoagent", "checksum", "config.pbtxt has it in model_repository_agents"),
        ("repoagent", "other", "config.pbtxt has it in model_repository_agents"),
        ("cache", "redis", f"config.pbtxt enables response_cache; {started}"),
    ]


def test_a_python_based_runtime_needs_python(models: Path) -> None:
    model = one(models, {"config.pbtxt": 'backend: "acme" runtime: "model.py"', "1": {}})
    assert needed(model) == [
        ("backend", "acme", 'config.pbtxt says backend: "acme"'),
        ("backend", "python", 'config.pbtxt says runtime: "model.py"'),
    ]


@pytest.mark.parametrize(
    ("tree", "note"),
    [
        ({"libtriton_acme.so": "", "1": {}}, "libtriton_acme.so"),
        (
            {"1": {"libtriton_acme.so": ""}, "2": {"libtriton_acme.so": ""}, "x": {}},
            "1/libtriton_acme.so, 2/libtriton_acme.so",
        ),
        ({"1": {"libtriton_acme.so": ""}, "2": {}}, ""),
        ({"1": {"libtriton_other.so": ""}}, ""),
        ({"libtriton_acme.so": {}, "1": {}}, ""),
    ],
    ids=["model", "each-version", "one-version", "other", "folder"],
)
def test_a_backend_that_comes_with_the_model_is_not_needed(models: Path, tree: Tree, note: str) -> None:
    model = one(models, {"config.pbtxt": 'backend: "acme"', **tree})
    assert model.notes == ((f'backend "acme" comes with the model: {note}',) if note else ())
    assert bool(model.needs) is not bool(note)


def test_a_runtime_names_the_library(models: Path) -> None:
    model = one(models, {"config.pbtxt": 'backend: "acme" runtime: "mine.so"', "1": {"mine.so": ""}})
    assert model.notes == ('backend "acme" comes with the model: 1/mine.so',)


@pytest.mark.parametrize(
    ("chosen", "name"), [("", "python"), ("fast", "tensorrt"), ("none", "python"), ("../../secret", "python")]
)
def test_a_configuration_can_be_chosen(models: Path, chosen: str, name: str) -> None:
    grow(models, {"secret.pbtxt": 'backend: "secret"'})
    tree: Tree = {"config.pbtxt": 'backend: "python"', "configs": {"fast.pbtxt": 'backend: "tensorrt"'}, "1": {}}
    model = one(models, tree, config_name=chosen)
    assert [need.name for need in model.needs] == [name]
    assert model.config == ("models/m/configs/fast.pbtxt" if chosen == "fast" else "models/m/config.pbtxt")


def test_an_ensemble_brings_its_models(models: Path) -> None:
    version: Tree = {"1": {"model.py": ""}}
    grow(models, {"all": {"config.pbtxt": ENSEMBLE, "1": {}}, "a": version, "b": version, "c": version})
    read = modelrepo.read(models, only=["all"])
    assert [model.name for model in read.models] == ["a", "all", "b"]
    assert read.models[1].steps == ("a", "b")
    assert [model.name for model in modelrepo.read(models).models] == ["a", "all", "b", "c"]


def test_ensembles_in_a_circle_end(models: Path) -> None:
    step = 'platform: "ensemble" ensemble_scheduling {{ step {{ model_name: "{}" }} }}'
    grow(models, {"a": {"config.pbtxt": step.format("b")}, "b": {"config.pbtxt": step.format("a")}})
    assert [model.name for model in modelrepo.read(models, only="a").models] == ["a", "b"]


def test_files_beside_models_are_not_looked_at(models: Path) -> None:
    grow(models, {"README.md": "", "config.pbtxt": "no configuration", "m": {"1": {"model.py": ""}}})
    assert [model.name for model in modelrepo.read(models).models] == ["m"]


def test_odd_names_stay_on_one_line(models: Path) -> None:
    model = one(models, {"1\n": {"x": ""}})
    assert model.problems[0].message == "no config.pbtxt, and folder 1\\n holds no file that names a backend"
    model = one(models, {"1\n": {"model.py": ""}, "\udcff": Path("nowhere")})
    assert needed(model) == [("backend", "python", "no config.pbtxt; folder 1\\n holds model.py")]
    assert model.problems[-1].message == "Triton does not load a model with a broken link: \\udcff"


def test_several_repositories_are_one(models: Path) -> None:
    version: Tree = {"1": {"model.py": ""}}
    grow(models, {"a": version, "all": {"config.pbtxt": ENSEMBLE, "1": {}}})
    other = grow(Path("other"), {"a": version, "b": version})
    read = modelrepo.read([models, str(other), models])
    assert read.folders == ("models", "other")
    assert [model.path for model in read.models] == ["models/a", "other/a", "models/all", "other/b"]
    message = "several repositories have a model of this name: models/a, other/a"
    twice = Problem(message=message, hint="Triton loads none of them: remove all but one")
    assert [model.problems for model in read.models] == [(twice,), (twice,), (), ()]


def test_links_are_followed(models: Path) -> None:
    store = grow(Path("store"), {"m": {"config.pbtxt": Path("../base"), "1": Path("../v1")}, "v1": {"model.py": ""}})
    (store / "base").write_text('backend: "python"')
    grow(models, {"m": Path("../store/m"), "self": {"config.pbtxt": 'backend: "python"', "1": Path()}})
    assert [(model.name, model.problems) for model in modelrepo.read(models).models] == [("m", ()), ("self", ())]


# What is wrong with a model


@pytest.mark.parametrize(
    ("tree", "problem"),
    [
        (
            {"1": {"weights": ""}},
            Problem(
                message="no config.pbtxt, and folder 1 holds no file that names a backend",
                hint=BACKEND_HINT,
                blocks=True,
            ),
        ),
        (
            {"config.pbtxt": "", "1": {}},
            Problem(
                message="config.pbtxt names no backend, and folder 1 holds no file that names a backend",
                hint="name the backend in config.pbtxt",
                blocks=True,
            ),
        ),
        (
            {"1": {"model.dali": ""}},
            Problem(
                message="no config.pbtxt, and folder 1 holds no file that names a backend",
                hint='model.dali is a file of dali models: if it is one, add backend: "dali" to a config.pbtxt',
                blocks=True,
            ),
        ),
        (
            {"config.pbtxt": 'platform: "caffe2_netdef"', "1": {"model.onnx": ""}},
            Problem(
                message='config.pbtxt says platform: "caffe2_netdef", which belongs to no backend',
                hint="name the backend in config.pbtxt",
                blocks=True,
            ),
        ),
        (
            {"config.pbtxt": 'default_model_filename: "net.onnx"', "1": {"model.onnx": ""}},
            Problem(
                message='config.pbtxt says default_model_filename: "net.onnx", and no backend',
                hint="name the backend in config.pbtxt",
                blocks=True,
            ),
        ),
        (
            {"config.pbtxt": 'name: "n" backend: "python"', "1": {}},
            Problem(
                message='config.pbtxt names the model "n", its folder is "m"',
                hint="Triton requires equal names: remove the name from it",
            ),
        ),
        (
            {"config.pbtxt": 'backend: "python" platform: "ensemble"', "1": {}},
            Problem(
                message='config.pbtxt says backend: "python" beside platform: "ensemble"',
                hint="an ensemble has no backend: remove it",
            ),
        ),
        (
            {"config.pbtxt": 'backend: "onnxruntime" platform: "tensorrt_plan"', "1": {}},
            Problem(
                message='config.pbtxt says platform: "tensorrt_plan" beside backend: "onnxruntime"',
                hint="remove the platform: the backend is sufficient",
            ),
        ),
        (
            {"config.pbtxt": "ensemble_scheduling { }", "1": {}},
            Problem(
                message='config.pbtxt has ensemble_scheduling without platform: "ensemble"',
                hint='add platform: "ensemble"',
            ),
        ),
        (
            {"config.pbtxt": 'platform: "ensemble"', "1": {}},
            Problem(message="config.pbtxt has no step in ensemble_scheduling", hint="add a step"),
        ),
        (
            {"config.pbtxt": 'platform: "ensemble" ensemble_scheduling { step { model_name: "x" } }', "1": {}},
            Problem(
                message='the ensemble has the step "x", which no repository has',
                hint="add the repository that has it",
                blocks=True,
            ),
        ),
        (
            {"config.pbtxt": 'backend: "python"', "01": {}},
            Problem(
                message="it has no version",
                hint="add a folder named after the version, for example 1; an ensemble's is empty",
            ),
        ),
        (
            {"config.pbtxt": 'backend: "python"', "1": {}, "labels": Path("nowhere")},
            Problem(message="Triton does not load a model with a broken link: labels", hint="remove it"),
        ),
        (
            {"config.pbtxt": 'backend: "python"\nnew { a: [ 1, { b: "c" } ] }', "1": {}},
            Problem(
                message='models/m/config.pbtxt:2:1: message type "inference.ModelConfig" has no field named "new"',
                hint="Triton loads the model only if its release has the field: check its spelling",
            ),
        ),
    ],
    ids=[
        *("nothing", "empty-config", "other-file", "platform", "file-name", "name", "ensemble-with-backend", "pair"),
        *("no-platform", "no-step", "missing-step", "no-version", "broken-link", "unknown-field"),
    ],
)
def test_a_problem_is_said(models: Path, tree: Tree, problem: Problem) -> None:
    assert one(models, tree).problems == (problem,)


def test_a_model_without_anything_is_said(models: Path) -> None:
    first, *_ = one(models, {}).problems
    assert first == Problem(message="no config.pbtxt, and no version folder", hint=BACKEND_HINT, blocks=True)


@pytest.mark.parametrize("name", [".git", ".ipynb_checkpoints", "lost+found"])
def test_a_folder_that_is_no_model_does_not_stop_the_rest(models: Path, name: str) -> None:
    grow(models, {"m": {"1": {"model.py": ""}}})
    (models / name / "x").mkdir(parents=True)
    read = modelrepo.read(models)
    message = "Triton reads this folder as a model, which will not load"
    (problem,) = next(model.problems for model in read.models if model.name == name)
    assert problem == Problem(message=message, hint="move other folders out of the repository")
    assert modelrepo.components(read, BUILTIN, "24.12").backends == ("python",)


def test_a_broken_link_among_the_models_is_said(models: Path) -> None:
    (model,) = modelrepo.read(grow(models, {"m": Path("nowhere")})).models
    message = "it is a broken link, and Triton loads nothing of a repository that has one"
    assert model == Model(name="m", path="models/m", problems=(Problem(message=message, hint="remove it"),))


# What is refused


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"backend: ", ":1:10 is not a model configuration: expected string but found: ''"),
        (b'name: "m"\nbackend: onnx', ":2:10 is not a model configuration: expected string but found: 'onnx'"),
        (b"input {\n  dims: [ 1, x ]\n}", ":2:14 is not a model configuration: couldn't parse integer: x"),
        (
            b"# a comment\ninput { data_type: TYPE_X }",
            ':2:20 is not a model configuration: enum type "inference.DataType" has no value named TYPE_X',
        ),
        (
            b'backend: "a"\nbackend: "b"',
            (
                ':2:10 is not a model configuration: message type "inference.ModelConfig" should not have multiple '
                '"backend" fields'
            ),
        ),
        (b'name: "m"\nn\xe9', ":2:2 is not a model configuration: it is not UTF-8"),
        (b"\x7fELF\x00", ":1:1 is not a model configuration: expected identifier or number, got \\x7f"),
        (b"a { " * 5000, " is nested too deeply for a model configuration"),
        (b"new: 1\nbackend: 2", ":2:10 is not a model configuration: expected string but found: '2'"),
        (
            b"}" + b"x" * 500,
            ":1:1 is not a model configuration: expected identifier or number, got }",
        ),
    ],
    ids=["value", "quotes", "list", "enum", "twice", "latin-1", "binary", "deep", "after-unknown", "brace"],
)
def test_a_broken_configuration_is_named_with_its_line(models: Path, content: bytes, message: str) -> None:
    grow(models, {"m": {"config.pbtxt": content, "1": {}}})
    with pytest.raises(InvalidInputError) as caught:
        modelrepo.read(models)
    assert caught.value.message == f"models/m/config.pbtxt{message}"
    assert caught.value.hint == "fix the file: the server's documentation has the fields in model_configuration.md"


def test_a_long_message_is_cut(models: Path) -> None:
    grow(models, {"m": {"config.pbtxt": 'name: "' + "x" * 10_000}})
    with pytest.raises(InvalidInputError) as caught:
        modelrepo.read(models)
    assert len(caught.value.message) < 300
    assert caught.value.message.endswith("xxx...")


@pytest.mark.parametrize(
    ("folder", "message", "hint"),
    [
        (
            "s3://bucket/models",
            "model repository 's3://bucket/models' is not a local folder",
            "mount or download it, and give the folder",
        ),
        (
            Path("gs://bucket"),
            "model repository 'gs:/bucket' is not a local folder",
            "mount or download it, and give the folder",
        ),
        ("nowhere", "cannot read nowhere: no such file or directory", ""),
        ("file", "cannot read file: not a directory", ""),
        ("", "the name of the model repository is empty", "give a folder"),
        ("a\0b", "cannot read a\\x00b: embedded null byte", ""),
        ("models/m", "'models/m' is a model, not a model repository", "give the folder above it"),
    ],
    ids=["url", "url-as-path", "missing", "file", "empty", "null", "model"],
)
def test_what_is_no_repository_is_refused(models: Path, folder: str | Path, message: str, hint: str) -> None:
    grow(models, {"m": {"config.pbtxt": "", "1": {}}})
    Path("file").touch()
    with pytest.raises(InvalidInputError) as caught:
        modelrepo.read(folder)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_a_folder_that_looks_like_a_url_is_read(models: Path) -> None:
    grow(Path("s3:/bucket"), {"m": {"1": {"model.py": ""}}})
    assert [model.name for model in modelrepo.read("s3://bucket").models] == ["m"]


def test_an_unknown_model_is_refused(models: Path) -> None:
    grow(models, {"resnet": {}, "bert": {}})
    with pytest.raises(UnknownNameError, match=r"^unknown model 'resnett' in models$") as caught:
        modelrepo.read(models, only=["resnett"])
    assert caught.value.hint == "did you mean 'resnet'?"


def test_a_configuration_that_is_no_file_is_refused(models: Path) -> None:
    grow(models, {"m": {"config.pbtxt": {}}})
    with pytest.raises(InvalidInputError, match=r"^cannot read models/m/config.pbtxt: is a directory$"):
        modelrepo.read(models)


def test_a_pipe_is_not_waited_for(models: Path) -> None:
    grow(models, {"m": {}})
    os.mkfifo(models / "m" / "config.pbtxt")
    with pytest.raises(InvalidInputError, match=r"^models/m/config.pbtxt is not a file$"):
        modelrepo.read(models)


def test_sizes_are_bounded(models: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    grow(models, {"m": {"config.pbtxt": "#" * (reading.LARGEST_CONFIG + 1)}})
    with pytest.raises(InvalidInputError, match=r"^models/m/config.pbtxt is larger than 4 MiB$"):
        modelrepo.read(models)
    monkeypatch.setattr(reading, "MOST_ENTRIES", 2)
    grow(models, {"a": {}, "b": {}})
    with pytest.raises(InvalidInputError, match=r"^models has more than 2 entries$"):
        modelrepo.read(models)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_folder_that_may_not_be_read_is_refused(models: Path) -> None:
    grow(models, {"m": {}})
    (models / "m").chmod(0)
    with pytest.raises(InvalidInputError, match=r"^cannot read models/m: permission denied$"):
        modelrepo.read(models)


# What a release has of it


def repository(*needs: tuple[str, str], config: str = "m/config.pbtxt") -> Repository:
    wanted = tuple(Need(kind=kind, name=name, reason="it says so") for kind, name in needs)
    return Repository(folders=(".",), models=(Model(name="m", path="./m", config=config, needs=wanted),))


@pytest.mark.parametrize(
    ("needs", "version", "selection"),
    [
        ([("backend", "python"), ("backend", "onnxruntime")], "24.12", Selection(backends=("onnxruntime", "python"))),
        ([("backend", "tensorflow")], "24.12", Selection(backends=("tensorflow",))),
        ([("backend", "tensorflow")], "23.03", Selection(backends=("tensorflow2",))),
        (
            [("backend", "tensorflow")],
            "22.05",
            Selection(
                backends=("tensorflow1",),
                notes=(
                    "release 22.05 uses TensorFlow 1 unless it is started with --backend-config=tensorflow,version=2",
                ),
            ),
        ),
        ([("backend", "tensorflow1")], "22.12", Selection(backends=("tensorflow1",))),
        ([("backend", "openvino_2021_4")], "22.05", Selection(backends=("openvino",))),
        (
            [("backend", "openvino")],
            "22.05",
            Selection(
                backends=("openvino",),
                notes=("release 22.05 has openvino in backends/openvino_2021_4: the server looks for it by that name",),
            ),
        ),
        ([("backend", "ensemble"), ("backend", "python")], "24.12", Selection(backends=("python",))),
        (
            [("backend", "python"), ("repoagent", "checksum"), ("cache", "local")],
            "24.12",
            Selection(backends=("python",), repoagents=("checksum",), caches=("local",)),
        ),
        (
            [("backend", "python"), ("cache", "local")],
            "23.01",
            Selection(
                backends=("python",),
                notes=("release 23.01 caches responses in the server: it has no cache component",),
            ),
        ),
    ],
    ids=["two", "tf", "tf2", "tf1", "tf1-said", "ov-folder", "ov", "ensemble", "kinds", "old-cache"],
)
def test_components_of_a_release(needs: list[tuple[str, str]], version: str, selection: Selection) -> None:
    assert modelrepo.components(repository(*needs), BUILTIN, version) == selection


def test_a_selection_is_keywords_of_a_composition() -> None:
    selection = modelrepo.components(repository(("backend", "python"), ("cache", "redis")), BUILTIN, "24.12")
    keywords = {name: value for name, value in attrs.asdict(selection).items() if name != "notes"}
    composition = Composition(container_version="24.12", **keywords)
    assert {component.name for component in composition.components} == {"python", "redis"}


def test_old_releases_want_to_be_told_to_complete() -> None:
    read = repository(("backend", "onnxruntime"), config="")
    note = "release 22.06 loads models without config.pbtxt only with --strict-model-config=false: m"
    assert modelrepo.components(read, BUILTIN, "22.06").notes == (note,)
    assert modelrepo.components(read, BUILTIN, "22.07").notes == ()


def test_what_comes_from_elsewhere_is_left_out() -> None:
    read = repository(("backend", "acme"), ("backend", "python"))
    assert modelrepo.components(read, BUILTIN, "24.12", folders={("backend", "acme")}).backends == ("python",)


@pytest.mark.parametrize(
    ("need", "options", "message", "hint"),
    [
        (
            ("backend", "onnxruntim"),
            {},
            "model 'm' (./m): unknown Triton backend 'onnxruntim': it says so",
            "did you mean 'onnxruntime'?",
        ),
        (
            ("backend", "../x"),
            {},
            "model 'm' (./m): '../x' is not a component name: it says so",
            "names are lower-case letters, digits, '-' and '_'",
        ),
        (
            ("backend", "onnx"),
            {},
            "model 'm' (./m): Triton does not know onnxruntime as 'onnx': it says so",
            "write onnxruntime in the configuration",
        ),
        (
            ("backend", "tensorflow"),
            {},
            "model 'm' (./m): release 25.12 has no Triton backend 'tensorflow': it says so",
            "tensorflow is in 23.04 to 25.02, tensorflow2 is in 22.01 to 23.03",
        ),
        (
            ("backend", "tensorrt"),
            {"gpu": False},
            "model 'm' (./m): Triton backend 'tensorrt' does not run without a GPU: it says so",
            "leave it out, or compose for GPUs",
        ),
    ],
    ids=["typo", "path", "alias", "release", "cpu"],
)
def test_what_a_release_does_not_have_is_refused(
    need: tuple[str, str], options: dict[str, Any], message: str, hint: str
) -> None:
    with pytest.raises(InvalidInputError) as caught:
        modelrepo.components(repository(need), BUILTIN, "25.12", **options)
    assert (caught.value.message, caught.value.hint) == (message, hint)


def test_nothing_is_composed_for_a_model_of_unknown_needs(models: Path) -> None:
    read = modelrepo.read(grow(models, {"m": {"1": {}}}))
    with pytest.raises(InvalidInputError) as caught:
        modelrepo.components(read, BUILTIN, "24.12")
    what = "no config.pbtxt, and folder 1 holds no file that names a backend"
    assert caught.value.message == f"model 'm' (models/m): {what}"
    assert caught.value.hint == BACKEND_HINT


def test_nothing_is_composed_for_no_model(models: Path) -> None:
    with pytest.raises(InvalidInputError, match=r"^no model in models$"):
        modelrepo.components(modelrepo.read(models), BUILTIN, "24.12")


# The schema


def signature(message: Any) -> Any:
    """Return all that makes a message of a schema, in an order of its own."""
    return {
        "name": message.name,
        "map": message.options.map_entry,
        "fields": {
            field.name: (
                field.number,
                field.label,
                field.type,
                field.type_name,
                message.oneof_decl[field.oneof_index].name if field.HasField("oneof_index") else None,
            )
            for field in message.field
        },
        "messages": {nested.name: signature(nested) for nested in message.nested_type},
        "enums": {enum.name: values(enum) for enum in message.enum_type},
    }


def values(enum: Any) -> list[tuple[str, int]]:
    return [(value.name, value.number) for value in enum.value]


def tritonclients() -> Any:
    """Return the schema in tritonclient: read, not imported, since it wants gRPC and a protobuf of its own."""
    try:
        files = metadata.files("tritonclient") or []
    except metadata.PackageNotFoundError:
        pytest.skip("tritonclient is not installed")
    (path,) = (file.locate() for file in files if str(file).endswith("tritonclient/grpc/model_config_pb2.py"))
    tree = ast.parse(Path(path).read_text(encoding="utf-8"))
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)]
    (call,) = (node for node in calls if isinstance(node.func, ast.Attribute) and node.func.attr == "AddSerializedFile")
    return descriptor_pb2.FileDescriptorProto.FromString(ast.literal_eval(call.args[0]))


def test_the_schema_is_tritons() -> None:
    theirs, ours = tritonclients(), config.file_descriptor()
    assert (ours.package, ours.syntax) == (theirs.package, theirs.syntax)
    assert {enum.name: values(enum) for enum in ours.enum_type} == {
        enum.name: values(enum) for enum in theirs.enum_type
    }
    found = {message.name: signature(message) for message in ours.message_type}
    assert found == {message.name: signature(message) for message in theirs.message_type}
    assert len(found["ModelConfig"]["fields"]) == 25


def test_every_field_can_be_written() -> None:
    """A configuration that has every field, in the parser's own words, is read without a word about it."""
    message = config._message_class()()
    filled(message)
    assert len(message.ListFields()) == 23, "25, of which three are one choice"
    read = config.parse(text_format.MessageToString(message).encode(), "x")
    assert (read.unknown, read.backend, read.cached) == ("", "x", True)


def filled(message: Any) -> None:
    """Give every field of *message* a value, and those of the messages in it; of a choice, the last."""
    for field in message.DESCRIPTOR.fields:
        entry = field.message_type is not None and field.message_type.GetOptions().map_entry
        if entry and field.message_type.fields_by_name["value"].message_type is None:
            getattr(message, field.name)["x"] = "x"
        elif entry:
            key = field.message_type.fields_by_name["key"]
            filled(getattr(message, field.name)["x" if key.type == key.TYPE_STRING else 1])
        elif field.message_type is not None:
            inner = getattr(message, field.name)
            inner = inner.add() if hasattr(inner, "add") else inner
            inner.SetInParent()
            filled(inner)
        else:
            value = {field.TYPE_STRING: "x", field.TYPE_BOOL: True, field.TYPE_ENUM: 0}.get(field.type, 1)
            if hasattr(getattr(message, field.name), "append"):
                getattr(message, field.name).append(value)
            else:
                setattr(message, field.name, value)


# What nobody thought of

KNOWN_NAMES = st.sampled_from(
    [
        *("config.pbtxt", "configs", "0", "1", "2", "model.onnx", "model.py", "model.plan", "model.savedmodel"),
        *("model.graphdef", "model.pt", "model.xml", "libtriton_python.so", ".git", "lost+found", "a", "a.python"),
    ]
)
ANY_NAME = st.one_of(
    st.text(st.characters(exclude_categories=["Cs"], exclude_characters="/\0"), min_size=1, max_size=40),
    st.binary(min_size=1, max_size=20).map(os.fsdecode),
).filter(lambda name: name not in (".", "..") and "/" not in name and "\0" not in name)
NAMES = st.one_of(KNOWN_NAMES, ANY_NAME)
WORDS = st.sampled_from(
    [
        *("name", "backend", "platform", "runtime", "input", "parameters", "ensemble_scheduling", "step", "model_name"),
        *("response_cache", "enable", "model_repository_agents", "agents", "new_field", "version_policy", "latest"),
        *("{", "}", "[", "]", ":", ",", "<", ">", "true", "TYPE_FP32", "-1", "1e999", "nan", "'", '"', "#", "\\"),
        *('"python"', '"onnxruntime"', '"tensorrt_plan"', '"ensemble"', '"a"', "'\\377'", '"\\ud800"', "\n", "[a.b/c]"),
    ]
)
STRINGS = NAMES.map(lambda name: json.dumps(name.encode("utf-8", "replace").decode(), ensure_ascii=False))
BACKENDS = st.sampled_from(['"python"', '"onnxruntime"', '"tensorrt"', '"tensorflow"', '"vllm"', '"fil"'])
VALID = st.builds(
    "\n".join,
    st.lists(
        st.one_of(
            st.builds("backend: {}".format, st.one_of(STRINGS, BACKENDS)),
            st.builds("platform: {}".format, STRINGS),
            st.builds("platform: {}".format, st.sampled_from(['"ensemble"', '"tensorrt_plan"'])),
            st.builds("default_model_filename: {}".format, STRINGS),
            st.builds("ensemble_scheduling {{ step {{ model_name: {} }} }}".format, STRINGS),
            st.builds("model_repository_agents {{ agents {{ name: {} }} }}".format, STRINGS),
            st.just("response_cache { enable: true }"),
            st.just('input [ { name: "i" data_type: TYPE_FP32 dims: [ -1, 3 ] } ]'),
        ),
        max_size=4,
        unique_by=lambda line: line.partition(" ")[0],
    ),
)
CONTENTS = st.one_of(
    st.lists(WORDS, max_size=30).map(" ".join),
    VALID,
    st.text(st.characters(exclude_categories=["Cs"]), max_size=60),
    st.binary(max_size=60),
    st.integers(1, 3000).map(lambda depth: "a { " * depth),
)
LINKS = st.sampled_from([".", "..", "nowhere", "config.pbtxt", "../..", "1", "/"]).map(Path)
VERSIONS: st.SearchStrategy[Tree] = st.dictionaries(NAMES, st.one_of(st.just(b""), st.just({}), LINKS), max_size=4)
MODELS = st.builds(
    lambda entries, configuration: {**entries, **configuration},
    st.dictionaries(NAMES, st.one_of(VERSIONS, CONTENTS, LINKS), max_size=4),
    st.one_of(st.just({}), st.fixed_dictionaries({"config.pbtxt": st.one_of(VALID, CONTENTS)})),
)
LIKELY: st.SearchStrategy[Tree] = st.one_of(
    st.builds(lambda text: {"config.pbtxt": text, "1": {}}, VALID),
    st.builds(lambda backend: {"config.pbtxt": f"backend: {backend} response_cache {{ enable: true }}"}, BACKENDS),
    st.builds(lambda name: {"1": {name: b""}}, KNOWN_NAMES),
)
TREES = st.recursive(
    st.one_of(MODELS, CONTENTS, LINKS), lambda inner: st.dictionaries(NAMES, inner, max_size=3), max_leaves=8
)
REPOSITORIES = st.one_of(
    st.dictionaries(NAMES, LIKELY, max_size=3), st.dictionaries(NAMES, st.one_of(LIKELY, MODELS, TREES), max_size=4)
)


@settings(max_examples=300)
@given(tree=REPOSITORIES, chosen=NAMES, version=st.sampled_from(BUILTIN.releases()), gpu=st.booleans())
def test_invented_repositories_give_no_traceback(tree: Tree, chosen: str, version: str, gpu: bool) -> None:
    with tempfile.TemporaryDirectory() as folder:
        grow(Path(folder), tree)
        try:
            read = modelrepo.read(folder, config_name=chosen)
            assert len(read.models) <= len(tree)
            plain = json.loads(json.dumps(attrs.asdict(read)))
            assert [model["name"] for model in plain["models"]] == sorted(model.name for model in read.models)
            texts = [need.reason for model in read.models for need in model.needs]
            texts += [problem.message for model in read.models for problem in model.problems]
            selection = modelrepo.components(read, BUILTIN, version, gpu=gpu)
            assert all(name == name.strip() for name in selection.backends)
        except TritonBuildError as error:
            texts = [error.message, error.hint]
        assert not any("\n" in text for text in texts)


@settings(max_examples=500)
@given(content=CONTENTS)
def test_invented_configurations_give_no_traceback(content: str | bytes) -> None:
    message = "m/config.pbtxt"
    try:
        config.parse(content.encode() if isinstance(content, str) else content, "m/config.pbtxt")
    except InvalidInputError as error:
        message = error.message
    assert message.startswith("m/config.pbtxt")
    assert len(message) < 300
