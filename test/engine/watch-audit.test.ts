/** What a stream of the audit log says between lines, and when it ends by itself. Time is the test's. */
import { expect, it } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { AppError } from "../../src/base/errors.ts";
import { type AuditItem, type WatchAuditRequest, watchAudit } from "../../src/engine/watch-audit.ts";
import type { AuditRecord } from "../../src/store/audit-repository.ts";
import { callerOf } from "../store/open-store.ts";

const record = (id: string): AuditRecord & { readonly afterId: string } => ({
  ...{ id, at: 1, actor: "key_1", method: "M", target: "", executionId: undefined, stepPath: "", reason: "", correlationId: "", detail: undefined },
  afterId: `1 ${id}`,
});

/** Each look shows one more transaction; `lines` are those of the first deltas. */
function world(lines: readonly (readonly string[])[], marks = (look: number): string => `${100 + look}:${100 + look}:`) {
  let nowMs = 0;
  let looks = 0;
  const asked: object[] = [];
  const failures = { left: 0, error: new Error() };
  const deltas = lines.map((ids) => ids.map(record));
  const clock = { now: () => nowMs, monotonic: () => nowMs, sleep: async (ms: number) => void (nowMs += ms) } as unknown as Clock;
  const audit = {
    mark: async () => ({ mark: marks(looks++), at: 1_000_000 + nowMs }),
    between: async (_: unknown, wish: object) => {
      if (failures.left > 0) {
        failures.left -= 1;
        throw failures.error;
      }
      asked.push(wish);
      return { items: deltas.shift() ?? [], nextAfterId: undefined };
    },
  };
  const follow = (begin: WatchAuditRequest["begin"], signal = new AbortController().signal) =>
    watchAudit({ audit, clock, heartbeatMs: 10_000, ageMsMax: 60_000 }, callerOf("acme"), { filter: {}, begin, signal });
  const fail = (error: Error, times: number): void => void Object.assign(failures, { error, left: times });
  return { follow, asked, fail };
}

async function all(stream: AsyncIterable<AuditItem>): Promise<{ readonly items: AuditItem[]; readonly end: unknown }> {
  const items: AuditItem[] = [];
  try {
    for await (const item of stream) items.push(item);
    return { items, end: undefined };
  } catch (end) {
    return { items, end };
  }
}

it("a silent stream says so at first and every ten seconds, moves its place on, and is asked to come again when it is old", async () => {
  const { items, end } = await all(world([]).follow(undefined));
  expect(items.map(({ kind }) => kind)).toEqual(Array(6).fill("heartbeat"));
  expect(new Set(items.map(({ place }) => place.from)).size).toBe(6);
  expect(end).toMatchObject({ reason: "SERVER_DRAINING", code: "UNAVAILABLE" });
});

it("each line says where to go on behind it, half-way to the next mark too", async () => {
  const { follow, asked } = world([["a", "b"]]);
  const stream = follow({ startTime: 5 });
  const [first, second, third] = [(await stream.next()).value, (await stream.next()).value, (await stream.next()).value] as AuditItem[];
  await stream.return(undefined);
  expect(asked[0]).toMatchObject({ from: "1:1:", to: "100:100:", since: 5, afterId: undefined });
  expect(first).toMatchObject({ kind: "entry", entry: { id: "a" }, place: { from: "1:1:", to: "100:100:", after: "1 a", since: 5 } });
  expect(second).toMatchObject({ place: { after: "1 b" } });
  expect(third).toMatchObject({ kind: "heartbeat" });
  const resumed = world([["b"]]);
  const next = resumed.follow(first?.place);
  expect((await next.next()).value).toMatchObject({ entry: { id: "b" } });
  await next.return(undefined);
  expect(resumed.asked[0]).toMatchObject({ from: "1:1:", to: "100:100:", afterId: "1 a" });
});

it("with a token of a database that was further than this one it begins not at all", async () => {
  for (const place of [
    { from: "999:999:", since: 0 },
    { from: "90:90:", to: "999:999:", after: "1 a", since: 0 },
  ])
    expect((await all(world([]).follow(place))).end).toMatchObject({ reason: "RESUME_EXPIRED", code: "OUT_OF_RANGE" });
});

it("while more is open than a place can name and part of it was seen, it waits and skips nothing", async () => {
  const open = Array.from({ length: 20 }, (_, index) => 100 + index).join(",");
  // Many are open, among them some below what was seen already; then they end.
  const { follow, asked } = world([["a"]], (look) => (look === 0 ? "100:110:100" : look < 5 ? `100:120:${open}` : "120:120:"));
  const stream = follow(undefined);
  const items = [(await stream.next()).value, (await stream.next()).value] as AuditItem[];
  await stream.return(undefined);
  expect(items.map(({ kind }) => kind)).toEqual(["heartbeat", "entry"]);
  expect(asked).toMatchObject([{ from: "100:110:100", to: "120:120:" }]);
});

it("while the database is away it stays open, and goes on in the middle of what it was sending", async () => {
  const { follow, asked, fail } = world([["a"], ["b"]]);
  const stream = follow({ startTime: 5 });
  fail(new AppError("STORAGE_UNAVAILABLE", "away"), 25);
  const items: AuditItem[] = [];
  while (items.filter(({ kind }) => kind === "entry").length < 2) items.push((await stream.next()).value as AuditItem);
  await stream.return(undefined);
  expect(items.map((item) => (item.kind === "entry" ? item.entry.id : item.kind))).toEqual(["heartbeat", "heartbeat", "heartbeat", "a", "b"]);
  expect(asked.slice(-2)).toMatchObject([{ from: "1:1:" }, { to: expect.not.stringMatching(/^100:/) }]);
  const broken = world([]);
  broken.fail(new AppError("INTERNAL_BUG", "no"), 1);
  expect((await all(broken.follow({ startTime: 5 }))).end).toMatchObject({ reason: "INTERNAL_BUG" });
});

it("it ends without a word when its signal comes", async () => {
  const over = new AbortController();
  const stream = world([]).follow(undefined, over.signal);
  await stream.next();
  over.abort();
  expect((await stream.next()).done).toBe(true);
});
