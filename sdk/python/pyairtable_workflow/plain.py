"""Messages as plain values."""

from datetime import datetime, timedelta, timezone
from typing import Any

from google.protobuf import json_format
from google.protobuf.descriptor import EnumDescriptor, FieldDescriptor
from google.protobuf.message import Message

_JSON = frozenset({"google.protobuf.Struct", "google.protobuf.Value", "google.protobuf.ListValue"})


def to_plain(message: Message) -> Any:
    """Fields that are set, by their names: Timestamp as datetime (UTC), Duration as timedelta, Struct and Value as the JSON they hold, enum values as their names without prefix."""
    name = message.DESCRIPTOR.full_name
    seen: Any = message
    if name in _JSON:
        return _json(json_format.MessageToDict(message))
    if name == "google.protobuf.Timestamp":
        return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seen.seconds, microseconds=seen.nanos // 1000)
    if name == "google.protobuf.Duration":
        return timedelta(seconds=seen.seconds, microseconds=seen.nanos / 1000)
    return {field.name: _field(field, value) for field, value in message.ListFields()}


def _json(value: Any) -> Any:
    """JSON knows numbers only: those that are whole are int here. Members are sorted, as protobuf gives them in any order."""
    if isinstance(value, dict):
        return {key: _json(value[key]) for key in sorted(value)}
    if isinstance(value, list):
        return [_json(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() and abs(value) < 2**53 else value


def enum_name(enum: EnumDescriptor, number: int) -> str:
    """``EXECUTION_STATE_RUNNING`` is "RUNNING". A value that the contract does not know is its number."""
    value = enum.values_by_number.get(number)
    if value is None:
        return str(number)
    zero = enum.values_by_number[0].name
    return value.name.removeprefix(zero.removesuffix("UNSPECIFIED")) if zero.endswith("UNSPECIFIED") else value.name


def _field(field: FieldDescriptor, value: Any) -> Any:
    kind = field.message_type
    if kind is not None and kind.GetOptions().map_entry:
        of = kind.fields_by_name["value"]
        return {key: _single(of, value[key]) for key in sorted(value)}
    if isinstance(value, (str, bytes, int, float)) or isinstance(value, Message):
        return _single(field, value)
    return [_single(field, item) for item in value]


def _single(field: FieldDescriptor, value: Any) -> Any:
    if field.enum_type is not None:
        return enum_name(field.enum_type, value)
    return to_plain(value) if isinstance(value, Message) else value
