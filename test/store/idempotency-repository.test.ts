import { afterAll, beforeAll, expect, it } from "vitest";
import { createIdempotencyRepository, type IdempotencyRepository, type Taken, type TakenKey } from "../../src/store/idempotency-repository.ts";
import { inTransaction } from "../../src/store/transaction.ts";
import { callerOf, openStore, type TestStore } from "./open-store.ts";

let store: TestStore;
let keys: IdempotencyRepository;
beforeAll(async () => {
  store = await openStore(4);
  keys = createIdempotencyRepository(store.database);
});
afterAll(() => store[Symbol.asyncDispose]());

const print = (text: string): Buffer => Buffer.from(text);
const mine = (taken: Taken): TakenKey => {
  if (taken.kind !== "mine") throw new Error(`it is ${taken.kind}`);
  return taken.key;
};
/** As time passes for somebody who is not heard of any more. */
const age = (column: string, interval: string): Promise<unknown> =>
  store.database.pool.query(`update idempotency_keys set ${column} = now() - interval '${interval}'`);

it("one call has the id, others wait for its answer or are told that it was used for something else", async () => {
  const take = (text = "x", tenantId = "acme", method = "Pause") => keys.take(callerOf(tenantId), method, "id-1", print(text));
  const first = mine(await take());
  expect((await take()).kind).toBe("pending");
  expect((await take("y")).kind).toBe("reused");
  expect((await take("y", "other")).kind).toBe("mine");
  expect((await take("y", "acme", "Resume")).kind).toBe("mine");
  await first.answer(Buffer.from([1, 0, 2]));
  expect(await take()).toEqual({ kind: "answered", response: Buffer.from([1, 0, 2]) });
  expect((await take("y")).kind).toBe("reused");
  await first.giveBack();
  expect((await take()).kind).toBe("answered");
});

it("an id that was given back is free again", async () => {
  const take = () => keys.take(callerOf("acme"), "Pause", "id-2", print("x"));
  await mine(await take()).giveBack();
  expect((await take()).kind).toBe("mine");
});

it("of many at once exactly one has it", async () => {
  const taken = await Promise.all(Array.from({ length: 12 }, () => keys.take(callerOf("acme"), "Pause", "id-3", print("x"))));
  expect(taken.filter(({ kind }) => kind === "mine")).toHaveLength(1);
});

it("a holder that is not heard of any more is replaced, and its late answer counts for nothing", async () => {
  const take = () => keys.take(callerOf("acme"), "Pause", "id-4", print("x"));
  const dead = mine(await take());
  await age("claim_time", "5 s");
  await dead.renew();
  expect((await take()).kind).toBe("pending");
  await age("claim_time", "10 s");
  const next = mine(await take());
  await dead.answer(Buffer.from("late"));
  await dead.giveBack();
  expect((await take()).kind).toBe("pending");
  await next.answer(Buffer.from("first"));
  expect(await take()).toEqual({ kind: "answered", response: Buffer.from("first") });
});

it("answers older than two days are purged while others come in, younger ones are kept", async () => {
  await mine(await keys.take(callerOf("acme"), "Pause", "old", print("x"))).answer(Buffer.from("1"));
  await age("create_time", "49 h");
  await mine(await keys.take(callerOf("acme"), "Pause", "young", print("x"))).answer(Buffer.from("1"));
  for (let count = 0; count < 200; count++) await keys.take(callerOf("acme"), "Pause", "young", print("x"));
  const { rows } = await store.database.pool.query("select request_id from idempotency_keys order by 1");
  expect(rows).toEqual([{ request_id: "young" }]);
});

it("the answer stands in the transaction of the work, and whoever was replaced meanwhile commits nothing", async () => {
  const take = () => keys.take(callerOf("acme"), "Set", "id-5", print("x"));
  const work = (key: TakenKey, answer: string) => inTransaction(store.database.pool, (client) => key.answerIn(client, Buffer.from(answer)));
  const dead = mine(await take());
  await age("claim_time", "10 s");
  const next = mine(await take());
  await expect(work(dead, "late")).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  await work(next, "first");
  expect(await take()).toEqual({ kind: "answered", response: Buffer.from("first") });
});

it("work that was broken off is taken up at once with the plan it had, and by nobody with another payload", async () => {
  const take = (text = "x") => keys.take(callerOf("acme"), "Retry", "id-6", print(text));
  const first = mine(await take());
  expect(await first.plan(async () => ["a", "b"])).toEqual(["a", "b"]);
  await first.letGo();
  expect((await take("y")).kind).toBe("reused");
  const next = mine(await take());
  expect(await next.plan(async () => ["c"])).toEqual(["a", "b"]);
  await expect(first.plan(async () => ["c"])).resolves.toEqual(["a", "b"]);
});
