"""The participant's barrier (Python, psycopg 3).

Runs a sibling's own database change and the barrier's row in one transaction, so that an operation of a saga takes place once
however often it is asked for, an undo without an action does nothing, and an action that comes after its undo is refused.
``barrier.sql`` has the table and the statements.
"""

import json
import re
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from importlib import resources
from typing import Any, Literal

import psycopg
from psycopg import errors

from .canonical_json import fingerprint_of

#: A row answers repeats for as long as the service may ask: 7 days.
BARRIER_RETENTION_SECONDS = 7 * 86_400
_TWIN_WAIT_MS = 150
_RETRY_AFTER_MS = 200
_ATTEMPTS_MAX = 5


@dataclass(frozen=True)
class BarrierTask:
    """What a task says of its operation (message Task)."""

    #: ``execution_id``
    saga: str
    #: ``step_path``
    step: str
    op: Literal["action", "compensate", "confirm"]
    #: Of an undo, from 0.
    generation: int = 0
    #: Compared by its canonical JSON: the same operation with another input is a mistake.
    input: Any = None
    #: From ``x-tenant-id``; empty when a participant serves one tenant.
    tenant: str = ""


@dataclass(frozen=True)
class BarrierOutcome:
    """``result`` of APPLIED and DUPLICATE; ``retry_after_ms`` of BUSY."""

    kind: Literal["APPLIED", "DUPLICATE", "NULL_COMPENSATED", "SUSPENDED", "BUSY"]
    result: Any = None
    retry_after_ms: int | None = None


class BarrierError(Exception):
    """The operation came with another input, or a prepared saga was given up."""


class _Changed(BarrierError):
    """Only a new transaction can tell what happened."""


def _load() -> dict[str, str]:
    text = resources.files(__package__).joinpath("barrier.sql").read_text(encoding="utf-8")
    named = (part.partition("\n") for part in re.split(r"(?m)^-- name: ", text)[1:])
    # psycopg numbers no parameters; each is used once and in order.
    return {name: re.sub(r"\$\d+", "%s", statement) for name, _, statement in named}


_SQL = _load()


async def create_barrier(conn: psycopg.AsyncConnection) -> None:
    """Makes the table, once, at start or in a migration."""
    await conn.execute(_SQL["create"])
    await conn.execute(_SQL["index"])


async def purge_barrier(conn: psycopg.AsyncConnection, older_than_seconds: int = BARRIER_RETENTION_SECONDS) -> int:
    """Deletes rows older than ``older_than_seconds``, at least 7 days."""
    if older_than_seconds < BARRIER_RETENTION_SECONDS:
        raise BarrierError("rows younger than 7 days may still be asked for")
    return (await conn.execute(_SQL["purge"], (older_than_seconds,))).rowcount


async def barrier(conn: psycopg.AsyncConnection, task: BarrierTask, fn: Callable[[], Awaitable[Any]]) -> BarrierOutcome:
    """Runs ``fn`` at most once for the task's operation, inside the caller's transaction.

    Commit afterwards, whatever the outcome. What ``fn`` raises is raised on; roll back then, and the operation may be tried again.
    Raises BarrierError for another input under the same operation.
    """
    fingerprint = fingerprint_of(task.input)
    own = (task.tenant, task.saga, task.step, task.op, 0 if task.op == "action" else task.generation)
    action = (task.tenant, task.saga, task.step, "action", 0)
    mark = await _claim(conn, action, fingerprint, "compensate") if task.op == "compensate" else None
    if mark == "busy":
        return BarrierOutcome("BUSY", retry_after_ms=_RETRY_AFTER_MS)
    claimed = await _claim(conn, own, fingerprint, task.op)
    if claimed == "busy":
        return BarrierOutcome("BUSY", retry_after_ms=_RETRY_AFTER_MS)
    if claimed == "taken":
        return await _repeat(conn, own, task.op, fingerprint)
    if task.op == "compensate" and (mark == "new" or (await _read(conn, action))[1] != "action"):
        return BarrierOutcome("NULL_COMPENSATED")
    result = await fn()
    # The statement's parameters stand in the order $6, $1 … $5 in its text.
    await conn.execute(_SQL["store"], (json.dumps(result, ensure_ascii=False), *own))
    return BarrierOutcome("APPLIED", result)


async def _repeat(conn: psycopg.AsyncConnection, own: tuple[Any, ...], op: str, fingerprint: str) -> BarrierOutcome:
    before, written_by, result = await _read(conn, own)
    if op == "action" and written_by == "compensate":
        return BarrierOutcome("SUSPENDED")
    if before != fingerprint:
        raise BarrierError(f"operation {op} of step {own[2]} in saga {own[1]} came with another input before")
    if result is None:
        return BarrierOutcome("NULL_COMPENSATED")
    return BarrierOutcome("DUPLICATE", json.loads(result))


async def mark_prepared(conn: psycopg.AsyncConnection, saga: str, tenant: str = "") -> None:
    """Marks a PREPARED saga's local change as made, in the transaction that makes it.

    Raises BarrierError when the service asked first and was told ROLLED_BACK: roll back, the saga is over.
    """
    key = (tenant, saga, "", "prepare", 0)
    claimed = await _claim(conn, key, "", "prepare")
    if claimed == "busy" or (claimed == "taken" and (await _read(conn, key))[1] != "prepare"):
        raise BarrierError(f"saga {saga} was given up before its local change; roll back")


async def check_prepared(conn: psycopg.AsyncConnection, saga: str, tenant: str = "") -> Literal["COMMITTED", "ROLLED_BACK", "UNKNOWN"]:
    """What to answer to CheckPrepared. Asking writes the blocking row first; commit afterwards."""
    key = (tenant, saga, "", "prepare", 0)
    claimed = await _claim(conn, key, "", "check")
    if claimed == "busy":
        return "UNKNOWN"
    if claimed == "new":
        return "ROLLED_BACK"
    return "COMMITTED" if (await _read(conn, key))[1] == "prepare" else "ROLLED_BACK"


async def _claim(conn: psycopg.AsyncConnection, key: tuple[Any, ...], fingerprint: str, written_by: str) -> Literal["new", "taken", "busy"]:
    """Inserts a row; "busy" when an open transaction holds the same one. The savepoint keeps the caller's transaction usable."""
    before = await (await conn.execute("select current_setting('lock_timeout')")).fetchone()
    await conn.execute("savepoint pawf_barrier")
    await conn.execute(f"set local lock_timeout = {_TWIN_WAIT_MS}")
    try:
        inserted = (await conn.execute(_SQL["claim"], (*key, fingerprint, written_by))).rowcount
    except errors.LockNotAvailable:
        await conn.execute("rollback to savepoint pawf_barrier")
        return "busy"
    await conn.execute("release savepoint pawf_barrier")
    await conn.execute("select set_config('lock_timeout', %s, true)", before)
    return "new" if inserted == 1 else "taken"


async def _read(conn: psycopg.AsyncConnection, key: tuple[Any, ...]) -> tuple[str, str, str | None]:
    row = await (await conn.execute(_SQL["read"], key)).fetchone()
    if row is None:
        # At REPEATABLE READ a row that was committed after this transaction began is not seen.
        raise _Changed("the operation changed under this transaction; roll back and run it again")
    return row[0], row[1], row[2]


async def with_barrier(
    connect: Callable[[], Awaitable[psycopg.AsyncConnection]],
    task: BarrierTask,
    fn: Callable[[psycopg.AsyncConnection], Awaitable[Any]],
) -> BarrierOutcome:
    """As ``barrier``, on a connection and in a transaction of its own that is committed here; a serialisation failure is tried again."""
    for attempt in range(1, _ATTEMPTS_MAX + 1):
        conn = await connect()
        try:
            async with conn.transaction():
                return await barrier(conn, task, lambda: fn(conn))
        except (errors.SerializationFailure, errors.DeadlockDetected, _Changed):
            if attempt == _ATTEMPTS_MAX:
                raise
        finally:
            await conn.close()
    raise AssertionError("unreachable")


def task_result(outcome: BarrierOutcome) -> dict[str, Any]:
    """The outcome as a participant or worker reports it (message TaskResult in JSON)."""
    match outcome.kind:
        case "APPLIED":
            return {"outcome": "OUTCOME_SUCCEEDED", "output": outcome.result}
        case "DUPLICATE":
            return {"outcome": "OUTCOME_DUPLICATE", "output": outcome.result}
        case "NULL_COMPENSATED":
            return {"outcome": "OUTCOME_NULL_COMPENSATED"}
        case "SUSPENDED":
            return {"outcome": "OUTCOME_SUSPENDED"}
        case _:
            return {"outcome": "OUTCOME_IN_PROGRESS", "retryAfter": f"{(outcome.retry_after_ms or 0) / 1000}s"}
