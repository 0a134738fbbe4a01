/** Participants in three languages, each a process of its own over a database of its own, whose tables the test reads and writes. */
import { type ChildProcess, spawn } from "node:child_process";
import { createInterface } from "node:readline";
import { fileURLToPath } from "node:url";
import type { JsonObject } from "@bufbuild/protobuf";
import { Client } from "pg";
import { goProgram, pythonProgram, type Tool } from "../../sdk/toolchains.ts";
import { createDatabase, type TestDatabase } from "../../support/postgres.ts";
import { httpStep } from "./steps.ts";

const folder = "test/saga/participants";
const inFolder = (name: string): string => fileURLToPath(new URL(`../participants/${name}`, import.meta.url));

/** The program of each language, built or installed if need be, or why it is missing. */
export const programs: Readonly<Record<string, () => Promise<Tool>>> = {
  typescript: async () => ({ command: [process.execPath, inFolder("participant.ts")] }),
  python: () => pythonProgram(`${folder}/participant.py`),
  go: async () => {
    const tool = await goProgram("goparticipant", `${folder}/go`, ".");
    return "missing" in tool ? tool : { command: [...tool.command, inFolder("tables.sql")] };
  },
};

/** "unavailable": 503 before anything; "refuse": the change fails; "lost": it is made, and the connection breaks; "late": not before its undo.
 * The one in TypeScript also dies: before its change, or after its commit. */
export type Fault = "unavailable" | "refuse" | "lost" | "late" | "dies before" | "dies after";

export interface LanguageParticipant {
  readonly language: string;
  readonly address: string;
  /** A step that books an amount here; `order` is what its faults go by. */
  step(name: string, order: string, more?: JsonObject): JsonObject;
  fault(order: string, step: string, op: "action" | "compensate", ...faults: readonly Fault[]): Promise<void>;
  /** What it was asked in this saga and what came of it, in order; no outcome yet when it did not get to its change. */
  calls(saga: string): Promise<readonly { readonly step: string; readonly op: string; readonly key: string; readonly outcome: string | null }[]>;
  /** Lines of the ledger: "hotel action 5". */
  ledger(saga: string): Promise<readonly string[]>;
  /** Starts it again at its address, after it has died. */
  comeBack(): Promise<void>;
  stop(): Promise<void>;
}

export async function startLanguageParticipant(language: string, tool: Extract<Tool, { command: unknown }>): Promise<LanguageParticipant> {
  const database = await createDatabase();
  let child = start(tool, database);
  const port = await portOf(child);
  const client = new Client(database.connection);
  await client.connect();
  const url = `http://127.0.0.1:${port}`;
  return {
    language,
    address: `127.0.0.1:${port}`,
    step: (name, order, more = {}) =>
      httpStep(url, name, {
        action: { http: { method: "POST", url: `${url}/${name}/action` } },
        compensation: { http: { method: "POST", url: `${url}/${name}/compensate` } },
        input: { order, amount: 5 },
        ...more,
      }),
    async fault(order, step, op, ...faults) {
      for (const fault of faults) await client.query("insert into faults (saga_key, step, op, fault) values ($1, $2, $3, $4)", [order, step, op, fault]);
    },
    calls: async (saga) => (await client.query("select step, op, key, outcome from calls where saga = $1 order by id", [saga])).rows,
    async ledger(saga) {
      const { rows } = await client.query<{ line: string }>("select concat_ws(' ', step, op, amount) as line from ledger where saga = $1 order by id", [saga]);
      return rows.map(({ line }) => line);
    },
    async comeBack() {
      if (child.exitCode === null && child.signalCode === null) await new Promise((resolve) => child.once("exit", resolve));
      child = start(tool, database, { PORT: String(port) });
      await portOf(child);
    },
    async stop() {
      const exited = child.exitCode === null && child.signalCode === null ? new Promise((resolve) => child.once("exit", resolve)) : undefined;
      child.kill("SIGKILL");
      await exited;
      await client.end();
      await database.drop();
    },
  };
}

/** The PG* variables are what drivers of all languages read. */
function start(
  { command: [program = "", ...args], environment }: Extract<Tool, { command: unknown }>,
  { connection }: TestDatabase,
  more: Record<string, string> = {},
): ChildProcess {
  const { host, port, user, password = "", database } = connection;
  const variables = { PGHOST: host, PGPORT: String(port), PGUSER: user, PGPASSWORD: password, PGDATABASE: database };
  const child = spawn(program, args, { stdio: ["ignore", "pipe", "inherit"], env: { ...process.env, ...environment, ...variables, ...more } });
  const kill = (): void => void child.kill("SIGKILL");
  process.once("exit", kill);
  child.once("exit", () => process.off("exit", kill));
  return child;
}

async function portOf(child: ChildProcess): Promise<number> {
  const lines = createInterface({ input: child.stdout as NodeJS.ReadableStream });
  return await new Promise((resolve, reject) => {
    lines.once("line", (line) => resolve((JSON.parse(line) as { port: number }).port));
    child.once("exit", () => reject(new Error("the participant ended before it served")));
  });
}
