/** What the simulation found (test/simulation): answers that get lost, a freeze after a commit, a stop amid work. */
import { afterEach, beforeEach, expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { silentLog } from "../../src/base/log.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { emptyExecution } from "../../src/domain/execution-state.ts";
import type { RunEnvironment } from "../../src/engine/run-environment.ts";
import { ExecutionRun } from "../../src/engine/run-execution.ts";
import type { EngineStore } from "../../src/store/engine-store.ts";
import type { StartRow } from "../../src/store/journal.ts";
import { callerOf } from "../store/open-store.ts";
import { acme, openWorld, type TestEngine, type World, within } from "./engine-fixture.ts";

let world: World;
beforeEach(async () => {
  world = await openWorld();
});
afterEach(() => world[Symbol.asyncDispose]());

const call = (name: string, more: JsonObject = {}): JsonObject => ({ name, call: {}, retry_policy: { maximum_attempts: 1 }, ...more });

it("a claim whose answer was lost leaves no execution behind that nobody drives", async () => {
  const starter = await world.openEngine("starter", { isIdle: true });
  const executionId = await starter.start({ steps: [call("a")] });
  await world.nextSent();
  let lost = 0;
  const unlucky = await world.openEngine("unlucky", {
    store: (real) => ({
      ...real,
      async claim(tenantId, rowsMax) {
        const claimed = await real.claim(tenantId, rowsMax);
        if (claimed.length === 0 || lost++ > 0) return claimed;
        throw new Error("the connection broke after the commit");
      },
    }),
  });
  await starter.stop();
  unlucky.engine.wake();
  const again = await world.nextSent();
  expect([again.replica, again.executionId, again.attempt, lost]).toEqual(["unlucky", executionId, 2, 2]);
  again.succeed();
  await world.ledgerWith(executionId, "execution_ended");
});

it("a command whose claim was answered into the void can be given again, also to an ended execution", async () => {
  const starter = await world.openEngine("starter");
  world.answerWith((sent) => sent.fail("HTTP.422"));
  const executionId = await starter.start({ steps: [call("a")] });
  await world.ledgerWith(executionId, "execution_ended");
  let lost = 0;
  const unlucky = await world.openEngine("unlucky", {
    store: (real) => ({
      ...real,
      async claimOne(...wish) {
        const claimed = await real.claimOne(...wish);
        if (!claimed || lost++ > 0) return claimed;
        throw new Error("the connection broke after the commit");
      },
    }),
  });
  await starter.stop();
  const retry = { kind: "retry", actor: "key_1", reason: "again", steps: [] } as const;
  await expect(unlucky.engine.control(acme, executionId, retry)).rejects.toThrow("broke");
  unlucky.engine.wake();
  await expect.poll(async () => (await world.rowOf(executionId)).owner).toBe(null);
  expect(await world.rowOf(executionId)).toMatchObject({ state: "failed", wake_at: null });
  world.answerWith((sent) => sent.succeed());
  await unlucky.engine.control(acme, executionId, retry);
  await expect.poll(async () => (await world.rowOf(executionId)).state).toBe("completed");
});

it("an attempt whose time was over before it could leave is not sent: its effect may have been undone elsewhere", async () => {
  const frozen = await world.openEngine("frozen", {
    afterAppend: async ({ events }) => {
      if (events.some(({ type }) => type === "step_started")) frozen.skew.ms = 120_000;
    },
  });
  const executionId = await frozen.start({ steps: [call("a", { compensation: { step: { call: {} } } })] });
  const ledger = await world.ledgerWith(executionId, "execution_ended");
  expect(world.sent).toEqual([]);
  expect(ledger.find(({ type }) => type === "step_failed")?.payload).toMatchObject({ outcome: "failed", failure: { name: "TIMEOUT.START_TO_CLOSE" } });
});

it("a replica that stops waits for what is in flight although more is due, and leaves the rest to others", async () => {
  const leaving = await world.openEngine("leaving", { isIdle: true });
  const branch = (name: string, ...steps: JsonObject[]): JsonObject => ({ name, steps });
  const both = { name: "both", parallel: { branches: [branch("x", call("a")), branch("y", call("b"), call("c"))] } };
  const executionId = await leaving.start({ steps: [both] });
  const [a, b] = [await world.nextSent(), await world.nextSent()];
  const stopped = leaving.engine.stop(10_000);
  b.succeed();
  await world.ledgerWith(executionId, "step_succeeded");
  a.succeed();
  await within(stopped, "the stop");
  expect(world.sent.map(({ stepPath }) => stepPath)).toEqual(["a", "b"]);
  expect(await world.rowOf(executionId)).toMatchObject({ owner: null, state: "waiting" });
});

it("twenty commands at once on a parked execution need a claim or two, and all are carried out", async () => {
  let claims = 0;
  const one = await world.openEngine("one", {
    store: (real) => ({
      ...real,
      claimOne(...wish) {
        claims++;
        return real.claimOne(...wish);
      },
    }),
  });
  const executionId = await one.start({ steps: [{ name: "wait", delay: { duration: "3600s" } }] });
  await expect.poll(async () => (await world.rowOf(executionId)).owner).toBe(null);
  const set = (n: number) => one.engine.control(acme, executionId, { kind: "update_variables", actor: "key_1", reason: "", variables: { [`v${n}`]: n } });
  await Promise.all(Array.from({ length: 20 }, (_, n) => set(n)));
  const ledger = await world.ledgerOf(executionId);
  expect(ledger.filter(({ type }) => type === "variables_set")).toHaveLength(20);
  expect(claims).toBeLessThan(6);
});

it("a command of another tenant does not join the claim of an execution, even when it names its id", async () => {
  const claiming = Promise.withResolvers<void>();
  const goOn = Promise.withResolvers<void>();
  const one = await world.openEngine("one", {
    isIdle: true,
    store: (real) => ({
      ...real,
      async claimOne(tenantId, ...wish) {
        if (tenantId === "acme") {
          claiming.resolve();
          await goOn.promise;
        }
        return await real.claimOne(tenantId, ...wish);
      },
    }),
  });
  const executionId = await one.start({ steps: [{ name: "wait", delay: { duration: "3600s" } }] });
  await expect.poll(async () => (await world.rowOf(executionId)).owner).toBe(null);
  const variables = one.engine.control(acme, executionId, { kind: "update_variables", actor: "key_1", reason: "", variables: { mine: 1 } });
  await claiming.promise;
  const foreign = one.engine.control(callerOf("umbrella"), executionId, { kind: "terminate", actor: "key_2", reason: "" });
  await expect(foreign).rejects.toMatchObject({ reason: "EXECUTION_NOT_FOUND" });
  goOn.resolve();
  await variables;
  expect((await world.ledgerOf(executionId)).map(({ type }) => type)).not.toContain("execution_ended");
});

it("an execution that begins while orphans are looked for is none", async () => {
  let begun = "";
  const looked = Promise.withResolvers<void>();
  const one: TestEngine = await world.openEngine("one", {
    store: (real) => ({
      ...real,
      async nextDue() {
        if (begun === "") throw new Error("whoever cannot look for due work looks for orphans next");
        return await real.nextDue();
      },
      async findOwned(except) {
        if (begun === "") begun = await one.start({ steps: [call("a")] });
        const owned = await real.findOwned(except);
        looked.resolve();
        return owned;
      },
    }),
  });
  await looked.promise;
  const sent = await world.nextSent();
  // Two more rounds: what was let go of would have been claimed by now, and sent again.
  await one.engine.control(acme, await one.start({ steps: [{ name: "wait", delay: { duration: "3600s" } }] }), { kind: "look" });
  one.engine.wake();
  expect(await world.rowOf(begun)).toMatchObject({ owner: expect.any(String) });
  sent.succeed();
  await world.ledgerWith(begun, "execution_ended");
  await expect.poll(async () => (await world.rowOf(begun)).state).toBe("completed");
  expect(world.sent.filter(({ executionId }) => executionId === begun)).toHaveLength(1);
});

it("an orphan that was claimed again since it was found is none any more", async () => {
  let store: EngineStore | undefined;
  const one = await world.openEngine("one", { isIdle: true, store: (real) => (store = real) });
  const executionId = await one.start({ steps: [{ name: "wait", delay: { duration: "3600s" } }] });
  await expect.poll(async () => (await world.rowOf(executionId)).owner).toBe(null);
  const { claimOne, release, findOwned, releaseOrphans } = store as unknown as EngineStore;
  await claimOne("acme", executionId, false);
  const found = await findOwned([]);
  expect(found).toMatchObject([{ executionId }]);
  expect(await findOwned([executionId])).toEqual([]);
  await release("acme", executionId, 0);
  await claimOne("acme", executionId, false);
  expect(await releaseOrphans(found)).toBe(0);
  expect(await releaseOrphans(await findOwned([]))).toBe(1);
});

it("what an execution is told counts as heard only under the lease that it was claimed under", async () => {
  let claims = 0;
  const one: TestEngine = await world.openEngine("one", {
    store: (real) => ({
      ...real,
      async claimOne(...wish) {
        const claimed = await real.claimOne(...wish);
        if (!claimed || claims++ > 0) return claimed;
        // As if the process had been frozen here until its lease was another one.
        const { epoch } = one.leases.fence;
        one.leases.lost();
        await expect.poll(() => one.leases.held && one.leases.fence.epoch !== epoch).toBe(true);
        return claimed;
      },
    }),
  });
  const executionId = await one.start({ steps: [{ name: "wait", delay: { duration: "3600s" } }] });
  await expect.poll(async () => (await world.rowOf(executionId)).owner).toBe(null);
  await one.engine.control(acme, executionId, { kind: "look" });
  expect(claims).toBe(2);
});

it("a run that breaks one of its own rules answers those who wait for its commit", async () => {
  const broken = {
    services: { log: silentLog },
    now: () => {
      throw new Error("a rule was broken");
    },
  } as unknown as RunEnvironment;
  const run = new ExecutionRun(broken, { definition: {} } as CompiledRevision, emptyExecution({ tenantId: "acme", executionId: "exe_1" }));
  const begun = run.begin({} as StartRow, []);
  await expect(run.run()).rejects.toThrow("a rule was broken");
  expect((await begun).outcome).toEqual({ kind: "fenced" });
  await expect(run.control(() => [])).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
});

it.each([
  ["the rule's", true, "TOKEN_INVALID"],
  ["that it changed hands, if it may have", false, "STORAGE_UNAVAILABLE"],
])("a refusal says %s: a replica that wakes up knows less than the ledger", async (_, holdsLease, reason) => {
  const awake = { services: { log: silentLog }, now: () => 0, sleep: () => new Promise(() => undefined), holdsLease: () => holdsLease };
  const created = { workflowId: "wfl_1", workflowName: "w", revision: 1, input: {}, correlationId: "corr", triggerType: "api", timeoutAt: 10 };
  const state = foldExecution({ tenantId: "acme", executionId: "exe_1" }, [
    { type: "execution_created", at: 0, sequence: 1, stepPath: "", attempt: 0, payload: created },
    { type: "execution_paused", at: 0, sequence: 2, stepPath: "", attempt: 0, payload: { actor: "key_1", reason: "" } },
  ]);
  const run = new ExecutionRun(awake as unknown as RunEnvironment, { revision: 1, definition: {} } as unknown as CompiledRevision, state);
  const refused = expect(run.control(() => new AppError("TOKEN_INVALID", "no such attempt"))).rejects.toMatchObject({ reason });
  const ended = run.run();
  await refused;
  run.forget();
  expect(await ended).toBe("lost");
});
