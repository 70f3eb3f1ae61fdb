"""Real registries: TLS, passwords, tokens, mirrors, images for several platforms."""

from __future__ import annotations

import base64
import contextlib
import hashlib
import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import attrs
import pytest

from tests import services
from tests.replica import oci
from tests.tiny import images as tiny
from tests.tiny.bench import Bench
from tests.tiny.proxy import Proxy
from tritonbuild.embedded.request import Request
from tritonbuild.oci.descriptors import Descriptor
from tritonbuild.oci.files import chunks
from tritonbuild.oci.http.settings import TransportSettings
from tritonbuild.oci.layouts import LayoutTarget
from tritonbuild.oci.registry import Registries
from tritonbuild.reference import parse_reference

pytestmark = pytest.mark.integration

ANYWHERE = "0.0.0.0"
"""Leads to this machine, and is no loopback address: talked to as any other host is."""

PASSWORDS = "me:$2b$04$zhEXBsROJGWu0XEjGhSlhORyQGnjv9i.vpXhorD9IrBBx1yb0HYQi\n"
"""The password is `secret`."""


def wanted(host: str, *names: str) -> Request:
    return tiny.request(f"{host}/src/{tiny.FULL}", f"{host}/src/{tiny.BASE}", *(names or ("a",)))


def fill(host: str, layout: Path, **settings: Any) -> None:
    """Push the small images, by the client that is tested."""
    registries = Registries(TransportSettings(**settings))
    for name, digest in tiny.digests(layout).items():
        repository = registries.target(parse_reference(f"{host}/src/{name}"))
        manifest = oci.read_json(layout, digest)
        for document in (manifest["config"], *manifest["layers"]):
            path = layout / "blobs" / document["digest"].replace(":", "/")
            blob = Descriptor(media_type="", digest=document["digest"], size=document["size"])
            if not repository.has(blob.digest):
                repository.upload(blob, path.read_bytes)
        path = layout / "blobs" / digest.replace(":", "/")
        repository.put_manifest(name.rpartition(":")[2], oci.MANIFEST_TYPE, b"".join(chunks(path)))


@contextlib.contextmanager
def started(folder: Path, **options: Any) -> Iterator[services.Registry]:
    with contextlib.ExitStack() as stack:
        try:
            found = stack.enter_context(services.registry(folder, **options))
        except services.MissingProgramError as error:
            pytest.skip(str(error))
        yield found


# --- TLS ---


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> services.Certificate:
    try:
        return services.certificate(tmp_path_factory.mktemp("ca") / "ca", "DNS:localhost", f"IP:{ANYWHERE}")
    except services.MissingProgramError as error:
        pytest.skip(str(error))


@pytest.fixture(scope="module")
def secure(
    certificate: services.Certificate, tiny_layout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A registry with TLS, by a name that is no loopback's."""
    with started(tmp_path_factory.mktemp("secure") / "root", tls=certificate, name=ANYWHERE) as found:
        fill(found.host, tiny_layout, ca_file=str(certificate.authority))
        yield found.host


def test_tls(bench: Bench, secure: str, certificate: services.Certificate) -> None:
    done = bench.run(wanted(secure), f"--tag={secure}/out/x:1", "--push", f"--ca-file={certificate.authority}")
    assert done.code == 0, done.err


def test_a_certificate_of_an_unknown_authority(bench: Bench, secure: str, tmp_path: Path) -> None:
    other = services.certificate(tmp_path / "other", "DNS:localhost")
    for options in ([], [f"--ca-file={other.authority}"]):
        done = bench.run(wanted(secure), f"--output=type=oci-layout,dest={tmp_path / 'out'}", *options)
        assert done.code == 1
        error, hint = done.err.splitlines()[-2:]
        assert error.startswith("error: cannot fetch the manifest src/tiny:")
        assert "certificate verify failed" in error
        assert hint == "hint: name its authority's certificate with ca_file, or the registry with insecure_registry"


def test_a_file_of_certificates_that_is_none(bench: Bench, secure: str, tmp_path: Path) -> None:
    (tmp_path / "empty").write_text("nothing")
    for name in ("empty", "nosuch"):
        done = bench.run(wanted(secure), f"--ca-file={tmp_path / name}", f"--tag={secure}/out/x:2", "--push")
        assert (done.code, done.err.count("\n")) == (2, 2), done.err
        assert f"error: {str(tmp_path / name)!r} holds no certificates" in done.err


def test_not_verified_where_the_user_says_so(bench: Bench, secure: str) -> None:
    done = bench.run(wanted(secure), f"--tag={secure}/out/x:3", "--push", f"--insecure-registry={secure}")
    assert done.code == 0, done.err


def test_tls_on_a_loopback_address(bench: Bench, secure: str) -> None:
    host = secure.replace(ANYWHERE, "localhost")
    done = bench.run(wanted(host), f"--tag={host}/out/x:4", "--push")
    assert done.code == 0, done.err


def test_no_tls_where_it_has_to_be(bench: Bench, upstream: str) -> None:
    host = upstream.replace("localhost", ANYWHERE)
    done = bench.run(wanted(host), f"--output=type=oci-layout,dest={bench.folder / 'out'}", "--retry=1")
    assert done.code == 1
    assert done.err.splitlines()[-1] == "hint: if it has no TLS, name it with insecure_registry"
    done = bench.run(wanted(host), f"--tag={host}/out/x:1", "--push", f"--insecure-registry={host}")
    assert done.code == 0, done.err


CERTIFICATES = {
    "containers": (("ca.crt", "client.cert", "client.key"), ""),
    "docker": (("ca.crt", "client.cert", "client.key"), ""),
    "no client certificate": (("ca.crt",), "bad certificate|certificate required"),
    "no authority": (("client.cert", "client.key"), "certificate verify failed"),
    "no key": (("ca.crt", "client.cert"), "hold no client certificate and its key"),
    "a key of another certificate": (("ca.crt", "client.cert", "other.key"), "hold no client certificate and its key"),
}


@pytest.fixture(scope="module")
def client(tmp_path_factory: pytest.TempPathFactory, certificate: services.Certificate) -> services.Certificate:
    return services.certificate(tmp_path_factory.mktemp("client") / "client", "DNS:client")


@pytest.fixture(scope="module")
def mutual(
    certificate: services.Certificate, client: services.Certificate, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A registry that takes only clients with a certificate."""
    root = tmp_path_factory.mktemp("mutual") / "root"
    with started(root, tls=certificate, clients=client, name=ANYWHERE) as found:
        yield found.host


@pytest.mark.parametrize("name", CERTIFICATES)
def test_certificates_of_certs_d(
    name: str,
    bench: Bench,
    *,
    mutual: str,
    client: services.Certificate,
    certificate: services.Certificate,
    tiny_layout: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    names, problem = CERTIFICATES[name]
    files = {"ca.crt": certificate.authority, "client.cert": client.certificate, "client.key": client.key}
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    folder = tmp_path / ("docker" if name == "docker" else "containers") / "certs.d" / mutual
    folder.mkdir(parents=True)
    for file in names:
        target = "client.key" if file == "other.key" else file
        (folder / target).write_bytes(files.get(file, certificate.key).read_bytes())
    if not problem:
        fill(mutual, tiny_layout)
    done = bench.run(wanted(mutual), f"--tag={mutual}/out/x:1", "--push", "--retry=2")
    if not problem:
        assert done.code == 0, done.err
        return
    assert done.code == (2 if "key" in name else 1), done.err
    error, hint = done.err.splitlines()[-2:]
    assert re.search(problem, error), error
    is_about_clients = hint.startswith("hint: put a client certificate and its key into ")
    assert is_about_clients == (name == "no client certificate")


# --- passwords and tokens ---


@pytest.fixture(scope="module")
def locked(
    certificate: services.Certificate, tiny_layout: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[str]:
    """A registry with TLS that asks for a password."""
    folder = tmp_path_factory.mktemp("locked")
    login = folder / "auth.json"
    with started(folder / "root", tls=certificate, passwords=PASSWORDS, name=ANYWHERE) as found:
        login.write_text(json.dumps({"auths": {found.host: {"username": "me", "password": "secret"}}}))
        fill(found.host, tiny_layout, ca_file=str(certificate.authority), credential_files=(login,))
        yield found.host


def encoded(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def test_a_password(bench: Bench, locked: str, certificate: services.Certificate) -> None:
    login = bench.folder / "auth.json"
    options = (f"--tag={locked}/out/x:1", "--push", f"--ca-file={certificate.authority}", f"--authfile={login}")
    for password, code in (("wrong", 1), ("secret", 0)):
        login.write_text(json.dumps({"auths": {locked: {"auth": encoded(f"me:{password}")}}}))
        done = bench.run(wanted(locked), *options)
        assert done.code == code, done.err
        assert code == 0 or f"hint: log in with `podman login {locked}`" in done.err
        assert "wrong" not in done.err


@pytest.mark.parametrize("file", ["docker", "podman"])
def test_a_credential_helper(
    file: str, bench: Bench, locked: str, certificate: services.Certificate, fake_program: Callable[[str, str], Path]
) -> None:
    """The program that docker's or podman's own file names, found on PATH."""
    answer = json.dumps({"Username": "me", "Secret": "secret"})
    script = f"read -r server; [ \"$server\" = {locked} ] && printf %s '{answer}'"
    calls = fake_program("docker-credential-vault", script)
    home = bench.folder / "home"
    path = home / (".docker/config.json" if file == "docker" else ".config/containers/auth.json")
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"credHelpers": {locked: "vault"}}))
    env = {"HOME": str(home), "XDG_CONFIG_HOME": "", "XDG_RUNTIME_DIR": "", "REGISTRY_AUTH_FILE": ""}
    options = (f"--tag={locked}/helper/{file}:1", "--push", f"--ca-file={certificate.authority}")
    done = bench.run(wanted(locked), *options, env=env)
    assert done.code == 0, done.err
    assert set(calls.read_text().splitlines()) == {"get"}


@pytest.mark.parametrize("token", ["refresh", "stale"])
def test_an_identity_token(token: str, bench: Bench, faulty: Proxy) -> None:
    """It is given to the token service, which gives access tokens for it."""
    faulty.scheme, faulty.identity = "bearer", "refresh"
    login = bench.folder / "auth.json"
    login.write_text(json.dumps({"auths": {faulty.host: {"identitytoken": token}}}))
    options = (f"--tag={faulty.host}/identity/{token}:1", "--push", f"--authfile={login}", "--retry=2")
    done = bench.run(wanted(faulty.host), *options)
    assert done.code == (0 if token == "refresh" else 1), done.err
    assert "stale" not in done.err.replace("identity/stale", "")
    if token == "refresh":
        assert ["repository:identity/refresh:pull,push", "repository:src/tiny:pull"] in faulty.asked
    else:
        assert f"hint: log in with `podman login {faulty.host}`" in done.err


# --- mirrors ---


def test_a_mirror_is_asked_first(bench: Bench, faulty: Proxy, tmp_path: Path) -> None:
    request = tiny.request(f"nosuch.example/src/{tiny.FULL}", f"nosuch.example/src/{tiny.BASE}", "a")
    out = f"--output=type=oci-layout,dest={tmp_path / 'out'}"
    done = bench.run(request, f"--mirror=nosuch.example={faulty.host}", out)
    assert done.code == 0, done.err
    assert any("/v2/src/tiny/blobs/" in path for _, path, _ in faulty.log)
    # What the image says of its base is not where it was read.
    labels = oci.read_json(tmp_path / "out", oci.read_json(tmp_path / "out", done.digest)["config"]["digest"])
    assert labels["config"]["Labels"]["org.opencontainers.image.base.name"] == f"nosuch.example/src/{tiny.BASE}"


def test_what_a_mirror_lacks_comes_from_the_registry(bench: Bench, faulty: Proxy, tmp_path: Path) -> None:
    out = f"--output=type=oci-layout,dest={tmp_path / 'out'}"
    done = bench.run(wanted(faulty.host), f"--mirror={faulty.host}={faulty.host}/not/there", out, "--retry=1")
    assert done.code == 0, done.err
    asked = [path for _, path, _ in faulty.log]
    assert any(path.startswith("/v2/not/there/src/tiny/manifests/") for path in asked)
    assert any(path.startswith("/v2/src/tiny/manifests/") for path in asked)


# --- platforms ---


def with_index(layout: Path, folder: Path) -> dict[str, dict[str, str]]:
    """Add to *layout* an arm64 image beside each, and an index of both by the name `many`; return digests by name.

    Its files are those of the other: nothing of them is run.
    """
    layout.mkdir()
    for path in folder.rglob("*"):
        if path.is_file():
            target = layout / path.relative_to(folder)
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_bytes(path.read_bytes())
    found: dict[str, dict[str, str]] = {}
    named = []
    for name, digest in tiny.digests(layout).items():
        arm = tiny.for_platform(layout, digest, architecture="arm64", variant="v8")
        size = (layout / "blobs" / digest.replace(":", "/")).stat().st_size
        amd = {"mediaType": oci.MANIFEST_TYPE, "digest": digest, "size": size}
        entries = [
            arm,
            {**amd, "platform": {"os": "linux", "architecture": "amd64"}},
            {**amd, "platform": {"os": "unknown", "architecture": "unknown"}},
        ]
        index = oci.put(layout, {"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": entries}, oci.INDEX_TYPE)
        named.append({**index, "annotations": {oci.REFERENCE: name}})
        found[name] = {"linux/arm64": arm["digest"], "linux/amd64": digest}
    document = {"schemaVersion": 2, "mediaType": oci.INDEX_TYPE, "manifests": named}
    (layout / "index.json").write_bytes(oci.to_json(document))
    return found


@pytest.fixture
def many(tmp_path: Path, tiny_layout: Path) -> tuple[Path, dict[str, dict[str, str]]]:
    return tmp_path / "many", with_index(tmp_path / "many", tiny_layout)


@pytest.mark.parametrize("platform", ["linux/amd64", "linux/arm64", "linux/arm64/v8"])
def test_the_image_of_a_platform(platform: str, bench: Bench, many: tuple[Path, Any], tmp_path: Path) -> None:
    layout, digests = many
    place = f"oci:{layout}"
    request = attrs.evolve(tiny.request(f"{place}:{tiny.FULL}", f"{place}:{tiny.BASE}", "a"), platform="")
    done = bench.run(request, f"--platform={platform}", f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == 0, done.err
    config = oci.read_json(tmp_path / "out", oci.read_json(tmp_path / "out", done.digest)["config"]["digest"])
    architecture = platform.split("/")[1]
    assert (config["architecture"], config.get("variant", "")) == (
        architecture,
        "v8" if architecture == "arm64" else "",
    )
    base = digests[tiny.BASE][f"linux/{architecture}"]
    assert config["config"]["Labels"]["org.opencontainers.image.base.digest"] == base
    (entry,) = json.loads((tmp_path / "out" / "index.json").read_bytes())["manifests"]
    assert entry["platform"]["architecture"] == architecture


def test_a_platform_that_is_not_there(bench: Bench, many: tuple[Path, Any]) -> None:
    place = f"oci:{many[0]}"
    request = tiny.request(f"{place}:{tiny.FULL}", f"{place}:{tiny.BASE}", "a")
    done = bench.run(request, "--platform=linux/s390x", f"--output=type=oci-layout,dest={bench.folder / 'out'}")
    assert done.code == 2
    error, hint = done.err.splitlines()[-2:]
    assert error.endswith("has no image for linux/s390x")
    assert hint == "hint: its platforms: linux/amd64, linux/arm64"


def test_an_index_in_a_registry(bench: Bench, many: tuple[Path, Any], upstream: str, tmp_path: Path) -> None:
    layout, _ = many
    registries = Registries(TransportSettings())
    for entry in json.loads((layout / "index.json").read_bytes())["manifests"]:
        name = entry["annotations"][oci.REFERENCE]
        repository = registries.target(parse_reference(f"{upstream}/many/{name}"))
        index = oci.read_json(layout, entry["digest"])
        for one in index["manifests"]:
            manifest = oci.read_json(layout, one["digest"])
            for document in (manifest["config"], *manifest["layers"]):
                path = layout / "blobs" / document["digest"].replace(":", "/")
                blob = Descriptor(media_type="", digest=document["digest"], size=document["size"])
                repository.upload(blob, path.read_bytes)
            content = (layout / "blobs" / one["digest"].replace(":", "/")).read_bytes()
            repository.put_manifest(one["digest"], oci.MANIFEST_TYPE, content)
        content = (layout / "blobs" / entry["digest"].replace(":", "/")).read_bytes()
        repository.put_manifest(name.rpartition(":")[2], oci.INDEX_TYPE, content)
    request = tiny.request(f"{upstream}/many/{tiny.FULL}", f"{upstream}/many/{tiny.BASE}", "a")
    digests = set()
    for platform in ("linux/amd64", "linux/arm64"):
        done = bench.run(request, f"--platform={platform}", f"--tag={upstream}/many/out:1", "--push")
        assert done.code == 0, done.err
        digests.add(done.digest)
    assert len(digests) == 2


def test_sources_for_two_platforms(bench: Bench, many: tuple[Path, Any], tmp_path: Path) -> None:
    layout, digests = many
    index = json.loads((layout / "index.json").read_bytes())
    arm = digests[tiny.BASE]["linux/arm64"]
    size = (layout / "blobs" / arm.replace(":", "/")).stat().st_size
    index["manifests"].append({"mediaType": oci.MANIFEST_TYPE, "digest": arm, "size": size})
    (layout / "index.json").write_bytes(oci.to_json(index))
    request = tiny.request(f"oci:{layout}:{tiny.FULL}", f"oci:{layout}@{arm}", "a")
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert done.code == 2
    assert "is for linux/arm64, not for linux/amd64" in done.err


def test_digests_of_indexes_are_verified(bench: Bench, many: tuple[Path, Any], tmp_path: Path) -> None:
    layout, digests = many
    path = layout / "blobs" / digests[tiny.FULL]["linux/amd64"].replace(":", "/")
    path.write_bytes(path.read_bytes().replace(b"schemaVersion", b"schemaversion"))
    assert hashlib.sha256(path.read_bytes()).hexdigest() != path.name
    place = f"oci:{layout}"
    request = tiny.request(f"{place}:{tiny.FULL}", f"{place}:{tiny.BASE}", "a")
    done = bench.run(request, f"--output=type=oci-layout,dest={tmp_path / 'out'}")
    assert (done.code, "is damaged" in done.err) == (1, True)
    assert LayoutTarget(tmp_path / "out")._entries() == ()
