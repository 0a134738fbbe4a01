"""One execution as a program holds it: an id, and what can be done with it from anywhere, also after a restart of the program."""

import time
from collections.abc import Sequence
from typing import Any, Literal

from .api_error import WorkflowApiError
from .connection import Connection, pause_after
from .contract import methods_of
from .run_status import TERMINAL_STATES, RunStatus
from .run_watch import Watch

#: One long poll, and how much later its answer is lost.
_WAIT = 25.0
_SLACK = 5.0
_PAUSE_MAX = 5.0
_UNREACHABLE_MAX = 300.0

_methods = methods_of("WorkflowService")


class Run:
    """A run by its id ``exe_…``, or ``key:<execution_key>`` for the newest run with that key."""

    def __init__(self, connection: Connection, run_id: str, existing: bool = False) -> None:
        self._connection = connection
        self.id = run_id
        self.existing = existing
        """It was there before it was started: the call was a repeat, or its key was in use."""

    def watch(self, *, after: int | Literal["now"] = 0, event_types: Sequence[str] = (), unreachable_max: float = _UNREACHABLE_MAX) -> Watch:
        """Every event of it after number ``after``, in order, once, until it has ended; connections and servers may come and go.

        "now" gives a snapshot first, then what comes. The terminal event passes every filter.
        """
        return Watch(self._connection, _methods["WatchExecution"], self.id, None if after == "now" else after, event_types, unreachable_max)

    def status(self, *, timeout: float | None = None) -> RunStatus:
        """Where it stands."""
        return RunStatus.of(self._connection.unary(_methods["GetExecution"], {"execution_id": self.id}, timeout).execution)

    def ended(self, *, timeout: float | None = None, unreachable_max: float = _UNREACHABLE_MAX) -> RunStatus:
        """Waits for the end, however it ends; a server may stop or die meanwhile. DEADLINE_EXCEEDED after ``timeout`` seconds; the execution goes on."""
        return self._ended(timeout, unreachable_max, is_whole=False)

    def _ended(self, timeout: float | None, unreachable_max: float, *, is_whole: bool) -> RunStatus:
        # is_whole: with its output, however large.
        ends_at = float("inf") if timeout is None else time.monotonic() + timeout
        heard_at = time.monotonic()
        execution_id, failures = self.id, 0
        while True:
            left = min(_WAIT, ends_at - time.monotonic())
            if left <= 0:
                message = f"execution {self.id} has not ended in time; it goes on"
                raise WorkflowApiError(message, code="DEADLINE_EXCEEDED", reason="DEADLINE_EXCEEDED")
            try:
                request = {"execution_id": execution_id, "timeout": f"{left:.3f}s"}
                status = RunStatus.of(self._connection.unary(_methods["WaitExecution"], request, left + _SLACK).execution)
                if status.state in TERMINAL_STATES:
                    if not is_whole or "output" not in status.omitted_fields:
                        return status
                    large = {"execution_id": status.id, "allow_large": True}
                    return RunStatus.of(self._connection.unary(_methods["GetExecution"], large, left + _SLACK).execution)
                execution_id, failures, heard_at = status.id, 0, time.monotonic()
            except WorkflowApiError as error:
                failures += 1
                pause = pause_after(failures, error, _PAUSE_MAX)
                is_silence = error.is_passing or error.code == "DEADLINE_EXCEEDED"
                if not is_silence or time.monotonic() + pause - heard_at >= unreachable_max:
                    raise
                self._connection.pause(min(pause, max(0.0, ends_at - time.monotonic())))

    def result(self, *, timeout: float | None = None, unreachable_max: float = _UNREACHABLE_MAX) -> Any:
        """Waits for the end and gives the output, however large.

        Anything but COMPLETED raises EXECUTION_FAILED with ``executionId``, ``state``, ``error`` and ``step`` in its metadata.
        """
        status = self._ended(timeout, unreachable_max, is_whole=True)
        if status.state == "COMPLETED":
            return status.output
        failure = status.failure
        metadata = {
            "executionId": status.id,
            "state": status.state,
            "endReason": status.end_reason or "",
            "error": failure.name if failure else "",
            "step": status.failed_step or (failure.step if failure else ""),
        }
        why = f"{failure.name}: {failure.message}" if failure else f"it ended {status.state}"
        message = f"execution {status.id} did not complete: {why}"
        raise WorkflowApiError(message, code="FAILED_PRECONDITION", reason="EXECUTION_FAILED", metadata=metadata)

    def cancel(self, reason: str = "", *, grace: float | None = None, request_id: str = "", timeout: float | None = None) -> None:
        """Stops it and undoes what it did, as its definition says. ``grace``: seconds that running steps may take to stop by themselves [10]."""
        request: dict[str, Any] = {"execution_id": self.id, "reason": reason, "request_id": request_id}
        if grace is not None:
            request["grace_period"] = f"{grace:.3f}s"
        self._connection.unary(_methods["CancelExecution"], request, timeout)

    def signal(
        self, event_type: str, data: Any = None, *, dedup_id: str = "", ttl: float | None = None, request_id: str = "", timeout: float | None = None
    ) -> None:
        """Sends it an event that a ``wait_for_event`` step of it waits for, or will within ``ttl`` seconds [24 h]."""
        request: dict[str, Any] = {"execution_id": self.id, "event_type": event_type, "data": data, "dedup_id": dedup_id, "request_id": request_id}
        if ttl is not None:
            request["ttl"] = f"{ttl:.3f}s"
        self._connection.unary(_methods["SignalExecution"], request, timeout)
