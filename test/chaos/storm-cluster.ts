/** Several real server processes on one database, which die, freeze and come back; and what the database says of it. */
import { Client } from "pg";
import { expect, vi } from "vitest";
import { type Clients, connect } from "../service/support/connect-client.ts";
import { restart, type Server, startServer } from "../service/support/server.ts";
import type { TestDatabase } from "../support/postgres.ts";

export interface Member {
  server: Server;
  clients: Clients;
  /** Of the process that runs now. */
  replicaId: string;
  frozen: boolean;
}

export interface LedgerLine {
  readonly sequence: number;
  readonly type: string;
  readonly path: string;
  readonly payload: { readonly deadlineAt?: number };
}

export class StormCluster {
  readonly members: Member[] = [];
  /** Milliseconds from the end of a process until nothing was its any more. */
  readonly takeovers: { readonly how: "SIGKILL" | "SIGSTOP"; readonly executions: number; readonly ms: number }[] = [];
  readonly #database: Client;

  private constructor(database: Client) {
    this.#database = database;
  }

  static async start(count: number, database: TestDatabase, egressAllow: readonly string[]): Promise<StormCluster> {
    const client = new Client(database.connection);
    // The database is dropped at the end, whatever is still connected.
    client.on("error", () => undefined);
    await client.connect();
    const cluster = new StormCluster(client);
    const first = await startServer({ databaseUrl: database.databaseUrl, egressAllow, env: { PAWF_LOG_LEVEL: "info", PAWF_LEASE_SECONDS: "5" } });
    const others = Array.from({ length: count - 1 }, () => restart(first));
    for (const server of [first, ...(await Promise.all(others))]) cluster.members.push(await memberOf(server));
    return cluster;
  }

  async stop(): Promise<void> {
    for (const { server } of this.members) server.signal("SIGCONT");
    await Promise.all(this.members.map(({ server }) => server.kill()));
    await this.#database.end();
  }

  /** SIGKILL, then another process in its place; `takeovers` tells how long the others needed. */
  async kill(member: Member): Promise<void> {
    const owned = await this.#ownedBy(member.replicaId);
    await member.server.kill();
    await this.#takenOver(member.replicaId, "SIGKILL", owned);
    Object.assign(member, await memberOf(await restart(member.server)));
  }

  /** SIGSTOP until the others have taken over what it drove, then SIGCONT. */
  async freeze(member: Member): Promise<void> {
    member.frozen = true;
    member.server.signal("SIGSTOP");
    await this.#takenOver(member.replicaId, "SIGSTOP", await this.#ownedBy(member.replicaId));
    member.server.signal("SIGCONT");
    member.frozen = false;
  }

  /** SIGSTOP for less than a lease. */
  async blink(member: Member, durationMs: number): Promise<void> {
    member.server.signal("SIGSTOP");
    await new Promise((resolve) => setTimeout(resolve, durationMs));
    member.server.signal("SIGCONT");
  }

  async metricOf({ server }: Member, name: string): Promise<number> {
    const response = await fetch(`${server.url}/metrics`, { headers: { authorization: `Bearer ${server.apiKey}` } });
    const line = (await response.text()).split("\n").find((text) => text.startsWith(`pyairtable_workflow_${name} `));
    return Number(line?.split(" ")[1] ?? Number.NaN);
  }

  /** Executions that have not ended: each with its state, whether it is owned or due, and its last event. */
  async open(): Promise<string[]> {
    const { rows } = await this.#database.query<{ about: string }>(
      `select concat_ws(' ', e.id, e.state, case when e.owner is null then 'parked' else 'owned' end, 'wake in', round(extract(epoch from e.wake_at - now())), 's:', last.type, last.step_path,
         (select 'children ' || jsonb_agg(jsonb_build_array(c.id, c.state, c.owner, c.end_time))::text from workflow_executions c where c.tenant_id = e.tenant_id and c.parent_execution_id = e.id),
         (select 'outbox ' || jsonb_agg(to_jsonb(o))::text from execution_outbox o)) as about
       from workflow_executions e
       left join execution_events last on last.tenant_id = e.tenant_id and last.execution_id = e.id and last.sequence = e.last_sequence
       where e.end_time is null`,
    );
    return rows.map(({ about }) => about);
  }

  /** Rows that are left of what was to be told, awaited or done. */
  async leftovers(): Promise<Record<string, number>> {
    const { rows } = await this.#database.query(
      `select (select count(*)::int from execution_outbox) as commands, (select count(*)::int from event_waits) as waits,
         (select count(*)::int from tasks) as tasks, (select count(*)::int from signals where not delivered) as events`,
    );
    return rows[0];
  }

  /** Every execution's state and ledger, by id of the start's request; children as `child <id of the parent>`. */
  async ledgers(): Promise<Map<string, { readonly id: string; readonly state: string; readonly lines: LedgerLine[] }>> {
    const { rows } = await this.#database.query(
      `select coalesce(e.request_id, 'child ' || e.parent_execution_id) as request, e.id, e.state, v.sequence, v.type, v.step_path as path, v.payload from workflow_executions e
       join execution_events v on v.tenant_id = e.tenant_id and v.execution_id = e.id order by e.id, v.sequence`,
    );
    const ledgers = new Map<string, { id: string; state: string; lines: LedgerLine[] }>();
    for (const { request, id, state, ...line } of rows) {
      const ledger: { id: string; state: string; lines: LedgerLine[] } = ledgers.get(request) ?? { id, state, lines: [] };
      ledgers.set(request, ledger);
      expect(ledger.id, `request ${request} started two executions`).toBe(id);
      ledger.lines.push(line as LedgerLine);
    }
    return ledgers;
  }

  async #ownedBy(replicaId: string): Promise<number> {
    const { rows } = await this.#database.query("select count(*)::int as owned from workflow_executions where owner = $1", [replicaId]);
    return rows[0].owned;
  }

  async #takenOver(replicaId: string, how: "SIGKILL" | "SIGSTOP", executions: number): Promise<void> {
    const since = performance.now();
    const isOver = async (): Promise<boolean> => {
      const { rows } = await this.#database.query("select expire_time = '-infinity' as over from replicas where id = $1", [replicaId]);
      return rows[0]?.over !== false;
    };
    await expect.poll(isOver, { timeout: 40_000, interval: 5 }).toBe(true);
    this.takeovers.push({ how, executions, ms: performance.now() - since });
  }
}

async function memberOf(server: Server): Promise<Member> {
  return { server, clients: connect(server), replicaId: await replicaIdOf(server), frozen: false };
}

/** A replica writes its id into its log when it begins. */
async function replicaIdOf({ logLines }: Server): Promise<string> {
  const find = (): string | undefined => logLines.map((text) => (JSON.parse(text) as { replicaId?: string }).replicaId).find((id) => id !== undefined);
  await vi.waitFor(() => expect(find()).toBeDefined(), { timeout: 30_000, interval: 5 });
  return find() ?? "";
}
