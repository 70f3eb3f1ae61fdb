"""The habits of registries, the rows of docs/registries.md: builds succeed in each, or are refused where they must."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable, Mapping
from typing import Final, TypeAlias

import attrs
import zstandard

from tests.lab import images
from tests.lab.odd import LOGIN, Answer, Habit, OddRegistry, Request, error

Before: TypeAlias = Callable[[OddRegistry, Request], "Answer | None"]
After: TypeAlias = Callable[[OddRegistry, Request, Answer], Answer]
Chosen: TypeAlias = Callable[[Request], bool]

MANIFEST_TYPE: Final = "application/vnd.oci.image.manifest.v1+json"


def is_a(kind: str, *methods: str) -> Chosen:
    """Return whether a request is for an API (`Request.kind`), by one of the methods."""
    return lambda request: request.kind == kind and (not methods or request.method in methods)


def is_mount(request: Request) -> bool:
    return request.is_mount


def is_head(request: Request) -> bool:
    return request.method == "HEAD"


# --- Answers in place of the usual ones ---


def answered(chosen: Chosen, answer: Answer, *, times: int = 1 << 30) -> Before:
    """Return the habit to answer the first *times* of these requests with *answer*."""

    def before(registry: OddRegistry, request: Request) -> Answer | None:
        if not chosen(request) or registry.counts["answered"] >= times:
            return None
        registry.counts["answered"] += 1
        return answer

    return before


def answered_once_each(chosen: Chosen, answer: Answer) -> Before:
    """Return the habit to answer each of these requests with *answer* when it comes for the first time."""

    def before(registry: OddRegistry, request: Request) -> Answer | None:
        key = f"{request.method} {request.path}"
        registry.counts[key] += chosen(request)
        return answer if chosen(request) and registry.counts[key] == 1 else None

    return before


def redirected(chosen: Chosen, status: int, *, elsewhere: bool = False) -> Before:
    def before(registry: OddRegistry, request: Request) -> Answer | None:
        if not chosen(request) or "moved" in request.query:
            return None
        query = "&".join(f"{name}={value}" for name, values in request.query.items() for value in values)
        host = f"http://{registry.elsewhere}" if elsewhere else ""
        return Answer(status=status, headers=(("Location", f"{host}{request.path}?moved=&{query}"),))

    return before


def redirected_for_ever(registry: OddRegistry, request: Request) -> Answer | None:
    registry.counts["redirects"] += 1
    location = f"{request.path}?{registry.counts['redirects']}"
    return Answer(status=307, headers=(("Location", location),)) if request.kind == "blobs" else None


def both(first: Before, second: Before) -> Before:
    return lambda registry, request: first(registry, request) or second(registry, request)


# --- Changes of the usual answers ---


def changed(chosen: Chosen, change: Callable[[OddRegistry, Request, Answer], Answer]) -> After:
    return lambda registry, request, answer: change(registry, request, answer) if chosen(request) else answer


def with_status(chosen: Chosen, status: int) -> After:
    """Return the habit to answer with another status of success."""
    return changed(
        chosen,
        lambda _registry, _request, answer: attrs.evolve(answer, status=status) if answer.status < 300 else answer,
    )


def with_header(chosen: Chosen, name: str, value: str | None) -> After:
    return changed(chosen, lambda _registry, _request, answer: answer.having(name, value))


def with_location(location: Callable[[OddRegistry, str], str]) -> After:
    """Return the habit to write the location of an upload in another way."""

    def change(registry: OddRegistry, _request: Request, answer: Answer) -> Answer:
        found = answer.header("Location")
        return answer.having("Location", location(registry, found)) if answer.status == 202 else answer

    return changed(is_a("uploads"), change)


def with_body(chosen: Chosen, body: Callable[[bytes], bytes]) -> After:
    return changed(chosen, lambda _registry, _request, answer: attrs.evolve(answer, body=body(answer.body)))


def packed(_registry: OddRegistry, request: Request, answer: Answer) -> Answer:
    """Compress an answer with content."""
    if answer.status not in {200, 206} or request.method == "HEAD":
        return answer
    return attrs.evolve(answer, body=gzip.compress(answer.body)).having("Content-Encoding", "gzip")


def without_ranges(registry: OddRegistry, request: Request) -> Answer | None:
    if request.kind != "blobs" or "range" not in request.headers:
        return None
    headers = {name: value for name, value in request.headers.items() if name != "range"}
    return registry.usual(attrs.evolve(request, headers=headers))


def cut_in_half_once(registry: OddRegistry, request: Request, answer: Answer) -> Answer:
    """End the first transfer of each blob in its middle."""
    registry.counts[request.name] += 1
    return attrs.evolve(answer, cut=len(answer.body) // 2) if registry.counts[request.name] == 1 else answer


def lost(registry: OddRegistry, request: Request) -> Answer | None:
    """Forget the content of the first upload."""
    if request.kind != "uploads" or request.method != "PUT" or registry.counts["lost"]:
        return None
    registry.counts["lost"] += 1
    return error(404, "BLOB_UPLOAD_UNKNOWN")


# --- Logins ---


def token_for_login(request: Request) -> Answer:
    if request.authorization != LOGIN:
        return error(401, "UNAUTHORIZED")
    return Answer(body=b'{"token": "t"}')


def token(**document: object) -> Callable[[Request], Answer]:
    return lambda _request: Answer(body=json.dumps(document).encode())


def guarded(
    *challenges: str, service: Callable[[Request], Answer] = token_for_login, taken: tuple[str, ...] = ("Bearer t",)
) -> Before:
    """Return the habit to refuse requests without a token or login.

    Args:
        challenges: The `WWW-Authenticate` headers; URL stands for that of the registry.
        service: Answers at `/token`, the token service.
        taken: The values of `Authorization` that it takes.
    """

    def before(registry: OddRegistry, request: Request) -> Answer | None:
        if request.path == "/token":
            return service(request)
        if request.authorization in taken or request.host == registry.elsewhere:
            return None
        refusal = error(401, "UNAUTHORIZED")
        headers = tuple(("WWW-Authenticate", one.replace("URL", registry.url)) for one in challenges)
        return attrs.evolve(refusal, headers=(*refusal.headers, *headers))

    return before


BEARER: Final = 'Bearer realm="URL/token",service="s"'
BASIC: Final = 'Basic realm="x"'


def refusing_two_scopes(request: Request) -> Answer:
    scopes = [one for text in request.query.get("scope", []) for one in text.split()]
    return error(403, "DENIED") if len(scopes) > 1 else token_for_login(request)


def redirecting(request: Request) -> Answer:
    if "moved" in request.query:
        return Answer(body=b'{"access_token": "t"}')
    return Answer(status=307, headers=(("Location", "/token?moved="),))


def for_identity(*methods: str) -> Callable[[Request], Answer]:
    """Return a token service that takes the identity token `refresh` by one of the methods."""

    def service(request: Request) -> Answer:
        if request.method not in methods:
            return error(404 if request.method == "POST" else 401, "UNSUPPORTED")
        given = b"refresh_token=refresh" in request.body or request.authorization == "Basic PHRva2VuPjpyZWZyZXNo"
        return Answer(body=b'{"token": "t"}') if given else error(401, "UNAUTHORIZED")

    return service


def service_elsewhere(scheme: str) -> Before:
    """Return the habit to name a token service of another host, without TLS."""

    def before(registry: OddRegistry, request: Request) -> Answer | None:
        realm = f'Bearer realm="{scheme}://{registry.elsewhere}/token"'
        return guarded(realm, service=token(token="t"))(registry, request)

    return before


def tokens_for_three_requests(registry: OddRegistry, request: Request) -> Answer | None:
    """Give tokens that the registry takes three times."""
    name = request.authorization.removeprefix("Bearer ")
    if name and request.path != "/token":
        registry.counts[name] += 1
    taken = () if registry.counts[name] > 3 else (f"Bearer {name}",)
    registry.counts["tokens"] += request.path == "/token"
    given = f"t{registry.counts['tokens']}"
    return guarded(BEARER, service=token(token=given), taken=taken)(registry, request)


# --- The table ---

HABITS: Final[Mapping[str, Mapping[str, Habit]]] = {
    "Mounts and searches": {
        "it mounts": Habit(mounts=True),
        **{
            f"a mount is answered {status}": Habit(before=answered(is_mount, error(status)))
            for status in (400, 401, 403, 404, 405, 500)
        },
        "a mount begins an upload": Habit(),
        "a mount is answered 202 without a location": Habit(before=answered(is_mount, Answer(status=202))),
        **{
            f"HEAD is answered {status}": Habit(before=answered(is_head, Answer(status=status)))
            for status in (401, 403, 405, 500, 501)
        },
        "it holds a lock while it reads a body": Habit(locks=True),
    },
    "Uploads": {
        **{
            f"{method} is answered {status} with another location": Habit(
                before=redirected(is_a("uploads", method), status)
            )
            for method in ("POST", "PUT")
            for status in (301, 307, 308)
        },
        "PATCH is answered 307 with another location": Habit(before=redirected(is_a("uploads", "PATCH"), 307)),
        "the location is relative to the request": Habit(after=with_location(lambda _, path: path.rpartition("/")[2])),
        "the location is an absolute URL": Habit(after=with_location(lambda registry, path: registry.url + path)),
        "the location has a query": Habit(after=with_location(lambda _, path: f"{path}?state=a%3D&b")),
        "the location is on another host": Habit(
            login="password",
            before=guarded(BASIC, taken=(LOGIN,)),
            after=with_location(lambda registry, path: f"http://{registry.elsewhere}{path}"),
        ),
        "the location is on another host, without TLS": Habit(
            tls=True,
            login="password",
            before=guarded(BASIC, taken=(LOGIN,)),
            after=with_location(lambda registry, path: f"http://{registry.elsewhere}{path}"),
        ),
        "the location of a registry with TLS is http": Habit(
            tls=True,
            login="password",
            before=guarded(BASIC, taken=(LOGIN,)),
            after=with_location(lambda registry, path: f"http://{registry.host}{path}"),
        ),
        "the location of a chunk is missing": Habit(after=with_header(is_a("uploads", "PATCH"), "Location", None)),
        **{
            f"PATCH is answered {status}": Habit(before=answered(is_a("uploads", "PATCH"), error(status)))
            for status in (404, 405, 416)
        },
        "a blob is stored with 202": Habit(after=with_status(is_a("uploads", "PUT"), 202)),
        "a blob is stored with 204": Habit(after=with_status(is_a("uploads", "PUT"), 204)),
        "the first upload is lost": Habit(before=lost),
        "the cancellation of an upload is answered 405": Habit(before=answered(is_a("uploads", "DELETE"), error(405))),
    },
    "Manifests": {
        **{
            f"a manifest is stored with {status}": Habit(after=with_status(is_a("manifests", "PUT"), status))
            for status in (200, 202, 204)
        },
        "a manifest is redirected with 308 when it is stored": Habit(before=redirected(is_a("manifests", "PUT"), 308)),
        "the content type of a manifest has parameters": Habit(
            after=with_header(is_a("manifests", "GET", "HEAD"), "Content-Type", f"{MANIFEST_TYPE}; charset=utf-8")
        ),
        "the content type of a manifest is missing": Habit(
            after=with_header(is_a("manifests", "GET", "HEAD"), "Content-Type", None)
        ),
        "the content type of a manifest is text/plain": Habit(
            after=with_header(is_a("manifests", "GET", "HEAD"), "Content-Type", "text/plain")
        ),
        "the digest header of a manifest is missing": Habit(
            after=with_header(is_a("manifests"), "Docker-Content-Digest", None)
        ),
        "a manifest has no content length": Habit(
            after=changed(is_a("manifests", "GET"), lambda _r, _q, answer: attrs.evolve(answer, length=False))
        ),
        "HEAD of a manifest is answered 404": Habit(before=answered(is_a("manifests", "HEAD"), Answer(status=404))),
    },
    "Reading": {
        "ranges are ignored": Habit(before=without_ranges),
        "content is compressed": Habit(after=changed(is_a("blobs", "GET"), packed)),
        "manifests are compressed": Habit(after=changed(is_a("manifests", "GET"), packed)),
        "blobs have no content length": Habit(
            after=changed(is_a("blobs", "GET"), lambda _r, _q, answer: attrs.evolve(answer, length=False))
        ),
        "blobs are redirected to another host": Habit(
            login="password",
            before=both(redirected(is_a("blobs", "GET"), 307, elsewhere=True), guarded(BASIC, taken=(LOGIN,))),
        ),
        "transfers of blobs break off": Habit(after=changed(is_a("blobs", "GET"), cut_in_half_once)),
        "it speaks HTTP 1.0": Habit(version="HTTP/1.0"),
        "the base of the API is answered 404": Habit(before=answered(is_a("base"), error(404))),
        "the base of the API is answered 403": Habit(before=answered(is_a("base"), error(403))),
    },
    "Logins and tokens": {
        "a password": Habit(login="password", before=guarded(BASIC, taken=(LOGIN,))),
        "a token": Habit(login="password", before=guarded(BEARER)),
        "a token for anyone": Habit(before=guarded(BEARER, service=token(token="t"))),
        "an access token": Habit(before=guarded(BEARER, service=token(access_token="t", token=""))),
        "a token with odd times": Habit(
            before=guarded(BEARER, service=token(token="t", expires_in=0, issued_at="2020-01-01T00:00:00Z"))
        ),
        "capitals in scheme, parameter and address": Habit(
            login="password", before=guarded('BEARER Realm="URL/token",SERVICE="s"')
        ),
        "blanks around the equals sign": Habit(
            login="password", before=guarded('Bearer realm = "URL/token" , service = "s"')
        ),
        "Basic before Bearer, in one header": Habit(login="password", before=guarded(f"{BASIC}, {BEARER}")),
        "Basic before Bearer, in two headers": Habit(login="password", before=guarded(BASIC, BEARER)),
        "Negotiate before Basic": Habit(login="password", before=guarded("Negotiate", BASIC, taken=(LOGIN,))),
        "Bearer fails, Basic succeeds": Habit(
            login="password", before=guarded(f'Bearer realm="URL/none", {BASIC}', taken=(LOGIN,))
        ),
        "the token service refuses two scopes": Habit(
            login="password", before=guarded(BEARER, service=refusing_two_scopes)
        ),
        "the token service redirects": Habit(before=guarded(BEARER, service=redirecting)),
        "the token service fails once": Habit(
            before=both(
                answered(lambda request: request.path == "/token", error(503), times=1),
                guarded(BEARER, service=token(token="t")),
            )
        ),
        "the address of the token service is a path": Habit(
            login="password", before=guarded('Bearer realm="/token",service="s"')
        ),
        "an identity token, by POST": Habit(login="identity", before=guarded(BEARER, service=for_identity("POST"))),
        "an identity token, by GET": Habit(login="identity", before=guarded(BEARER, service=for_identity("GET"))),
        "tokens are taken three times": Habit(before=tokens_for_three_requests),
        "with TLS, the token service of another host has none": Habit(
            tls=True, login="password", refused=True, before=service_elsewhere("http")
        ),
        "with TLS, the token service of another host has none, and is written HTTP": Habit(
            tls=True, login="password", refused=True, before=service_elsewhere("HTTP")
        ),
        "a challenge of 60,000 letters": Habit(refused=True, before=guarded("a" * 60_000)),
    },
    "Passing failures": {
        "each blob is answered 429 once": Habit(
            before=answered_once_each(is_a("blobs", "GET"), Answer(status=429, headers=(("Retry-After", "1"),)))
        ),
        "each blob is answered 500 once": Habit(before=answered_once_each(is_a("blobs", "GET"), error(500))),
        "each manifest is answered 503 once": Habit(before=answered_once_each(is_a("manifests", "GET"), error(503))),
        "the beginning of an upload is answered 502 once": Habit(
            before=answered(is_a("uploads", "POST"), error(502), times=1)
        ),
        "the end of an upload is answered 500 once": Habit(
            before=answered(is_a("uploads", "PUT"), error(500), times=1)
        ),
        "the new manifest is answered 503 once": Habit(before=answered(is_a("manifests", "PUT"), error(503), times=1)),
    },
    "Images": {
        "an index with other platforms, an attestation and an artifact": Habit(
            images=images.in_index(
                {"platform": images.platform("arm64", "v8")},
                {"platform": images.platform("unknown", os="unknown")},
                {"platform": images.platform("amd64"), "artifactType": "application/vnd.test"},
                {"platform": images.platform("amd64"), "wanted": True},
            )
        ),
        "an index with variants of the processor": Habit(
            images=images.in_index(
                {"platform": images.platform("amd64", "v3")},
                {"platform": images.platform("amd64", "v2")},
                {"platform": images.platform("amd64"), "wanted": True},
            )
        ),
        "an index whose entry has no platform": Habit(images=images.in_index({"wanted": True})),
        "an index with an unknown digest algorithm": Habit(
            images=images.in_index(
                {"digest": "blake3:" + "0" * 64, "size": 2, "platform": images.platform("riscv64")},
                {"platform": images.platform("amd64"), "wanted": True},
            )
        ),
        "sha512 digests": Habit(images=images.changed(images.with_sha512)),
        "a manifest of Docker": Habit(images=images.changed(images.of_docker)),
        "no history": Habit(images=images.with_config(history=None)),
        "layers of zstd": Habit(images=images.packed_by(zstandard.compress, f"{images.LAYER}+zstd")),
        "layers of zstd that begin with a skippable frame": Habit(
            images=images.packed_by(images.skippable_zstd, f"{images.LAYER}+zstd")
        ),
        "layers without compression": Habit(images=images.packed_by(bytes, images.LAYER)),
        "triggers of ONBUILD": Habit(images=images.changed(images.with_triggers)),
        "a diff ID of another layer": Habit(
            refused=True, images=images.with_diff_ids(lambda _digest: "sha256:" + "0" * 64)
        ),
        "a diff ID that is a path": Habit(refused=True, images=images.with_diff_ids(lambda _digest: "../../x")),
    },
    "Damaged answers": {
        "a blob has other content": Habit(
            refused=True, after=with_body(is_a("blobs", "GET"), lambda body: body[:-1] + bytes([body[-1] ^ 1]))
        ),
        "a blob is longer": Habit(refused=True, after=with_body(is_a("blobs", "GET"), lambda body: body + b"x")),
        "a blob is shorter": Habit(refused=True, after=with_body(is_a("blobs", "GET"), lambda body: body[:-1])),
        "a manifest is no JSON": Habit(refused=True, after=with_body(is_a("manifests", "GET"), lambda body: body[1:])),
        "a manifest is a list": Habit(refused=True, after=with_body(is_a("manifests", "GET"), lambda _body: b"[]")),
        "a manifest is nested 100,000 deep": Habit(
            refused=True, after=with_body(is_a("manifests", "GET"), lambda _body: b"[" * 100_000)
        ),
        "a manifest has no end": Habit(refused=True, before=answered(is_a("manifests", "GET"), Answer(endless="body"))),
        "headers have no end": Habit(
            refused=True, before=answered(is_a("manifests", "GET"), Answer(endless="headers"))
        ),
        "an error has no end": Habit(
            refused=True, before=answered(is_a("manifests"), Answer(status=404, endless="body"))
        ),
        "redirects have no end": Habit(refused=True, before=redirected_for_ever),
        "a token is a number": Habit(refused=True, before=guarded(BEARER, service=token(token=5))),
        "a token has a line break": Habit(refused=True, before=guarded(BEARER, service=token(token="t\r\nX: y"))),
        "the answer of the token service is no JSON": Habit(
            refused=True, before=guarded(BEARER, service=lambda _request: Answer(body=b"<html>"))
        ),
        "the location of an upload is no address": Habit(
            refused=True, after=with_location(lambda _registry, _path: "http://[::1")
        ),
        "the location of an upload is missing": Habit(
            refused=True, after=with_header(is_a("uploads", "POST"), "Location", None)
        ),
    },
}
"""Group -> name -> habit."""

ROWS: Final[Mapping[str, Habit]] = {name: habit for group in HABITS.values() for name, habit in group.items()}
