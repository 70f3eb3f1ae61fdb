"""Comparison of a composed image with its full image: everything that works in full must work in the composed one.

Both images run with podman or docker, and the same checks run in each:

- the file names below the chosen folders
- each library name that occurs in the ELF files of these folders, opened by the loader
- the import of each top-level module of the standard library and of the packages
- what the files that Python and the C library read say of types, time zones, services and locales
- a TLS request by Python to a real server, with an empty environment

A check that fails in full is no fault of the composition and is left out.
"""

from __future__ import annotations

import contextlib
import json
import re
import socket
import ssl
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Final

import attrs

from tests.integration.labs import Lab
from tests.services import programs
from tests.services.certificates import Certificate
from tests.services.errors import ServiceError
from tests.variants import SOURCES

NAMES: Final = re.compile(rb"(?<=\0)lib[A-Za-z0-9_+.-]+\.so(?:\.[0-9]+)*(?=\0)")
DRIVER: Final = re.compile(r"lib(cuda|cudadebugger|nvcuvid|nvoptix|nvidia-[a-z-]+)\.so.*")
"""The driver's libraries come from the host."""

MODULES: Final = """
import json, pkgutil, sys
folders = [path for path in sys.path if path and not path.endswith(".zip")]
apart = {"antigravity", "this", "test", "__main__"}
print(json.dumps(sorted({module.name for module in pkgutil.iter_modules(folders)} - apart)))
"""
"""The top-level modules of the standard library and of all packages, but for those with an effect and for tests."""
IMPORT: Final = """
import importlib, json, os, signal, sys
failed = {}
for name in sys.argv[1:]:
    reader, writer = os.pipe()
    if not os.fork():
        os.dup2(os.open(os.devnull, os.O_RDWR), 1)
        signal.alarm(120)
        try:
            importlib.import_module(name)
        except BaseException as error:
            os.write(writer, f"{type(error).__name__}: {error}".encode()[:1000])
            os._exit(1)
        os._exit(0)
    os.close(writer)
    with os.fdopen(reader, errors="replace") as pipe:
        message = pipe.read()
    if os.wait()[1]:
        failed[name] = message
print(json.dumps(failed))
"""
"""Imports each module in a process of its own, so that none is imported because of another."""
DATA: Final = """
import curses, json, locale, mimetypes, socket, ssl, zoneinfo
def answer(function, *arguments):
    try:
        return str(function(*arguments))
    except Exception:
        return ""
paths = ssl.get_default_verify_paths()
print(json.dumps({
    "the type of a.webp": answer(mimetypes.guess_type, "a.webp"),
    "time zones": answer(lambda: sorted(zoneinfo.available_timezones())),
    "the service https": answer(socket.getservbyname, "https"),
    "the protocol udp": answer(socket.getprotobyname, "udp"),
    "the locale C.UTF-8": answer(locale.setlocale, locale.LC_ALL, "C.UTF-8"),
    "the locale en_US.UTF-8": answer(locale.setlocale, locale.LC_ALL, "en_US.UTF-8"),
    "the terminal xterm-256color": answer(curses.setupterm, "xterm-256color"),
    "certificates": answer(lambda: len(ssl.create_default_context().get_ca_certs()) > 0),
    "the default paths of certificates": answer(lambda: (paths.cafile, paths.capath)),
}))
"""
"""Asks for what Python and the C library read in files; an empty text stands for an error."""
REQUEST: Final = """
import socket, ssl, sys
context = ssl.create_default_context()
with socket.create_connection(("127.0.0.1", int(sys.argv[1])), 20) as plain:
    with context.wrap_socket(plain, server_hostname="127.0.0.1") as secure:
        print(secure.recv(5).decode())
"""
ANSWER: Final = b"hello"


@attrs.frozen(kw_only=True)
class Image:
    """An image in the runner's store.

    Attributes:
        lab: The engine whose runner has it.
        reference: The image's name.
        python: The interpreter in it; empty if it has none.
    """

    lab: Lab
    reference: str
    python: str = "python3"

    def run(self, program: str, *arguments: str, mount: Path | None = None) -> str:
        """Return the output of a program in the image, which may use the network of this thread."""
        volumes = [] if mount is None else [f"--volume={mount}:/compare:ro"]
        words = ["run", "--rm", "--network=host", "--pull=never", "--user=0", *volumes, f"--entrypoint={program}"]
        return self.lab.run(*words, self.reference, *arguments)

    def files(self, folders: Sequence[str]) -> set[str]:
        """Return the paths below *folders*."""
        return set(self.run("find", *folders, "-print0").split("\0")) - {""}

    def unopened(self, names: Sequence[str], folder: Path) -> set[str]:
        """Return the library names that the image's loader cannot open."""
        program = folder / "opens"
        if not program.exists():
            programs.run(["gcc", "-O2", "-o", program, SOURCES / "opens.c", "-ldl"])
        return set(self.run("/compare/opens", *names, mount=folder).splitlines())

    def modules(self) -> list[str]:
        """Return the top-level modules."""
        return list(json.loads(self.run(self.python, "-c", MODULES)))

    def unimported(self, names: Sequence[str]) -> dict[str, str]:
        """Return the modules that cannot be imported, with the last line of the error."""
        return dict(json.loads(self.run(self.python, "-c", IMPORT, *names)))

    def data(self) -> dict[str, str]:
        """Return what files of the image answer, by question."""
        return dict(json.loads(self.run(self.python, "-c", DATA)))

    def request(self, port: int) -> str:
        """Return the answer of a TLS server, or the error of the request."""
        try:
            return self.run(
                "env", "-i", self.run("sh", "-c", f"command -v {self.python}").strip(), "-c", REQUEST, str(port)
            )
        except ServiceError as error:
            return str(error).strip().splitlines()[-1]


def names_in(folder: Path) -> set[str]:
    """Return the names of libraries that occur as strings in the ELF files below *folder*."""
    found: set[str] = set()
    for path in folder.rglob("*"):
        if path.is_file() and not path.is_symlink():
            content = path.read_bytes()
            if content.startswith(b"\x7fELF"):
                found |= {name.decode() for name in NAMES.findall(content)}
    return {name for name in found if not DRIVER.fullmatch(name)}


@contextlib.contextmanager
def tls_server(certificate: Certificate) -> Iterator[int]:
    """Yield the port of a TLS server on 127.0.0.1 that sends `ANSWER` to each client."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(certificate.certificate, certificate.key)
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):  # the listener was closed
                while True:
                    client, _ = listener.accept()
                    with contextlib.suppress(OSError), context.wrap_socket(client, server_side=True) as secure:
                        secure.sendall(ANSWER)

        thread = threading.Thread(target=answer, daemon=True)
        thread.start()
        try:
            yield listener.getsockname()[1]
        finally:
            with contextlib.suppress(OSError):
                listener.shutdown(socket.SHUT_RDWR)
            listener.close()
            thread.join(10)


def differences(
    lab: Lab,
    full: str,
    composed: str,
    folders: Sequence[str],
    *,
    work: Path,
    certificate: Certificate,
    python: str = "python3",
) -> list[str]:
    """Return descriptions of everything that works in *full* and not in *composed*.

    Args:
        lab: The engine; its runner has both images.
        full: The full image.
        composed: The composed image.
        folders: The folders of the chosen components.
        work: An empty folder.
        certificate: The certificate of a server, from an authority that full trusts.
        python: The interpreter to run; empty for a composition without Python.
    """
    one, other = (Image(lab=lab, reference=reference, python=python) for reference in (full, composed))
    found = [f"file {path!r} is missing" for path in sorted(one.files(folders) - other.files(folders))]
    with lab.unpacked(full, work) as files:
        names = sorted({name for folder in folders for name in names_in(files / folder.lstrip("/"))})
    if names:
        tools = work / "tools"
        tools.mkdir(exist_ok=True)
        lost = other.unopened(names, tools) - one.unopened(names, tools)
        found += [f"library {name} cannot be opened" for name in sorted(lost)]
    return [*found, *(python_differences(one, other, certificate) if python else ())]


def python_differences(full: Image, composed: Image, certificate: Certificate) -> list[str]:
    """Return descriptions of everything that Python can do in *full* and not in *composed*.

    Args:
        full: The full image.
        composed: The composed image.
        certificate: The certificate of a server, from an authority that full trusts.
    """
    modules = full.modules()
    broken = full.unimported(modules)
    lost = composed.unimported([name for name in modules if name not in broken])
    found = [f"import {name}: {error}" for name, error in lost.items()]
    answers = composed.data()
    found += [f"{name}: {answers[name]!r}" for name, answer in full.data().items() if answer not in {"", answers[name]}]
    with tls_server(certificate) as port:
        assert full.request(port).strip() == ANSWER.decode()
        if (answer := composed.request(port).strip()) != ANSWER.decode():
            found.append(f"TLS request: {answer}")
    return found
