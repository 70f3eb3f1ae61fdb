"""What source images say of themselves, and what is made of it."""

from __future__ import annotations

import hashlib
import http.server
import json
import signal
import socket
import threading
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest

import tritonbuild
from tritonbuild import keywords, source_check
from tritonbuild.backends import podman
from tritonbuild.cli import run
from tritonbuild.composition import Composition
from tritonbuild.errors import InvalidInputError
from tritonbuild.recipe import containerfile

GPU, CPU = {"TRITON_SERVER_GPU_ENABLED": "1"}, {"TRITON_SERVER_GPU_ENABLED": "0"}
CUDA = {"CUDA_VERSION": "12.6.2.004"}


@pytest.fixture(autouse=True)
def patience(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a busy machine answer."""
    monkeypatch.setattr(source_check, "TIMEOUT", 120.0)


def compose(**keywords: Any) -> Composition:
    images = {"full": "here.example/full:1", "min": "here.example/min:1"}
    return Composition(**{"backends": ["python"], "container_version": "24.10", "images": images, **keywords})


CHECKED: list[tuple[str, dict[str, Any], dict[str, Mapping[str, str]], tuple[str, ...]]] = [
    ("goes together", {}, {"full": GPU, "min": CUDA}, ()),
    ("nothing known", {}, {}, ()),
    ("cpu from gpu", {"enable_gpu": False}, {"full": GPU, "min": {}}, ()),
    ("cpu from cpu", {"enable_gpu": False}, {"full": CPU, "min": {}}, ()),
    (
        "cpu on cuda",
        {"enable_gpu": False},
        {"min": CUDA},
        ("the base image here.example/min:1 has CUDA 12.6.2.004, which an image for CPU does not need",),
    ),
    (
        "gpu without cuda",
        {},
        {"min": {}},
        ("the base image here.example/min:1 has no CUDA: the CUDA libraries that are needed come from the full image",),
    ),
    (
        "gpu without cuda, installed",
        {"runtime": "install"},
        {"min": {}},
        ("the base image here.example/min:1 has no CUDA: no package installs it",),
    ),
    (
        "gpu-min of cpu",
        {
            "backends": ["pytorch"],
            "runtime": "install",
            "enable_gpu": False,
            "images": {"full": "here.example/full:1", "min": "here.example/min:1", "gpu-min": "here.example/gpu:1"},
        },
        {"gpu-min": {}},
        ("the image here.example/gpu:1 has no CUDA libraries to copy",),
    ),
]


@pytest.mark.parametrize(
    ("keywords", "environments", "said"), [row[1:] for row in CHECKED], ids=[row[0] for row in CHECKED]
)
def test_what_does_not_go_together_is_said(
    keywords: dict[str, Any], environments: dict[str, Mapping[str, str]], said: tuple[str, ...]
) -> None:
    assert source_check.check(compose(**keywords), environments) == said


def test_a_cpu_image_is_no_source_for_gpu() -> None:
    with pytest.raises(InvalidInputError) as caught:
        source_check.check(compose(), {"full": CPU})
    assert str(caught.value) == "the full image here.example/full:1 is for CPU, and the composition for GPU"
    assert caught.value.hint == "add --enable-gpu=false, or name a full image for GPU"


def test_a_full_image_of_another_release_is_refused() -> None:
    environment = {"full": {"NVIDIA_TRITON_SERVER_VERSION": "24.05"}}
    with pytest.raises(InvalidInputError) as caught:
        source_check.check(compose(), environment)
    assert str(caught.value) == (
        "the full image here.example/full:1 is release 24.05, and the composition is for release 24.10"
    )
    assert caught.value.hint == "add --container-version 24.05, or use a full image of the other release"
    assert source_check.check(compose(container_version="24.05"), environment) == ()


def test_only_images_that_are_named_are_asked_about() -> None:
    assert source_check.named(compose(images={})) == {}
    assert list(source_check.named(compose(images={}, base="here.example/base"))) == ["min"]
    assert list(source_check.named(compose())) == ["full", "min"]


# --- a registry ---


def document(value: object) -> tuple[str, bytes]:
    content = json.dumps(value).encode()
    return f"sha256:{hashlib.sha256(content).hexdigest()}", content


def image(variables: Mapping[str, str]) -> dict[str, bytes]:
    """Return manifest and configuration of an image by the last part of their URLs."""
    layer = f"sha256:{'0' * 64}"
    config = {
        "os": "linux",
        "architecture": "amd64",
        "config": {"Env": [f"{name}={value}" for name, value in variables.items()]},
        "rootfs": {"type": "layers", "diff_ids": [layer]},
    }
    name, content = document(config)
    manifest = {
        "schemaVersion": 2,
        "mediaType": "application/vnd.oci.image.manifest.v1+json",
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json", "digest": name, "size": len(content)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip", "digest": layer, "size": 1}],
    }
    return {"1": document(manifest)[1], name: content}


class Registry(http.server.BaseHTTPRequestHandler):
    """Two images: `full` for CPU, and `min` with CUDA."""

    images: ClassVar = {"full": image(CPU), "min": image(CUDA)}

    def do_GET(self) -> None:
        *_, name, _, wanted = ("", "", *self.path.split("/"))
        content = b"{}" if self.path == "/v2/" else self.images.get(name, {}).get(wanted)
        self.send_response(200 if content else 404)
        self.send_header("Content-Length", str(len(content or b"")))
        self.end_headers()
        self.wfile.write(content or b"")

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's name
        pass


@pytest.fixture
def registry() -> Iterator[str]:
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Registry) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"127.0.0.1:{server.server_port}"
        server.shutdown()
        thread.join(30)


def of(host: str, **keywords: Any) -> Composition:
    return compose(images={"full": f"{host}/full:1", "min": f"{host}/min:1"}, **keywords)


def test_a_registry_tells(registry: str) -> None:
    assert source_check.read(of(registry), podman.ENGINE, {}, {}) == {"full": CPU, "min": CUDA}


def test_what_the_registry_does_not_have_is_left_out(registry: str) -> None:
    images = {"full": f"{registry}/full:1", "min": f"{registry}/nothing:1"}
    assert source_check.read(compose(images=images), podman.ENGINE, {}, {}) == {"full": CPU}


@pytest.mark.parametrize("answers", [False, True], ids=["nobody there", "no answer"])
def test_a_registry_that_does_not_answer_is_let_pass(answers: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(source_check, "TIMEOUT", 1.0)
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        if answers:
            listener.listen()
        host = f"127.0.0.1:{listener.getsockname()[1]}"
        assert source_check.read(of(host), podman.ENGINE, {}, {}) == {}


# --- an engine's store ---

STORE = """
[ "$*" = "image inspect --format {{json .Config}} here.example/min:1" ] || exit 1
echo '{"Env": ["CUDA_VERSION=12"]}'
"""


def test_without_a_pull_the_store_tells(fake_program: Callable[[str, str], Path]) -> None:
    calls = fake_program("podman", STORE)
    assert source_check.read(compose(), podman.ENGINE, {"pull": False}, {}) == {"min": {"CUDA_VERSION": "12"}}
    assert len(calls.read_text().splitlines()) == 2


def test_with_a_pull_the_store_is_not_asked(fake_program: Callable[[str, str], Path], registry: str) -> None:
    calls = fake_program("podman", STORE)
    source_check.read(of(registry), podman.ENGINE, {"pull": True}, {})
    assert not calls.exists()


def test_what_the_store_lacks_is_asked_of_the_registry(fake_program: Callable[[str, str], Path], registry: str) -> None:
    fake_program("podman", STORE)
    images = {"full": f"{registry}/full:1", "min": "here.example/min:1"}
    found = source_check.read(compose(images=images), podman.ENGINE, {"pull": "missing"}, {})
    assert found == {"min": {"CUDA_VERSION": "12"}, "full": CPU}


# --- on the way to a build ---

ID = "sha256:" + "0b" * 32
PODMAN = f"""
if [ "$2" = version ]; then echo 4.3.1; exit; fi
for token; do case $token in --iidfile=*) printf '{ID}' > "${{token#--iidfile=}}" ;; esac; done
"""


@pytest.fixture
def signals() -> Iterator[None]:
    """Put back what the command line does about signals."""
    before = {number: signal.getsignal(number) for number in (signal.SIGTERM, signal.SIGHUP)}
    yield
    for number, handler in before.items():
        signal.signal(number, handler)


def test_a_mismatch_ends_before_the_engine_runs(
    fake_program: Callable[[str, str], Path], registry: str, signals: None, capfd: pytest.CaptureFixture[str]
) -> None:
    calls = fake_program("podman", PODMAN)
    sources = ("--image", f"full,{registry}/full:1", "--image", f"min,{registry}/min:1")
    words = ("--engine", "podman", "--backend", "python", "--container-version", "24.10", *sources)
    assert run(words) == 2
    assert capfd.readouterr().err == (
        f"tritonbuild: the full image {registry}/full:1 is for CPU, and the composition for GPU\n"
        "hint: add --enable-gpu=false, or name a full image for GPU\n"
    )
    assert not [line for line in calls.read_text().splitlines() if line.startswith("build")]

    assert run([*words, "--enable-gpu=false"]) == 0
    assert capfd.readouterr() == (
        f"{ID}\n",
        f"tritonbuild: the base image {registry}/min:1 has CUDA 12.6.2.004, which an image for CPU does not need\n",
    )


def test_the_python_environment_of_a_named_image_is_on_the_path(
    fake_program: Callable[[str, str], Path], registry: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake_program("podman", PODMAN)
    path = "/opt/tritonserver/bin:/opt/mine/bin:/usr/local/cuda/bin:/usr/local/bin:/usr/bin:/opt/late/bin"
    variables = {"PATH": path, "VIRTUAL_ENV": "/srv/venv"}
    monkeypatch.setitem(Registry.images, "full", image(variables))
    found = tritonbuild.build(of(registry), "podman").containerfile
    assert '    PATH="/opt/tritonserver/bin:/srv/venv/bin:/opt/mine/bin:${PATH}" \\\n' in found
    assert '    VIRTUAL_ENV="/srv/venv"' in found
    without = tritonbuild.build(of(registry, backends=["identity"]), "podman").containerfile
    assert "/opt/mine" not in without
    assert "/srv/venv" not in without


def test_the_library_hands_notes_to_its_caller(fake_program: Callable[[str, str], Path], registry: str) -> None:
    fake_program("podman", PODMAN)
    notes: list[str] = []
    tritonbuild.build(of(registry, enable_gpu=False), "podman", on_note=notes.append)
    assert notes == [
        f"the base image {registry}/min:1 has CUDA 12.6.2.004, which an image for CPU does not need",
    ]


# --- the release of the full image ---


def described(monkeypatch: pytest.MonkeyPatch, **env: str) -> None:
    """Have a registry answer with this environment for every image, and count no connection."""
    monkeypatch.setattr(source_check, "_from_registries", lambda images, _: dict.fromkeys(images, env))


OWN: dict[str, Any] = {
    "backends": ["identity"],
    "images": {"full": "here.example/triton:prod", "min": "here.example/min:1"},
}


def test_the_release_of_a_full_image_whose_tag_names_none(monkeypatch: pytest.MonkeyPatch) -> None:
    described(monkeypatch, NVIDIA_TRITON_SERVER_VERSION="26.10", TRITON_SERVER_VERSION="2.74.0")
    engine, notes = podman.ENGINE, list[str]()
    found, environments = source_check.for_release(Composition(**OWN), engine, {}, notes.append)
    assert found.container_version == "26.10"
    assert notes == ["release 26.10 is newer than the catalog; it is treated like 26.09"]
    assert environments["full"]["TRITON_SERVER_VERSION"] == "2.74.0"
    assert source_check.check(found, environments)
    given = Composition(**OWN, container_version="24.10")
    assert source_check.for_release(given, engine, {}) == (given, {})
    with pytest.raises(
        InvalidInputError, match=r"triton:prod is release 26\.10, and the composition is for release 24\.10"
    ):
        source_check.check(given, environments)


def test_a_full_image_that_names_no_release(monkeypatch: pytest.MonkeyPatch) -> None:
    described(monkeypatch, PATH="/bin")
    wanted = Composition(**OWN)
    assert source_check.for_release(wanted, podman.ENGINE, {})[0] is wanted


def test_a_changed_composition_takes_the_release_of_its_new_image() -> None:
    images = {"full": "here.example/triton:24.12-py3", "min": "here.example/min:1"}
    assert keywords.split(Composition(**OWN), None, None, {"images": images})[0].container_version == "24.12"
    given = Composition(**OWN, container_version="24.10")
    with pytest.raises(InvalidInputError, match=r"24\.12-py3 is release 24\.12 by its tag, and .* for release 24\.10"):
        keywords.split(given, None, None, {"images": images})


def test_the_versions_of_a_newer_release_come_from_its_full_image() -> None:
    composition = Composition(backends=["identity"], container_version="26.10")
    assert [str(one) for one in source_check.named(composition).values()] == ["nvcr.io/nvidia/tritonserver:26.10-py3"]
    env = {"TRITON_SERVER_VERSION": "2.74.0", "DCGM_VERSION": "4.9.0-1", "PATH": "/bin"}
    text = containerfile(composition, env)
    assert ' TRITON_SERVER_VERSION="2.74.0"' in text
    assert ' DCGM_VERSION="4.9.0-1"' in text
    assert '"com.nvidia.tritonserver.version"="2.74.0"' in text
    assert 'TRITON_SERVER_VERSION="2' not in containerfile(composition).replace("NVIDIA_TRITON", "")
    known = Composition(backends=["identity"], container_version="24.10")
    assert source_check.named(known) == {}
    assert ' TRITON_SERVER_VERSION="2.51.0"' in containerfile(known, env)
