"""The bases that need no reference: the plain Ubuntu of a release, and scratch."""

from __future__ import annotations

import re
import shlex
from pathlib import Path
from typing import Any

import pytest

from tritonbuild.composition import Composition, select
from tritonbuild.errors import InvalidInputError
from tritonbuild.recipe import containerfile


def compose(**keywords: Any) -> Composition:
    return Composition(**{"backends": ("python",), "container_version": "24.10", **keywords})


@pytest.mark.parametrize(("release", "ubuntu"), [("22.01", "20.04"), ("24.10", "22.04"), ("26.08", "24.04")])
@pytest.mark.parametrize("gpu", [True, False])
def test_slim_is_the_ubuntu_of_the_release(release: str, ubuntu: str, gpu: bool) -> None:
    selection = select(compose(container_version=release, base="slim", enable_gpu=gpu))
    assert str(selection.sources["min"]) == f"docker.io/library/ubuntu:{ubuntu}"
    assert selection.labels()["org.opencontainers.image.base.name"] == f"docker.io/library/ubuntu:{ubuntu}"
    text = containerfile(selection.composition)
    assert (
        re.findall(r"^FROM (\S+) AS (?:base-content|composed)$", text, re.MULTILINE)
        == [f"docker.io/library/ubuntu:{ubuntu}"] * 2
    )


def test_min_is_the_default() -> None:
    assert compose(base="min") == compose(base="") == compose()
    assert str(select(compose(base="min")).sources["min"]) == "nvcr.io/nvidia/tritonserver:24.10-py3-min"


def test_another_full_image_goes_with_slim() -> None:
    found = select(compose(images={"full": "me/full:1"}, base="slim")).sources
    assert {name: str(image) for name, image in found.items()} == {
        "full": "docker.io/me/full:1",
        "min": "docker.io/library/ubuntu:22.04",
    }


def test_a_base_that_may_not_be_nvidias_gets_the_variables_of_gpus_and_keeps_its_own() -> None:
    variables = {
        "NVIDIA_VISIBLE_DEVICES": "${NVIDIA_VISIBLE_DEVICES:-all}",
        "NVIDIA_DRIVER_CAPABILITIES": "${NVIDIA_DRIVER_CAPABILITIES:-compute,utility,video}",
    }
    for base in ("slim", "debian:12"):
        env = select(compose(base=base)).variables()
        assert {name: env[name] for name in variables} == variables
        assert not variables.keys() & select(compose(base=base, enable_gpu=False)).variables().keys()
    assert not variables.keys() & select(compose()).variables().keys()


# --- scratch ---

LIBRARY_PATH = "/opt/hpcx/ucc/lib/:/opt/hpcx/ucx/lib/"


def test_scratch_has_no_source_image_but_full() -> None:
    composition = compose(base="scratch", images={"full": "me/full:1"})
    selection = select(composition)
    assert {name: str(image) for name, image in selection.sources.items()} == {"full": "docker.io/me/full:1"}
    assert "org.opencontainers.image.base.name" not in selection.labels()
    text = containerfile(composition)
    assert text.splitlines()[1] == "# Composed from docker.io/me/full:1 on scratch."
    stages = re.findall(r"^FROM (\S+)(?: AS (\S+))?$", text, re.MULTILINE)
    assert stages == [
        ("docker.io/me/full:1", "full"),
        ("full", "base-content"),
        ("full", "runtime"),
        ("scratch", "composed"),
        ("full", "check"),
        ("composed", ""),
    ]
    of_the_image = re.split(r"^FROM ", text, flags=re.MULTILINE)
    assert not [stage for stage in of_the_image if stage.startswith(("scratch", "composed")) and "\nRUN" in stage]


def test_the_variables_on_scratch_refer_to_nothing() -> None:
    env = select(compose(base="scratch", backends=("pytorch", "dali"))).variables()
    assert env["PATH"] == "/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert env["LD_LIBRARY_PATH"] == LIBRARY_PATH
    assert env["NVIDIA_VISIBLE_DEVICES"] == "all"
    assert not [value for value in env.values() if "$" in value]


def test_the_check_on_scratch_gets_the_library_path() -> None:
    text = containerfile(compose(base="scratch", backends=("pytorch",), exempt_libraries=("libfoo*",)))
    (arguments,) = re.findall(r"^    && /bin/sh /tmp/check\.sh (.+)$", text, re.MULTILINE)
    search, *others = shlex.split(arguments)
    assert search == "search=/opt/tritonserver/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
    assert others == ["root=/tritonbuild/root", f"path={LIBRARY_PATH}", "exempt=libfoo*"]


def test_the_server_is_the_entry_point_on_scratch() -> None:
    text = containerfile(compose(base="scratch"))
    assert 'ENTRYPOINT ["/opt/tritonserver/bin/tritonserver"]\n' in text
    assert "/opt/nvidia" not in text


PROGRAMS = {"/bin/bash", "/bin/sh", "/usr/bin/env", "/usr/bin/serve"}
SHELLS: dict[str, tuple[dict[str, Any], set[str]]] = {
    "compiled backends": ({"backends": ("onnxruntime",)}, set()),
    "no backend": ({"backends": ()}, set()),
    "the python backend": ({}, PROGRAMS),
    "a backend that needs python": ({"backends": ("vllm",)}, PROGRAMS),
    "another program": ({"backends": (), "entrypoint": ("/usr/bin/tini", "--")}, {*PROGRAMS, "/usr/bin/tini"}),
    "the server with options": ({"backends": (), "entrypoint": ("tritonserver", "--model-repository=/m")}, set()),
}


@pytest.mark.parametrize("name", SHELLS)
def test_a_shell_comes_along_where_one_is_needed(name: str) -> None:
    keywords, programs = SHELLS[name]
    read = select(compose(base="scratch", **keywords)).read_files()
    assert {path for path in read if "/bin/" in path} == programs
    assert {"/lib64/ld-linux-x86-64.so.2", "/etc/nsswitch.conf"} <= set(read)


REFUSED: dict[str, tuple[dict[str, Any], str]] = {
    "install": ({"runtime": "install"}, "--runtime install"),
    "packages of the distribution": ({"apt": ("libgl1",)}, "--apt"),
    "clients": ({"features": ("clients",)}, "the feature 'clients'"),
    "the release's script": (
        {"entrypoint": ("/opt/nvidia/nvidia_entrypoint.sh",)},
        "the entry point '/opt/nvidia/nvidia_entrypoint.sh'",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_scratch_cannot_have_is_refused(name: str) -> None:
    keywords, what = REFUSED[name]
    with pytest.raises(InvalidInputError) as caught:
        compose(base="scratch", **keywords)
    assert str(caught.value) == f"--base scratch does not support {what}: the image has no programs to run it with"
    assert caught.value.hint == "use --base slim"


@pytest.mark.parametrize(
    ("text", "refused"),
    [("ENV A=RUN\nLABEL a=b", False), ("ENV A=b\nrun true", True), ("LABEL a=\\\nRUN\n\tRun \\\n true", True)],
)
def test_run_in_a_fragment_is_refused(tmp_path: Path, text: str, refused: bool) -> None:
    fragment = tmp_path / "fragment"
    fragment.write_text(text)
    if refused:
        with pytest.raises(InvalidInputError, match="--base scratch does not support RUN in a fragment"):
            compose(base="scratch", fragment=fragment)
    else:
        assert containerfile(compose(base="scratch", fragment=fragment)).endswith(f"{text}\n")


def test_packages_and_models_go_onto_scratch(tmp_path: Path) -> None:
    text = containerfile(compose(base="scratch", pip=("numpy<2",), models=(tmp_path,)))
    assert re.findall(r"^FROM (\S+) AS runtime$", text, re.MULTILINE) == ["packages"]
    assert "COPY --chown=0:0 models/ /models/\n" in text
