"""Certificates of a private authority, created by openssl."""

from __future__ import annotations

from pathlib import Path

import attrs

from tests.services import programs


@attrs.frozen(kw_only=True)
class Certificate:
    """A server's certificate and key, and the authority's certificate, as files."""

    certificate: Path
    key: Path
    authority: Path


def certificate(folder: Path, *names: str, days: int = 30) -> Certificate:
    """Create an authority in the folder *folder*, and a certificate from it for *names* (`DNS:NAME`, `IP:ADDRESS`).

    Raises:
        MissingProgramError: This machine has no openssl.
    """
    openssl = programs.find("openssl")
    folder.mkdir(parents=True)
    authority, key, request = (folder / name for name in ("authority.pem", "key.pem", "request.pem"))
    new: list[str | Path] = [openssl, "req", "-newkey", "rsa:2048", "-nodes", "-subj", "/CN=tritonbuild test"]
    own: list[str | Path] = ["-x509", "-days", str(days), "-keyout", folder / "authority.key", "-out", authority]
    programs.run([*new, *own])
    programs.run([*new, "-keyout", key, "-out", request])
    made = Certificate(certificate=folder / "certificate.pem", key=key, authority=authority)
    (folder / "names").write_text(f"subjectAltName={','.join(names)}\n")
    words: list[str | Path] = [openssl, "x509", "-req", "-days", str(days), "-in", request, "-out", made.certificate]
    words += ["-CA", authority, "-CAkey", folder / "authority.key", "-CAcreateserial", "-extfile", folder / "names"]
    programs.run(words)
    return made
