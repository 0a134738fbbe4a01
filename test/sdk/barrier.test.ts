import { readFileSync } from "node:fs";
import { Client } from "pg";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { type BarrierTask, taskResultOf, withBarrier } from "../../sdk/typescript/barrier.ts";
import { createMigratedDatabase, openPool, type TestDatabase } from "../support/postgres.ts";
import { type Command, type Driver, processDriver, typescriptDriver } from "./barrier-driver.ts";
import { goDriver, pythonDriver, type Tool } from "./toolchains.ts";

interface Call extends Partial<Command> {
  readonly op?: BarrierTask["op"];
  readonly step?: string;
  readonly tenant?: string;
  readonly generation?: number;
  readonly input?: unknown;
  readonly expect?: Record<string, unknown>;
}

const read = (name: string): string => readFileSync(new URL(`../../sdk/${name}`, import.meta.url), "utf8");
const vectors = JSON.parse(read("barrier/vectors.json")) as {
  readonly fingerprints: readonly { readonly input: unknown; readonly canonical: string }[];
  readonly scenarios: readonly { readonly name: string; readonly calls: readonly Call[]; readonly effects: readonly string[] }[];
};

let database: TestDatabase;
let looker: Client;
beforeAll(async () => {
  database = await createMigratedDatabase();
  looker = new Client(database.connection);
  await looker.connect();
  await looker.query("create table effects (saga text, op text)");
});
afterAll(async () => {
  await looker?.end();
  await database?.drop();
});

/** The form that libpq's relatives in other languages read. */
function conninfo(): string {
  const { host, port, user, password, database: name } = looker;
  const parts = { host, port, user, password, dbname: name };
  return Object.entries(parts)
    .filter(([, value]) => value !== undefined && value !== null && value !== "")
    .map(([key, value]) => `${key}='${String(value).replace(/[\\']/g, "\\$&")}'`)
    .join(" ");
}

const tools: Record<string, () => Promise<Tool | undefined>> = { typescript: async () => undefined, python: pythonDriver, go: goDriver };

describe.each(Object.keys(tools))("the barrier in %s", (language) => {
  let driver: Driver | undefined;
  let missing = "";
  beforeAll(async () => {
    const tool = await tools[language]?.();
    if (tool && "missing" in tool) missing = tool.missing;
    else driver = tool ? processDriver(tool, conninfo()) : typescriptDriver(database.connection);
    await driver?.run({ session: "a", create: true });
  }, 240_000);
  afterAll(() => driver?.close());

  it.for(vectors.fingerprints)("writes $canonical alike", async ({ input, canonical }, context) => {
    if (!driver) return context.skip(missing);
    expect(await driver.run({ session: "a", canonical: input })).toEqual({ canonical });
  });

  it.for(vectors.scenarios.map((scenario, index) => ({ ...scenario, index })))("$name", async ({ calls, effects, index }, context) => {
    if (!driver) return context.skip(missing);
    const saga = `exe_${language}_${index}`;
    for (const { expect: expected, op, step = "pay", tenant = "", generation = 0, input = { amount: 5 }, ...command } of calls) {
      const task = op ? { task: { tenant, saga: command.saga ? `${saga}${command.saga}` : saga, step, op, generation, input } } : {};
      const answer = await driver.run({ session: "a", ...command, saga, ...task });
      if (expected) expect(answer).toMatchObject(expected);
    }
    const { rows } = await looker.query<{ op: string }>("select op from effects where saga like $1 order by op", [`${saga}%`]);
    const own = rows.map((row) => row.op);
    expect(own).toEqual([...effects].sort());
    await looker.query("delete from effects where saga like $1", [`${saga}%`]);
  });
});

it("every language and the documentation carry the same statements", () => {
  const original = read("barrier/barrier.sql");
  expect(read("../docs/participant-barrier.md")).toContain(`\`\`\`sql\n${original}\`\`\`\n`);
  expect(read("go/barrier/barrier.sql")).toBe(original);
  expect(read("python/pyairtable_workflow/barrier.sql")).toBe(original);
});

it("twenty twins at once, in transactions of their own, act once and all get the first result", async () => {
  const pool = openPool(database, { max: 8 });
  const task: BarrierTask = { saga: "exe_twins", step: "pay", op: "action", input: { amount: 5 } };
  const once = async (): Promise<unknown> => {
    for (;;) {
      const outcome = await withBarrier(pool, task, async (tx) => {
        await tx.query("insert into effects (saga, op) values ('exe_twins', 'action')");
        return "paid";
      });
      if (outcome.kind !== "BUSY") return taskResultOf(outcome)["output"];
    }
  };
  expect(new Set(await Promise.all(Array.from({ length: 20 }, once)))).toEqual(new Set(["paid"]));
  expect((await pool.query("select 1 from effects where saga = 'exe_twins'")).rows).toHaveLength(1);
  await pool.end();
});
