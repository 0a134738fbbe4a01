"""Runs the shared vectors' commands: one JSON object a line in, one out. Arguments: a PostgreSQL connection string."""

import asyncio
import json
import sys

import psycopg
from pyairtable_workflow import BarrierTask, barrier, check_prepared, create_barrier, mark_prepared
from pyairtable_workflow.canonical_json import canonical_json


async def main(url: str) -> None:
    sessions: dict[str, psycopg.AsyncConnection] = {}
    loop = asyncio.get_running_loop()
    while line := await loop.run_in_executor(None, sys.stdin.readline):
        command = json.loads(line)
        answer = {}
        if "canonical" in command:
            answer = {"canonical": canonical_json(command["canonical"])}
        else:
            name = command.get("session", "a")
            if name not in sessions:
                sessions[name] = await psycopg.AsyncConnection.connect(url)
            answer = await run(sessions[name], command)
        print(json.dumps(answer, ensure_ascii=False), flush=True)
    for session in sessions.values():
        await session.close()


async def run(conn: psycopg.AsyncConnection, command: dict) -> dict:
    ran = False

    async def fn():
        nonlocal ran
        ran = True
        await conn.execute("insert into effects (saga, op) values (%s, %s)", (command["task"]["saga"], command["task"]["op"]))
        if command.get("fails"):
            raise RuntimeError("the business change fails")
        return command.get("result")

    try:
        if command.get("create"):
            await create_barrier(conn)
            answer = {"kind": "CREATED"}
        elif "end" in command:
            await (conn.commit() if command["end"] == "commit" else conn.rollback())
            return {"kind": "ENDED"}
        elif command.get("prepare") == "mark":
            await mark_prepared(conn, command["saga"])
            answer = {"kind": "MARKED"}
        elif command.get("prepare") == "check":
            answer = {"kind": await check_prepared(conn, command["saga"])}
        else:
            outcome = await barrier(conn, BarrierTask(**command["task"]), fn)
            answer = {"kind": outcome.kind, "result": outcome.result, "ran": ran}
        if not command.get("hold"):
            await conn.commit()
        return answer
    except Exception as error:  # noqa: BLE001
        await conn.rollback()
        return {"kind": "ERROR", "ran": ran, "message": str(error)}


asyncio.run(main(sys.argv[1]))
