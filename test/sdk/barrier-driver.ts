/** Runs the shared vectors' commands with the TypeScript barrier, and drives the same commands through the drivers of other languages. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { Client, type ClientConfig } from "pg";
import { type BarrierTask, barrier, canonicalJson, checkPrepared, createBarrier, markPrepared } from "../../sdk/typescript/barrier.ts";
import type { Tool } from "./toolchains.ts";

export interface Command {
  readonly canonical?: unknown;
  readonly create?: boolean;
  readonly session: string;
  readonly end?: "commit" | "rollback";
  readonly prepare?: "mark" | "check";
  readonly saga?: string;
  readonly task?: BarrierTask;
  readonly hold?: boolean;
  readonly fails?: boolean;
  readonly result?: unknown;
}

export type Answer = Record<string, unknown>;

export interface Driver {
  run(command: Command): Promise<Answer>;
  close(): Promise<void>;
}

export function typescriptDriver(connection: ClientConfig): Driver {
  const sessions = new Map<string, { readonly client: Client; isOpen: boolean }>();
  return {
    async run(command) {
      if ("canonical" in command) return { canonical: canonicalJson(command.canonical) };
      let session = sessions.get(command.session);
      if (!session) {
        session = { client: new Client(connection), isOpen: false };
        await session.client.connect();
        sessions.set(command.session, session);
      }
      const { client } = session;
      if (command.end) {
        await client.query(command.end);
        session.isOpen = false;
        return { kind: "ENDED" };
      }
      if (!session.isOpen) await client.query("begin");
      session.isOpen = true;
      const seen = { ran: false };
      try {
        const answer = await carryOut(client, command, seen);
        if (!command.hold) await client.query("commit");
        session.isOpen = command.hold === true;
        return answer;
      } catch (error) {
        await client.query("rollback");
        session.isOpen = false;
        return { kind: "ERROR", ran: seen.ran, message: (error as Error).message };
      }
    },
    async close() {
      for (const { client } of sessions.values()) await client.end();
    },
  };
}

async function carryOut(client: Client, command: Command, seen: { ran: boolean }): Promise<Answer> {
  if (command.create) {
    await createBarrier(client);
    return { kind: "CREATED" };
  }
  if (command.prepare === "mark") {
    await markPrepared(client, command.saga as string);
    return { kind: "MARKED" };
  }
  if (command.prepare === "check") return { kind: await checkPrepared(client, command.saga as string) };
  const task = command.task as BarrierTask;
  const outcome = await barrier(client, task, async () => {
    seen.ran = true;
    await client.query("insert into effects (saga, op) values ($1, $2)", [task.saga, task.op]);
    if (command.fails) throw new Error("the business change fails");
    return command.result;
  });
  return { result: null, ...outcome, ran: seen.ran };
}

export function processDriver(tool: Exclude<Tool, { missing: string }>, url: string): Driver {
  const [program, ...args] = tool.command as [string, ...string[]];
  const child: ChildProcess = spawn(program, [...args, url], { stdio: ["pipe", "pipe", "inherit"], env: { ...process.env, ...tool.environment } });
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream })[Symbol.asyncIterator]();
  return {
    async run(command) {
      child.stdin?.write(`${JSON.stringify(command)}\n`);
      const { value, done } = await lines.next();
      if (done) throw new Error("the driver ended");
      return JSON.parse(value as string) as Answer;
    },
    async close() {
      const ended = new Promise((resolve) => child.once("exit", resolve));
      child.stdin?.end();
      await ended;
    },
  };
}
