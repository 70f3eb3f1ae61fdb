"""Names of libraries in the bytes of a file."""

from __future__ import annotations

import pytest

from tritonbuild.layers.opened import NameSearch, in_python

CONTENT = (
    b"\0libone.so.1\0/opt/x/libtwo-2.so\0mylibthree.so\0libfour.so.%d\0lib%s.so\0libfive.so.12.3\0libsix.sofa\0"
    b"libseven.so.1.bak\0lib.so\0" + b"x" * 400 + b"\0libc++.so.1\0libend.so.9"
)
NAMES = ("libc++.so.1", "libend.so.9", "libfive.so.12.3", "libone.so.1", "libtwo-2.so")


@pytest.mark.parametrize("size", [1, 2, 7, 160, 161, 162, 1000])
def test_names_in_pieces(size: int) -> None:
    search = NameSearch()
    for start in range(0, len(CONTENT), size):
        search.add(CONTENT[start : start + size])
    assert search.names() == NAMES
    assert search.names(without=["libone.so.1", ""]) == tuple(name for name in NAMES if name != "libone.so.1")


def test_only_python_that_opens_libraries() -> None:
    assert in_python(b"import ctypes\nctypes.CDLL('libfoo.so.1')\n") == ("libfoo.so.1",)
    assert in_python(b"NAME = 'libfoo.so.1'\n") == ()
