"""Odd but working registries: each of their habits is a row, and every upload has to succeed nevertheless."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.push import Push
from tritonbuild.oci.registry import Registries
from tritonbuild.oci.repository import RegistryRepository
from tritonbuild.oci.transport import UnavailableError
from tritonbuild.reference import parse_reference

CONTENT = bytes(range(256)) * 4096
BLOB = Descriptor(media_type="", digest=f"sha256:{hashlib.sha256(CONTENT).hexdigest()}", size=len(CONTENT))
MANIFEST = b'{"schemaVersion": 2}'
LOGIN = "Basic bWU6c2VjcmV0"

Answer = tuple[int, dict[str, str], bytes]
Habit = Callable[["Odd", str, str, dict[str, str]], "Answer | None"]


@attrs.define(eq=False)
class Odd:
    """A registry with one habit, which answers instead of the usual code where it returns an answer."""

    habit: Habit | None = None
    host: str = ""
    elsewhere: str = ""
    blobs: dict[str, bytes] = attrs.field(factory=dict)
    manifests: dict[str, bytes] = attrs.field(factory=dict)
    locks: bool = False
    """Whether no other request is answered while the body of one is read, as in go-containerregistry's registry."""
    lock: Any = attrs.field(factory=threading.Lock)
    log: list[tuple[str, str, str]] = attrs.field(factory=list)
    """Method, host and path, `Authorization` of each request."""

    def repository(self, folder: Path, name: str = "out/x", **settings: Any) -> RegistryRepository:
        login = folder / "auth.json"
        login.write_text(json.dumps({"auths": {self.host: {"username": "me", "password": "secret"}}}))
        options = {"credential_files": (login,), "tries": 2, **settings}
        return Registries(TransportSettings(**options)).target(parse_reference(f"{self.host}/{name}:1"))


def _handler(odd: Odd) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a class made for one registry
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def do(self) -> None:
            with contextlib.suppress(OSError):  # a client that has seen enough
                self.handle_any()

        def handle_any(self) -> None:
            with odd.lock if odd.locks and self.command != "HEAD" else contextlib.nullcontext():
                body = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            host = self.headers["Host"]
            odd.log.append((self.command, f"{host}{self.path}", self.headers.get("Authorization", "")))
            headers = {name.lower(): value for name, value in self.headers.items()}
            answer = odd.habit(odd, self.command, self.path, headers) if odd.habit else None
            status, fields, content = answer or self.usual(body)
            self.send_response(status)
            for name, value in {"Content-Length": str(len(content)), **fields}.items():
                self.send_header(name, value)
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def usual(self, body: bytes) -> Answer:
            path, _, query = self.path.partition("?")
            last = path.rpartition("/")[2]
            if self.command == "POST":
                return 202, {"Location": f"{path.rstrip('/')}/session"}, b""
            if self.command == "PUT" and "/manifests/" in path:
                odd.manifests[last] = body
                return 201, {}, b""
            if self.command == "PUT":
                odd.blobs[query.partition("digest=")[2].replace("%3A", ":")] = body
                return 201, {}, b""
            if self.command == "DELETE" or path == "/v2/":
                return 200, {}, b""
            content = odd.blobs.get(last, odd.manifests.get(last))
            return (404, {}, b"") if content is None else (200, {}, content)

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = do  # noqa: N815

    return Handler


@pytest.fixture
def odd() -> Iterator[Odd]:
    state = Odd()
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.host = f"localhost:{server.server_address[1]}"
    state.elsewhere = f"127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


def is_mount(method: str, path: str) -> bool:
    return method == "POST" and "mount=" in path


def mount_answer(status: int) -> Habit:
    return lambda _odd, method, path, _headers: (status, {}, b"") if is_mount(method, path) else None


def head_answer(status: int) -> Habit:
    return lambda _odd, method, _path, _headers: (status, {}, b"") if method == "HEAD" else None


def redirect(method: str, status: int) -> Habit:
    def habit(odd: Odd, asked: str, path: str, _headers: dict[str, str]) -> Answer | None:
        if asked != method or "moved" in path:
            return None
        start, _, query = path.partition("?")
        target = f"{start}?moved&{query}"
        return status, {"Location": target}, b""

    return habit


def relative_location(_odd: Odd, method: str, _path: str, _headers: dict[str, str]) -> Answer | None:
    return (202, {"Location": "session"}, b"") if method == "POST" else None


def stored(status: int) -> Habit:
    def habit(odd: Odd, method: str, path: str, _headers: dict[str, str]) -> Answer | None:
        return (status, {}, b"") if method == "PUT" and "/manifests/" in path else None

    return habit


def challenged(*challenges: str) -> Habit:
    """Return a habit of requests without a token or the login: these challenges; the service gives the token `t`."""

    def habit(odd: Odd, method: str, path: str, headers: dict[str, str]) -> Answer | None:
        given = headers.get("authorization", "")
        if path.startswith("/moved-token"):
            return 200, {}, b'{"access_token": "t"}'
        if path.startswith("/token"):
            if "joint" in challenges and path.count("scope=") > 1:
                return 403, {}, b""
            if "moves" in challenges:
                return 307, {"Location": path.replace("/token", "/moved-token")}, b""
            return (200, {}, b'{"token": "t"}') if given == LOGIN else (401, {}, b"")
        if given == "Bearer t" or (given == LOGIN and "basic-allowed" in challenges):
            return None
        shown = ", ".join(one for one in challenges if " " in one).replace("HOST", odd.host)
        return 401, {"WWW-Authenticate": shown}, b""

    return habit


BEARER = 'Bearer realm="http://HOST/token",service="s"'

HABITS: dict[str, Habit] = {
    **{f"a mount answered {status}": mount_answer(status) for status in (202, 400, 401, 403, 404, 405, 500)},
    **{f"HEAD answered {status}": head_answer(status) for status in (401, 403, 405, 500, 501)},
    **{
        f"a {method} answered {status}": redirect(method, status)
        for method in ("POST", "PUT")
        for status in (301, 307, 308)
    },
    **{f"a manifest answered {status}": stored(status) for status in (200, 202, 204)},
    "a location relative to the request": relative_location,
    "a token": challenged(BEARER),
    "a realm in capitals": challenged('BEARER Realm="HTTP://HOST/token"'),
    "a realm without a host": challenged('Bearer realm="/token"'),
    "Basic before Bearer": challenged('Basic realm="x"', BEARER),
    "Bearer without success, then Basic": challenged(
        'Bearer realm="http://HOST/none"', 'Basic realm="x"', "basic-allowed"
    ),
    "a token service that refuses two scopes": challenged(BEARER, "joint"),
    "a token service that redirects": challenged(BEARER, "moves"),
}


@pytest.mark.parametrize("name", HABITS)
def test_an_upload_succeeds(name: str, odd: Odd, tmp_path: Path) -> None:
    odd.habit = HABITS[name]
    push = Push(odd.repository(tmp_path))
    push.check()
    source = parse_reference(f"{odd.host}/src/x:1") if "mount" in name or "scopes" in name else None
    assert push.store(BLOB, lambda: iter([CONTENT]), source=source) == len(CONTENT)
    assert odd.blobs == {BLOB.digest: CONTENT}
    push.repository.put_manifest("1", "application/json", MANIFEST)


def test_no_login_for_the_server_that_the_location_names(odd: Odd, tmp_path: Path) -> None:
    def habit(state: Odd, method: str, path: str, headers: dict[str, str]) -> Answer | None:
        if headers["host"] == state.elsewhere:
            return None
        if headers.get("authorization") != LOGIN:
            return 401, {"WWW-Authenticate": 'Basic realm="x"'}, b""
        if method == "POST":
            return 202, {"Location": f"http://{state.elsewhere}/v2/uploads/session"}, b""
        return None

    odd.habit = habit
    assert Push(odd.repository(tmp_path)).store(BLOB, lambda: iter([CONTENT])) == len(CONTENT)
    assert odd.blobs == {BLOB.digest: CONTENT}
    given = {authorization for _, url, authorization in odd.log if url.startswith(odd.elsewhere)}
    assert given == {""}
    assert LOGIN in {authorization for _, url, authorization in odd.log if url.startswith(odd.host)}


def test_a_content_encoding_is_undone(odd: Odd, tmp_path: Path) -> None:
    def habit(state: Odd, method: str, path: str, headers: dict[str, str]) -> Answer | None:
        if method != "GET" or "/blobs/" not in path:
            return None
        packed, status = gzip.compress(CONTENT), 200
        if "range" in headers:
            packed, status = packed[10:20], 206
        return status, {"Content-Encoding": "gzip"}, packed

    odd.habit = habit
    repository = odd.repository(tmp_path)
    assert b"".join(repository.read(BLOB, 0, BLOB.size)) == CONTENT
    assert b"".join(repository.read(BLOB, 1000, 5000)) == CONTENT[1000:5000]


ENDLESS = {
    "a manifest": (200, "it has more than"),
    "an error body": (404, "404 Not Found"),
}


@pytest.mark.parametrize("name", ENDLESS)
def test_bodies_without_end(name: str, odd: Odd, tmp_path: Path) -> None:
    status, message = ENDLESS[name]
    odd.habit = lambda _odd, method, path, _headers: (
        (status, {"Content-Length": str(1 << 40)}, bytes(20 << 20)) if "/manifests/" in path else None
    )
    with pytest.raises(Exception, match=message):
        odd.repository(tmp_path).manifest("1")


TOKENS = [b"[]", b'{"token": 5}', b'{"token": ""}', b"{}", b"<html>", b"[" * 100_000, b'{"token": "a\\r\\nb"}']


@pytest.mark.parametrize("answer", TOKENS, ids=range(len(TOKENS)))
def test_damaged_tokens(answer: bytes, odd: Odd, tmp_path: Path) -> None:
    def habit(state: Odd, method: str, path: str, headers: dict[str, str]) -> Answer | None:
        if path.startswith("/token"):
            return 200, {}, answer
        return 401, {"WWW-Authenticate": BEARER.replace("HOST", state.host)}, b""

    odd.habit = habit
    with pytest.raises(UnavailableError, match=f"the answer of the token service {odd.host} is damaged"):
        odd.repository(tmp_path).manifest("1")


def test_a_wait_is_reported(odd: Odd, tmp_path: Path) -> None:
    released = threading.Event()

    def habit(state: Odd, method: str, path: str, headers: dict[str, str]) -> Answer | None:
        if "/manifests/" in path:
            released.wait(60)
        return None

    odd.habit = habit
    odd.manifests["1"] = MANIFEST
    lines: list[str] = []

    def report(line: str) -> None:
        lines.append(line)
        released.set()

    odd.repository(tmp_path, patience=0.2, report=report).manifest("1")
    assert lines[0].startswith(f"waiting for {odd.host}: no byte for ")
    assert lines[0].endswith(f"(fetch the manifest out/x:1 from {odd.host})")


def test_a_refused_connection_is_reported_and_soon_final(tmp_path: Path) -> None:
    state = Odd(host="localhost:1")
    lines: list[str] = []
    started = time.monotonic()
    with pytest.raises(UnavailableError, match=r"cannot begin an upload to localhost:1/out/x: .*refused"):
        Push(state.repository(tmp_path, tries=6, report=lines.append)).check()
    assert time.monotonic() - started < 20
    assert len(lines) == 2
    assert all("trying again in" in line for line in lines)


def test_a_registry_that_is_source_and_target_and_locks_itself(odd: Odd, tmp_path: Path) -> None:
    odd.locks, odd.habit, odd.blobs[BLOB.digest] = True, mount_answer(202), CONTENT
    source = odd.repository(tmp_path, "src/x")
    push = Push(odd.repository(tmp_path))
    moved: list[int] = []

    def store() -> None:
        reference = parse_reference(f"{odd.host}/src/x:1")
        moved.append(push.store(BLOB, lambda: source.read(BLOB, 0, BLOB.size), source=reference))

    thread = threading.Thread(target=store, daemon=True)
    thread.start()
    thread.join(30)
    assert moved == [BLOB.size]


def test_a_target_that_refuses_uploads_ends_the_build_before_the_sources_are_read(
    bench: Bench, odd: Odd, tmp_path: Path
) -> None:
    odd.habit = lambda _odd, method, _path, _headers: (
        (403, {}, b'{"errors":[{"code":"DENIED"}]}') if method == "POST" else None
    )
    request = tiny.request("nosuch.invalid/full:1", "nosuch.invalid/base:1", "a")
    done = bench.run(request, f"--tag={odd.host}/out/x:1", "--push")
    assert done.code == 1
    error, hint = done.err.splitlines()
    assert error == f"error: cannot begin an upload to {odd.host}/out/x: 403 Forbidden: DENIED"
    assert hint == f"hint: log in with `podman login {odd.host}` or `docker login {odd.host}`"


def test_a_missing_helper_does_not_end_the_build_of_a_public_image(odd: Odd, tmp_path: Path) -> None:
    login = tmp_path / "config.json"
    login.write_text('{"credsStore": "nosuch"}')
    odd.manifests["1"] = MANIFEST
    public = odd.repository(tmp_path, credential_files=(login,))
    assert public.manifest("1")[1] == MANIFEST
    odd.habit = challenged(BEARER)
    with pytest.raises(UnavailableError, match=r"cannot fetch the manifest out/x:1 from .* refuses: 401") as caught:
        odd.repository(tmp_path, credential_files=(login,)).manifest("1")
    assert caught.value.hint.startswith("the credential helper docker-credential-nosuch is not installed; log in with ")
