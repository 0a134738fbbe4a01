/**
 * The coordinator dies (kill -9) exactly before or after each commit that matters, one row of the table of crash points a test: whatever the
 * moment, another replica goes on, each effect has one key, and the participant's ledger adds up to what the saga's end says.
 */
import { afterEach, beforeEach, describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { acme, openWorld, type World } from "../engine/engine-fixture.ts";
import { holds, type Moment, openDoomed, start, storedSagas, trip } from "./support/doomed.ts";
import { Sibling } from "./support/sibling.ts";

let world: World;
let sibling: Sibling;
beforeEach(async () => {
  world = await openWorld();
  sibling = new Sibling();
});
afterEach(() => world[Symbol.asyncDispose]());

const typesOf = (ledger: readonly ExecutionEvent[], type: string): string[] => ledger.filter((event) => event.type === type).map(({ stepPath }) => stepPath);

/** One end, no gap, one key for each operation, and effects stand exactly if the saga completed. */
async function expectBalanced(executionId: string, end: "completed" | "compensated"): Promise<readonly ExecutionEvent[]> {
  const ledger = await world.ledgerWith(executionId, "execution_ended");
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
  expect(ledger.filter(({ type }) => type === "execution_ended")).toMatchObject([{ payload: { state: end } }]);
  for (const [operation, calls] of Map.groupBy(sibling.calls, ({ step, op }) => `${step} ${op}`)) {
    expect(new Set(calls.map(({ key }) => key)), operation).toEqual(new Set([`${executionId}/${operation.replace(" ", "/")}`]));
    const attempts = calls.map(({ attempt }) => attempt);
    expect(attempts, operation).toEqual([...new Set(attempts)].toSorted((a, b) => a - b));
  }
  expect([...sibling.standing].toSorted()).toEqual(end === "completed" ? ["car", "flight", "hotel"] : []);
  await expect.poll(async () => (await world.rowOf(executionId)).state).toBe(end);
  return ledger;
}

/** A trip on a replica that dies at that moment, and another replica that goes on. */
async function outlived(moment: Moment): Promise<string> {
  const { engine, died } = await openDoomed(world, sibling, moment);
  const { executionId } = await start(world, engine, trip(sibling, {}, { barrier: true }));
  await died;
  await world.openEngine("heir", { http: sibling });
  return executionId;
}

describe("the coordinator dies", () => {
  it("before the start commits: nothing is there, and the client's repeat makes the one saga", async () => {
    const saga = trip(sibling);
    const { engine } = await openDoomed(world, sibling, { when: "before", event: "execution_created" });
    await expect(start(world, engine, saga)).rejects.toThrow("try again");
    expect(await storedSagas(world)).toBe(0);
    expect(sibling.calls).toEqual([]);
    const heir = await world.openEngine("heir", { http: sibling });
    const { executionId, existing } = await start(world, heir, saga);
    expect(existing).toBe(false);
    await expectBalanced(executionId, "completed");
    expect([await storedSagas(world), sibling.asked]).toEqual([1, ["flight 1", "hotel 1", "car 1"]]);
  });

  it("after the start has committed and before the reply: the client's repeat finds the saga, which has gone on by itself", async () => {
    const saga = trip(sibling);
    const { engine, died } = await openDoomed(world, sibling, { when: "after", event: "execution_created" });
    await start(world, engine, saga);
    await died;
    expect(sibling.calls).toEqual([]);
    const heir = await world.openEngine("heir", { http: sibling });
    const { executionId, existing } = await start(world, heir, saga);
    expect(existing).toBe(true);
    await expectBalanced(executionId, "completed");
    // The intent of the first call was in the same commit and never left: its attempt was counted.
    expect([await storedSagas(world), sibling.asked]).toEqual([1, ["flight 2", "hotel 1", "car 1"]]);
  });

  it.each([
    ["after DISPATCHED, before the call: it is sent under the next attempt", "after", "step_started hotel", ["flight 1", "hotel 2", "car 1"]],
    ["after the call, before its outcome commits: it is sent again, same key", "before", "step_succeeded hotel", ["flight 1", "hotel 1", "hotel 2", "car 1"]],
    ["after the outcome commits, before the next call: that one is due", "after", "step_succeeded hotel", ["flight 1", "hotel 1", "car 2"]],
    ["before the end commits: the last outcome is asked for again", "before", "execution_ended", ["flight 1", "hotel 1", "car 1", "car 2"]],
    ["after the end commits: nothing is left to do", "after", "execution_ended", ["flight 1", "hotel 1", "car 1"]],
  ] as const)("%s", async (_, when, event, asked) => {
    const executionId = await outlived({ when, event });
    await expectBalanced(executionId, "completed");
    expect(sibling.asked).toEqual(asked);
  });

  const forward = ["flight 1", "hotel 1", "car 1"];
  it.each([
    [
      "before the failure commits: it is asked again and turns the saga; the first call may have run, so it is undone, too",
      "before",
      "step_failed car",
      [...forward, "car 2", "undo car 1", "undo hotel 1", "undo flight 1"],
    ],
    ["after the failure commits: the reason stands, the first undo is due", "after", "step_failed car", [...forward, "undo hotel 2", "undo flight 1"]],
    [
      "before an undo's outcome: that undo goes out again, none overtakes it",
      "before",
      "compensation_succeeded hotel",
      [...forward, "undo hotel 1", "undo hotel 2", "undo flight 1"],
    ],
    ["after an undo's outcome: the next undo is due", "after", "compensation_succeeded hotel", [...forward, "undo hotel 1", "undo flight 2"]],
    ["before the end of the compensation commits", "before", "execution_ended", [...forward, "undo hotel 1", "undo flight 1", "undo flight 2"]],
    ["after the end of the compensation commits", "after", "execution_ended", [...forward, "undo hotel 1", "undo flight 1"]],
  ] as const)("turning back, %s", async (_, when, event, asked) => {
    sibling.fault("car action", "refuse", "refuse");
    const executionId = await outlived({ when, event });
    const ledger = await expectBalanced(executionId, "compensated");
    expect(sibling.asked).toEqual(asked);
    expect(typesOf(ledger, "compensation_succeeded").slice(-2)).toEqual(["hotel", "flight"]);
    expect(ledger.at(-1)?.payload).toMatchObject({ failedStep: "car", failure: { name: "HTTP.422" } });
  });

  it("never between a failure and the turn: failure, reason and the first undo's intent are one commit", async () => {
    sibling.fault("car action", "refuse");
    const replica = await world.openEngine("one", { http: sibling });
    const { executionId } = await start(world, replica, trip(sibling));
    await expectBalanced(executionId, "compensated");
    const turn = replica.appends.find(({ request }) => holds(request, "step_failed car"))?.request.events;
    expect(turn?.map(({ type, stepPath }) => `${type} ${stepPath}`.trim())).toEqual(["step_failed car", "saga_state_changed", "compensation_started hotel"]);
  });

  it("twice, at the same place: the third replica goes on", async () => {
    sibling.fault("car action", "refuse", "refuse", "refuse");
    const first = await openDoomed(world, sibling, { when: "before", event: "compensation_succeeded hotel" });
    const { executionId } = await start(world, first.engine, trip(sibling));
    await first.died;
    const second = await openDoomed(world, sibling, { when: "after", event: "compensation_started hotel" });
    await second.died;
    await world.openEngine("heir", { http: sibling });
    await expectBalanced(executionId, "compensated");
    expect(sibling.asked).toEqual([...forward, "undo hotel 1", "undo hotel 3", "undo flight 1"]);
  });
});

describe("past the point of no return the coordinator dies", () => {
  const http = (path: string): JsonObject => ({ http: { method: "POST", url: `${sibling.url}/${path}` } });
  const steps = (): JsonObject[] => [
    { name: "flight", action: http("flight"), compensation: http("undo-flight"), confirmation: http("confirm-flight"), barrier: true },
    { name: "hotel", kind: "COMPENSATION_KIND_PIVOT", action: http("hotel") },
    { name: "car", kind: "COMPENSATION_KIND_RETRIABLE", action: http("car") },
  ];

  it.each([
    [
      "before the PIVOT's outcome commits: it is asked again, same key, never undone",
      "before",
      "step_succeeded hotel",
      ["flight 1", "hotel 1", "hotel 2", "car 1", "confirm flight 1"],
    ],
    ["after the PIVOT's outcome commits: what must succeed goes on", "after", "step_succeeded hotel", ["flight 1", "hotel 1", "car 2", "confirm flight 1"]],
    [
      "before what must succeed is known to have: it is sent again",
      "before",
      "step_succeeded car",
      ["flight 1", "hotel 1", "car 1", "car 2", "confirm flight 1"],
    ],
    [
      "before a confirmation's outcome commits: it is sent again, same key",
      "before",
      "confirmation_succeeded flight",
      ["flight 1", "hotel 1", "car 1", "confirm flight 1", "confirm flight 2"],
    ],
    [
      "after a confirmation's outcome commits: only the end is left",
      "after",
      "confirmation_succeeded flight",
      ["flight 1", "hotel 1", "car 1", "confirm flight 1"],
    ],
  ] as const)("%s", async (_, when, event, asked) => {
    const { engine, died } = await openDoomed(world, sibling, { when, event });
    const { executionId } = await start(world, engine, trip(sibling, { steps: steps() }));
    await died;
    await world.openEngine("heir", { http: sibling });
    await expectBalanced(executionId, "completed");
    expect(sibling.asked).toEqual(asked);
  });
});

it("a frozen replica that wakes after its lease: its write is refused, and its call was absorbed by the key", async () => {
  const thaw = Promise.withResolvers<void>();
  const stopped = Promise.withResolvers<void>();
  const frozen = await world.openEngine("frozen", {
    http: sibling,
    beforeAppend: async (request) => {
      if (!holds(request, "step_succeeded hotel")) return;
      stopped.resolve();
      await thaw.promise;
    },
  });
  const { executionId } = await start(world, frozen, trip(sibling));
  await stopped.promise;
  // As if its lease had run out: it renews nothing any more, and whoever comes takes over.
  await frozen.leases.stop();
  await world.openEngine("heir", { http: sibling });
  await expectBalanced(executionId, "completed");
  thaw.resolve();
  await expect.poll(() => frozen.appends.at(-1)?.outcome.kind).toBe("fenced");
  await expectBalanced(executionId, "completed");
  expect(sibling.asked).toEqual(["flight 1", "hotel 1", "hotel 2", "car 1"]);
  expect(sibling.outcomes).toContain("hotel action DUPLICATE");
});

describe("the participant dies", () => {
  it.each([
    ["before its effect: unknown, tried again, applied once", "dies before", ["hotel action APPLIED"]],
    ["after its commit, before its answer: unknown, tried again, the stored result", "dies after", ["hotel action APPLIED", "hotel action DUPLICATE"]],
  ] as const)("%s", async (_, fault, outcomes) => {
    sibling.fault("hotel action", fault);
    const { executionId } = await start(world, await world.openEngine("one", { http: sibling }), trip(sibling));
    await expectBalanced(executionId, "completed");
    expect(sibling.outcomes.filter((outcome) => outcome.startsWith("hotel"))).toEqual(outcomes);
  });

  it.each([
    ["before its effect for good: its undo finds nothing", "dies before", ["hotel compensate NULL_COMPENSATED"]],
    [
      "after its commit for good: its undo takes the effect back",
      "dies after",
      ["hotel action APPLIED", "hotel action DUPLICATE", "hotel action DUPLICATE", "hotel compensate APPLIED"],
    ],
  ] as const)("%s", async (_, fault, outcomes) => {
    sibling.fault("hotel action", fault, fault, fault);
    const { executionId } = await start(world, await world.openEngine("one", { http: sibling }), trip(sibling, {}, { barrier: true }));
    await expectBalanced(executionId, "compensated");
    expect(sibling.outcomes.filter((outcome) => outcome.startsWith("hotel"))).toEqual(outcomes);
  });
});

it("an undo arrives before its action: nothing to undo, and the action is refused when it comes", async () => {
  sibling.fault("hotel action", "late");
  const replica = await world.openEngine("one", { http: sibling });
  const { executionId } = await start(world, replica, trip(sibling, {}, { barrier: true }));
  await expect.poll(() => sibling.asked).toContain("hotel 1");
  await replica.engine.control(acme, executionId, { kind: "abort_saga", actor: "key_1", reason: "the customer left" });
  await world.ledgerWith(executionId, "execution_ended");
  sibling.deliverLate();
  await expectBalanced(executionId, "compensated");
  expect(sibling.outcomes.slice(1)).toEqual(["hotel compensate NULL_COMPENSATED", "flight compensate APPLIED", "hotel action SUSPENDED"]);
});

describe("the connections to PostgreSQL break", () => {
  const cut = async (): Promise<void> => {
    await world.place.pool.query(
      "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database() and application_name <> 'looks-on' and pid <> pg_backend_pid()",
    );
  };

  it.each(
    ["execution_created", "step_succeeded hotel", "step_failed car", "compensation_succeeded hotel", "execution_ended"].flatMap((event) =>
      (["before", "after"] as const).map((when) => [when, event] as const),
    ),
  )("%s the commit with %s: read again, claimed again", async (when, event) => {
    sibling.fault("car action", "refuse", "refuse", "refuse");
    let cuts = 0;
    const breaks = async (request: Parameters<typeof holds>[0]): Promise<void> => {
      if (holds(request, event) && cuts++ === 0) await cut();
    };
    const replica = await world.openEngine("one", { http: sibling, ...(when === "before" ? { beforeAppend: breaks } : { afterAppend: breaks }) });
    const saga = trip(sibling);
    const { executionId } = await start(world, replica, saga).catch(() => start(world, replica, saga));
    await expectBalanced(executionId, "compensated");
    expect([await storedSagas(world), cuts]).toEqual([1, 1]);
  });
});
