"""Files that OpenSSL, Python and the C library read: the scripts and the embedded engine bring the same."""

from __future__ import annotations

import pytest

from tests.corpus.chroot import Build
from tests.corpus.outcome import Tree
from tests.tiny.elves import Compiler
from tritonbuild.composition import Composition, select
from tritonbuild.composition.choices import READ_FILES, SMALL_FILES

STORE = "usr/share/ca-certificates/mozilla"
BUNDLE = "etc/ssl/certs/ca-certificates.crt"
CERTIFICATES: Tree = {
    BUNDLE: b"both\n",
    "etc/ssl/certs/acme.pem": f"/{STORE}/acme.crt",
    "etc/ssl/certs/0123abcd.0": "acme.pem",
    f"{STORE}/acme.crt": b"one\n",
    f"{STORE}/not chosen.crt": b"two\n",
    "etc/ssl/openssl.cnf": b"[default]\n",
    "etc/ssl/private/key.pem": b"a secret\n",
    "usr/lib/ssl/cert.pem": f"/{BUNDLE}",
    "usr/lib/ssl/certs": "/etc/ssl/certs",
    "usr/lib/ssl/openssl.cnf": "/etc/ssl/openssl.cnf",
    "usr/lib/ssl/private": "/etc/ssl/private",
}
"""Certificates in all forms that ca-certificates writes, a deselected one, and a private key."""
UNUSED = {f"{STORE}/not chosen.crt", "etc/ssl/private/key.pem", "usr/lib/ssl/private"}
LOCALES = "usr/lib/locale/locale-archive"
TREES: dict[str, tuple[Tree, Tree, set[str]]] = {
    "a bare base": ({}, CERTIFICATES, CERTIFICATES.keys() - UNUSED),
    "a base with certificates": (
        {BUNDLE: b"its own\n", "etc/ssl/certs/base.pem": "ca-certificates.crt"},
        CERTIFICATES,
        CERTIFICATES.keys() - UNUSED - {BUNDLE},
    ),
    "a base with the same": (CERTIFICATES, CERTIFICATES, set()),
    "certificates of Red Hat": (
        {},
        {
            "etc/pki/tls/certs/ca-bundle.crt": "/etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "etc/pki/tls/cert.pem": "certs/ca-bundle.crt",
            "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem": b"one\n",
            "etc/ssl/certs": "../pki/tls/certs",
        },
        {
            "etc/pki/tls/certs/ca-bundle.crt",
            "etc/pki/tls/cert.pem",
            "etc/pki/ca-trust/extracted/pem/tls-ca-bundle.pem",
            "etc/ssl/certs",
        },
    ),
    "time zones and types": (
        {"etc/services": b"the base's\n"},
        {
            "etc/localtime": "/usr/share/zoneinfo/Etc/UTC",
            "etc/mime.types": b"image/webp webp\n",
            "etc/services": b"full's\n",
            "usr/share/zoneinfo/Etc/UTC": b"TZif2\n",
            "usr/share/zoneinfo/Universal": "Etc/UTC",
            "usr/share/zoneinfo/posix": ".",
            "usr/share/zoneinfo/gone": "nowhere",
            "usr/share/zoneinfo/an odd\nname": b"TZif2\n",
        },
        {
            "etc/localtime",
            "etc/mime.types",
            *(f"usr/share/zoneinfo/{name}" for name in ("Etc/UTC", "Universal", "posix", "gone", "an odd\nname")),
        },
    ),
    "a few locales": ({"usr/lib/locale/C.utf8/LC_TIME": b"x"}, {LOCALES: bytes(1 << 20)}, {LOCALES}),
    "all locales": ({}, {LOCALES: bytes(3 << 20), f"{LOCALES}-2": bytes((1 << 20) + 1)}, set()),
    "locales that the base has": (
        {LOCALES: bytes(3 << 20)},
        {LOCALES: bytes(4 << 20), f"{LOCALES}-2": bytes(4 << 20)},
        {f"{LOCALES}-2"},
    ),
}


@pytest.mark.parametrize("name", TREES)
def test_both_bring_what_the_base_lacks(name: str, build: Build, compiler: Compiler) -> None:
    base, full, expected = TREES[name]
    server: Tree = {
        "opt/tritonserver/bin/tritonserver": compiler("tritonserver"),
        "opt/tritonserver/lib/libtritonserver.so": compiler("libtritonserver.so"),
    }
    arguments = [*(f"file={path}" for path in READ_FILES), *(f"small={path}" for path in SMALL_FILES)]
    done = build.compose(base, {**server, **full}, arguments)
    added = {path for path in done.files if not path.startswith("opt/")}
    assert added == expected
    assert done.links == {path: target for path, target in full.items() if path in expected and isinstance(target, str)}


def test_each_composition_reads_them() -> None:
    selection = select(Composition(caches=["local"], container_version="24.10"))
    assert {*READ_FILES} <= {*selection.read_files()}
