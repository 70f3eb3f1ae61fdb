"""The files of a Python interpreter that an image needs."""

from __future__ import annotations

import pytest

from tritonbuild.rootfs.interpreter import left_out

PACKAGES = "usr/lib/python3/dist-packages"


@pytest.mark.parametrize(
    ("path", "is_left_out"),
    [
        ("test", True),
        ("test/support.py", True),
        ("tests/a.py", False),
        ("testing.py", False),
        ("config-3.11/libpython3.11.a", True),
        ("numpy/tests", True),
        ("numpy/core/tests/data/a.csv", True),
        ("numpy/core/lib/libnpymath.a", True),
        ("numpy/testing/__init__.py", False),
        ("numpy/core/tests.py", False),
        ("numpydoc/tests/a.py", False),
        ("astropy/tests/runner.py", False),
    ],
)
def test_tests_and_files_for_linking(path: str, is_left_out: bool) -> None:
    assert left_out(f"{PACKAGES}/{path}", PACKAGES) is is_left_out
