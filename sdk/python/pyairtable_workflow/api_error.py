"""The one error that calls of the service raise, with what a program may act on."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import grpc

from .contract import message_class


@dataclass(frozen=True)
class FieldViolation:
    """One field of a request that is wrong."""

    field: str
    """Its path, for example ``workflow.definition.steps[1].name``."""
    reason: str
    description: str


class WorkflowApiError(Exception):
    """A call was refused, or did not get through: then its code is UNAVAILABLE. The text says what to do."""

    def __init__(
        self,
        message: str,
        *,
        code: str,
        reason: str | None = None,
        metadata: Mapping[str, str] | None = None,
        field_violations: Sequence[FieldViolation] = (),
        retry_after: float | None = None,
        request_id: str = "",
    ) -> None:
        super().__init__(message)
        self.message = message
        self.code = code
        """gRPC's status code by name, for example NOT_FOUND."""
        self.reason = reason
        """A reason of the service's catalogue, for example EXECUTION_NOT_FOUND; None when no service answered."""
        self.metadata = dict(metadata or {})
        """Facts for programs, keys in lowerCamelCase."""
        self.field_violations = tuple(field_violations)
        self.retry_after = retry_after
        """Seconds that the service asks to wait before the next try."""
        self.request_id = request_id
        """Names the call in the service's logs; empty when no service answered."""

    @property
    def is_passing(self) -> bool:
        """Whether the same call may get through later: the service or its connection is not there now."""
        return self.code == "UNAVAILABLE"


def is_reason(error: BaseException, reason: str) -> bool:
    """Whether ``error`` is the service's refusal for this reason."""
    return isinstance(error, WorkflowApiError) and error.reason == reason


#: The service names a reason with every error. Without one, these are a stream or connection that was reset under the call.
_LOST = frozenset({"ABORTED", "CANCELED", "INTERNAL", "UNKNOWN", "UNAVAILABLE"})
_NAMES = {"CANCELLED": "CANCELED"}


def to_api_error(error: Any) -> WorkflowApiError:
    """What gRPC raises, as the one error."""
    code = _NAMES.get(error.code().name, error.code().name)
    details = {detail.type_url.rpartition("/")[2]: detail.value for detail in _status_of(error).details}

    def detail(name: str) -> Any:
        message: Any = message_class(f"google.rpc.{name}")()
        message.ParseFromString(details.get(f"google.rpc.{name}", b""))
        return message

    info, retry = detail("ErrorInfo"), detail("RetryInfo")
    is_lost = info.reason == "" and code in _LOST
    violations = [FieldViolation(one.field, one.reason, one.description) for one in detail("BadRequest").field_violations]
    return WorkflowApiError(
        f"the connection was lost: {error.details()}" if is_lost else error.details() or code,
        code="UNAVAILABLE" if is_lost else code,
        reason=info.reason or ("DEADLINE_EXCEEDED" if code == "DEADLINE_EXCEEDED" else None),
        metadata=info.metadata,
        field_violations=violations,
        retry_after=retry.retry_delay.seconds + retry.retry_delay.nanos / 1e9 if retry.HasField("retry_delay") else None,
        request_id=detail("RequestInfo").request_id,
    )


def _status_of(error: grpc.RpcError) -> Any:
    status = message_class("google.rpc.Status")()
    for key, value in error.trailing_metadata() or ():  # type: ignore[attr-defined]
        if key == "grpc-status-details-bin":
            status.ParseFromString(value)
    return status
