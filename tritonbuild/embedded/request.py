"""What the embedded engine is asked to compose, in plain values: a file of JSON carries it to the engine's process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from tritonbuild.errors import InvalidInputError
from tritonbuild.oci.descriptors import to_json
from tritonbuild.rootfs.accounts import Account
from tritonbuild.wellknown import SERVER

_FORMAT: Final = 1


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value)


def _optional_texts(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


@attrs.frozen(kw_only=True)
class Component:
    """A component.

    Attributes:
        title: What layers and history call it.
        folder: Its folder.
        opened: Names of libraries (shell patterns) that it opens.
        context: The folder of the build context that takes the place of the one in *full*; empty for that of *full*.
    """

    title: str
    folder: str
    opened: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    context: str = ""


@attrs.frozen(kw_only=True)
class Addition:
    """A folder of the build context that is in the image at the path *folder*, and needs nothing there."""

    title: str
    folder: str
    context: str


def _components(value: Any) -> tuple[Component, ...]:
    return tuple(one if isinstance(one, Component) else Component(**one) for one in value)


def _additions(value: Any) -> tuple[Addition, ...]:
    return tuple(one if isinstance(one, Addition) else Addition(**one) for one in value)


def _account(value: Any) -> Account:
    return value if isinstance(value, Account) else Account(**value)


@attrs.frozen(kw_only=True)
class Request:
    """An image that is wanted.

    Attributes:
        full: The image that has everything: a reference, or a place on disk (see `places`).
        base: The image that the result is made on.
        platform: `os/arch[/variant]`; empty for this machine's.
        core: Files and folders of *full* that come along as they are, owned by root.
        optional: Those that come along where *full* has them.
        components: The chosen components.
        opened: Names of libraries (shell patterns) that the server opens at run time.
        read: Files that are read at run time, where *full* has them.
        additions: What comes out of the build context besides components.
        wheels: Wheels in the build context, for the interpreter that the python backend embeds.
        env: Environment variables; `$NAME`, `${NAME}` and `${NAME:+TEXT}` stand for what the base has.
        environment: Environment variables that are taken as they are, and come after all others.
        labels: Labels; `label:` and `env:` of *full* are in *labels_from_full*.
        labels_from_full: Names of labels that are taken from *full*.
        env_from_full: Variable -> `label:NAME` or `env:NAME` of *full*.
        entrypoint: The entrypoint; None keeps the base's.
        workdir: The working directory.
        user: The account that is added.
        run_as: The user that the image runs as; empty keeps the base's.
        cmd: The command; None for none where there is an entrypoint, else the base's.
        ports: Ports that are exposed besides, as `8000/tcp`.
        volumes: Folders that are volumes besides.
        stop_signal: What ends the server; empty keeps the base's.
        instructions: Instructions of the user's own, of those that say something and run nothing.
        exempt: Names of libraries (shell patterns) that may be missing.
        title: One line that says what the image is.
    """

    full: str
    base: str
    platform: str = ""
    core: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    optional: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    components: tuple[Component, ...] = attrs.field(default=(), converter=_components)
    opened: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    read: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    additions: tuple[Addition, ...] = attrs.field(default=(), converter=_additions)
    wheels: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    env: Mapping[str, str] = attrs.field(factory=dict)
    environment: Mapping[str, str] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    labels_from_full: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    env_from_full: Mapping[str, str] = attrs.field(factory=dict)
    entrypoint: tuple[str, ...] | None = attrs.field(default=None, converter=_optional_texts)
    workdir: str = SERVER
    user: Account = attrs.field(factory=Account, converter=_account)
    run_as: str = ""
    cmd: tuple[str, ...] | None = attrs.field(default=None, converter=_optional_texts)
    ports: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    volumes: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    stop_signal: str = ""
    instructions: str = ""
    exempt: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    title: str = "Triton Inference Server"

    def to_json(self) -> bytes:
        """Return the request as the content of a file."""
        return to_json({"format": _FORMAT, **attrs.asdict(self)})


def from_document(document: Mapping[str, Any]) -> Request:
    """Return the request that `Request.to_json` gave *document* for.

    Raises:
        InvalidInputError: It is none.
    """
    values = {name: value for name, value in document.items() if name != "format"}
    names = {field.name for field in attrs.fields(Request)}
    if document.get("format") != _FORMAT or not values.keys() <= names or not {"full", "base"} <= values.keys():
        raise InvalidInputError(
            "the file is not a request of the embedded engine",
            hint="tritonbuild writes it; the embedded engine does not read Containerfiles",
        )
    try:
        return Request(**values)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(f"the request cannot be read: {error}", hint="tritonbuild writes it") from error
