"""A participant in Python: plain HTTP, its own PostgreSQL database (PG* variables), the barrier.

``POST /{step}/{action|compensate}`` with the amount to book. Prints one JSON line when it serves. ``tables.sql`` has its tables.
"""

import asyncio
import json
import socket
from contextlib import suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import psycopg
from pyairtable_workflow import BarrierOutcome, BarrierTask, create_barrier, with_barrier


async def connect() -> psycopg.AsyncConnection:
    return await psycopg.AsyncConnection.connect(autocommit=True)


class Refused(Exception):
    """The change is not possible: nothing happened."""


async def statement(text: str, values: tuple = ()) -> list[tuple]:
    async with await connect() as conn:
        cursor = await conn.execute(text, values)
        return await cursor.fetchall() if cursor.description else []


async def fault_of(task: BarrierTask) -> str:
    taken = await statement(
        "delete from faults where id = (select min(id) from faults where saga_key = %s and step = %s and op = %s) returning fault",
        (task.input["order"], task.step, task.op),
    )
    return taken[0][0] if taken else ""


async def until_undone(task: BarrierTask) -> None:
    """Ends when the step's undo was here."""
    text = "select 1 from calls where saga = %s and step = %s and op = 'compensate' and outcome is not null"
    while not await statement(text, (task.saga, task.step)):
        await asyncio.sleep(0.02)


async def book(task: BarrierTask, fault: str) -> BarrierOutcome:
    async def change(conn: psycopg.AsyncConnection) -> dict:
        amount = task.input["amount"] * (-1 if task.op == "compensate" else 1)
        row = await conn.execute(
            "insert into ledger (saga, step, op, amount) values (%s, %s, %s, %s) returning id", (task.saga, task.step, task.op, amount)
        )
        if fault == "refuse":
            raise Refused("no room")
        return {"entry": (await row.fetchone())[0], "by": "python"}

    return await with_barrier(connect, task, change)


#: How a plain HTTP endpoint says the barrier's outcome; the service's table "How an answer is read".
STATUS = {"APPLIED": 200, "DUPLICATE": 200, "NULL_COMPENSATED": 410, "SUSPENDED": 422, "BUSY": 425}


async def serve(task: BarrierTask, key: str) -> tuple[int, object] | None:
    """Status and body of the answer; none when the answer is to be lost."""
    [(call,)] = await statement(
        "insert into calls (saga, step, op, key) values (%s, %s, %s, %s) returning id", (task.saga, task.step, task.op, key)
    )
    fault = await fault_of(task)
    if fault == "unavailable":
        return 503, {}
    if fault == "late":
        await until_undone(task)
    try:
        outcome = await book(task, fault)
    except Refused as refused:
        await statement("update calls set outcome = 'REFUSED' where id = %s", (call,))
        return 422, {"error": str(refused)}
    await statement("update calls set outcome = %s where id = %s", (outcome.kind, call))
    return None if fault == "lost" else (STATUS[outcome.kind], outcome.result)


class Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        _, step, op = self.path.split("/")
        body = json.loads(self.rfile.read(int(self.headers["content-length"])))
        key = self.headers["idempotency-key"].strip('"')
        _, _, generation = key.partition("#")
        task = BarrierTask(self.headers["saga-id"], step, op, int(generation or 0), body, self.headers.get("x-tenant-id", ""))
        answer = asyncio.run(serve(task, key))
        if answer is None:
            self.close_connection = True
            self.connection.shutdown(socket.SHUT_RDWR)
            return
        content = json.dumps(answer[1]).encode()
        self.send_response(answer[0])
        self.send_header("content-type", "application/json")
        self.send_header("content-length", str(len(content)))
        self.end_headers()
        with suppress(ConnectionError):  # the caller may have given up long ago
            self.wfile.write(content)

    def log_message(self, *_: object) -> None:
        """The test reads the tables."""


async def prepare() -> None:
    async with await connect() as conn:
        await create_barrier(conn)
        await conn.execute(Path(__file__).with_name("tables.sql").read_text(encoding="utf-8"))


asyncio.run(prepare())
server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
print(json.dumps({"port": server.server_port}), flush=True)
server.serve_forever()
