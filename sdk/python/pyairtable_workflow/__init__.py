"""Participants of PyAirtable Workflow Service."""

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

__all__ = [
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
