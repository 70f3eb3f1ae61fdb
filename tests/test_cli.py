"""The command line as a user meets it: exit code, stdout and stderr, whole."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

import tritonbuild
from tests import services

ID = "sha256:" + "0b" * 32
FakeProgram = Callable[[str, str], Path]

PODMAN = f"""
if [ "$2" = version ]; then echo 4.3.1; exit; fi
for token; do case $token in --iidfile=*) printf '{ID}' > "${{token#--iidfile=}}" ;; esac; done
echo "STEP 1" >&2
"""


def run(*arguments: str, **env: str) -> tuple[int, str, str]:
    done = subprocess.run(
        [sys.executable, "-m", "tritonbuild", *arguments],
        env={**os.environ, **env},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return done.returncode, done.stdout, done.stderr


NO_REFERENCE = (
    "tritonbuild: 'A b' is not an image reference: 'library/A b' is not a repository\n"
    "hint: write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]\n"
)

BAD = [
    (
        ["--backend", "onnxrutime"],
        "tritonbuild: unknown Triton backend 'onnxrutime'\nhint: did you mean 'onnxruntime'?\n",
    ),
    (
        ["--backend", "a,b"],
        "tritonbuild: 'a,b' is not a component name\nhint: give --backend once for each: --backend a --backend b\n",
    ),
    (["--backend", "x\ny"], "tritonbuild: 'x\\ny' is not a component name\n"),
    (["--backend", "../x"], "tritonbuild: '../x' is not a component name\n"),
    (["--cache", "locale"], "tritonbuild: unknown cache 'locale'\nhint: did you mean 'local'?\n"),
    (["--backend", "python", "--container-version", "latest"], "tritonbuild: 'latest' is not a Triton release\n"),
    (
        ["--backend", "python", "--image", "full,a:1"],
        "tritonbuild: source image 'full' is given without 'min'\nhint: add --image min,REFERENCE\n",
    ),
    (
        ["--backend", "python", "--image", "full"],
        "tritonbuild: --image 'full' is not NAME,REFERENCE\nhint: write --image min,REGISTRY/NAME:TAG\n",
    ),
    (
        ["--backend", "python", "--image", "full,A b", "--image", "min,c"],
        NO_REFERENCE,
    ),
    (
        ["--backend", "python", "--image", "full,a", "--image", "full,b"],
        "tritonbuild: --image 'full' is given twice\nhint: give each source image once\n",
    ),
    (
        ["--engine", "podmn", "--backend", "python"],
        "tritonbuild: unknown engine 'podmn'\nhint: did you mean 'podman'?\n",
    ),
    (
        ["--engine", "podman", "--backend", "python", "--opt", "no_cach=true"],
        "tritonbuild: unknown option 'no_cach' for engine 'podman'\nhint: did you mean 'no_cache'?\n",
    ),
    (
        ["--backend", "python", "--opt", "no_cache"],
        "tritonbuild: --opt is given without an engine\nhint: name it with --engine; options differ by engine\n",
    ),
    (
        ["--enable-gpu=tru", "--backend", "python"],
        "tritonbuild: --enable-gpu=tru is neither true nor false\nhint: use true or false\n",
    ),
    (
        ["--engine", "podman", "--backend", "python", "--platform", "linux/amd64", "--opt", "platform=linux/arm64"],
        (
            "tritonbuild: platform is 'linux/amd64', and the option 'platform' of engine 'podman' has another value\n"
            "hint: give the platform of the composition, or the engine's option\n"
        ),
    ),
    (
        ["--engine", "podman", "--backend", "python", "--opt", 'output="x'],
        "tritonbuild: output '\"x' of engine 'podman' is not a line of CSV\nhint: write type=oci,dest=FILE\n",
    ),
    (
        ["--backend", "python", "--platform", "linux/\u212a"],
        "tritonbuild: 'linux/\u212a' is not a platform\n",
    ),
    (
        ["--engine", "dokcer", "--backend", "python", "--dry-run"],
        "tritonbuild: unknown engine 'dokcer'\nhint: did you mean 'docker'?\n",
    ),
    (["--backend", "python", "--dry-run", "-t", "A b"], NO_REFERENCE),
    (["build", "--backend", "python", "--dry-run", "-t", "A b"], NO_REFERENCE),
    (
        ["--engine", "podman", "--backend", "python", "--dry-run", "--opt", "nocache"],
        "tritonbuild: unknown option 'nocache' for engine 'podman'\nhint: did you mean 'no_cache'?\n",
    ),
    (
        ["--engine", "podman", "--backend", "python", "--no-cache", "--opt", "no_cache=false"],
        "tritonbuild: --no-cache and --opt no_cache have different values\nhint: give --opt no_cache alone\n",
    ),
    (
        ["--engine", "docker", "--backend", "python", "--sbom"],
        "tritonbuild: unknown option 'sbom' for engine 'docker'\nhint: known: add_host, ",
    ),
    (
        ["biuld", "--backend", "python"],
        "tritonbuild: No such command 'biuld'. Did you mean 'build'?\n",
    ),
    (["build", "plan"], "tritonbuild: build takes no command, and 'plan' is one\nhint: give options only\n"),
    (["build", "build"], "tritonbuild: build takes no command, and 'build' is one\nhint: give options only\n"),
    (
        ["--nonsense"],
        "tritonbuild: No such option: --nonsense\nhint: tritonbuild --help lists the options and commands\n",
    ),
    (["health", "dockr"], "tritonbuild: unknown engine 'dockr'\nhint: did you mean 'docker'?\n"),
    (
        ["--backend", "python", "--dry-run", "--work-dir", "/nowhere/at/all"],
        "tritonbuild: work folder '/nowhere/at/all' does not exist\nhint: create it, or name another folder\n",
    ),
    (
        ["--engine", "podman", "--backend", "python", "-t", "A b"],
        NO_REFERENCE,
    ),
]


@pytest.mark.parametrize(("arguments", "message"), BAD, ids=[" ".join(row[0]) or "nothing" for row in BAD])
def test_bad_input_is_one_line_and_a_hint_before_any_engine_builds(
    arguments: list[str], message: str, fake_program: FakeProgram
) -> None:
    calls = [fake_program(name, "exit 99") for name in ("docker", "podman", "buildah")]
    code, output, error = run(*arguments)
    assert (code, output) == (2, "")
    assert error.startswith(message)
    assert len(error.splitlines()) <= 2
    called = "".join(path.read_text() for path in calls if path.exists())
    assert "build" not in called
    assert not called or "--engine" in arguments  # which is probed meanwhile


def test_the_engine_that_is_named_is_probed_once(fake_program: FakeProgram) -> None:
    calls = fake_program("podman", PODMAN)
    assert run("--engine", "podman", "--backend", "python", "--quiet")[0] == 0
    once = calls.read_text().splitlines()
    assert len(once) == len({*once})
    calls.unlink()
    assert run("--engine=podman", "--backend", "python", "--quiet")[0] == 0
    assert [line.split("\t")[0] for line in calls.read_text().splitlines()] == [line.split("\t")[0] for line in once]


@pytest.mark.parametrize("word", ["--dry-run", "--help", "plan"])
def test_no_engine_is_probed_where_none_builds(word: str, fake_program: FakeProgram, tmp_path: Path) -> None:
    calls = fake_program("podman", PODMAN)
    words = [word, "--engine", "podman", "--backend", "python"]
    assert run(*words, *(["--work-dir", str(tmp_path)] if word == "--dry-run" else []))[0] == 0
    assert not calls.exists()


def test_an_engine_that_is_missing() -> None:
    code, output, error = run("--engine", "podman", "--backend", "python", PATH="/nowhere")
    assert (code, output) == (3, "")
    assert error == (
        "tritonbuild: engine 'podman' is not healthy: podman is not installed\n"
        "hint: install podman, or choose another engine: tritonbuild engines lists the healthy ones\n"
    )


def test_a_daemon_that_is_down(tmp_path: Path) -> None:
    if not Path("/usr/bin/docker").exists():
        pytest.skip("docker is not installed")
    code, output, error = run("--engine", "docker", "--backend", "python", DOCKER_HOST=f"unix://{tmp_path}/none")
    assert (code, output) == (3, "")
    assert error.startswith("tritonbuild: engine 'docker' is not healthy: ")
    assert error.endswith("hint: start the daemon (systemctl start docker), or point DOCKER_HOST at another one\n")


def test_a_build_prints_the_image_id_and_nothing_else_to_stdout(fake_program: FakeProgram) -> None:
    calls = fake_program("podman", PODMAN)
    code, output, error = run("--engine", "podman", "--backend", "python", "-t", "a:1", "-t", "b:2", "-v")
    assert (code, output) == (0, f"{ID}\n")
    assert "STEP 1\n" in error
    assert error.startswith("+ podman build ")
    words = next(line for line in calls.read_text().splitlines() if line.startswith("build")).split("\t")
    assert {"--tag=a:1", "--tag=b:2", "--network=none"} <= set(words)


@pytest.mark.parametrize(
    "words",
    [
        ["build", "--engine", "podman", "--backend", "python", "-t", "a:1"],
        ["--engine", "podman", "build", "-t", "a:1", "--backend", "python"],
        ["--backend", "python", "-t", "a:1", "--engine=podman", "build"],
    ],
    ids=" ".join,
)
def test_build_by_its_name_is_the_bare_form(words: list[str], fake_program: FakeProgram) -> None:
    calls = fake_program("podman", PODMAN)
    assert run(*words)[:2] == (0, f"{ID}\n")
    line = next(line for line in calls.read_text().splitlines() if line.startswith("build"))
    assert "--tag=a:1" in line.split("\t")


def test_switches_are_options_of_the_engine(fake_program: FakeProgram) -> None:
    calls = fake_program("podman", PODMAN)
    words = ["--engine", "podman", "--backend", "python", "-t", "localhost:1/a", "--no-cache", "--push"]
    assert run(*words, "--opt", "no_cache")[0] == 0
    lines = [line.split("\t") for line in calls.read_text().splitlines()]
    assert "--no-cache" in next(line for line in lines if line[0] == "build")
    assert any(line[:1] == ["push"] for line in lines)


def test_health_as_json(fake_program: FakeProgram) -> None:
    fake_program("podman", "echo 4.3.1")
    code, output, error = run("health", "podman", "--json")
    record = json.loads(output)
    assert (code, error, record["engine"], record["ok"], record["version"]) == (0, "", "podman", True, "4.3.1")
    code, output, error = run("health", "podman", "--json", PATH="/nowhere")
    record = json.loads(output)
    assert (code, error, record["ok"], record["reason"]) == (3, "", False, "podman is not installed")


def test_quiet_shows_the_result_only(fake_program: FakeProgram) -> None:
    fake_program("podman", PODMAN)
    assert run("--engine", "podman", "--backend", "python", "-q") == (0, f"{ID}\n", "")


def test_the_result_as_json(fake_program: FakeProgram) -> None:
    fake_program("podman", PODMAN)
    code, output, _ = run("--engine", "podman", "--backend", "python", "--json")
    result = json.loads(output)
    assert code == 0
    assert (result["image_id"], result["tags"], result["engine"]) == (ID, ["tritonserver"], "podman")


def test_a_build_that_fails_shows_its_last_lines_and_the_log(fake_program: FakeProgram) -> None:
    fake_program("podman", 'if [ "$2" = version ]; then echo 4.3.1; exit; fi; seq 30; exit 7')
    code, output, error = run("--engine", "podman", "--backend", "python", "-q")
    assert (code, output) == (4, "")
    *tail, message, log = error.splitlines()
    assert tail == [f"  | {number}" for number in range(11, 31)]
    assert message == "tritonbuild: the build with engine 'podman' failed with exit status 7"
    assert Path(log.removeprefix("log: ")).read_text().split() == [str(number) for number in range(1, 31)]


@pytest.mark.parametrize(("number", "ignored"), services.INTERRUPTS.values(), ids=services.INTERRUPTS)
def test_an_interrupt_ends_everything(
    fake_program: FakeProgram, number: signal.Signals, ignored: tuple[signal.Signals, ...], tmp_path: Path
) -> None:
    marker = services.a_day()
    fake_program(
        "podman", f'case "$1 $2" in *" version") echo 4.3.1; exit ;; info*) exit 1 ;; esac; sleep {marker}; exit 0'
    )
    argv = [sys.executable, "-m", "tritonbuild", "--engine", "podman", "--backend", "python", "-q"]
    env = {**os.environ, "TMPDIR": str(tmp_path)}
    with services.running(argv, ignored=ignored, env=env) as process:
        assert services.wait_for(marker)
        process.send_signal(number)
        output, error = process.communicate(timeout=30)
    assert (process.returncode, output, error) == (130, "", "tritonbuild: interrupted\n")
    assert services.left(marker) == ()
    assert [path.name for path in tmp_path.iterdir() if path.name.startswith("tritonbuild-")] == []


def test_a_time_out(fake_program: FakeProgram) -> None:
    fake_program("podman", 'if [ "$2" = version ]; then echo 4.3.1; exit; fi; exec sleep 60')
    started = time.monotonic()
    code, _, error = run("--engine", "podman", "--backend", "python", "-q", "--timeout", "0.5")
    assert code == 4
    assert "took longer than 0.5 s and was stopped\nhint: allow more with --timeout\n" in error
    assert time.monotonic() - started < 30


def test_a_dry_run_needs_no_engine(tmp_path: Path) -> None:
    code, output, error = run("--backend", "python", "--dry-run", "--work-dir", str(tmp_path), PATH="/nowhere")
    assert (code, output, error) == (0, f"{tmp_path}/Dockerfile.compose\n", "")
    assert (tmp_path / "Dockerfile.compose").read_text().startswith("# Triton Inference Server ")


GPU = [
    (["--enable-gpu"], True),
    (["--enable-gpu=true"], True),
    (["--enable-gpu", "true"], True),
    (["--enable-gpu=1"], True),
    ([], True),
    (["--enable-gpu=false"], False),
    (["--enable-gpu", "False"], False),
    (["--no-enable-gpu"], False),
]


@pytest.mark.parametrize(("arguments", "gpu"), GPU, ids=[" ".join(row[0]) or "not given" for row in GPU])
def test_compose_pys_enable_gpu(arguments: list[str], gpu: bool, tmp_path: Path) -> None:
    code, _, _ = run(*arguments, "--backend", "python", "--dry-run", "--work-dir", str(tmp_path))
    assert code == 0
    flavour = 'TRITON_SERVER_GPU_ENABLED="1"' if gpu else 'TRITON_SERVER_GPU_ENABLED="0"'
    assert flavour in (tmp_path / "Dockerfile.compose").read_text()


def test_health_is_silent_and_tells_by_its_exit_code(fake_program: FakeProgram) -> None:
    fake_program("podman", PODMAN)
    assert run("health", "podman") == (0, "", "")
    assert run("health", "podman", PATH="/nowhere") == (3, "", "")
    assert run("health", "-v", "podman") == (0, "", "tritonbuild: engine podman 4.3.1 can build\n")


def test_engines_as_a_table_and_as_json(fake_program: FakeProgram) -> None:
    fake_program("podman", PODMAN)
    fake_program("docker", "echo 'Cannot connect to the Docker daemon' >&2; exit 1")
    code, output, _ = run("engines")
    assert code == 0
    rows = {line.split()[0]: line.split()[1:] for line in output.splitlines()}
    assert rows["podman"][:2] == ["yes", "4.3.1"]
    assert rows["docker"][:2] == ["no", "-"]
    code, output, _ = run("engines", "--json")
    found = {record["engine"]: record for record in json.loads(output)}
    assert found["docker"]["reason"] == "Cannot connect to the Docker daemon"
    assert found["podman"]["ok"] is True


def test_auto_says_which_engine_and_why(fake_program: FakeProgram) -> None:
    fake_program("docker", "exit 1")
    fake_program("podman", PODMAN)
    code, _, error = run("--backend", "python")
    assert code == 0
    assert error.startswith("tritonbuild: engine podman 4.3.1, the first that is healthy\n")


def test_the_engine_from_the_environment_and_from_the_config_file(fake_program: FakeProgram, tmp_path: Path) -> None:
    fake_program("podman", PODMAN)
    fake_program("docker", "exit 1")
    config = tmp_path / "config.toml"
    config.write_text('engine = "docker"\nregistry = "mirror.example/n"\n')
    assert run("--backend", "python", "-q", TRITONBUILD_CONFIG=str(config))[0] == 3
    assert run("--backend", "python", "-q", TRITONBUILD_CONFIG=str(config), TRITONBUILD_ENGINE="podman")[0] == 0
    run("--backend", "python", "--dry-run", "--work-dir", str(tmp_path), TRITONBUILD_CONFIG=str(config))
    assert "\nFROM mirror.example/n/tritonserver:" in (tmp_path / "Dockerfile.compose").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("engin = 1", "tritonbuild: unknown key 'engin' in config file"),
        ("engine = 1", "tritonbuild: engine in config file"),
        ("engine = ", "tritonbuild: config file"),
        ("component = 1", "tritonbuild: component in config file"),
        ("[[component]]\nname = 'a b'", "tritonbuild: component entry 1"),
    ],
)
def test_a_bad_config_file(text: str, message: str, tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(text)
    code, output, error = run("--backend", "python", TRITONBUILD_CONFIG=str(config))
    assert (code, output) == (2, "")
    assert error.startswith(message)
    assert len(error.splitlines()) <= 2


def test_a_config_file_that_was_named_has_to_be_there() -> None:
    code, _, error = run("--backend", "python", TRITONBUILD_CONFIG="/nowhere/config.toml")
    assert (code, error) == (
        2,
        "tritonbuild: config file '/nowhere/config.toml' does not exist\nhint: correct TRITONBUILD_CONFIG\n",
    )


def test_an_alias_is_said_aloud(tmp_path: Path) -> None:
    code, _, error = run("--backend", "onnx", "--dry-run", "--work-dir", str(tmp_path))
    assert code == 0
    assert error.startswith("tritonbuild: ")
    assert "onnxruntime" in error


def test_a_component_of_ones_own_out_of_the_config_file(tmp_path: Path) -> None:
    config = tmp_path / "config.toml"
    config.write_text(
        """[[component]]
name = "whisper"
aliases = ["speech"]
requires = ["python"]
env = { WHISPER_HOME = "/opt/whisper" }
dlopen = ["libsndfile.so.1"]
"""
    )
    images = ("--image", "full,me/full:1", "--image", "min,me/min:1")
    code, out, err = run("render", "--backend", "speech", *images, TRITONBUILD_CONFIG=str(config))
    assert (code, err) == (0, "tritonbuild: 'speech' is taken to be Triton backend 'whisper'\n")
    for name in ("whisper", "python"):
        assert f"\nCOPY --from=full --chown=0:0 /opt/tritonserver/backends/{name} " in out
    assert ' WHISPER_HOME="/opt/whisper"' in out
    assert "name=libsndfile.so.1" in out
    code, out, _ = run("components", "--json", TRITONBUILD_CONFIG=str(config))
    assert [one["name"] for one in json.loads(out)["components"] if one["custom"]] == ["whisper"]
    assert run("render", "--backend", "whisper")[0] == 2


RENDER = ("render", "--backend", "python")


def test_options_before_a_command_are_honored() -> None:
    chosen = ("--container-version", "24.05", "--registry", "my.example/n")
    assert run(*chosen, *RENDER) == run(*RENDER, *chosen)
    assert "FROM my.example/n/tritonserver:24.05-py3 AS full" in run(*chosen, *RENDER)[1]
    assert run("--backend", "dali", *RENDER) == run("render", "--backend", "dali", "--backend", "python")
    assert run("--registry", "a.example/n", *RENDER, "--registry", "b.example/n") == run(
        *RENDER, "--registry", "b.example/n"
    )
    assert run("--enable-gpu=false", *RENDER) == run(*RENDER, "--enable-gpu=false")
    plan = json.loads(
        run("--json", "--engine", "podman", "plan", "--backend", "python", TRITONBUILD_ENGINE="docker")[1]
    )
    assert plan["components"][0]["name"] == "python"


@pytest.mark.parametrize(
    ("arguments", "option", "command"),
    [
        (("--work-dir", "/tmp", *RENDER), "--work-dir", "render"),
        (("--backend", "python", "engines"), "--backend", "engines"),
        (("--engine", "podman", "health", "docker"), "--engine", "health"),
        (("--dry-run", "components"), "--dry-run", "components"),
    ],
)
def test_an_option_before_a_command_that_lacks_it_is_refused(
    arguments: tuple[str, ...], option: str, command: str
) -> None:
    assert run(*arguments) == (
        2,
        "",
        (
            f"tritonbuild: the command {command} has no option {option}\n"
            f"hint: tritonbuild {command} --help lists its options\n"
        ),
    )


def test_a_plug_in_is_loaded_on_both_sides_of_a_command(tmp_path: Path) -> None:
    plugin = tmp_path / "mine.py"
    plugin.write_text(
        "import tritonbuild\n"
        "tritonbuild.register_backend('mine', health=lambda: True, construct_build_args=lambda **_: [])\n"
    )
    option = ("--plugin", str(plugin))
    assert run(*option, "health", "mine") == run("health", "mine", *option) == (0, "", "")
    assert "\nmine " in run(*option, "engines")[1]
    assert "\nmine " in run("engines", *option)[1]


@pytest.mark.parametrize("option", ["--base", "--registry", "--image", "--output-name", "--pip", "--plugin"])
@pytest.mark.parametrize("address", ["https://me:hunter2@host.example/x é", "me:hunter2@host.example/x é"])
def test_a_password_in_an_address_is_not_shown(option: str, address: str) -> None:
    value = f"min,{address}" if option == "--image" else address
    images = ("--image", "full,a") if option == "--image" else ()
    engine = ("--engine", "podman") if option == "--output-name" else ()
    code, output, error = run("--backend", "python", option, value, *images, *engine)
    assert (code, output) == (2, "")
    assert "***@host.example" in error
    assert "hunter2" not in error


def test_a_plug_in_that_ends_the_program_is_one_line(tmp_path: Path) -> None:
    plugin = tmp_path / "ends.py"
    plugin.write_text("raise SystemExit(7)\n")
    code, output, error = run("--plugin", str(plugin), "engines")
    assert (code, output) == (1, "")
    assert error == "tritonbuild: a plug-in or library ended the program with 7\n"


def test_a_defect_is_one_line_and_names_its_module(tmp_path: Path) -> None:
    plugin = tmp_path / "defect.py"
    plugin.write_text("import tritonbuild.api\ntritonbuild.backends.probe_all = lambda: 1 / 0\n")
    code, output, error = run("--plugin", str(plugin), "engines")
    assert (code, output) == (1, "")
    assert error.startswith("tritonbuild: unexpected ZeroDivisionError in tritonbuild_plugin_")
    assert len(error.splitlines()) == 2


def test_invalid_input_that_the_engines_process_finds_is_invalid_input() -> None:
    code, output, error = run("--engine", "embedded", "--backend", "python", SOURCE_DATE_EPOCH="\u00b2")
    assert (code, output) == (2, "")
    assert error.endswith("tritonbuild: SOURCE_DATE_EPOCH is '\u00b2', not seconds since 1970\nhint: unset it\n")


WITHOUT_HOME = (
    "setpriv",
    *("--reuid=12345", "--regid=12345", "--clear-groups"),
    *("--inh-caps=+dac_read_search", "--ambient-caps=+dac_read_search"),  # an interpreter in another user's home
)


@pytest.mark.parametrize(
    ("arguments", "code"),
    [
        (("--version",), 0),
        (("components",), 0),
        (RENDER, 0),
        (("plan", "--backend", "python"), 0),
        (("engines",), 0),
        (("health", "embedded"), 0),
        (("--engine", "embedded", "--backend", "python", "--opt", "cache_size=x"), 2),
    ],
)
def test_a_user_without_a_home(arguments: tuple[str, ...], code: int, tmp_path: Path) -> None:
    if os.getuid() != 0 or shutil.which("setpriv") is None:
        pytest.skip("only root can become a user without a home, with setpriv")
    tmp_path.chmod(0o777)
    done = subprocess.run(
        [*WITHOUT_HOME, sys.executable, "-m", "tritonbuild", *arguments],
        env={
            "PATH": "/usr/bin:/bin",
            "TMPDIR": str(tmp_path),
            "PYTHONPATH": str(Path(tritonbuild.__file__).parents[1]),
        },
        cwd="/",
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, "Traceback" in done.stderr) == (code, False), done.stderr


def test_a_working_folder_that_is_gone_is_one_line(tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    command = f'rmdir "{gone}"; exec "{sys.executable}" -P -m tritonbuild "$@"'
    for words in (("--backend", "python", "--dry-run"), ("--backend", "mine=x"), ("engines",)):
        done = subprocess.run(
            ["/bin/sh", "-c", command, "sh", *words],
            cwd=gone,
            capture_output=True,
            text=True,
            timeout=120,
            check=False,
        )
        gone.mkdir(exist_ok=True)
        assert "Traceback" not in done.stderr
        assert done.returncode in {0, 1, 2}


def test_version_and_help() -> None:
    code, output, _ = run("--version")
    assert code == 0
    assert output == f"tritonbuild {tritonbuild.__version__}\n"
    code, output, _ = run("--help")
    assert code == 0
    assert all(title in output for title in ("Contents of the image", "Build", "engines", "health"))


def test_a_reader_that_is_gone_is_no_traceback() -> None:
    command = f"{sys.executable} -m tritonbuild engines | true"
    done = subprocess.run(["/bin/sh", "-c", command], capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr
