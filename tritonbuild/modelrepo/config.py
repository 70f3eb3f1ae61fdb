"""Model configurations: the parser of `config.pbtxt`, and the fields that name components.

The format is protobuf's text format, and protobuf parses it. The schema is in `schema.json`: every message, field and
number of `protobuf/model_config.proto` in triton-inference-server/common, which no package of its own contains. The
tests compare it, field by field, with the schema in tritonclient.
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
_HINT: Final = "fix the file: the server's documentation has the fields in model_configuration.md"
_LONGEST: Final = 200
"""The shown characters of a parser's message, which can quote a token as long as the file."""

_SINGULAR: Final = 1
_REPEATED: Final = 3
"""The labels of a field, as descriptor.proto numbers them."""


@attrs.frozen(kw_only=True)
class Config:
    """The fields of a model configuration that decide which components the model needs.

    Attributes:
        ensemble: Whether it has `ensemble_scheduling`.
        steps: The models of an ensemble, in the order of its steps.
        agents: The names of its repository agents.
        cached: Whether it enables the response cache.
        unknown: The position of a field that the schema lacks, and the parser's message; empty if it has all fields.
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
    """Parse the model configuration *content*; *path* is for messages.

    A field that the schema lacks is not an error, since the serving release may have it: it is reported in `unknown`.
    (Triton refuses a field that its release does not have.) A value that an enumeration lacks is an error.

    Raises:
        InvalidInputError: It is not a model configuration: the message has its path, line and column.
    """
    # protobuf takes longer to import than most commands to run, and only model repositories need it
    from google.protobuf import text_format  # noqa: PLC0415

    text = _decoded(content, path)
    unknown = ""
    try:
        message = text_format.Parse(text, _message_class()())
    except (text_format.ParseError, ValueError, RecursionError) as error:
        position, words = _explained(error, path)
        try:
            message = text_format.Parse(text, _message_class()(), allow_unknown_field=True)
        except RecursionError:
            raise InvalidInputError(f"{path} is nested too deeply for a model configuration", hint=_HINT) from None
        except (text_format.ParseError, ValueError) as other:
            second, reason = _explained(other, path)
            if second != path:  # the parser gives no position for a value that it cannot skip: use the field before it
                position, words = second, reason
            raise InvalidInputError(f"{position} is not a model configuration: {words}", hint=_HINT) from None
        unknown = f"{position}: {words}"
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
        position = f"{path}:{line}:{column}"
        raise InvalidInputError(f"{position} is not a model configuration: it is not UTF-8", hint=_HINT) from None


def _explained(error: Exception, path: str) -> tuple[str, str]:
    """Return the position of a parser's error in *path*, and its message: one line, no capital, no full stop."""
    # newer versions of protobuf quote the line after the position
    match = re.match(r"(?:(\d+):(\d+) : )?(?:'.*?': )?(.*)", str(error), re.DOTALL)
    line, column, words = match.groups() if match else (None, None, "")
    words = one_line(words.strip().removesuffix("."))
    if len(words) > _LONGEST:
        words = f"{words[:_LONGEST]}..."
    return (f"{path}:{line}:{column}" if line else path), words[:1].lower() + words[1:]


@functools.cache
def _message_class() -> Any:
    """Return protobuf's class for ModelConfig. The pool is separate, since other packages register the same names."""
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
    messages: dict[str, Any] = {"": proto}
    for full, fields in table["messages"].items():
        outer, _, name = full.rpartition(".")
        message = (messages[outer].nested_type if outer else proto.message_type).add(name=name)
        messages[full] = message
        for field, row in fields.items():
            _add_field(message, full, field, row.split(), table["enums"])
    for full, values in table["enums"].items():
        outer, _, name = full.rpartition(".")
        enum = messages[outer].enum_type.add(name=name)
        for number, value in enumerate(values):
            enum.value.add(name=value, number=number)
    return proto


def _add_field(message: Any, full: str, name: str, row: list[str], enums: Mapping[str, Any]) -> None:
    """Add the field *name*, which *row* describes, to *message*, whose full name is *full*."""
    number, *words = row
    repeated = words[0] in ("map", "repeated")
    field = message.field.add(name=name, number=int(number), label=_REPEATED if repeated else _SINGULAR)
    if words[0] == "map":
        # protobuf stores a map as a repeated message of a key and a value, named after the field
        entry = message.nested_type.add(name="".join(word.capitalize() for word in name.split("_")) + "Entry")
        entry.options.map_entry = True
        for index, (part, kind) in enumerate(zip(("key", "value"), words[1:], strict=True), start=1):
            _set_type(entry.field.add(name=part, number=index, label=_SINGULAR), kind, enums)
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
