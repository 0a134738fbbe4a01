/** What a replica claims and in which order, and that neither sleeping executions nor idle tenants make it slow. */
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { claimShares, type DueTenant } from "../../src/engine/claim-shares.ts";
import { claimText } from "../../src/store/sql/claim-executions.ts";
import { nextDue, nextDueText } from "../../src/store/sql/next-due.ts";
import { changedSince, changedSinceText } from "../../src/store/sql/tenant-news.ts";
import { openPlace, type Place } from "../store/journal-fixture.ts";

const limits = { room: 1000, roundRowsMax: 400, tenantRowsMax: 200, tenantsMax: 100 };
const tenants = (...weights: number[]): DueTenant[] => weights.map((weight, index) => ({ tenantId: `t${String(index).padStart(4, "0")}`, weight }));
const rowsOf = (shares: readonly { rows: number }[]): number[] => shares.map(({ rows }) => rows);

describe("shares of a round", () => {
  it("are a full batch for one tenant, equal for equals, and by weight otherwise", () => {
    expect(rowsOf(claimShares(tenants(1), "", limits))).toEqual([200]);
    expect(rowsOf(claimShares(tenants(1, 1, 1, 1), "", limits))).toEqual([100, 100, 100, 100]);
    expect(rowsOf(claimShares(tenants(1, 3), "", limits))).toEqual([100, 200]);
    expect(rowsOf(claimShares(tenants(1, 1, 6), "", limits))).toEqual([50, 50, 200]);
  });

  it("leave nobody out, however light, and never exceed the room", () => {
    const shares = claimShares(tenants(1000, 1, 1), "", { ...limits, room: 50 });
    expect(Math.min(...rowsOf(shares))).toBeGreaterThanOrEqual(1);
    expect(rowsOf(shares).reduce((sum, rows) => sum + rows)).toBeLessThanOrEqual(50);
    expect(claimShares(tenants(1, 1), "", { ...limits, room: 0 })).toEqual([]);
  });

  it("begin after the tenant that was served last, so that everybody's turn comes when there is no room for all", () => {
    const served = new Map<string, number>();
    let after = "";
    for (let round = 0; round < 50; round++) {
      for (const { tenantId, rows } of claimShares(tenants(...Array.from({ length: 10 }, () => 1)), after, { ...limits, room: 3 })) {
        served.set(tenantId, (served.get(tenantId) ?? 0) + rows);
        after = tenantId;
      }
    }
    expect(served.size).toBe(10);
    expect(Math.max(...served.values()) - Math.min(...served.values())).toBeLessThanOrEqual(1);
  });

  it("are bounded for a thousand tenants: the others come in the next rounds", () => {
    const all = tenants(...Array.from({ length: 1000 }, () => 1));
    const seen = new Set<string>();
    let after = "";
    for (let round = 0; round < 10; round++) {
      const shares = claimShares(all, after, limits);
      expect(shares).toHaveLength(100);
      for (const { tenantId } of shares) seen.add(tenantId);
      after = shares.at(-1)?.tenantId ?? "";
    }
    expect(seen.size).toBe(1000);
  });
});

describe("looking for due work", () => {
  let place: Place;
  beforeAll(async () => {
    place = await openPlace();
    await place.pool.query("insert into tenants (id, weight) select 'tenant' || n, case n when 7 then 5 else 1 end from generate_series(1, 5000) n");
    await sleepers(100_000, 20);
  }, 120_000);
  afterAll(() => place[Symbol.asyncDispose]());

  /** Parked for an hour, spread over some tenants. */
  async function sleepers(count: number, tenantCount: number): Promise<void> {
    await place.pool.query(
      `insert into workflow_executions (tenant_id, id, workflow_name, revision, state, correlation_id, last_sequence, wake_at, create_time)
       select 'tenant' || (n % $2 + 1), gen_random_uuid(), 'sleeper', 1, 'waiting', 'c', 2, now() + interval '1 hour' + n * interval '1 second', now()
       from generate_series(1, $1::int) n`,
      [count, tenantCount],
    );
  }

  interface Plan {
    readonly "Node Type": string;
    readonly "Actual Rows": number;
    readonly "Actual Loops": number;
    readonly "Shared Hit Blocks": number;
    readonly "Shared Read Blocks": number;
    readonly "Index Name"?: string;
    readonly Plans?: readonly Plan[];
  }

  async function explain(text: string, values: unknown[] = []): Promise<{ nodes: Plan[]; blocks: number; timeMs: number }> {
    const { rows } = await place.pool.query<{ "QUERY PLAN": [{ Plan: Plan; "Execution Time": number }] }>(
      `explain (analyze, buffers, format json) ${text}`,
      values,
    );
    const top = rows[0]?.["QUERY PLAN"][0];
    const nodes: Plan[] = [];
    const walk = (plan: Plan): void => {
      nodes.push(plan);
      for (const child of plan.Plans ?? []) walk(child);
    };
    walk(top?.Plan as Plan);
    return { nodes, blocks: (top?.Plan["Shared Hit Blocks"] ?? 0) + (top?.Plan["Shared Read Blocks"] ?? 0), timeMs: top?.["Execution Time"] ?? 0 };
  }

  it("reads one index entry for each tenant with parked work: neither 100,000 sleepers nor 5,000 idle tenants", async () => {
    const found = await nextDue(place.pool);
    expect(found).toHaveLength(20);
    expect(found.every(({ dueInMs }) => dueInMs > 3_000_000)).toBe(true);
    expect(found.find(({ tenantId }) => tenantId === "tenant7")?.weight).toBe(5);
    for (const analyzed of [false, true]) {
      if (analyzed) await place.pool.query("vacuum analyze workflow_executions, tenants");
      const { nodes, blocks, timeMs } = await explain(nextDueText);
      console.log(`a look at 100,000 sleepers of 20 tenants among 5,000: ${timeMs.toFixed(2)} ms, ${blocks} blocks${analyzed ? ", analysed" : ""}`);
      const scans = nodes.filter((node) => node["Index Name"] === "workflow_executions_due_idx");
      expect(scans.length).toBe(2);
      for (const scan of scans) expect(scan["Actual Rows"]).toBeLessThanOrEqual(1);
      expect(nodes.map((node) => node["Node Type"]).filter((type) => type === "Seq Scan")).toEqual([]);
      expect(blocks).toBeLessThan(500);
    }
  });

  it("claims by the same index, and only what is due", async () => {
    const replica = "0197f3a0-0000-7000-8000-000000000001";
    await place.pool.query("insert into replicas (id, presence_key, expire_time) values ($1, 1, now() + interval '1 hour')", [replica]);
    await place.pool.query(
      "update workflow_executions set wake_at = now() - interval '1 second' where ctid in (select ctid from workflow_executions where tenant_id = 'tenant3' limit 5)",
    );
    const { nodes, blocks, timeMs } = await explain(claimText, [replica, 1, "tenant3", 200]);
    console.log(`a claim of 5 among 5,000 sleepers of its tenant: ${timeMs.toFixed(2)} ms, ${blocks} blocks`);
    expect(nodes.some((node) => node["Index Name"] === "workflow_executions_due_idx")).toBe(true);
    expect(blocks, "only what is due is read, not every sleeper of the tenant").toBeLessThan(300);
    const { rows } = await place.pool.query("select count(*)::int as claimed from workflow_executions where owner = $1", [replica]);
    expect(rows[0].claimed).toBe(5);
  });

  it("lets the stream of a tenant find what is new among its 5,000 sleepers without reading their ledgers", async () => {
    await place.pool.query(
      `insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload)
       select tenant_id, id, n, 'step_waiting', 's', 1, now() - interval '1 hour', '{}' from workflow_executions, generate_series(1, 3) n where tenant_id in ('tenant5', 'tenant6')`,
    );
    await place.pool.query(
      `insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload)
       select tenant_id, id, n, 'step_succeeded', 's', 1, now(), '{}' from (select * from workflow_executions where tenant_id = 'tenant5' limit 7) e, generate_series(4, 5) n`,
    );
    const since = new Date(Date.now() - 600_000);
    const found = await changedSince(place.pool, "tenant5", since, 100);
    expect(found).toHaveLength(7);
    for (const { first, last } of found) expect([first, last]).toEqual([4, 5]);
    const { nodes, blocks, timeMs } = await explain(changedSinceText, ["tenant5", since, 100]);
    console.log(`what is new among 5,000 sleepers: ${timeMs.toFixed(1)} ms, ${blocks} blocks`);
    expect(nodes.map((node) => node["Node Type"])).not.toContain("Seq Scan");
    // One probe of three index pages and one row for each sleeper.
    expect(blocks).toBeLessThan(40_000);
  });

  it("stays quick with parked work of 3,000 tenants", async () => {
    await sleepers(3000, 3000);
    const { timeMs, blocks } = await explain(nextDueText);
    console.log(`a look at the parked work of 3,000 tenants: ${timeMs.toFixed(1)} ms, ${blocks} blocks`);
    expect(await nextDue(place.pool)).toHaveLength(3000);
    expect(blocks).toBeLessThan(40_000);
  });
});
