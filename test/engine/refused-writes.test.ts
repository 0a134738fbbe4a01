/** What the database refuses to store: real refusals, made by a trigger on the ledger. */
import { afterEach, beforeEach, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { openWorld, type TestEngine, type World } from "./engine-fixture.ts";

let world: World;
let engine: TestEngine;
let pauses: number[] = [];
beforeEach(async () => {
  pauses = [];
  world = await openWorld();
  engine = await world.openEngine("one", {
    store: (real) => ({
      ...real,
      // As short as can be: what is tested is that they grow, not that they pass.
      release: (tenantId, executionId, pauseMs) => real.release(tenantId, executionId, Math.min(1, pauses.push(pauseMs))),
    }),
  });
});
afterEach(() => world[Symbol.asyncDispose]());

const call = (name: string, more: JsonObject = {}): JsonObject => ({ name, call: {}, retry_policy: { maximum_attempts: 1 }, ...more });
const undo = { compensation: { step: { call: {} } } };

/** From now on no event of this type whose payload holds the word "poison" is stored. */
async function refuse(type: string, sqlState: string): Promise<void> {
  await world.place.pool.query(`create or replace function refuse() returns trigger language plpgsql as $$ begin
    if new.type = '${type}' and new.payload::text like '%poison%' then raise exception 'secret poison' using errcode = '${sqlState}'; end if; return new; end $$`);
  await world.place.pool.query("create trigger refuse before insert on execution_events for each row execute function refuse()");
}

it("a result that cannot be stored fails its step with LIMIT.STORAGE after a few tries under one key, and what was done is undone", async () => {
  await refuse("step_succeeded", "22P05");
  world.answerWith((sent) => sent.succeed(sent.stepPath === "b" && sent.operation === "action" ? "poison" : sent.stepPath));
  const executionId = await engine.start({ steps: [call("a", undo), call("b", undo), call("c")] });
  await world.ledgerWith(executionId, "step_failed");
  // The attempts whose answers were lost may be at work until their time is over, as far as the ledger knows.
  engine.skew.ms = 600_000;
  await expect.poll(async () => (await world.rowOf(executionId)).owner, { timeout: 30_000 }).toBe(null);
  await world.place.pool.query("update workflow_executions set wake_at = clock_timestamp() where wake_at is not null");
  engine.engine.wake();
  const ledger = await world.ledgerWith(executionId, "execution_ended");
  const failed = ledger.find((event) => event.type === "step_failed");
  expect(failed).toMatchObject({
    stepPath: "b",
    payload: { outcome: "unknown", failure: { name: "LIMIT.STORAGE", message: expect.stringContaining("22P05") } },
  });
  expect(JSON.stringify(ledger)).not.toContain("secret");
  const sentTo = (path: string, operation: string) => world.sent.filter((sent) => sent.stepPath === path && sent.operation === operation);
  expect([sentTo("b", "action").length, new Set(sentTo("b", "action").map((sent) => sent.idempotencyKey)).size]).toEqual([4, 1]);
  // It may have had its effect.
  expect([sentTo("b", "compensate").length, sentTo("a", "compensate").length, sentTo("c", "action").length]).toEqual([1, 1, 0]);
  expect(pauses).toEqual([1_000, 2_000, 4_000, 8_000]);
  expect((await world.rowOf(executionId)).state).toBe("compensated");
});

it("only the step whose event is refused fails, whatever else was in its turn", async () => {
  await refuse("step_succeeded", "54000");
  world.answerWith((sent) => sent.succeed(sent.stepPath));
  const set = (name: string, text: string, more: JsonObject = {}): JsonObject => ({ name, set_variables: { variables: { [name]: text } }, ...more });
  const steps = [call("a"), set("b", "fine"), set("c", "poison", { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } }), set("d", "fine"), call("e")];
  const executionId = await engine.start({ steps });
  const ledger = await world.ledgerWith(executionId, "execution_ended");
  expect(ledger.flatMap(({ type, stepPath }) => (type === "step_succeeded" || type === "step_failed" ? [`${type} ${stepPath}`] : []))).toEqual([
    ...["step_succeeded a", "step_succeeded b", "step_failed c", "step_succeeded d", "step_succeeded e"],
  ]);
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
  expect((await world.rowOf(executionId)).state).toBe("completed");
});

it("an output that cannot be stored fails the execution, and what was done is undone", async () => {
  await refuse("execution_ended", "22P05");
  world.answerWith((sent) => sent.succeed(sent.stepPath));
  const executionId = await engine.start({ steps: [call("a", undo)], outputs: { all: "poison" } });
  await world.ledgerWith(executionId, "execution_ended");
  expect(await world.rowOf(executionId)).toMatchObject({ state: "compensated" });
});

it("a refusal for another reason than the data is tried again after growing pauses, for as long as it lasts, and goes on then", async () => {
  await refuse("step_succeeded", "42P01");
  world.answerWith((sent) => sent.succeed("poison"));
  const executionId = await engine.start({ steps: [call("a")] });
  await expect.poll(() => pauses.length, { timeout: 30_000 }).toBeGreaterThanOrEqual(10);
  expect(pauses.slice(0, 10)).toEqual([1, 2, 4, 8, 16, 32, 64, 128, 256, 300].map((seconds) => seconds * 1_000));
  await world.place.pool.query("drop trigger refuse on execution_events");
  const ledger = await world.ledgerWith(executionId, "execution_ended");
  expect(ledger.filter(({ type }) => type === "step_succeeded")).toHaveLength(1);
  expect((await world.rowOf(executionId)).state).toBe("completed");
});

it("an undo whose answer cannot be stored ends as one that failed: the saga is stuck and says why", async () => {
  await refuse("compensation_succeeded", "22P05");
  world.answerWith((sent) => (sent.stepPath === "b" ? sent.fail("HTTP.422") : sent.succeed("poison")));
  const stepUndo = { compensation: { step: { call: {} }, retry_policy: { maximum_attempts: 1 } } };
  const executionId = await engine.start({ steps: [call("a", stepUndo), call("b")] });
  const ledger = await world.ledgerWith(executionId, "compensation_failed");
  expect(ledger.find(({ type }) => type === "compensation_failed")).toMatchObject({ payload: { failure: { name: "LIMIT.STORAGE" } } });
  await expect.poll(async () => (await world.rowOf(executionId)).state).toBe("stuck");
});
