"""Checks of a composition's fields against each other."""

from __future__ import annotations

from collections.abc import Collection

from tritonbuild.composition.choices import FEATURES, FIRST_WITH_PYTHON
from tritonbuild.errors import InvalidInputError, UnknownNameError


def features(chosen: Collection[str], release: str, runtime: str, images: Collection[str]) -> None:
    """Check the chosen features against the release, the runtime and the names of the user's source images.

    Raises:
        InvalidInputError: A feature is unknown or unavailable.
    """
    for feature in chosen:
        if feature not in FEATURES:
            raise UnknownNameError("feature", feature, FEATURES)
    if "clients" in chosen and runtime == "install":
        raise InvalidInputError(
            "feature 'clients' requires --runtime copy",
            hint="use --runtime copy; install omits the libraries that the clients are linked to",
        )
    if "sdk" in images and "clients" not in chosen:
        raise InvalidInputError("source image 'sdk' requires the feature 'clients'", hint="add --features clients")
    if "python" in chosen and release < FIRST_WITH_PYTHON:
        raise InvalidInputError(
            f"release {release} has no Python packages of the server", hint=f"{FIRST_WITH_PYTHON} is the first"
        )
