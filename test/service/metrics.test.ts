/** What /metrics says about what really happened, and that it names exactly what docs/metrics.md names. */
import { readFileSync } from "node:fs";
import { Client } from "pg";
import { beforeAll, describe, expect, test } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { Metrics } from "../../src/base/metrics.ts";
import { noBacklog } from "../../src/store/sql/read-backlog.ts";
import { createInstruments, registerGauges } from "../../src/telemetry/instruments.ts";
import { createWorkflow, delayStep, httpStep, logStep } from "./support/definitions.ts";
import { begin, run, seconds, useServer } from "./support/fixture.ts";

const service = useServer();
const at = (path: string): string => service.ledger.url + path;
const ours = (name: string): string => `pyairtable_workflow_${name}`;

async function scrape(): Promise<Scrape> {
  const { server } = service;
  const response = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.apiKey}` } });
  expect(response.status).toBe(200);
  expect(response.headers.get("content-type")).toBe("text/plain; version=0.0.4; charset=utf-8");
  return new Scrape(await response.text());
}

/** Reads the text format as a scraper does, and refuses what a scraper would refuse. */
class Scrape {
  readonly types = new Map<string, string>();
  readonly samples = new Map<string, number>();

  constructor(text: string) {
    expect(text.endsWith("\n")).toBe(true);
    for (const line of text.trimEnd().split("\n")) {
      const type = /^# TYPE (\S+) (counter|gauge|histogram)$/.exec(line);
      if (type) {
        expect(this.types.has(type[1] as string), line).toBe(false);
        this.types.set(type[1] as string, type[2] as string);
      }
      if (line.startsWith("#")) continue;
      const sample = /^([a-z_][a-z0-9_]*(?:\{(?:[a-z_]+="(?:[^"\\\n]|\\[\\"n])*",?)*\})?) (\S+)$/.exec(line);
      if (!sample) throw new Error(`not a sample: ${line}`);
      expect(this.samples.has(sample[1] as string), line).toBe(false);
      this.samples.set(sample[1] as string, Number(sample[2]));
    }
  }

  /** 0 when there is no such series yet. */
  of(series: string): number {
    return this.samples.get(series) ?? 0;
  }

  named(name: string): [string, number][] {
    return [...this.samples].filter(([series]) => series === name || series.startsWith(`${name}{`));
  }
}

const sum = (series: [string, number][]): number => series.reduce((total, [, value]) => total + value, 0);

describe("the list of metrics", () => {
  test("is the one in docs/metrics.md, with the same kinds, labels and words", async () => {
    const metrics = new Metrics();
    createInstruments(metrics);
    const gauges = { executionsDriven: () => 0, watchersActive: () => 0, leaseHeld: () => true, journalBacklogRows: () => 0 };
    const destinations = { breakers: () => new Map(), destinationsWaiting: () => 0 };
    const tasks = async () => ({ waiting: 0, taken: 0, oldestSeconds: 0 });
    registerGauges(metrics, { ...gauges, ...destinations, tasks, backlog: async () => noBacklog }, { version: "", node: "" });
    const declared = (await metrics.collect()).map(({ name, kind, labels, help }) => [name, kind, labels, help]);
    const text = readFileSync(new URL("../../docs/metrics.md", import.meta.url), "utf8");
    const rows = [...text.matchAll(/^\| `(\S+)` \| (counter|gauge|histogram) \| ?(.*?) ?\| (.+) \|$/gm)];
    expect(rows.map(([, name, kind, labels, help]) => [name, kind, [...(labels ?? "").matchAll(/`(\w+)`/g)].map((label) => label[1]), help])).toEqual(declared);
    // Alerts speak of what exists.
    for (const [, name] of text.matchAll(/`((?:sagas?|queue|leases|journal|tasks)_\w+)`/g))
      expect(declared.map(([known]) => known)).toContain(ours(name as string));
  });

  test("has no labels but closed ones", async () => {
    const metrics = new Metrics();
    createInstruments(metrics);
    const labels = new Set((await metrics.collect()).flatMap((family) => family.labels));
    expect([...labels].sort()).toEqual(["cache", "kind", "outcome", "reason", "result", "rpc_method", "rpc_status_code", "state", "type"]);
  });
});

describe("/metrics", () => {
  test("needs a key that may read it", async () => {
    const { server } = service;
    expect((await fetch(`${server.url}/metrics`)).status).toBe(401);
    expect((await fetch(`${server.url}/metrics`, { headers: { authorization: "Bearer pawf_wrong" } })).status).toBe(401);
  });

  test("counts starts, ends, steps, retries and calls as they happened", async () => {
    const before = await scrape();
    const { clients, ledger } = service;
    ledger.script("/slow", [
      { status: 503, delayMs: 10 },
      { status: 200, delayMs: 600 },
    ]);
    ledger.script("/no", [402]);
    ledger.script("/undo", [500, 200]);
    const steps = [logStep("a"), { name: "b", run_if: "false", log: { message: "" } }, httpStep("slow", at("/slow")), delayStep("c", "0.1s")];
    expect((await run(clients, steps)).state).toBe(ExecutionState.COMPLETED);
    expect((await run(clients, [httpStep("done", at("/done"), { undo: at("/undo") }), httpStep("no", at("/no"))])).state).toBe(ExecutionState.COMPENSATED);
    await expect(clients.workflows.getExecution({ executionId: "exe_01ARZ3NDEKTSV4RRFFQ69G5FAV" })).rejects.toThrow();
    const after = await scrape();
    const grown = (series: string): number => after.of(series) - before.of(series);

    expect(grown(ours("executions_started_total"))).toBe(2);
    expect(grown(ours('executions_finished_total{state="completed"}'))).toBe(1);
    expect(grown(ours('executions_finished_total{state="compensated"}'))).toBe(1);
    expect(grown(ours("execution_duration_seconds_count"))).toBe(2);
    expect(grown(ours('steps_finished_total{type="log",state="completed"}'))).toBe(1);
    expect(grown(ours('steps_finished_total{type="log",state="skipped"}'))).toBe(1);
    expect(grown(ours('steps_finished_total{type="http_request",state="completed"}'))).toBe(2);
    expect(grown(ours('steps_finished_total{type="http_request",state="failed"}'))).toBe(1);
    expect(grown(ours('undo_attempts_total{outcome="succeeded"}'))).toBe(1);
    expect(grown(ours('undo_attempts_total{outcome="failed"}'))).toBe(1);
    expect(grown(ours('step_retries_total{type="http_request",reason="HTTP.503"}'))).toBe(1);
    expect(grown('rpc_server_call_duration_seconds_count{rpc_method="pyairtable.workflow.v1.WorkflowService/StartExecution",rpc_status_code="OK"}')).toBe(2);
    expect(grown('rpc_server_call_duration_seconds_count{rpc_method="pyairtable.workflow.v1.WorkflowService/GetExecution",rpc_status_code="NOT_FOUND"}')).toBe(
      1,
    );
    // The step waited for its sibling and for its retry; the engine's own part is a fraction of that.
    expect(grown(ours('step_duration_seconds_sum{type="http_request"}'))).toBeGreaterThan(0.61);
    expect(grown(ours('step_overhead_seconds_count{type="http_request"}'))).toBe(3);
    const [lasted, ownPart] = ["step_duration_seconds_sum", "step_overhead_seconds_sum"].map((name) => grown(ours(`${name}{type="http_request"}`)));
    expect(ownPart).toBeLessThan((lasted ?? 0) - 0.3);
    expect(grown(ours("journal_batch_size_sum"))).toBeGreaterThanOrEqual(15);
    expect(grown(ours("journal_commit_seconds_count"))).toBe(grown(ours("journal_batch_size_count")));
    expect(after.of(ours("leases_held"))).toBe(1);
    expect(after.of("process_cpu_seconds_total")).toBeGreaterThan(before.of("process_cpu_seconds_total"));
    expect(after.named(ours("build_info"))).toEqual([[expect.stringMatching(/^pyairtable_workflow_build_info\{version="[^"]+",node="v24[^"]*"\}$/), 1]]);
  });

  test("histograms are cumulative, end with +Inf and agree with their count", async () => {
    const { types, samples } = await scrape();
    let seen = 0;
    for (const [name] of [...types].filter(([, type]) => type === "histogram")) {
      const byLabels = new Map<string, [number, number][]>();
      for (const [series, value] of samples) {
        const bucket = new RegExp(`^${name}_bucket\\{(.*?),?le="(.*)"\\}$`).exec(series);
        if (!bucket) continue;
        const bound = bucket[2] === "+Inf" ? Number.POSITIVE_INFINITY : Number(bucket[2]);
        byLabels.set(bucket[1] ?? "", [...(byLabels.get(bucket[1] ?? "") ?? []), [bound, value]]);
      }
      for (const [labels, buckets] of byLabels) {
        seen++;
        expect(buckets).toEqual([...buckets].sort((a, b) => a[0] - b[0] || a[1] - b[1]));
        expect(buckets.map(([, count]) => count)).toEqual(buckets.map(([, count]) => count).sort((a, b) => a - b));
        expect(buckets.at(-1)).toEqual([Number.POSITIVE_INFINITY, samples.get(`${name}_count${labels === "" ? "" : `{${labels}}`}`)]);
      }
    }
    expect(seen).toBeGreaterThan(5);
  });

  test("shows what is open: watches, driven executions, stuck sagas, due work", async () => {
    const { clients, ledger } = service;
    ledger.script("/gate", ["hang"]);
    const calm = await scrape();
    const { id } = await begin(clients, [httpStep("gate", at("/gate"))]);
    await ledger.called("/gate");
    const gone = new AbortController();
    const watching = (async () => {
      for await (const _ of clients.workflows.watchExecution({ executionId: id }, { signal: gone.signal })) void _;
    })().catch(() => undefined);
    await expect.poll(async () => (await scrape()).of(ours("watchers_active"))).toBe(calm.of(ours("watchers_active")) + 1);
    expect((await scrape()).of(ours("executions_driven"))).toBe(calm.of(ours("executions_driven")) + 1);
    expect((await scrape()).of(ours('sagas_active{state="running"}'))).toBe(calm.of(ours('sagas_active{state="running"}')) + 1);
    expect((await scrape()).of(ours("sagas_oldest_age_seconds"))).toBeGreaterThan(0);
    gone.abort();
    await watching;
    ledger.release();

    ledger.script("/halt", [402]);
    const workflow = await createWorkflow(clients, [{ ...httpStep("halt", at("/halt")), on_error: { action: "ON_ERROR_ACTION_HALT" } }]);
    await clients.workflows.startExecution({ workflow, wait: seconds(1) });
    await expect.poll(async () => (await scrape()).of(ours("sagas_stuck"))).toBe(calm.of(ours("sagas_stuck")) + 1);
    // Every state is told, also when nothing is in it.
    const open = (await scrape()).named(ours("sagas_active")).map(([series, value]) => [/state="(\w+)"/.exec(series)?.[1], value]);
    expect(open).toEqual([
      ["initializing", 0],
      ["running", expect.any(Number)],
      ["completing", 0],
      ["compensating", 0],
      ["stuck", calm.of(ours("sagas_stuck")) + 1],
    ]);
  });

  test("labels hold no ids, no names and no tenants", async () => {
    const text = [...(await scrape()).samples.keys()].join("\n");
    expect(text).not.toMatch(/exe_|wfl_|wf-\d|default|corr/);
  });
});

describe("a replica that was taken over", () => {
  let client: Client;
  beforeAll(async () => {
    client = new Client({ ...service.database.connection });
    await client.connect();
    return () => client.end();
  });

  test("counts the writes that the fence refused", async () => {
    const { clients } = service;
    const workflow = await createWorkflow(clients, [logStep("late")]);
    const before = sum((await scrape()).named(ours("journal_stale_writes_refused_total")));
    // As a peer that thinks this one dead does it; again when the renewal of the lease noticed before the write did.
    const refused = async (): Promise<number> => {
      await client.query("update replicas set epoch = epoch + 1 where expire_time > now()");
      await clients.workflows.startExecution({ workflow }).catch(() => undefined);
      return sum((await scrape()).named(ours("journal_stale_writes_refused_total")));
    };
    await expect.poll(refused).toBeGreaterThan(before);
    await expect.poll(async () => (await scrape()).of(ours("leases_held"))).toBe(1);
  });
});
