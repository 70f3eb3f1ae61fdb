"""Containerfiles: golden, deterministic, and the same for equal wishes."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import tritonbuild
from tritonbuild.composition import Composition
from tritonbuild.recipe import containerfile

GOLDEN = Path(__file__).parent / "golden" / "containerfiles"
SCRIPTS = re.compile(r"RUN printf '%s\\n' \\\n(?:    .*\\\n)+?    > /tmp/(\S+) \\")

CASES: list[tuple[str, dict[str, Any]]] = [
    ("24.10-gpu-python", {"backends": ("python",), "caches": ("local",)}),
    ("24.10-cpu-onnxruntime", {"backends": ("onnxruntime",), "enable_gpu": False}),
    ("24.10-gpu-pytorch-headers", {"backends": ("pytorch",), "repoagents": ("checksum",), "features": ("headers",)}),
    ("22.01-gpu-identity", {"backends": ("identity",), "container_version": "22.01"}),
    ("24.10-gpu-python-on-scratch", {"backends": ("python",), "base": "scratch", "user": "triton-server"}),
    ("26.08-gpu-python", {"backends": ("python",), "container_version": "26.08"}),
    (
        "24.10-own-images",
        {"backends": ("python",), "images": {"full": "me/full:1", "min": f"me/min:1@sha256:{'0a' * 32}"}},
    ),
]


def without_scripts(text: str) -> str:
    """Return a Containerfile with the scripts, which have files of their own, left out."""
    return SCRIPTS.sub(r"RUN printf '%s\\n' \\\n    (\1) \\\n    > /tmp/\1 \\", text)


@pytest.mark.parametrize(("name", "keywords"), CASES, ids=[name for name, _ in CASES])
def test_golden(name: str, keywords: dict[str, Any], golden: Callable[[Path, str], None]) -> None:
    text = containerfile(Composition(**{"container_version": "24.10", **keywords}))
    golden(GOLDEN / name, without_scripts(text))


def test_the_virtual_environment_of_a_release_is_on_the_path() -> None:
    def path(version: str) -> list[str]:
        text = containerfile(Composition(backends=("tensorrtllm",), container_version=version))
        return [line.strip(" \\") for line in text.splitlines() if line.startswith("    PATH=")]

    assert path("26.05") == ['PATH="/opt/tritonserver/bin:${PATH}"']
    assert path("26.06") == path("26.07") == ['PATH="/opt/tritonserver/bin:/opt/venv-tritonserver/bin:${PATH}"']


HEREDOC = re.compile(
    r"^RUN cat > /tmp/(\S+) <<'(EOF-\w+)' && /bin/sh /tmp/\1((?: \\\n    .*(?<!\\))*)\n((?:.*\n)*?)\2$", re.MULTILINE
)
PRINTED = re.compile(
    r"^RUN printf '%s\\n' \\\n((?:    '.*' \\\n)+)    > /tmp/(\S+) \\\n    && /bin/sh /tmp/\2(.*)$", re.MULTILINE
)


@pytest.mark.parametrize("runtime", ["copy", "install"])
def test_both_forms_run_the_same_scripts_and_are_else_equal(runtime: str) -> None:
    composition = Composition(
        backends=("python", "tensorrt"), runtime=runtime, exempt_libraries=("libfoo*", "libbar.so.1")
    )
    readable, universal = containerfile(composition, heredocs=True), containerfile(composition)
    heredocs = [
        (name, shlex.split(words.replace("\\\n", "")), text) for name, _, words, text in HEREDOC.findall(readable)
    ]
    printed = [
        (name, shlex.split(words), "".join(f"{word}\n" for word in shlex.split(lines.replace("\\\n", ""))))
        for lines, name, words in PRINTED.findall(universal)
    ]
    assert len(heredocs) == readable.count("\nRUN ") == universal.count("\nRUN ") >= 3
    assert heredocs == printed
    note = "# Needs a builder with heredocs; `tritonbuild render --no-buildkit` writes this file for any builder.\n"
    assert HEREDOC.sub("RUN", readable).replace(note, "") == PRINTED.sub("RUN", universal)


@pytest.mark.parametrize("runtime", ["copy", "install"])
@pytest.mark.parametrize("heredocs", [True, False])
def test_each_stage_begins_with_its_purpose(runtime: str, heredocs: bool) -> None:
    composition = Composition(backends=("python",), pip=("numpy",), runtime=runtime, enable_gpu=False)
    lines = containerfile(composition, heredocs=heredocs).splitlines()
    stages = [number for number, line in enumerate(lines) if line.startswith("FROM ")]
    assert len(stages) >= 5
    for number in stages:
        assert lines[number - 2] == ""
        assert re.fullmatch(r"# [A-Z].*\.", lines[number - 1])


def test_the_scripts_stand_in_it_line_by_line() -> None:
    copied = containerfile(Composition(backends=("python", "onnxruntime[cpu]"), files={__file__: "/opt/"}))
    installed = containerfile(Composition(backends=("python",), runtime="install"))
    scratch = containerfile(Composition(backends=("python",), base="scratch"))
    text = copied + installed + scratch
    for script in (Path(tritonbuild.__file__).parent / "scripts").glob("*.sh"):
        for line in script.read_text().splitlines():
            quoted = line.replace("'", "'\\''")
            assert f"    '{quoted}' \\\n" in text
        assert "\t" not in script.read_text()
        assert not any(line.endswith("\\") for line in script.read_text().splitlines())


SHELL = sorted((Path(tritonbuild.__file__).parent / "scripts").glob("*.sh"))


@pytest.mark.parametrize("script", SHELL, ids=lambda script: script.name)
def test_the_scripts_are_good_posix_shell(script: Path) -> None:
    subprocess.run(["/bin/sh", "-n", script], check=True)


def test_equal_wishes_give_equal_text_in_every_process() -> None:
    program = "import tritonbuild; print(tritonbuild.get_containerfile(backends=['python', 'dali']), end='')"
    texts = {
        subprocess.run(
            [sys.executable, "-c", program],
            env={**os.environ, "PYTHONHASHSEED": seed, "LC_ALL": locale, "TZ": zone},
            capture_output=True,
            text=True,
            check=True,
        ).stdout
        for seed, locale, zone in (("1", "C", "UTC"), ("2", "C.UTF-8", "Asia/Tokyo"))
    }
    assert len(texts) == 1
    assert texts == {containerfile(Composition(backends=("python", "dali")), heredocs=True)}


def test_components_are_copied_each_by_itself_in_the_order_given() -> None:
    text = containerfile(Composition(backends=("python", "dali", "fil"), container_version="24.10"))
    copied = re.findall(r"^COPY --from=full --chown=0:0 /opt/tritonserver/backends/(\w+) /opt", text, re.MULTILINE)
    assert copied == ["python", "dali", "fil"]


def test_no_frontend_no_network_no_context() -> None:
    text = containerfile(Composition(backends=("python",)))
    assert "syntax=" not in text
    assert "<<" not in text
    assert not re.search(r"\b(apt|apt-get|pip|curl|wget)\b", text)
    sources = re.findall(r"^COPY (?!--from=)", text, re.MULTILINE)
    assert sources == []


def test_exempt_libraries_reach_the_check() -> None:
    text = containerfile(Composition(backends=("python",), exempt_libraries=("libfoo*", "libbar.so.1")))
    assert "&& /bin/sh /tmp/check.sh 'exempt=libfoo*' 'exempt=libbar.so.1'\n" in text


def test_excluded_libraries_reach_the_runtime() -> None:
    text = containerfile(Composition(backends=("python",), exclude_libraries=("libfoo*", "libbar.so.1")))
    assert " 'exclude=libfoo*' 'exclude=libbar.so.1'\n" in text
