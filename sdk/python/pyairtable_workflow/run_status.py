"""An execution as plain values."""

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from .plain import enum_name, to_plain

TERMINAL_STATES = frozenset({"COMPLETED", "COMPENSATED", "FAILED", "CANCELED", "TIMED_OUT", "TERMINATED"})


def state_name(message: Any) -> str:
    """The field ``state`` by its short name."""
    return enum_name(message.DESCRIPTOR.fields_by_name["state"].enum_type, message.state)


@dataclass(frozen=True)
class RunFailure:
    """Why something inside a run failed."""

    name: str
    """Error name, for example "HTTP.402" or "WORKER.card_declined"."""
    message: str
    step: str
    """Path of the step where it began; empty = the execution itself."""
    details: Any


@dataclass(frozen=True)
class RunStatus:
    """Where an execution stands."""

    id: str
    state: str
    end_reason: str | None
    """Why it ended or turns back: SUCCESS, STEP_FAILED, CANCELED …; None while it runs forward."""
    workflow: str
    revision: int
    input: Any
    output: Any
    """Set when it is COMPLETED."""
    omitted_fields: list[str]
    """Fields that are there but did not come along, as all together they are larger than 3 MiB: ``input``, ``output``, ``variables``."""
    failure: RunFailure | None
    failed_step: str | None
    standing_effects: list[str]
    execution_key: str | None
    correlation_id: str
    labels: dict[str, str]
    create_time: datetime | None
    start_time: datetime | None
    end_time: datetime | None

    @staticmethod
    def of(execution: Any) -> "RunStatus":
        plain = to_plain(execution)
        failure = plain.get("failure")
        return RunStatus(
            id=execution.id,
            state=state_name(execution),
            end_reason=plain.get("end_reason"),
            workflow=execution.workflow_name,
            revision=execution.revision,
            input=plain.get("input"),
            output=plain.get("output"),
            omitted_fields=list(execution.omitted_fields),
            failure=failure and RunFailure(failure.get("name", ""), failure.get("message", ""), failure.get("step_path", ""), failure.get("details")),
            failed_step=execution.failed_step or None,
            standing_effects=list(execution.standing_effects),
            execution_key=execution.execution_key or None,
            correlation_id=execution.correlation_id,
            labels=plain.get("labels", {}),
            create_time=plain.get("create_time"),
            start_time=plain.get("start_time"),
            end_time=plain.get("end_time"),
        )
