"""References, registries, platforms: parsed, validated, formatted."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tritonbuild.errors import InvalidInputError
from tritonbuild.reference import Reference, is_digest, parse_platform, parse_reference, parse_registry

DIGEST = "sha256:" + "0a" * 32

WHOLE = [
    ("ubuntu", "docker.io/library/ubuntu:latest"),
    ("ubuntu:22.04", "docker.io/library/ubuntu:22.04"),
    ("docker.io/ubuntu", "docker.io/library/ubuntu:latest"),
    ("index.docker.io/a/b:1", "docker.io/a/b:1"),
    ("me/image", "docker.io/me/image:latest"),
    ("localhost/image", "localhost/image:latest"),
    ("localhost:5000/nvidia/tritonserver:24.10-py3", "localhost:5000/nvidia/tritonserver:24.10-py3"),
    ("nvcr.io/nvidia/tritonserver:24.10-py3", "nvcr.io/nvidia/tritonserver:24.10-py3"),
    (f"nvcr.io/nvidia/tritonserver@{DIGEST}", f"nvcr.io/nvidia/tritonserver@{DIGEST}"),
    (f"nvcr.io/nvidia/tritonserver:24.10-py3@{DIGEST}", f"nvcr.io/nvidia/tritonserver:24.10-py3@{DIGEST}"),
    ("[::1]:5000/a", "[::1]:5000/a:latest"),
    ("Registry/a", "Registry/a:latest"),
]

BROKEN = [
    ("", "'' is not an image reference: the repository is empty"),
    ("Upper", "'Upper' is not an image reference: 'library/Upper' is not a repository"),
    ("a b", "'a b' is not an image reference: 'library/a b' is not a repository"),
    ("a:", "'a:' is not an image reference: '' is not a tag"),
    ("a:b:c", "'a:b:c' is not an image reference: 'b:c' is not a tag"),
    ("a@sha256:12", "'a@sha256:12' is not an image reference: 'sha256:12' is not a digest"),
    ("https://nvcr.io/a", "'https://nvcr.io/a' is not an image reference: 'https:' is not a registry"),
    ("nvcr.io/", "'nvcr.io/' is not an image reference: the repository is empty"),
    ("nvcr.io//a", "'nvcr.io//a' is not an image reference: '/a' is not a repository"),
    ("a\nb", "'a\\nb' is not an image reference: 'library/a\\nb' is not a repository"),
    ("../a", "'../a' is not an image reference: '..' is not a registry"),
    ("a/../b", "'a/../b' is not an image reference: 'a/../b' is not a repository"),
    ("é.io/a", "'é.io/a' is not an image reference: 'é.io' is not a registry"),
]


@pytest.mark.parametrize(("text", "whole"), WHOLE, ids=[text for text, _ in WHOLE])
def test_a_reference_in_full(text: str, whole: str) -> None:
    assert str(parse_reference(text)) == whole
    assert parse_reference(whole) == parse_reference(text)


@pytest.mark.parametrize(("text", "message"), BROKEN, ids=[repr(text) for text, _ in BROKEN])
def test_what_is_no_reference_is_refused(text: str, message: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_reference(text)
    assert str(caught.value) == message
    assert caught.value.hint == "write it as [REGISTRY/]REPOSITORY[:TAG][@sha256:DIGEST]"


@given(st.text(max_size=40))
def test_any_text_is_a_reference_or_refused(text: str) -> None:
    try:
        reference = parse_reference(text)
    except InvalidInputError as error:
        shown = str(error)
    else:
        shown = str(reference)
        assert parse_reference(shown) == reference
        assert not set(shown) & set(" \n\r\t\"'`$\\")
    assert shown.isprintable()


def test_parts_of_a_reference() -> None:
    assert parse_reference(f"localhost:5000/a/b:c@{DIGEST}") == Reference(
        registry="localhost:5000", repository="a/b", tag="c", digest=DIGEST
    )


@pytest.mark.parametrize("text", ["nvcr.io/nvidia", "localhost:5000", "localhost:5000/a/b/"])
def test_a_registry(text: str) -> None:
    assert parse_registry(text) == text.rstrip("/")


@pytest.mark.parametrize("text", ["", "https://nvcr.io", "nvcr.io/Upper", "a b", "nvcr.io/a:b"])
def test_what_is_no_registry_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_registry(text)
    assert str(caught.value) == f"{text!r} is not a registry"


@pytest.mark.parametrize(
    ("text", "platform"),
    [
        ("linux/amd64", "linux/amd64"),
        ("linux/x86_64", "linux/amd64"),
        ("aarch64", "linux/arm64"),
        ("arm64", "linux/arm64"),
        ("linux/arm64/v8", "linux/arm64"),
        ("linux/arm/v7", "linux/arm/v7"),
        ("Linux/AMD64", "linux/amd64"),
    ],
)
def test_a_platform(text: str, platform: str) -> None:
    assert parse_platform(text) == platform


@pytest.mark.parametrize("text", ["", "linux/", "/amd64", "linux/amd64/x", "a/b/c/d", "linux amd64"])
def test_what_is_no_platform_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as caught:
        parse_platform(text)
    assert str(caught.value) == f"{text!r} is not a platform"


def test_a_digest() -> None:
    assert is_digest(DIGEST)
    assert not is_digest(DIGEST.upper())
    assert not is_digest(DIGEST[:-1])
