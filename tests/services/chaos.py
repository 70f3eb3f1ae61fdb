"""Faulty daemons and registries: sockets that hang or refuse connections."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

from tests.services import daemons


def _hold(listener: socket.socket) -> None:
    held = []
    with contextlib.suppress(OSError):  # The listener was closed.
        while True:
            held.append(listener.accept()[0])
    for connection in held:
        connection.close()


@contextlib.contextmanager
def _holding(listener: socket.socket) -> Iterator[None]:
    listener.listen(64)
    thread = threading.Thread(target=_hold, args=(listener,), daemon=True)
    thread.start()
    try:
        yield
    finally:
        # close alone does not wake a thread that waits in accept.
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(10)


@contextlib.contextmanager
def hung_socket(folder: Path) -> Iterator[Path]:
    """Yield a unix socket that accepts connections and never answers, like a deadlocked daemon."""
    path = daemons.socket_path(folder / "hung.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        with _holding(listener):
            yield path
    path.unlink()


@contextlib.contextmanager
def refused_socket(folder: Path) -> Iterator[Path]:
    """Yield a unix socket without a listener, as a killed daemon leaves it."""
    path = daemons.socket_path(folder / "refused.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
    yield path
    path.unlink()


@contextlib.contextmanager
def hung_registry() -> Iterator[str]:
    """Yield a host (``localhost:PORT``) that accepts connections and never answers."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        with _holding(listener):
            yield f"localhost:{listener.getsockname()[1]}"


@contextlib.contextmanager
def refused_registry() -> Iterator[str]:
    """Yield a host (``localhost:PORT``) that refuses connections; its port stays reserved."""
    with socket.socket() as holder:
        holder.bind(("127.0.0.1", 0))  # Bound and not listening.
        yield f"localhost:{holder.getsockname()[1]}"
