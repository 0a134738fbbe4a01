import { afterAll, beforeAll, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { identity } from "../domain/simulate.ts";
import { cases, run } from "../domain/simulated-cases.ts";
import { fc } from "../support/property.ts";
import { ids, openPlace, type Place } from "./journal-fixture.ts";

let place: Place;
beforeAll(async () => {
  place = await openPlace();
});
afterAll(() => place[Symbol.asyncDispose]());

interface ViewRow {
  readonly path: string;
  readonly state: string;
  readonly attempt: number;
  readonly action_state: string;
  readonly compensation_state: string;
  readonly result_sequence: number | null;
}

async function store(ledger: readonly ExecutionEvent[]): Promise<string> {
  const id = parseId("execution", ids.next("execution")) ?? "";
  await place.pool.query(
    `insert into execution_events (tenant_id, execution_id, sequence, type, step_path, attempt, at, payload)
     select 'acme', $1, v.sequence, v.type, v.path, v.attempt, v.at, v.payload
     from json_to_recordset($2::json) as v (sequence int, type text, path text, attempt int, at timestamptz, payload json)`,
    [id, JSON.stringify(ledger.map(({ stepPath, at, ...event }) => ({ ...event, path: stepPath, at: new Date(at) })))],
  );
  return id;
}

async function viewOf(id: string): Promise<ViewRow[]> {
  const columns = "path, state, attempt, action_state, compensation_state, result_sequence";
  return (await place.pool.query<ViewRow>(`select ${columns} from workflow_execution_steps where tenant_id = 'acme' and execution_id = $1`, [id])).rows;
}

const byPath = (a: { path: string }, b: { path: string }): number => (a.path < b.path ? -1 : 1);

it("the view of steps says of every ledger, cut anywhere, what the fold says", async () => {
  await fc.assert(
    fc.asyncProperty(cases, fc.double({ min: 0, max: 1, noNaN: true }), async (played, part) => {
      const whole = run(played).ledger;
      const ledger = whole.slice(0, 1 + Math.floor(part * (whole.length - 1)));
      const rows = await viewOf(await store(ledger));
      const expected = [...foldExecution(identity, ledger).steps.values()].map((step) => ({
        path: step.path,
        state: step.status,
        attempt: step.attempt,
        action_state: step.action,
        compensation_state: step.undo?.status ?? "none",
        result_sequence: step.outcomeSequence === 0 ? null : step.outcomeSequence,
      }));
      expect(rows.sort(byPath)).toEqual(expected.sort(byPath));
    }),
    { numRuns: 60 },
  );
});

it("rows that a replica of the release before writes go nowhere and do not stop it", async () => {
  const write = "insert into workflow_execution_steps values ('acme', gen_random_uuid(), 'a', 'completed', 1, 'succeeded', 'none', 1, now(), now())";
  expect((await place.pool.query(`with written as (${write}) select 1 as one`)).rows).toEqual([{ one: 1 }]);
  await place.pool.query("update workflow_execution_steps set state = 'failed' where path = 'a'");
  await place.pool.query("delete from workflow_execution_steps where path = 'a'");
  expect((await place.pool.query("select 1 from workflow_execution_steps where path = 'a'")).rows).toEqual([]);
});

it("one execution's steps are read by the ledger's key, not by looking through it", async () => {
  const { rows } = await place.pool.query<{ "QUERY PLAN": string }>(
    "explain select * from workflow_execution_steps where tenant_id = 'acme' and execution_id = '00000000-0000-7000-8000-000000000000'",
  );
  expect(rows.map((row) => row["QUERY PLAN"]).join("\n")).toMatch(/execution_events_pkey/);
});
