/** WatchAuditEntries: the audit log as it is written, on any replica, across breaks, each line once. */
import { timestampFromMs } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, it } from "vitest";
import { limits } from "../../src/base/limits.ts";
import { type Clients, connect } from "./support/connect-client.ts";
import { createWorkflow, delayStep, logStep } from "./support/definitions.ts";
import { begin, useServer } from "./support/fixture.ts";
import { startAnother } from "./support/hosted-server.ts";
import { refusalOf } from "./support/refusal.ts";
import type { RunningServer } from "./support/server.ts";
import { addKey, addTenant } from "./support/tenants.ts";

const service = useServer();
let peer: RunningServer;
beforeAll(async () => {
  peer = await startAnother(service.server);
});
afterAll(() => peer?.stop());

interface Wish {
  readonly filter?: string;
  readonly resumeToken?: string;
  readonly startTime?: ReturnType<typeof timestampFromMs>;
}

/** What a reader keeps: the lines that came, and where to go on after each of them. */
class Reader {
  readonly ids: string[] = [];
  readonly methods: string[] = [];
  readonly tokens: string[] = [];
  token = "";
  heartbeats = 0;
  readonly done: Promise<unknown>;
  readonly #abort = new AbortController();
  #look: () => void = () => undefined;

  constructor({ access }: Clients, wish: Wish = {}) {
    this.done = (async () => {
      for await (const { item, resumeToken } of access.watchAuditEntries(wish, { signal: this.#abort.signal })) {
        this.token = resumeToken;
        if (item.case === "entry") {
          this.ids.push(item.value.id);
          this.methods.push(item.value.method);
          this.tokens.push(resumeToken);
        } else this.heartbeats += 1;
        this.#look();
      }
    })().then(
      () => undefined,
      (error: unknown) => (this.#abort.signal.aborted ? undefined : refusalOf(error)),
    );
  }

  /** Fails when the stream ends before. */
  async until(holds: () => boolean): Promise<this> {
    const ended = Symbol("ended");
    while (!holds()) {
      const news = new Promise<void>((resolve) => (this.#look = resolve));
      if ((await Promise.race([news, this.done.then(() => ended)])) === ended && !holds()) throw new Error(`it ended: ${JSON.stringify(await this.done)}`);
    }
    return this;
  }

  opened = (): Promise<this> => this.until(() => this.heartbeats + this.ids.length > 0);

  async leave(): Promise<this> {
    this.#abort.abort();
    await this.done;
    return this;
  }
}

const auditor = ["access:admin", "workflows:write", "workflows:read", "executions:read", "executions:start", "executions:control", "executions:operate"];
const listed = async ({ access }: Clients): Promise<string[]> => (await access.listAuditEntries({ pageSize: 1_000 })).entries.map(({ id }) => id);
const workflows = async (clients: Clients, count: number): Promise<void> => {
  for (let made = 0; made < count; made++) await createWorkflow(clients, [logStep("a")]);
};

it("a stream begins now or with a moment, and has every line once, whichever replica wrote it", async () => {
  const here = await addTenant(service, "acme", auditor);
  const { apiKey } = await addKey(service, "acme", auditor);
  const there = connect({ url: peer.url, apiKey });
  await workflows(here, 2);
  const live = await new Reader(there).opened();
  expect(live.heartbeats).toBeGreaterThan(0);
  const all = new Reader(here, { startTime: timestampFromMs(0) });
  const { id: executionId } = await begin(there, [delayStep("sleep", "3600s")]);
  await here.workflows.pauseExecution({ executionId, reason: "look" });
  await there.workflows.terminateExecution({ executionId, reason: "done" });
  const expected = ["CreateWorkflow", "PauseExecution", "TerminateExecution"];
  await live.until(() => live.ids.length >= 3);
  await all.until(() => all.ids.length >= 5);
  expect(live.methods.toSorted()).toEqual(expected);
  // Its lines move from the ledger into the log: they are no news.
  await here.workflows.deleteExecution({ executionId });
  await live.until(() => live.methods.includes("DeleteExecution"));
  await all.until(() => all.methods.includes("DeleteExecution"));
  expect(live.methods.toSorted()).toEqual([...expected, "DeleteExecution"].toSorted());
  expect(all.ids.toSorted()).toEqual((await listed(here)).toSorted());
  const late = await new Reader(there, { startTime: timestampFromMs(0), filter: 'method = "PauseExecution"' }).opened();
  expect(late.methods).toEqual(["PauseExecution"]);
  for (const reader of [live, all, late]) await reader.leave();
});

it("after a break it goes on at another replica from any of its messages, without gap or repeat", async () => {
  const { apiKey } = await addKey(service, "broken", auditor);
  const [here, there] = [service.server, peer].map(({ url }) => connect({ url, apiKey })) as [Clients, Clients];
  await workflows(here, 3);
  const { id: executionId } = await begin(here, [delayStep("sleep", "3600s")]);
  await here.workflows.terminateExecution({ executionId, reason: "done" });
  const first = await new Reader(here, { startTime: timestampFromMs(0) }).opened();
  await first.until(() => first.ids.length === 5);
  await first.leave();
  // Written while nobody listens; one of the lines that came moves.
  await here.workflows.deleteExecution({ executionId });
  await workflows(there, 2);
  const whole = (await listed(here)).toSorted();
  expect(whole).toHaveLength(8);
  for (const [index, resumeToken] of first.tokens.entries()) {
    const next = new Reader(there, { resumeToken });
    await next.until(() => next.ids.length >= whole.length - index - 1);
    expect([...first.ids.slice(0, index + 1), ...next.ids].toSorted()).toEqual(whole);
    await next.leave();
  }
  const now = await (await new Reader(here).opened()).leave();
  const quiet = await new Reader(there, { resumeToken: now.token }).opened();
  expect(quiet.ids).toEqual([]);
  await quiet.leave();
});

it("it shows a tenant its own lines alone, and is there for keys that may read the log", async () => {
  const rival = await addTenant(service, "rival", auditor);
  const reader = await new Reader(rival, { startTime: timestampFromMs(0) }).opened();
  await workflows(service.clients, 1);
  await workflows(rival, 1);
  await reader.until(() => reader.ids.length > 0);
  expect(reader.ids).toEqual(await listed(rival));
  const stolen = new Reader(service.clients, { resumeToken: reader.token });
  expect(await stolen.done).toMatchObject({ code: "INVALID_ARGUMENT", reason: "RESUME_TOKEN_INVALID", fields: ["resume_token"] });
  await reader.leave();
  const blind = await addTenant(service, "blind", ["workflows:read"]);
  expect(await new Reader(blind).done).toMatchObject({ code: "PERMISSION_DENIED", reason: "SCOPE_MISSING" });
});

it("what is wrong with a request is named by its field", async () => {
  const { token } = await (await new Reader(service.clients).opened()).leave();
  const faults: [Wish, string, string][] = [
    [{ resumeToken: "bm90IG91cnM" }, "resume_token", "RESUME_TOKEN_INVALID"],
    [{ resumeToken: token, filter: "target = x" }, "resume_token", "RESUME_TOKEN_INVALID"],
    [{ resumeToken: token, startTime: timestampFromMs(0) }, "start_time", "VALIDATION_FAILED"],
    [{ startTime: timestampFromMs(-1) }, "start_time", "VALIDATION_FAILED"],
    [{ filter: "detail = x" }, "filter", "FILTER_INVALID"],
  ];
  for (const [wish, field, reason] of faults)
    expect(await new Reader(service.clients, wish).done, field).toMatchObject({ code: "INVALID_ARGUMENT", reason, fields: [field] });
});

it("it ends with its key, here and there, and a tenant opens only so many", async () => {
  const { keyId, apiKey } = await addKey(service, "ending", auditor);
  const own = await addTenant(service, "ending", auditor);
  const readers: Reader[] = [];
  for (let count = 0; count < limits.auditStreamsPerTenantMax; count++) readers.push(await new Reader(connect({ url: service.server.url, apiKey })).opened());
  const tooMany = { code: "RESOURCE_EXHAUSTED", reason: "STREAM_LIMIT" };
  expect(await new Reader(own).done).toMatchObject(tooMany);
  const elsewhere = await new Reader(connect({ url: peer.url, apiKey })).opened();
  await own.access.revokeApiKey({ keyId });
  for (const reader of [...readers, elsewhere]) expect(await reader.done).toMatchObject({ code: "UNAUTHENTICATED", reason: "KEY_REVOKED" });
  // A stream that was at the database when its key ended gives its place back a moment later.
  const opens = async (): Promise<boolean> => {
    const again = new Reader(own);
    const opened = await again.opened().then(
      () => true,
      () => false,
    );
    await again.leave();
    return opened;
  };
  await expect.poll(opens, { timeout: 20_000 }).toBe(true);
});
