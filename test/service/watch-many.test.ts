/** WatchExecutions: one stream that follows all executions of a tenant, on any replica, across breaks. */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { ExecutionEvent } from "#gen/pyairtable/workflow/v1/event_pb.js";
import { type Execution, ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { limits } from "../../src/base/limits.ts";
import { createMigratedDatabase, openPool, type TestDatabase } from "../support/postgres.ts";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { begin, ended, seconds } from "./support/fixture.ts";
import { startAnother, startHostedServer } from "./support/hosted-server.ts";
import { type Ledger, startLedger } from "./support/ledger.ts";
import { refusalOf } from "./support/refusal.ts";
import { type RunningServer, startServer } from "./support/server.ts";
import { range } from "./support/watching.ts";

let database: TestDatabase;
let ledger: Ledger;
let server: RunningServer;
let other: RunningServer;
let clients: Clients;
/** Of a stream that nothing happens on. */
let quiet: Reader;
beforeAll(async () => {
  ledger = await startLedger();
  database = await createMigratedDatabase();
  server = await startHostedServer({ databaseUrl: database.databaseUrl, egressAllow: [ledger.address] });
  other = await startAnother(server);
  clients = connect(server);
  // Its silence runs while the other tests do their work.
  quiet = new Reader(clients, { filter: 'correlation_id = "nobody"' });
});
afterAll(async () => {
  ledger?.release();
  await Promise.all([server?.stop(), other?.stop()]);
  await ledger?.close();
  await database?.drop();
});

/** What a reader keeps: the newest view of each execution and the numbers that came, in order. */
class Reader {
  readonly shown = new Map<string, Execution>();
  readonly events = new Map<string, ExecutionEvent[]>();
  readonly kinds: string[] = [];
  token = "";
  /** The first token after each kind of message. */
  readonly tokenAt: Record<string, string> = {};
  /** Events that came again after a resume. */
  repeated = 0;
  readonly done: Promise<unknown>;
  readonly #abort = new AbortController();
  readonly #waiting = new Set<() => void>();

  constructor({ workflows }: Clients, request: { filter?: string; eventTypes?: string[]; resumeToken?: string } = {}, before?: Reader) {
    for (const [id, events] of before?.events ?? []) this.events.set(id, [...events]);
    for (const [id, execution] of before?.shown ?? []) this.shown.set(id, execution);
    this.done = (async () => {
      for await (const { item, resumeToken } of workflows.watchExecutions(request, { signal: this.#abort.signal })) {
        this.kinds.push(item.case === "snapshot" && item.value.complete ? "complete" : (item.case ?? "none"));
        if (resumeToken !== "") this.token = resumeToken;
        this.tokenAt[this.kinds.at(-1) ?? ""] ??= this.token;
        if (item.case === "snapshot") for (const execution of item.value.executions) this.shown.set(execution.id, execution);
        if (item.case === "event") this.#keep(item.value);
        for (const look of this.#waiting) look();
      }
    })().then(() => undefined, refusalOf);
  }

  #keep(event: ExecutionEvent): void {
    const known = this.events.get(event.executionId) ?? [];
    this.events.set(event.executionId, known);
    if (known.some(({ sequence }) => sequence === event.sequence)) this.repeated += 1;
    else known.push(event);
  }

  sequencesOf(id: string): number[] {
    return (this.events.get(id) ?? []).map(({ sequence }) => Number(sequence));
  }

  async until(holds: () => boolean, what: string, timeoutMs = 60_000): Promise<void> {
    const late = setTimeout(() => this.#abort.abort(new Error(`not in time: ${what}`)), timeoutMs);
    while (!holds()) {
      const gone = await Promise.race([new Promise<undefined>((resolve) => this.#waiting.add(() => resolve(undefined))), this.done.then((why) => ({ why }))]);
      if (gone && !holds()) throw new Error(`the stream ended before ${what}: ${JSON.stringify(gone.why)}`);
    }
    clearTimeout(late);
  }

  ready(): Promise<void> {
    return this.until(() => this.kinds.includes("complete"), "the snapshot was complete");
  }

  endOf(...ids: string[]): Promise<void> {
    return this.until(() => ids.every((id) => this.events.get(id)?.at(-1)?.type === "execution_ended"), `all of ${ids.length} had ended`);
  }

  leave(): Promise<unknown> {
    this.#abort.abort();
    return this.done;
  }
}

const callSteps = (count: number) =>
  Array.from({ length: count }, (_, index) => [httpStep(`call${index}`, `${ledger.url}/c`), delayStep(`wait${index}`, "0.05s")]).flat();

describe("a stream of all executions", () => {
  test("begins with what is open, and has every event of every execution, whichever replica drives it", async () => {
    const { id: open } = await begin(clients, [delayStep("long", "3600s")]);
    const { id: past } = await begin(clients, [logStep("past")]);
    await ended(clients, past);
    const readers = [new Reader(clients), new Reader(connect(other))];
    for (const reader of readers) await reader.ready();
    const started = await Promise.all([clients, connect(other), clients, connect(other)].map((one) => begin(one, callSteps(4))));
    const ids = started.map(({ id }) => id);
    for (const reader of readers) {
      await reader.endOf(...ids);
      expect(reader.shown.get(open)?.state).toBe(ExecutionState.WAITING);
      expect(reader.shown.has(past)).toBe(false);
      for (const id of ids) {
        const { events } = await clients.workflows.listExecutionEvents({ executionId: id, pageSize: 1000 });
        expect(reader.events.get(id)).toEqual(events);
      }
      expect(reader.repeated).toBe(0);
      await reader.leave();
    }
    await clients.workflows.terminateExecution({ executionId: open, reason: "over" });
  });

  test("resumes on another replica after the one that served it died: nothing is lost", async () => {
    const { dataDir: _, ...options } = server.options;
    const victim = await startServer(options);
    let reader = new Reader(connect(victim));
    await reader.ready();
    const first = await Promise.all([1, 2, 3].map(() => begin(connect(victim), callSteps(10))));
    const there = await Promise.all([1, 2].map(() => begin(clients, callSteps(20))));
    const ids = [...first, ...there].map(({ id }) => id);
    await reader.until(() => ids.every((id) => (reader.events.get(id)?.length ?? 0) > 3), "some events of each had come");
    await victim.kill();
    await reader.done;
    const late = await begin(clients, callSteps(2));
    await ended(clients, late.id);
    expect(reader.token).not.toBe("");
    reader = new Reader(connect(other), { resumeToken: reader.token }, reader);
    await reader.endOf(...ids, late.id);
    expect(reader.kinds).not.toContain("complete");
    for (const id of [...ids, late.id]) {
      const numbers = reader.sequencesOf(id);
      expect(numbers, id).toEqual(range(1, numbers.length));
    }
    await reader.leave();
  });

  test("is not disturbed when messages between replicas are lost", async () => {
    const reader = new Reader(connect(other));
    await reader.ready();
    const pool = openPool(database, { max: 1 });
    const breaker = setInterval(() => {
      pool
        .query("select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'pawf-notify' and datname = current_database()")
        .catch(() => undefined);
    }, 50);
    const { id } = await begin(clients, callSteps(15));
    await reader.endOf(id);
    clearInterval(breaker);
    await pool.end();
    expect(reader.sequencesOf(id)).toEqual(range(1, reader.sequencesOf(id).length));
    await reader.leave();
  });
});

describe("a filter", () => {
  test("by what never changes lets through only its own", async () => {
    const workflow = await createWorkflow(clients, callSteps(1));
    const labelled = new Reader(connect(other), { filter: 'labels.team = "blue"' });
    const named = new Reader(clients, { filter: `workflow_name = "${workflow}"` });
    await Promise.all([labelled.ready(), named.ready()]);
    const [plain, blue] = await Promise.all(
      [{ workflow }, { workflow, labels: { team: "blue" } }].map((start) => clients.workflows.startExecution({ ...start, wait: seconds(50) })),
    );
    const foreign = await begin(clients, [logStep("foreign")], {});
    const ids = [plain?.execution?.id ?? "", blue?.execution?.id ?? ""];
    await named.endOf(...ids);
    await labelled.endOf(ids[1] ?? "");
    await ended(clients, foreign.id);
    expect([...named.events.keys()].sort()).toEqual(ids.toSorted());
    expect([...labelled.events.keys()]).toEqual([ids[1]]);
    await Promise.all([named.leave(), labelled.leave()]);
  });

  test("by state shows executions that enter it and that leave it", async () => {
    const failing = await createWorkflow(clients, [logStep("before"), { name: "no", fail: { error: "Nope", message: "on purpose" } }]);
    const reader = new Reader(connect(other), { filter: "state = WAITING" });
    const failures = new Reader(connect(other), { filter: "state = FAILED", eventTypes: ["execution_ended"] });
    await Promise.all([reader.ready(), failures.ready()]);
    const { id } = await begin(clients, [logStep("first"), delayStep("wait", "3600s")]);
    await reader.until(() => reader.events.has(id), "it was seen to enter");
    const { execution } = await clients.workflows.startExecution({ workflow: failing, wait: seconds(50) });
    expect(execution?.state).toBe(ExecutionState.FAILED);
    await clients.workflows.terminateExecution({ executionId: id, reason: "leave" });
    await reader.endOf(id);
    await failures.endOf(execution?.id ?? "");
    expect([...failures.events.keys()]).toEqual([execution?.id]);
    expect(reader.events.has(execution?.id ?? "")).toBe(false);
    await Promise.all([reader.leave(), failures.leave()]);
  });

  test("that cannot be followed is refused by name, and so are tokens of another filter", async () => {
    const refused = async (request: ConstructorParameters<typeof Reader>[1]) => await new Reader(clients, request).done;
    expect(await refused({ filter: 'end_time > "2026-01-01T00:00:00Z"' })).toMatchObject({ code: "UNIMPLEMENTED", reason: "FEATURE_DISABLED" });
    expect(await refused({ filter: "state ~ RUNNING" })).toMatchObject({ code: "INVALID_ARGUMENT", reason: "FILTER_INVALID" });
    expect(await refused({ resumeToken: "bm90IG91cnM" })).toMatchObject({ code: "INVALID_ARGUMENT", reason: "RESUME_TOKEN_INVALID" });
    const reader = new Reader(clients);
    await reader.ready();
    expect(await refused({ filter: "state = RUNNING", resumeToken: reader.token })).toMatchObject({ reason: "RESUME_TOKEN_INVALID" });
    await reader.leave();
  });
});

test("a stream that is resumed says at once that it is open, also when nothing is new", async () => {
  const reader = new Reader(clients, { filter: 'workflow_name = "nobody"' });
  await reader.ready();
  await reader.leave();
  // The next heartbeat would come after it.
  const timeoutMs = limits.watchHeartbeatMs - 1_000;
  for await (const { item } of clients.workflows.watchExecutions({ filter: 'workflow_name = "nobody"', resumeToken: reader.token }, { timeoutMs })) {
    expect(item.case).toBe("heartbeat");
    return;
  }
  expect.fail("the stream ended without a word");
});

test("a stream that nothing happens on shows that it lives, with a token", async () => {
  await quiet.until(() => quiet.kinds.includes("heartbeat"), "a heartbeat", limits.watchHeartbeatMs + 30_000);
  const { complete, heartbeat } = quiet.tokenAt;
  expect(complete).not.toBe("");
  expect(heartbeat).not.toBe("");
  expect(heartbeat).not.toBe(complete);
  await quiet.leave();
});
