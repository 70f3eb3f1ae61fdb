"""A server that answers with given bytes, whatever it is asked, and closes the connection."""

from __future__ import annotations

import contextlib
import functools
import socket
import threading
from typing import Final

from tests.fuzz import samples
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.repository import RegistryRepository
from tritonbuild.reference import parse_reference

_LONGEST: Final = 30.0


class _Server:
    """Answers each connection with the bytes in `answer`."""

    def __init__(self) -> None:
        self.answer = samples.ANSWER
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.host = f"localhost:{self._socket.getsockname()[1]}"
        threading.Thread(target=self._serve, daemon=True).start()

    def _serve(self) -> None:
        while True:
            connection, _ = self._socket.accept()
            connection.settimeout(_LONGEST)
            with contextlib.suppress(OSError), connection:
                asked = b""
                while b"\r\n\r\n" not in asked and (part := connection.recv(1 << 16)):
                    asked += part
                connection.sendall(self.answer)


@functools.cache
def _server() -> tuple[_Server, RegistryRepository]:
    server = _Server()
    settings = TransportSettings(credential_files=(), tries=1)
    repository = Registries(settings, rules=()).target(parse_reference(f"{server.host}/a:1"))
    repository.manifest("1")  # it looks for TLS once
    return server, repository


def answered(content: bytes) -> object:
    """Return the manifest that a client reads from *content*, the bytes of an answer."""
    server, repository = _server()
    server.answer = content
    return repository.manifest("1")
