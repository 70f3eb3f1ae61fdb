"""Images on scratch by the embedded engine: the C library, a wheel that needs it, and the check."""

from __future__ import annotations

from pathlib import Path

import attrs
import pytest

from tests.rootfs.test_wheels import wheel
from tests.tiny.bench import Bench
from tests.tiny.elves import LIBRARIES, PACKAGES, Compiler, Sources, base_tree, python_tree, sources
from tritonbuild.embedded.request import Request


@pytest.fixture
def made(bench: Bench, compiler: Compiler) -> Sources:
    """The sources with a python backend."""
    return sources(bench, base_tree(compiler), python_tree(compiler))


def on_scratch(made: Sources, context: Path, tag: str) -> tuple[Request, str]:
    """Return a request with a wheel for a C library, and the option for its build context."""
    three = wheel(context / "wheels", "three", tag=tag)
    request = attrs.evolve(made.request("python"), base="scratch", wheels=[f"wheels/{three.name}"])
    return request, f"--context={context}"


def test_the_c_library_of_full(made: Sources, tmp_path: Path) -> None:
    found = made.build(*on_scratch(made, tmp_path, "py3-none-manylinux_2_31_x86_64"))
    assert {f"{LIBRARIES}/libc.so.6", f"{PACKAGES}/three/__init__.py", "usr/bin/python3.11"} <= found.members.keys()
    assert found.contents["etc/passwd"].startswith(b"root:")
    assert found.contents["etc/passwd"].endswith(b"\ntriton-server:x:1000:1000::/home/triton-server:/bin/bash\n")
    assert b"libc.so.6\0" in found.contents["etc/ld.so.cache"]


def test_a_wheel_for_a_newer_c_library(made: Sources, tmp_path: Path) -> None:
    request, context = on_scratch(made, tmp_path, "py3-none-manylinux_2_32_x86_64")
    done, _ = made.plan(request, context)
    assert (done.code, "three" in done.err) == (2, True)
