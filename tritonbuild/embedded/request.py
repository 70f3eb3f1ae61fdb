"""The request: the image that the embedded engine composes, in plain values; a JSON file carries it to its process."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

import attrs

from tritonbuild import optional_parts
from tritonbuild.errors import InvalidInputError
from tritonbuild.oci.descriptors import to_json
from tritonbuild.optional_parts import AbsentLibraries, OptionalPart
from tritonbuild.rootfs.accounts import Account
from tritonbuild.wellknown import SERVER

SCRATCH: Final = "scratch"
_FORMAT: Final = 1


def _texts(value: Any) -> tuple[str, ...]:
    return tuple(value)


def _optional_texts(value: Any) -> tuple[str, ...] | None:
    return None if value is None else tuple(value)


@attrs.frozen(kw_only=True)
class RequestedComponent:
    """A component of the image.

    Attributes:
        title: Its name in the plan and in the history of the image.
        folder: Its folder in the image.
        opened: Names of libraries (shell patterns) that it opens, whatever parts of it the image has.
        context: Its folder in the build context; empty for the component of *full*.
    """

    title: str
    folder: str
    opened: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    context: str = ""


@attrs.frozen(kw_only=True)
class Addition:
    """A folder or file *context* of the build context that is copied to the path *folder* of the image."""

    title: str
    folder: str
    context: str


def _components(value: Any) -> tuple[RequestedComponent, ...]:
    return tuple(one if isinstance(one, RequestedComponent) else RequestedComponent(**one) for one in value)


def _additions(value: Any) -> tuple[Addition, ...]:
    return tuple(one if isinstance(one, Addition) else Addition(**one) for one in value)


def _parts(value: Any) -> tuple[OptionalPart, ...]:
    return tuple(one if isinstance(one, OptionalPart) else OptionalPart(**one) for one in value)


def _account(value: Any) -> Account:
    return value if isinstance(value, Account) else Account(**value)


@attrs.frozen(kw_only=True)
class Request:
    """The requested image.

    Attributes:
        full: The full image: a reference, or a path on disk (see `oci.images.ON_DISK`).
        base: The base image, in the same forms, or `scratch` for none.
        platform: `os/arch[/variant]`; empty for this machine's.
        core: Files and folders of *full* that are copied, owned by root.
        optional: Files and folders that are copied if *full* has them.
        components: The chosen components.
        parts: The parts of the components, and the libraries, that the image can do without.
        opened: Names of libraries (shell patterns) that the server opens at run time.
        read: Files and folders that are read at run time, brought where *full* has them and the base lacks them.
        read_small: Files and folders of the same kind, brought only where they are small.
        additions: Folders of the build context besides components.
        files: Files and folders of the build context for which the runtime is brought, too.
        programs: Folders with the programs among *additions*, for which the runtime is brought.
        wheels: Wheels in the build context, for the interpreter that the python backend embeds.
        env: Environment variables; `$NAME`, `${NAME}` and `${NAME:+TEXT}` refer to variables of the base.
        environment: Environment variables with literal values; they override all others.
        labels: Labels.
        labels_from_full: Names of labels that are copied from *full*.
        env_from_full: Variable -> `label:NAME` or `env:NAME` of *full*.
        entrypoint: The entrypoint; None keeps the base's.
        workdir: The working directory.
        workdir_user: The user who owns the working directory if it is created; empty for root.
        user: The account that is added.
        run_as: The user of the image's processes; empty keeps the base's.
        cmd: The command; None for no command with an entrypoint, and the base's command without one.
        ports: Exposed ports, added to the base's, as `8000/tcp`.
        volumes: Folders that are volumes, added to the base's.
        stop_signal: The signal that stops the container; empty keeps the base's.
        instructions: The user's instructions that set configuration and run nothing (see `instructions`).
        exclude_libraries: Names of libraries (shell patterns) that are not brought.
        exempt: Names of libraries (shell patterns) that may be missing.
        title: One line that names the image.
    """

    full: str
    base: str
    platform: str = ""
    core: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    optional: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    components: tuple[RequestedComponent, ...] = attrs.field(default=(), converter=_components)
    parts: tuple[OptionalPart, ...] = attrs.field(default=(), converter=_parts)
    opened: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    read: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    read_small: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    additions: tuple[Addition, ...] = attrs.field(default=(), converter=_additions)
    files: tuple[Addition, ...] = attrs.field(default=(), converter=_additions)
    programs: tuple[Addition, ...] = attrs.field(default=(), converter=_additions)
    wheels: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    env: Mapping[str, str] = attrs.field(factory=dict)
    environment: Mapping[str, str] = attrs.field(factory=dict)
    labels: Mapping[str, str] = attrs.field(factory=dict)
    labels_from_full: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    env_from_full: Mapping[str, str] = attrs.field(factory=dict)
    entrypoint: tuple[str, ...] | None = attrs.field(default=None, converter=_optional_texts)
    workdir: str = SERVER
    workdir_user: str = ""
    user: Account = attrs.field(factory=Account, converter=_account)
    run_as: str = ""
    cmd: tuple[str, ...] | None = attrs.field(default=None, converter=_optional_texts)
    ports: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    volumes: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    stop_signal: str = ""
    instructions: str = ""
    exclude_libraries: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    exempt: tuple[str, ...] = attrs.field(default=(), converter=_texts)
    title: str = "Triton Inference Server"

    def opened_by(self, component: RequestedComponent) -> tuple[str, ...]:
        """Return the names of libraries (shell patterns) that a component opens, with its parts that the image has."""
        return (*component.opened, *optional_parts.opened(self.parts, component.folder))

    def absent(self) -> tuple[AbsentLibraries, ...]:
        """Return the libraries that are left out with a part of the image."""
        return optional_parts.absent(
            self.parts, (*self.opened, *(name for one in self.components for name in one.opened))
        )

    def to_json(self) -> bytes:
        """Return the content of the JSON file."""
        return to_json({"format": _FORMAT, **attrs.asdict(self)})


def from_document(document: Mapping[str, Any]) -> Request:
    """Return the request of a document that `Request.to_json` wrote.

    Raises:
        InvalidInputError: The document is not a request.
    """
    values = {name: value for name, value in document.items() if name != "format"}
    names = {field.name for field in attrs.fields(Request)}
    if document.get("format") != _FORMAT or not values.keys() <= names or not {"full", "base"} <= values.keys():
        raise InvalidInputError(
            "the file is not a request of the embedded engine",
            hint="pass the file that tritonbuild writes; the embedded engine does not read Containerfiles",
        )
    try:
        return Request(**values)
    except (TypeError, ValueError) as error:
        raise InvalidInputError(
            f"cannot read the request: {error}", hint="pass the file that tritonbuild writes"
        ) from error
