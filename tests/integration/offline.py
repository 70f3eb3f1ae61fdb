"""A network namespace with nothing but loopback: what runs in it can reach the test's own servers and nobody else."""

from __future__ import annotations

import contextlib
import ctypes
import fcntl
import os
import socket
import struct
from collections.abc import Iterator
from typing import Final

_CLONE_NEWNET: Final = 0x40000000
_SIOCGIFFLAGS: Final = 0x8913
_SIOCSIFFLAGS: Final = 0x8914
_IFF_UP: Final = 1


@contextlib.contextmanager
def offline() -> Iterator[int]:
    """Have this thread, and every process it starts, in a network namespace of its own until the block ends.

    Yields:
        The namespace it was in before, for `joined`.
    """
    before = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _call("unshare", _CLONE_NEWNET)
        _raise_loopback()
        yield before
    finally:
        _call("setns", before, _CLONE_NEWNET)
        os.close(before)


@contextlib.contextmanager
def joined(namespace: int) -> Iterator[None]:
    """Have this thread in *namespace* until the block ends; what it starts there stays there."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    try:
        _call("setns", namespace, _CLONE_NEWNET)
        yield
    finally:
        _call("setns", here, _CLONE_NEWNET)
        os.close(here)


def _call(name: str, *arguments: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc[name](*arguments):
        number = ctypes.get_errno()
        raise OSError(number, os.strerror(number))


def _raise_loopback() -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as control:
        request = struct.pack("16sh14x", b"lo", 0)
        (flags,) = struct.unpack("16xh14x", fcntl.ioctl(control, _SIOCGIFFLAGS, request))
        fcntl.ioctl(control, _SIOCSIFFLAGS, struct.pack("16sh14x", b"lo", flags | _IFF_UP))
