"""The client of PyAirtable Workflow Service, and the barrier for participants of its sagas.

The client needs grpcio and protobuf, the barrier psycopg: what is not installed is not there (``pip install pyairtable-workflow[barrier]``).
"""

from importlib.util import find_spec
from typing import NoReturn

__all__: list[str] = []

if find_spec("psycopg") is not None:
    from .barrier import (
        BarrierError,
        BarrierOutcome,
        BarrierTask,
        barrier,
        check_prepared,
        create_barrier,
        mark_prepared,
        purge_barrier,
        task_result,
        with_barrier,
    )

    __all__ += [
        "BarrierError",
        "BarrierOutcome",
        "BarrierTask",
        "barrier",
        "check_prepared",
        "create_barrier",
        "mark_prepared",
        "purge_barrier",
        "task_result",
        "with_barrier",
    ]

if find_spec("grpc") is not None:
    from .api_error import FieldViolation, WorkflowApiError, is_reason
    from .client import ServiceClient, WorkflowClient
    from .contract import message_class
    from .plain import to_plain
    from .run import Run
    from .run_events import RunEvent
    from .run_status import RunFailure, RunStatus
    from .run_watch import Watch

    __all__ += [
        "FieldViolation",
        "Run",
        "RunEvent",
        "RunFailure",
        "RunStatus",
        "ServiceClient",
        "Watch",
        "WorkflowApiError",
        "WorkflowClient",
        "is_reason",
        "message_class",
        "to_plain",
    ]


def __getattr__(name: str) -> NoReturn:
    raise AttributeError(f"module {__name__!r} has no {name!r}: is what it needs installed? (grpcio for the client, psycopg for the barrier)")
