"""What a watch tells: the messages of WatchExecution folded into events that carry the state after them.

Positions only grow: what was told before (a repeat after a reconnect, an older snapshot) is dropped, so no state goes back.
"""

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from .plain import enum_name, to_plain
from .run_status import TERMINAL_STATES, RunStatus, state_name

_STEP_STATES = {
    "step_failed": "FAILED",
    "step_retry_scheduled": "RETRYING",
    "step_skipped": "SKIPPED",
    "step_canceled": "CANCELED",
    "step_waiting": "WAITING",
    "compensation_started": "COMPENSATING",
    "compensation_retry_scheduled": "COMPENSATING",
    "compensation_succeeded": "COMPENSATED",
    "compensation_failed": "COMPENSATION_FAILED",
}
#: Nobody has taken it yet, or another execution is at it.
_STARTED_STATES = {"queue": "QUEUED", "child": "WAITING"}


@dataclass(frozen=True)
class RunEvent:
    """Something that happened to a step or to the execution, or (type "snapshot") the state at a moment."""

    type: str
    """"step", "execution" or "snapshot"."""
    sequence: int
    """Number in the execution's ledger, from 1; a snapshot includes everything up to it."""
    event: str
    """For example "step_failed"; "snapshot"."""
    state: str
    """State after it, of the step or of the execution. That an execution only waits is told by snapshots alone."""
    step: str = ""
    """Path of the step: "charge", in a loop "orders[3]/charge"."""
    attempt: int = 0
    time: datetime | None = None
    data: dict[str, Any] = field(default_factory=dict)
    """The event's own fields."""
    run: RunStatus | None = None
    """With a snapshot."""
    steps: dict[str, str] = field(default_factory=dict)
    """With a snapshot: states of the steps that have begun, by path."""


class WatchPosition:
    """Where a watch is."""

    def __init__(self, execution_id: str, sequence: int | None) -> None:
        self.execution_id = execution_id
        self.sequence = sequence
        self._state = "PENDING"
        self._steps: dict[str, str] = {}

    @property
    def has_ended(self) -> bool:
        """The execution has ended, as far as is known."""
        return self._state in TERMINAL_STATES

    def take(self, message: Any) -> RunEvent | None:
        """Takes one message in; answers with what is new to a reader."""
        kind = message.WhichOneof("item")
        if kind == "snapshot":
            return self._take_snapshot(message.snapshot)
        if kind == "event":
            return self._take_event(message.event)
        if kind == "heartbeat" and self.sequence is not None:
            self.sequence = max(self.sequence, message.heartbeat.last_sequence)
        return None

    def _take_snapshot(self, snapshot: Any) -> RunEvent | None:
        if self.sequence is not None and snapshot.sequence < self.sequence:
            return None
        is_new = self.sequence is None or snapshot.sequence > self.sequence
        self.sequence = snapshot.sequence
        if not snapshot.HasField("execution"):
            return None
        self.execution_id = snapshot.execution.id or self.execution_id
        self._state = state_name(snapshot.execution)
        for step in snapshot.steps:
            self._steps[step.path] = state_name(step)
        if not is_new:
            return None
        return RunEvent("snapshot", snapshot.sequence, "snapshot", self._state, run=RunStatus.of(snapshot.execution), steps=dict(self._steps))

    def _take_event(self, event: Any) -> RunEvent | None:
        # Live ones are not durable yet and carry no number; their durable twin follows.
        if event.live or (self.sequence is not None and event.sequence <= self.sequence):
            return None
        self.sequence = event.sequence
        self.execution_id = event.execution_id or self.execution_id
        time = to_plain(event.time) if event.HasField("time") else None
        name = event.WhichOneof("payload")
        payload = getattr(event, name) if name else None
        data = to_plain(payload) if payload is not None else {}
        if event.step_path == "":
            self._state = _execution_state_after(name, payload, self._state)
            return RunEvent("execution", event.sequence, event.type, self._state, time=time, data=data)
        state = _step_state_after(name, payload, self._steps.get(event.step_path, "PENDING"))
        self._steps[event.step_path] = state
        return RunEvent("step", event.sequence, event.type, state, event.step_path, event.attempt, time, data)


def _execution_state_after(name: str | None, payload: Any, before: str) -> str:
    if name == "execution_started":
        return "RUNNING"
    if name == "execution_paused":
        return "PAUSED" if before in ("PENDING", "RUNNING", "WAITING") else before
    if name == "execution_resumed":
        return "RUNNING" if before == "PAUSED" else before
    if name == "execution_reopened":
        return "COMPENSATING" if payload.HasField("evidence") else "RUNNING"
    if name == "execution_ended":
        return state_name(payload)
    if name == "saga_state_changed":
        saga = enum_name(payload.DESCRIPTOR.fields_by_name["state"].enum_type, payload.state)
        if saga in ("COMPENSATING", "STUCK"):
            return saga
        # Stuck on a step that must go forward, and let go.
        return "RUNNING" if before == "STUCK" and saga in ("RUNNING", "COMPLETING") else before
    return before


def _step_state_after(name: str | None, payload: Any, before: str) -> str:
    if name == "step_started":
        return _STARTED_STATES.get(getattr(payload.reported, "from"), "RUNNING")
    if name == "step_progressed":
        return before if payload.HasField("operation") else "RUNNING"
    if name == "step_succeeded":
        return before if payload.late else "COMPLETED"
    return _STEP_STATES.get(name or "", before)
