"""Processes are run to their end, and the whole tree ends when it must."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
import uuid
from pathlib import Path

import psutil
import pytest

from tests import services
from tritonbuild import process


def running(marker: str) -> list[int]:
    """Return the processes that have *marker* among their arguments."""
    return [
        candidate.pid
        for candidate in psutil.process_iter(["cmdline", "status"])
        if candidate.info["status"] != psutil.STATUS_ZOMBIE and marker in " ".join(candidate.info["cmdline"] or ())
    ]


def wait_for(marker: str, count: int) -> None:
    deadline = time.monotonic() + 10
    while len(running(marker)) < count:
        assert time.monotonic() < deadline, f"{running(marker)} run, not {count}"
        time.sleep(0.02)


@pytest.fixture
def marker() -> str:
    return f"marker-{uuid.uuid4().hex}"


SECRETS = {
    "an address": "FROM https://me:hunter2@example.com/x failed",
    "no scheme": "cannot pull me:hunter2@example.com/x",
    "a query": "GET https://example.com/x?token=hunter2&a=b",
}


@pytest.mark.parametrize("size", [1, 7, 4096])
@pytest.mark.parametrize("name", SECRETS)
def test_credentials_are_masked_in_the_log_and_the_echo(name: str, size: int, tmp_path: Path) -> None:
    """Whatever pieces the output comes in; nothing else of it changes."""
    text = f"begin\n{SECRETS[name]}\nübung\n end"
    program = (
        "import sys, time\n"
        "data = sys.argv[1].encode()\n"
        f"for start in range(0, len(data), {size}):\n"
        f"    sys.stdout.buffer.write(data[start:start + {size}]); sys.stdout.flush(); time.sleep(0.002)\n"
    )
    reader, writer = os.pipe()
    try:
        done = process.run([sys.executable, "-c", program, text], log=tmp_path / "log", echo=writer)
        os.close(writer)
        echoed = os.read(reader, 1 << 16).decode()
    finally:
        os.close(reader)
    shown = text.replace("me:hunter2", "***").replace("hunter2", "***")
    assert (tmp_path / "log").read_text() == echoed == shown
    assert done.output == shown


def test_a_long_word_is_not_held_back(tmp_path: Path) -> None:
    argv = [sys.executable, "-c", "print('x' * 300_000)"]
    assert process.run(argv, log=tmp_path / "log").ok
    assert (tmp_path / "log").read_text() == "x" * 300_000 + "\n"


def test_output_is_kept_whole_and_its_last_lines_returned(tmp_path: Path) -> None:
    log = tmp_path / "log"
    script = "for i in $(seq 1 3000); do echo out $i; done; echo err >&2"
    done = process.run(["sh", "-c", script], log=log)
    assert done.ok
    assert log.read_text().splitlines() == [*(f"out {i}" for i in range(1, 3001)), "err"]
    assert done.output.splitlines() == [*(f"out {i}" for i in range(2982, 3001)), "err"]


def test_a_command_that_a_thread_waits_for_ends_with_the_program(marker: str) -> None:
    """As a probe's, when the build that asked for it is interrupted or fails in another way."""
    program = f"""
import threading, time
from tritonbuild import process
argv = ["sh", "-c", "sleep 300; echo {marker}"]
threading.Thread(target=process.capture, args=(argv,), kwargs={{"timeout": 300}}, daemon=True).start()
while not process._captured:
    time.sleep(0.01)
print("ends")
"""
    assert subprocess.check_output([sys.executable, "-c", program, marker], text=True, timeout=60) == "ends\n"
    deadline = time.monotonic() + 10
    while running(marker) and time.monotonic() < deadline:
        time.sleep(0.02)
    assert running(marker) == []


def test_what_a_killed_command_started_ends_too(marker: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also what is in a session of its own and has lost its parent, as podman's RUN step: it was seen before."""
    seen, look = tmp_path / "seen", process.descendants

    def looked(pid: int) -> list[process.Member]:
        found = look(pid)
        if {member.pid for member in found} & set(running(marker)):
            seen.touch()
        return found

    monkeypatch.setattr(process, "_LOOK_EVERY", 0.0)
    monkeypatch.setattr(process, "descendants", looked)
    script = f"""setsid sh -c 'sleep 300; echo {marker}' & until [ -e {seen} ]; do sleep 0.1; done; kill -KILL $$"""
    done = process.run(["sh", "-c", script], log=tmp_path / "log", timeout=60)
    assert done.returncode == -9
    assert running(marker) == []


def test_output_is_echoed_as_it_comes(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    process.run(["printf", "a\\nb"], log=tmp_path / "log", echo=writer)
    os.close(writer)
    assert os.read(reader, 100) == b"a\nb"
    os.close(reader)


def test_a_reader_that_is_gone_does_not_end_the_command(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    assert process.run(["echo", "still written"], log=tmp_path / "log", echo=writer).ok
    os.close(writer)
    assert (tmp_path / "log").read_text() == "still written\n"


def test_a_terminal_stays_one_for_the_command(tmp_path: Path) -> None:
    reader, writer = os.openpty()
    done = process.run(["sh", "-c", "test -t 1 && test -t 2 && echo terminal"], log=tmp_path / "log", echo=writer)
    assert (done.returncode, done.output) == (0, "terminal")
    os.close(writer)
    os.close(reader)


def test_failure_and_signal_are_told_by_the_return_code(tmp_path: Path) -> None:
    assert process.run(["sh", "-c", "exit 7"], log=tmp_path / "log").returncode == 7
    assert process.run(["sh", "-c", "kill -9 $$"], log=tmp_path / "log").returncode == -9


def test_a_program_that_is_not_there_is_an_os_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        process.run(["/nowhere/to/be/found"], log=tmp_path / "log")
    with pytest.raises(FileNotFoundError):
        process.capture(["/nowhere/to/be/found"], timeout=1)


def test_the_end_is_the_commands_even_when_another_holds_its_output(tmp_path: Path, marker: str) -> None:
    started = time.monotonic()
    done = process.run(["sh", "-c", f"echo first; sh -c 'sleep 30; : {marker}' & exit 3"], log=tmp_path / "log")
    assert (done.returncode, done.output) == (3, "first")
    assert time.monotonic() - started < 20
    for pid in running(marker):
        os.kill(pid, 9)


def test_a_time_out_ends_the_whole_tree(tmp_path: Path, marker: str) -> None:
    script = f"sh -c 'sleep 60; : {marker}' & setsid sh -c 'sleep 60; : {marker}' & wait"
    done = process.run(["sh", "-c", script], log=tmp_path / "log", timeout=0.5)
    assert done.timed_out
    assert not done.ok
    assert running(marker) == []


def test_what_ignores_sigterm_is_killed(tmp_path: Path, marker: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(process.stop_tree, "__kwdefaults__", {"grace": 0.3})
    script = f"trap '' TERM; while :; do sleep 0.1; done; : {marker}"
    done = process.run(["sh", "-c", script], log=tmp_path / "log", timeout=0.3)
    assert done.timed_out
    assert done.returncode == -9
    assert running(marker) == []


def test_an_interrupt_ends_the_whole_tree(tmp_path: Path, marker: str) -> None:
    program = tmp_path / "program.py"
    program.write_text(
        "import sys; from pathlib import Path; from tritonbuild import process\n"
        f"process.run(['sh', '-c', 'setsid sh -c \"sleep 60; : {marker}\" & wait'], log=Path(sys.argv[1]))"
    )
    with services.running([sys.executable, program, tmp_path / "log"]) as parent:
        wait_for(marker, 2)
        parent.send_signal(signal.SIGINT)
        _, error = parent.communicate(timeout=20)
    assert "KeyboardInterrupt" in error
    assert running(marker) == []


def test_capture_returns_both_streams() -> None:
    done = process.capture(["sh", "-c", "echo out; echo err >&2; exit 4"], timeout=10, env={"X": "1"})
    assert (done.returncode, done.output, done.error) == (4, "out\n", "err\n")


def test_capture_gives_up_in_time(marker: str) -> None:
    started = time.monotonic()
    done = process.capture(["sh", "-c", f"trap '' TERM; sleep 60; : {marker}"], timeout=0.2)
    assert done.timed_out
    assert time.monotonic() - started < 10
    assert running(marker) == []
