"""A registry in memory that follows the distribution specification, but for the habit it is given."""

from __future__ import annotations

import contextlib
import hashlib
import json
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import parse_qs

import attrs

from tests.replica import oci
from tests.services import Certificate

LOGIN: Final = "Basic bWU6c2VjcmV0"
"""The user `me` with the password `secret`."""

PLAIN_NAME, TLS_NAME, OTHER_NAME = "localhost", "0.0.0.0", "127.0.0.1"
"""Names of this machine; clients take the second for a host that must have TLS."""

MOST_REQUESTS: Final = 1000
"""The requests after which a client is said not to end."""

_ENDLESS: Final = 64 << 20
_BLOCK: Final = b"x" * (1 << 16)


@attrs.frozen(kw_only=True)
class Request:
    """A request that the registry received.

    Attributes:
        host: The `Host` header.
        secure: Whether it came over TLS.
    """

    method: str
    path: str
    query: Mapping[str, list[str]]
    headers: Mapping[str, str]
    host: str
    secure: bool
    body: bytes = attrs.field(repr=False)

    @property
    def authorization(self) -> str:
        return self.headers.get("authorization", "")

    @property
    def kind(self) -> str:
        """The API that the path belongs to: manifests, blobs, uploads, base or other."""
        if self.path == "/v2/":
            return "base"
        for kind in ("manifests", "blobs/uploads", "blobs"):
            if f"/{kind}/" in self.path:
                return kind.rpartition("/")[2]
        return "other"

    @property
    def repository(self) -> str:
        return (
            self.path.removeprefix("/v2/").rpartition("/manifests/")[0]
            or (self.path.removeprefix("/v2/").partition("/blobs/")[0])
        )

    @property
    def name(self) -> str:
        """The last part of the path: a tag, a digest or an upload."""
        return self.path.rpartition("/")[2]

    @property
    def is_mount(self) -> bool:
        return self.method == "POST" and "mount" in self.query


@attrs.frozen(kw_only=True)
class Answer:
    """An answer.

    Attributes:
        status: The status; with 0 the connection ends without an answer.
        cut: Bytes of the body after which the connection ends; -1 for the whole body.
        endless: The part that does not end.
        length: Whether it has a `Content-Length`; otherwise the body is sent in chunks.
    """

    status: int = 200
    headers: tuple[tuple[str, str], ...] = ()
    body: bytes = attrs.field(default=b"", repr=False)
    cut: int = -1
    endless: Literal["", "body", "headers"] = ""
    length: bool = True

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key.lower() == name.lower()), "")

    def having(self, name: str, value: str | None) -> Answer:
        """Return the answer with another value of a header, or without the header."""
        kept = tuple(pair for pair in self.headers if pair[0].lower() != name.lower())
        return attrs.evolve(self, headers=kept if value is None else (*kept, (name, value)))


def error(status: int, code: str = "UNKNOWN", message: str = "") -> Answer:
    """Return an answer with an error body of the specification."""
    body = json.dumps({"errors": [{"code": code, "message": message or code.lower()}]}).encode()
    return Answer(status=status, headers=(("Content-Type", "application/json"),), body=body)


def _no_answer(_registry: OddRegistry, _request: Request) -> Answer | None:
    return None


def _same(_registry: OddRegistry, _request: Request, answer: Answer) -> Answer:
    return answer


def _unchanged(_registry: OddRegistry) -> None:
    pass


@attrs.frozen(kw_only=True)
class Habit:
    """A behavior of a registry.

    Attributes:
        before: Returns an answer in place of the usual one, or None; the request has no effect then.
        after: Returns the answer to send in place of the usual one; the request has its effect.
        mounts: Whether it mounts blobs; otherwise a mount begins an upload, so that clients have to move them.
        locks: Whether no other request is answered while a body is read, as in go-containerregistry's registry.
        tls: Whether the registry has TLS.
        login: The login that the clients have.
        refused: Whether a client has to refuse the answers, because they are damaged or ask for too much.
        images: Changes the source images.
        version: The version of HTTP.
    """

    before: Callable[[OddRegistry, Request], Answer | None] = _no_answer
    after: Callable[[OddRegistry, Request, Answer], Answer] = _same
    mounts: bool = False
    locks: bool = False
    tls: bool = False
    login: Literal["", "password", "identity"] = ""
    refused: bool = False
    images: Callable[[OddRegistry], None] = _unchanged
    version: Literal["HTTP/1.0", "HTTP/1.1"] = "HTTP/1.1"


@attrs.define(eq=False, kw_only=True)
class OddRegistry:
    """The content of a registry, and the requests that it received.

    Attributes:
        host: Its host and port, as in references.
        elsewhere: Another host, without TLS, which is no part of the registry: it must not receive a login.
        counts: Counters for habits.
    """

    habit: Habit
    host: str = ""
    elsewhere: str = ""
    blobs: dict[str, bytes] = attrs.field(factory=dict, repr=False)
    links: set[tuple[str, str]] = attrs.field(factory=set)
    manifests: dict[tuple[str, str], tuple[str, bytes]] = attrs.field(factory=dict, repr=False)
    uploads: dict[str, bytearray] = attrs.field(factory=dict, repr=False)
    requests: list[Request] = attrs.field(factory=list)
    counts: Counter[str] = attrs.field(factory=Counter)
    lock: Any = attrs.field(factory=threading.Lock, repr=False)
    reading: Any = attrs.field(factory=threading.Lock, repr=False)
    certificate: Certificate | None = None

    @property
    def url(self) -> str:
        return f"{'https' if self.certificate else 'http'}://{self.host}"

    def put_blob(self, repository: str, content: bytes, algorithm: str = "sha256") -> str:
        digest = f"{algorithm}:{hashlib.new(algorithm, content).hexdigest()}"
        self.blobs[digest] = content
        self.links.add((repository, digest))
        return digest

    def put_manifest(self, repository: str, reference: str, media_type: str, content: bytes) -> str:
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        for name in {reference, digest}:
            self.manifests[repository, name] = (media_type, content)
        return digest

    def put_layout(self, layout: Path, repository: str) -> None:
        """Add the images of an OCI layout, under the tags of their names."""
        for entry in oci.read_json_file(layout / "index.json")["manifests"]:
            manifest = oci.read_json(layout, entry["digest"])
            for one in (manifest["config"], *manifest["layers"]):
                self.put_blob(repository, (layout / "blobs" / one["digest"].replace(":", "/")).read_bytes())
            tag = entry["annotations"][oci.REFERENCE].rpartition(":")[2]
            content = (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()
            self.put_manifest(repository, tag, oci.MANIFEST_TYPE, content)

    def image(self, repository: str, tag: str) -> dict[str, Any] | None:
        """Return the configuration of a complete image; None if it does not exist, or a part is missing."""
        if (repository, tag) not in self.manifests:
            return None
        manifest = json.loads(self.manifests[repository, tag][1])
        for one in (manifest["config"], *manifest["layers"]):
            if (repository, one["digest"]) not in self.links or len(self.blobs[one["digest"]]) != one["size"]:
                return None
        found: dict[str, Any] = json.loads(self.blobs[manifest["config"]["digest"]])
        return found

    @property
    def is_flooded(self) -> bool:
        return len(self.requests) > MOST_REQUESTS

    def leaks(self) -> list[Request]:
        """Return the requests that carried a login or a token to a server that must not have it."""
        with_login = [one for one in self.requests if one.authorization or b"refresh_token" in one.body]
        return [one for one in with_login if one.host == self.elsewhere or (self.certificate and not one.secure)]

    def usual(self, request: Request) -> Answer:  # noqa: PLR0911 - one line for each request of the specification
        """Answer a request as the specification says."""
        match request.kind, request.method:
            case "base", _:
                return Answer(headers=(("Docker-Distribution-Api-Version", "registry/2.0"),), body=b"{}")
            case "manifests", "GET" | "HEAD":
                return self._manifest(request)
            case "manifests", "PUT":
                return self._new_manifest(request)
            case "blobs", "GET" | "HEAD":
                return self._blob(request)
            case "uploads", "POST":
                return self._begin(request)
            case "uploads", "PATCH" | "PUT" if request.name not in self.uploads:
                return error(404, "BLOB_UPLOAD_UNKNOWN")
            case "uploads", "PATCH":
                self.uploads[request.name] += request.body
                return self._upload(request, request.name)
            case "uploads", "PUT":
                return self._end(request)
            case "uploads", "DELETE":
                self.uploads.pop(request.name, None)
                return Answer(status=204)
        return error(404, "UNSUPPORTED")

    def _manifest(self, request: Request) -> Answer:
        found = self.manifests.get((request.repository, request.name))
        if found is None:
            return error(404, "MANIFEST_UNKNOWN")
        media_type, content = found
        digest = f"sha256:{hashlib.sha256(content).hexdigest()}"
        return Answer(headers=(("Content-Type", media_type), ("Docker-Content-Digest", digest)), body=content)

    def _new_manifest(self, request: Request) -> Answer:
        manifest = json.loads(request.body)
        for one in (manifest["config"], *manifest["layers"]):
            if (request.repository, one["digest"]) not in self.links:
                return error(400, "MANIFEST_BLOB_UNKNOWN", one["digest"])
        digest = self.put_manifest(request.repository, request.name, request.headers["content-type"], request.body)
        location = f"/v2/{request.repository}/manifests/{digest}"
        return Answer(status=201, headers=(("Location", location), ("Docker-Content-Digest", digest)))

    def _blob(self, request: Request) -> Answer:
        if (request.repository, request.name) not in self.links:
            return error(404, "BLOB_UNKNOWN")
        content = self.blobs[request.name]
        headers = (("Content-Type", "application/octet-stream"), ("Docker-Content-Digest", request.name))
        first, dash, last = request.headers.get("range", "").removeprefix("bytes=").partition("-")
        if not dash:
            return Answer(headers=headers, body=content)
        start, stop = int(first), int(last) + 1 if last else len(content)
        content_range = f"bytes {start}-{min(stop, len(content)) - 1}/{len(content)}"
        return Answer(status=206, headers=(*headers, ("Content-Range", content_range)), body=content[start:stop])

    def _begin(self, request: Request) -> Answer:
        if request.is_mount and self.habit.mounts:
            digest = request.query["mount"][0]
            if (request.query.get("from", [""])[0], digest) in self.links:
                self.links.add((request.repository, digest))
                return Answer(status=201, headers=(("Location", f"/v2/{request.repository}/blobs/{digest}"),))
        with self.lock:
            self.counts["uploads"] += 1
            name = f"upload-{self.counts['uploads']}"
        self.uploads[name] = bytearray()
        return self._upload(request, name)

    def _upload(self, request: Request, name: str) -> Answer:
        location = f"/v2/{request.repository}/blobs/uploads/{name}"
        held = max(len(self.uploads[name]) - 1, 0)
        return Answer(status=202, headers=(("Location", location), ("Range", f"0-{held}")))

    def _end(self, request: Request) -> Answer:
        content = bytes(self.uploads[request.name] + request.body)
        algorithm, _, expected = request.query["digest"][0].partition(":")
        if hashlib.new(algorithm, content).hexdigest() != expected:
            return error(400, "DIGEST_INVALID")
        del self.uploads[request.name]
        digest = self.put_blob(request.repository, content, algorithm)
        return Answer(status=201, headers=(("Location", f"/v2/{request.repository}/blobs/{digest}"),))


def _handler(registry: OddRegistry, *, secure: bool) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - one class
    class Handler(BaseHTTPRequestHandler):
        protocol_version = registry.habit.version
        timeout = 120

        def log_message(self, *_: object) -> None:
            pass

        def content(self) -> bytes:
            if self.headers.get("Transfer-Encoding", "").lower() != "chunked":
                return self.rfile.read(int(self.headers.get("Content-Length") or 0))
            found = bytearray()
            while size := int(self.rfile.readline().partition(b";")[0], 16):
                found += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
            return bytes(found)

        def respond(self) -> None:
            locked = registry.habit.locks and self.command != "HEAD"
            with registry.reading if locked else contextlib.nullcontext():
                body = self.content()
            path, _, query = self.path.partition("?")
            request = Request(
                method=self.command,
                path=path,
                query=parse_qs(query, keep_blank_values=True),
                headers={name.lower(): value for name, value in self.headers.items()},
                host=self.headers["Host"],
                secure=secure,
                body=body,
            )
            registry.requests.append(request)
            answer = registry.habit.before(registry, request)
            if answer is None:
                answer = registry.habit.after(registry, request, registry.usual(request))
            self.send(answer)

        def send(self, answer: Answer) -> None:
            if not answer.status:
                self.close_connection = True
                return
            self.send_response(answer.status)
            for name, value in answer.headers:
                self.send_header(name, value)
            chunked = not answer.length and self.protocol_version == "HTTP/1.1"
            if answer.length and answer.endless != "body" and not answer.header("Content-Length"):
                self.send_header("Content-Length", str(len(answer.body)))
            if chunked:
                self.send_header("Transfer-Encoding", "chunked")
            if answer.endless == "headers":
                self.flush_headers()
                self.repeat(b"X-Odd: " + b"x" * 100 + b"\r\n")
            self.end_headers()
            if answer.endless == "body":
                self.repeat(_BLOCK)
            if self.command == "HEAD":
                return
            part = answer.body if answer.cut < 0 else answer.body[: answer.cut]
            if chunked:
                part = b"%x\r\n%b\r\n0\r\n\r\n" % (len(part), part) if part else b"0\r\n\r\n"
            self.wfile.write(part)
            if answer.cut >= 0:
                self.close_connection = True

        def repeat(self, part: bytes) -> None:
            for _ in range(_ENDLESS // len(part)):
                self.wfile.write(part)
            self.close_connection = True

        def handle(self) -> None:
            # A client may close the connection at any time, or begin one without TLS.
            with contextlib.suppress(OSError, ValueError):
                super().handle()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do_DELETE = respond  # noqa: N815

    return Handler


@contextlib.contextmanager
def _serving(registry: OddRegistry, *, certificate: Certificate | None) -> Iterator[int]:
    """Serve *registry* on a free port, which is yielded."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(registry, secure=certificate is not None))
    server.daemon_threads = True
    if certificate is not None:
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(certificate.certificate, certificate.key)
        # The handshake is made by the thread of a connection, so that a client which makes none holds up no other.
        server.socket = context.wrap_socket(server.socket, server_side=True, do_handshake_on_connect=False)
    thread = threading.Thread(target=server.serve_forever, args=(0.02,), daemon=True)
    thread.start()
    try:
        yield server.server_address[1]
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)


@contextlib.contextmanager
def odd_registry(habit: Habit, *, certificate: Certificate | None = None) -> Iterator[OddRegistry]:
    """Run a registry with a habit until the block ends.

    Args:
        habit: The habit.
        certificate: The certificate for `TLS_NAME`; needed by habits with TLS.
    """
    registry = OddRegistry(habit=habit, certificate=certificate if habit.tls else None)
    with contextlib.ExitStack() as stack:
        port = stack.enter_context(_serving(registry, certificate=registry.certificate))
        registry.host = f"{TLS_NAME if habit.tls else PLAIN_NAME}:{port}"
        other = stack.enter_context(_serving(registry, certificate=None)) if habit.tls else port
        registry.elsewhere = f"{OTHER_NAME}:{other}"
        yield registry
