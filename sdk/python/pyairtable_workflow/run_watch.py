"""A watch that outlives its streams: it comes back where it was after a lost connection, a drained or a restarted server."""

import threading
import time
from collections.abc import Iterator, Sequence
from typing import Any

from .api_error import WorkflowApiError
from .connection import Connection, Stream, pause_after
from .contract import Method
from .run_events import RunEvent, WatchPosition

_PAUSE_MAX = 5.0


class Watch(Iterator[RunEvent]):
    """Every event once, in order, with the state after it; ends when the execution has.

    Raises the service's refusals (EXECUTION_NOT_FOUND, SCOPE_MISSING …), UNAVAILABLE when nothing answered for ``unreachable_max``
    seconds, and CANCELED after ``cancel``. A loop that is left before the end has to ``cancel`` (or ``with run.watch() as events``).
    """

    def __init__(self, connection: Connection, method: Method, execution_id: str, after: int | None, event_types: Sequence[str], unreachable_max: float) -> None:
        self._connection = connection
        self._method = method
        self._position = WatchPosition(execution_id, after)
        self._event_types = list(event_types)
        self._unreachable_max = unreachable_max
        self._stream: Stream | None = None
        self._canceled = threading.Event()
        self._failures = 0
        self._is_over = False

    def __enter__(self) -> "Watch":
        return self

    def __exit__(self, *_: object) -> None:
        self.cancel()

    def cancel(self) -> None:
        """Ends it, from any thread: whoever waits for the next event gets CANCELED."""
        self._canceled.set()
        if self._stream is not None:
            self._stream.cancel()

    def __next__(self) -> RunEvent:
        asked_at = time.monotonic()
        while not self._is_over:
            try:
                told = self._position.take(next(self._opened()))
                self._failures = 0
                asked_at = time.monotonic()
                if told is not None:
                    return told
            except StopIteration:
                self._come_back(WorkflowApiError("the stream ended before the execution did", code="UNAVAILABLE"), asked_at)
            except WorkflowApiError as error:
                self._come_back(error, asked_at)
        raise StopIteration

    def _opened(self) -> Stream:
        if self._stream is None:
            request: dict[str, Any] = {"execution_id": self._position.execution_id, "event_types": self._event_types}
            if self._position.sequence is not None:
                request["after_sequence"] = self._position.sequence
            self._check_canceled()
            self._stream = self._connection.stream(self._method, request)
        # Canceled between the check and the opening.
        if self._canceled.is_set():
            self._stream.cancel()
        return self._stream

    def _come_back(self, error: WorkflowApiError, asked_at: float) -> None:
        self._check_canceled()
        if self._stream is not None:
            self._stream.cancel()
            self._stream = None
        if not error.is_passing:
            raise error
        if self._position.has_ended:
            self._is_over = True
            return
        self._failures += 1
        pause = pause_after(self._failures, error, _PAUSE_MAX)
        if time.monotonic() + pause - asked_at >= self._unreachable_max:
            raise error
        self._connection.pause(pause, self._canceled)
        self._check_canceled()

    def _check_canceled(self) -> None:
        if self._canceled.is_set():
            raise WorkflowApiError("the watch was canceled", code="CANCELED")
