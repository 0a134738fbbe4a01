import { expect, it } from "vitest";
import type { Caller } from "../../src/base/caller.ts";
import { StartCache } from "../../src/engine/start-cache.ts";
import type { StartableWorkflow } from "../../src/engine/start-execution.ts";

const callerOf = (tenantId: string): Caller => ({ tenantId, actor: "key_1", scopes: new Set(), correlationId: "", requestId: "" });
const [acme, rival] = [callerOf("acme"), callerOf("rival")];

function setUp() {
  let at = 0;
  let active = 1;
  const reads: string[] = [];
  let onRead: () => void = () => undefined;
  const cache = new StartCache(
    async ({ tenantId }, reference): Promise<StartableWorkflow> => {
      reads.push(`${tenantId} ${reference}`);
      const found = { id: "wfl_1", name: reference, state: "active", activeRevision: active, pausedStarts: "queue" as const };
      onRead();
      return found;
    },
    { now: () => at, monotonic: () => at, sleep: () => Promise.resolve() },
  );
  return {
    cache,
    reads,
    activate: (revision: number) => void (active = revision),
    pass: (ms: number) => void (at += ms),
    duringRead: (run: () => void) => void (onRead = run),
  };
}

it("a start reads nothing while an entry lives, which is half a second", async () => {
  const { cache, reads, activate, pass } = setUp();
  await cache.find(acme, "orders");
  activate(2);
  pass(499);
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 1 });
  expect(reads).toHaveLength(1);
  pass(1);
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 2 });
});

it("a change of the tenant is seen at once, and leaves other tenants' entries alone", async () => {
  const { cache, reads, activate } = setUp();
  await cache.find(acme, "orders");
  await cache.find(rival, "orders");
  activate(2);
  cache.forget("acme");
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 2 });
  expect(await cache.find(rival, "orders")).toMatchObject({ activeRevision: 1 });
  expect(reads).toEqual(["acme orders", "rival orders", "acme orders"]);
});

it("what was read before a change and arrives after it is not kept", async () => {
  const { cache, activate, duringRead } = setUp();
  duringRead(() => {
    activate(2);
    cache.forget("acme");
    duringRead(() => undefined);
  });
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 1 });
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 2 });
});

it("starts at once share one question, but none that is older than an entry may be", async () => {
  const { cache, reads, activate, pass } = setUp();
  const together = await Promise.all([cache.find(acme, "orders"), cache.find(acme, "orders"), cache.find(rival, "orders")]);
  expect(together.map((workflow) => workflow?.activeRevision)).toEqual([1, 1, 1]);
  expect(reads).toEqual(["acme orders", "rival orders"]);
  pass(500);
  const slow = cache.find(acme, "orders");
  pass(500);
  activate(2);
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 2 });
  expect(await slow).toMatchObject({ activeRevision: 1 });
  expect(reads).toHaveLength(4);
});

it("a question from before a change is not shared by those who ask after it", async () => {
  const { cache, activate } = setUp();
  const before = cache.find(acme, "orders");
  cache.forget("acme");
  activate(2);
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 2 });
  expect(await before).toMatchObject({ activeRevision: 1 });
  expect(await cache.find(acme, "orders")).toMatchObject({ activeRevision: 2 });
});

it("a question that failed is asked again", async () => {
  let fails = true;
  const cache = new StartCache(() => (fails ? Promise.reject(new Error("the database is away")) : Promise.resolve(undefined)), {
    now: () => 0,
    monotonic: () => 0,
    sleep: () => Promise.resolve(),
  });
  await expect(Promise.all([cache.find(acme, "orders"), cache.find(acme, "orders")])).rejects.toThrow("away");
  fails = false;
  expect(await cache.find(acme, "orders")).toBeUndefined();
});
