"""Triton's model configuration: the schema of `config.pbtxt`, and what such a file says of components.

The format is protobuf's text format, and protobuf reads it. The schema is in `schema.json`: every message, field and
number of `protobuf/model_config.proto` in triton-inference-server/common, for which there is no package of its own.
The tests compare it, field by field, with the one that tritonclient carries.
"""

from __future__ import annotations

import functools
import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import attrs

from tritonbuild.errors import InvalidInputError, one_line

_PACKAGE: Final = "inference"
_HINT: Final = "correct it: the fields are in the server's documentation, model_configuration.md"
_LONGEST: Final = 200
"""Characters of a parser's message that are shown: it can quote a token as long as the file."""

_SINGULAR: Final = 1
_REPEATED: Final = 3
"""The labels of a field, as descriptor.proto numbers them."""


@attrs.frozen(kw_only=True)
class Config:
    """What a model configuration says of the components that the model needs.

    Attributes:
        ensemble: Whether it has `ensemble_scheduling`.
        steps: The models of an ensemble, in the order of its steps.
        agents: The names of its repository agents.
        cached: Whether it has responses cached.
        unknown: A field that the schema does not have: where it stands, and the parser's words. Empty if all are known.
    """

    name: str = ""
    backend: str = ""
    platform: str = ""
    runtime: str = ""
    default_model_filename: str = ""
    ensemble: bool = False
    steps: tuple[str, ...] = ()
    agents: tuple[str, ...] = ()
    cached: bool = False
    unknown: str = ""


def parse(content: bytes, path: str) -> Config:
    """Return what the model configuration *content* says. *path* names it in messages.

    A field that the schema does not have is not an error, since the release that serves may know it: the rest is
    read, and the field is said. (Triton itself refuses a field that its release does not know.) A value of an
    enumeration that the schema does not have is one.

    Raises:
        InvalidInputError: It is not a model configuration: the message holds its path, line and column.
    """
    # protobuf takes longer to import than most commands to run, and only model repositories need it
    from google.protobuf import text_format  # noqa: PLC0415

    text = _decoded(content, path)
    unknown = ""
    try:
        message = text_format.Parse(text, _message_class()())
    except (text_format.ParseError, ValueError, RecursionError) as error:
        place, words = _explained(error, path)
        try:
            message = text_format.Parse(text, _message_class()(), allow_unknown_field=True)
        except RecursionError:
            raise InvalidInputError(f"{path} is nested too deeply for a model configuration", hint=_HINT) from None
        except (text_format.ParseError, ValueError) as other:
            there, why = _explained(other, path)
            if there != path:  # a value that the parser cannot skip has no place: then the field before it is meant
                place, words = there, why
            raise InvalidInputError(f"{place} is not a model configuration: {words}", hint=_HINT) from None
        unknown = f"{place}: {words}"
    return Config(
        name=message.name,
        backend=message.backend,
        platform=message.platform,
        runtime=message.runtime,
        default_model_filename=message.default_model_filename,
        ensemble=message.HasField("ensemble_scheduling"),
        steps=tuple(dict.fromkeys(step.model_name for step in message.ensemble_scheduling.step)),
        agents=tuple(dict.fromkeys(agent.name for agent in message.model_repository_agents.agents)),
        cached=message.response_cache.enable,
        unknown=unknown,
    )


def _decoded(content: bytes, path: str) -> str:
    try:
        return content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line, column = content.count(b"\n", 0, error.start) + 1, error.start - content.rfind(b"\n", 0, error.start)
        place = f"{path}:{line}:{column}"
        raise InvalidInputError(f"{place} is not a model configuration: it is not text in UTF-8", hint=_HINT) from None


def _explained(error: Exception, path: str) -> tuple[str, str]:
    """Return where in *path* the parser stopped, and why, on one line and without its capital and full stop."""
    # what follows the place, in newer versions of protobuf, is the line it stands on
    match = re.match(r"(?:(\d+):(\d+) : )?(?:'.*?': )?(.*)", str(error), re.DOTALL)
    line, column, words = match.groups() if match else (None, None, "")
    words = one_line(words.strip().removesuffix("."))
    if len(words) > _LONGEST:
        words = f"{words[:_LONGEST]}..."
    return (f"{path}:{line}:{column}" if line else path), words[:1].lower() + words[1:]


@functools.cache
def _message_class() -> Any:
    """Return protobuf's class for ModelConfig, in a pool of its own: other packages register the same names."""
    from google.protobuf import descriptor_pool, message_factory  # noqa: PLC0415 - see parse

    pool = descriptor_pool.DescriptorPool()
    pool.Add(file_descriptor())
    return message_factory.GetMessageClass(pool.FindMessageTypeByName(f"{_PACKAGE}.ModelConfig"))


def file_descriptor() -> Any:
    """Return the schema as protobuf's FileDescriptorProto.

    A field's row is `NUMBER [repeated] TYPE [of ONEOF]` or `NUMBER map KEY VALUE`. Enumerations count from 0, and
    messages come after those that they are nested in.
    """
    from google.protobuf import descriptor_pb2  # noqa: PLC0415 - see parse

    table = json.loads(Path(__file__).with_name("schema.json").read_text(encoding="utf-8"))
    proto = descriptor_pb2.FileDescriptorProto(name="model_config.proto", package=_PACKAGE, syntax="proto3")
    made: dict[str, Any] = {"": proto}
    for full, fields in table["messages"].items():
        outer, _, name = full.rpartition(".")
        message = (made[outer].nested_type if outer else proto.message_type).add(name=name)
        made[full] = message
        for field, row in fields.items():
            _add_field(message, full, field, row.split(), table["enums"])
    for full, values in table["enums"].items():
        outer, _, name = full.rpartition(".")
        enum = made[outer].enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    return proto


def _add_field(message: Any, full: str, name: str, row: list[str], enums: Mapping[str, Any]) -> None:
    """Add the field *name* as *row* describes it to *message*, which is called *full*."""
    number, *words = row
    repeated = words[0] in ("map", "repeated")
    field = message.field.add(name=name, number=int(number), label=_REPEATED if repeated else _SINGULAR)
    if words[0] == "map":
        # protobuf's own form of a map: a repeated message of a key and a value, named after the field
        entry = message.nested_type.add(name="".join(word.capitalize() for word in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for place, (part, kind) in enumerate(zip(("key", "value"), words[1:], strict=True), start=1):
            _set_type(entry.field.add(name=part, number=place, label=_SINGULAR), kind, enums)
        _set_type(field, f"{full}.{entry.name}", enums)
        return
    kind, *rest = words[repeated:]
    _set_type(field, kind, enums)
    if rest:
        _, oneof = rest
        declared = [other.name for other in message.oneof_decl]
        if oneof not in declared:
            message.oneof_decl.add(name=oneof)
            declared.append(oneof)
        field.oneof_index = declared.index(oneof)


def _set_type(field: Any, kind: str, enums: Mapping[str, Any]) -> None:
    if kind.islower():
        field.type = field.Type.Value(f"TYPE_{kind.upper()}")
    else:
        field.type = field.TYPE_ENUM if kind in enums else field.TYPE_MESSAGE
        field.type_name = f".{_PACKAGE}.{kind}"
