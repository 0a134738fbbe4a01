"""The contract (``contract.binpb``, made from ``proto/``) as message classes and methods.

They are made when this module is loaded, in a pool of their own: no generated code that ties the package to a version of protobuf, and
no clash with other copies of the google.rpc types in the same process.
"""

import uuid
from dataclasses import dataclass
from importlib import resources
from typing import Any

from google.protobuf import descriptor_pb2, descriptor_pool, json_format, message_factory
from google.protobuf.descriptor import Descriptor, MethodDescriptor
from google.protobuf.message import Message

PACKAGE = "pyairtable.workflow.v1"
_pool = descriptor_pool.DescriptorPool()
_files = descriptor_pb2.FileDescriptorSet()
_files.ParseFromString(resources.files(__package__).joinpath("contract.binpb").read_bytes())
for _file in _files.file:
    _pool.AddSerializedFile(_file.SerializeToString())


def message_class(name: str) -> type[Message]:
    """The class of a message: ``StartExecutionRequest`` of the service's own package, or a full name such as ``google.rpc.Status``."""
    full_name = name if "." in name else f"{PACKAGE}.{name}"
    return _class_of(_pool.FindMessageTypeByName(full_name))


def _class_of(descriptor: Descriptor) -> type[Message]:
    return message_factory.GetMessageClass(descriptor)


@dataclass(frozen=True)
class Method:
    """One rpc."""

    path: str
    """For example ``/pyairtable.workflow.v1.WorkflowService/GetExecution``."""
    request: type[Message]
    response: type[Message]
    is_stream: bool
    default_timeout: float | None
    """The server's default deadline in seconds: reads 10, writes 30, long polls 60; None on streams."""

    def request_of(self, value: "Message | dict[str, Any]") -> Message:
        """The request, from a message or its JSON form, with a UUID in ``request_id`` where there is none: the service does such a call once."""
        message = self.request()
        if isinstance(value, dict):
            json_format.ParseDict(value, message, descriptor_pool=_pool)
        else:
            message.CopyFrom(value)
        _fill(message)
        return message


def _fill(message: Any) -> None:
    fields = message.DESCRIPTOR.fields_by_name
    if "request_id" in fields and message.request_id == "":
        message.request_id = str(uuid.uuid4())
    # StartExecutionAndWatch holds a whole StartExecution.
    if "start" in fields and fields["start"].message_type is not None and message.HasField("start"):
        _fill(message.start)


def methods_of(service: str) -> dict[str, Method]:
    """The rpcs of a service of the package, by name."""
    return {method.name: _method(method) for method in _pool.FindServiceByName(f"{PACKAGE}.{service}").methods}


def _method(method: MethodDescriptor) -> Method:
    proto = descriptor_pb2.MethodDescriptorProto()
    method.CopyToProto(proto)
    return Method(
        path=f"/{method.containing_service.full_name}/{method.name}",
        request=_class_of(method.input_type),
        response=_class_of(method.output_type),
        is_stream=proto.server_streaming,
        default_timeout=_default_timeout(proto),
    )


_policy = _pool.FindExtensionByName("pyairtable.api.v1.policy")


def _default_timeout(proto: descriptor_pb2.MethodDescriptorProto) -> float | None:
    # Options of a pool of its own are read in that pool.
    options = message_class("google.protobuf.MethodOptions")()
    options.ParseFromString(proto.options.SerializeToString())
    policy: Any = options.Extensions[_policy]
    if not policy.HasField("default_deadline"):
        return None
    return policy.default_deadline.seconds + policy.default_deadline.nanos / 1e9
