"""A registry that misbehaves: a proxy in front of a real one, with rules that say what goes wrong, and when."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

import attrs


@attrs.define(kw_only=True)
class Fault:
    """What goes wrong.

    Args:
        when: Whether a request (method, path) is one that goes wrong.
        times: How often; -1 for always.
        status: Answered in place of what the registry would say.
        headers: Of that answer.
        cut: After this part of the content the connection ends.
        alter: This byte of the content is another.
        answer: Takes the registry's answer (status, content), returns another.
    """

    when: Callable[[str, str], bool]
    times: int = 1
    status: int = 0
    headers: dict[str, str] = attrs.field(factory=dict)
    cut: float = -1
    alter: int = -1
    shorten: int = 0
    pass_mount: bool = True


@attrs.define(kw_only=True)
class Proxy:
    """The proxy that runs."""

    host: str = ""
    upstream: str = ""
    faults: list[Fault] = attrs.field(factory=list)
    log: list[tuple[str, str, int]] = attrs.field(factory=list)
    user: str = ""
    password: str = ""
    identity: str = ""
    scheme: str = ""
    token_uses: int = -1
    tokens: dict[str, int] = attrs.field(factory=dict)
    asked: list[list[str]] = attrs.field(factory=list)
    lock: Any = attrs.field(factory=threading.Lock)
    on_request: Callable[[int], None] | None = None
    """Called with the number of each request, before it is answered."""
    requests: int = 0

    def fault(self, method: str, path: str) -> Fault | None:
        with self.lock:
            for fault in self.faults:
                if fault.times and fault.when(method, path):
                    fault.times -= 1
                    return fault
        return None

    def refused(self, header: str) -> bool:
        """Whether a request with that Authorization is not let through."""
        if not self.scheme:
            return False
        if self.scheme == "basic":
            expected = base64.b64encode(f"{self.user}:{self.password}".encode()).decode()
            return header != f"Basic {expected}"
        with self.lock:
            token = header.removeprefix("Bearer ")
            left = self.tokens.get(token, 0)
            if left:
                self.tokens[token] = left - 1
            return not left


def _handler(proxy: Proxy) -> type[BaseHTTPRequestHandler]:  # noqa: C901 - a class made for one proxy
    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def log_message(self, *_: object) -> None:
            pass

        def say(self, status: int, headers: dict[str, str], content: bytes = b"") -> None:
            self.send_response(status)
            for name, value in headers.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(content)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(content)

        def token(self, form: str) -> None:
            asked = parse_qs(form or urlsplit(self.path).query)
            if proxy.identity:
                # OAuth 2, as the token services of registries speak it.
                wanted = {"grant_type": ["refresh_token"], "refresh_token": [proxy.identity], "service": ["here"]}
                refused = self.command != "POST" or any(asked.get(name) != value for name, value in wanted.items())
            else:
                expected = base64.b64encode(f"{proxy.user}:{proxy.password}".encode()).decode()
                refused = self.headers.get("Authorization", "") != f"Basic {expected}"
            if refused:
                self.say(401, {})
                return
            with proxy.lock:
                name = f"token-{len(proxy.tokens)}"
                proxy.tokens[name] = proxy.token_uses
                proxy.asked.append(asked.get("scope", []))
            key = "access_token" if proxy.identity else "token"
            self.say(200, {"Content-Type": "application/json"}, json.dumps({key: name}).encode())

        def handle_any(self) -> None:  # noqa: C901, PLR0915 - one fault after the other
            length = int(self.headers.get("Content-Length") or 0)
            with proxy.lock:
                proxy.requests += 1
                number = proxy.requests
            if proxy.on_request is not None:
                proxy.on_request(number)
            if self.path.startswith("/token"):
                self.token(self.rfile.read(length).decode())
                return
            fault = proxy.fault(self.command, self.path)
            if proxy.refused(self.headers.get("Authorization", "")):
                self.rfile.read(length)
                challenge = (
                    'Basic realm="here"'
                    if proxy.scheme == "basic"
                    else f'Bearer realm="http://{proxy.host}/token",service="here",scope="x"'
                )
                proxy.log.append((self.command, self.path, 401))
                self.say(401, {"WWW-Authenticate": challenge})
                return
            if fault and fault.status:
                self.rfile.read(length)
                proxy.log.append((self.command, self.path, fault.status))
                self.say(fault.status, fault.headers, b'{"errors":[{"code":"X","message":"told to"}]}')
                return
            path = self.path
            if fault and not fault.pass_mount:
                path = path.split("?")[0]
            if fault and fault.cut >= 0 and self.command == "PUT" and length:
                self.rfile.read(int(length * fault.cut))
                proxy.log.append((self.command, self.path, 0))
                self.close_connection = True
                self.connection.close()
                return
            headers = {k: v for k, v in self.headers.items() if k.lower() not in {"authorization", "connection"}}
            body = self.rfile.read(length) if length else None
            with contextlib.closing(http.client.HTTPConnection(proxy.upstream, timeout=60)) as connection:
                connection.request(self.command, path, body, headers)
                answer = connection.getresponse()
                proxy.log.append((self.command, self.path, answer.status))
                content = answer.read()
            self.send_response(answer.status)
            for name, value in answer.getheaders():
                if name.lower() not in {"connection", "transfer-encoding", "content-length"}:
                    self.send_header(name, value)
            size = answer.getheader("Content-Length") if self.command == "HEAD" else str(len(content))
            if fault and fault.alter >= 0 and content:
                place = fault.alter % len(content)
                content = content[:place] + bytes([content[place] ^ 0xFF]) + content[place + 1 :]
            if fault and fault.shorten:
                content = content[: -fault.shorten]
                size = str(len(content))
            self.send_header("Content-Length", size or "0")
            self.end_headers()
            if self.command == "HEAD":
                return
            if fault and fault.cut >= 0:
                self.wfile.write(content[: int(len(content) * fault.cut)])
                self.wfile.flush()
                self.close_connection = True
                self.connection.close()
                return
            self.wfile.write(content)

        def do(self) -> None:
            with contextlib.suppress(OSError, ValueError, http.client.HTTPException):
                self.handle_any()

        do_GET = do_HEAD = do_POST = do_PUT = do_PATCH = do  # noqa: N815

    return Handler


@contextlib.contextmanager
def proxy(upstream: str) -> Iterator[Proxy]:
    """Run a proxy in front of *upstream* (`localhost:PORT`)."""
    state = Proxy(upstream=upstream)
    server = ThreadingHTTPServer(("127.0.0.1", 0), _handler(state))
    server.daemon_threads = True
    state.host = f"localhost:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield state
    finally:
        server.shutdown()
        server.server_close()
        thread.join(30)
