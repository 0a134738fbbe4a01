import { afterAll, beforeAll, expect, it } from "vitest";
import { createDestinationWaitStore, type DestinationWait } from "../../src/store/destination-wait-store.ts";
import { ids } from "./journal-fixture.ts";
import { openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
beforeAll(async () => {
  store = await openStore(3);
});
afterAll(() => store[Symbol.asyncDispose]());

it("who waits for a participant is noted once, taken by one, and forgotten when its time has come anyway", async () => {
  const waits = createDestinationWaitStore(store.database.pool);
  const until = Date.now() + 3_600_000;
  const wait = (destination: string, more: Partial<DestinationWait> = {}): DestinationWait => ({
    ...{ tenantId: "acme", destination, executionId: ids.next("execution"), until },
    ...more,
  });
  const at = [wait("https://a"), wait("https://a"), wait("https://a")];
  await waits.note([...at, wait("https://a", { tenantId: "rival" }), wait("https://b")]);
  // Again, and twice in one statement.
  await waits.note([at[0] as DestinationWait, at[0] as DestinationWait, wait("https://old", { until: Date.now() - 1_000 })]);
  const taken = await Promise.all([waits.take("acme", "https://a", 2), waits.take("acme", "https://a", 2), waits.take("acme", "https://a", 2)]);
  taken.push(await waits.take("acme", "https://a", 2));
  expect(taken.flat().toSorted()).toEqual(at.map(({ executionId }) => executionId).toSorted());
  expect(await waits.purge()).toBe(1);
  expect(await waits.purge()).toBe(0);
  expect(await waits.take("acme", "https://old", 2)).toEqual([]);
  expect(await waits.take("acme", "https://b", 2)).toHaveLength(1);
});
