import { expect, test } from "vitest";
import { failure } from "../../src/domain/failure.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import { Destinations, type Passage } from "../../src/engine/destinations.ts";

const policy = { failureThreshold: 2, openIntervalMs: 1_000 };
const passage = (more: Partial<Passage> = {}): Passage => ({ tenantId: "a", destination: "https://x:443", breaker: { key: "https://x:443", policy }, ...more });
const turn = () => new Promise((resolve) => setImmediate(resolve));
const never = new AbortController().signal;
const good: StepOutcome = { kind: "succeeded", result: null };
const bad: StepOutcome = { kind: "failed", outcome: "unknown", failure: failure("HTTP.503", "m") };
const answering = (outcome: StepOutcome) => async (): Promise<StepOutcome> => outcome;

function open(more: Partial<ConstructorParameters<typeof Destinations>[0]> = {}) {
  const time = { now: 0 };
  const seen: string[] = [];
  const observer = { opened: () => void seen.push("opened"), postponed: (reason: string) => void seen.push(reason) };
  return { time, seen, destinations: new Destinations({ now: () => time.now, random: () => 0, observer, ...more }) };
}

test("after failures in a row nobody calls until the breaker's time is over; then one does and the others wait for it", async () => {
  const { destinations, time, seen } = open();
  for (let n = 0; n < 2; n++) await destinations.through(passage(), never, answering(bad));
  expect([...destinations.breakers]).toEqual([
    ["open", 1],
    ["half_open", 0],
  ]);
  let calls = 0;
  const count = (answer: StepOutcome | Promise<StepOutcome>) => async (): Promise<StepOutcome> => {
    calls++;
    return answer;
  };
  const put = await destinations.through(passage(), never, count(good));
  expect(put).toMatchObject({ failure: { name: "BREAKER_OPEN", details: { key: "https://x:443" } }, outcome: "failed", postponedUntil: 1_000 });
  expect([calls, seen]).toEqual([0, ["opened", "breaker_open"]]);
  time.now = 1_000;
  const probe = Promise.withResolvers<StepOutcome>();
  const first = destinations.through(passage(), never, count(probe.promise));
  const others = [1, 2, 3].map(() => destinations.through(passage(), never, count(good)));
  await turn();
  expect(calls).toBe(1);
  probe.resolve(good);
  expect((await Promise.all([first, ...others])).map(({ kind }) => kind)).toEqual(Array(4).fill("succeeded"));
  expect(calls).toBe(4);
  expect([...destinations.breakers.values()]).toEqual([0, 0]);
});

test("a probe that fails puts the others off anew, and one that is lost leaves the next call to probe", async () => {
  const { destinations, time } = open();
  for (let n = 0; n < 2; n++) await destinations.through(passage(), never, answering(bad));
  time.now = 1_000;
  const probe = Promise.withResolvers<StepOutcome>();
  const first = destinations.through(passage(), never, () => probe.promise);
  const other = destinations.through(passage(), never, answering(good));
  probe.resolve(bad);
  expect(await first).toEqual({ ...bad, waitsFor: "https://x:443" });
  expect(await other).toMatchObject({ postponedUntil: 2_000 });
  time.now = 2_000;
  await expect(destinations.through(passage(), never, () => Promise.reject(new Error("bug")))).rejects.toThrow("bug");
  expect(await destinations.through(passage(), never, answering(good))).toBe(good);
});

test("tenants, keys and steps without a breaker do not share one", async () => {
  const { destinations } = open();
  for (let n = 0; n < 2; n++) await destinations.through(passage(), never, answering(bad));
  expect(await destinations.through(passage({ tenantId: "b" }), never, answering(good))).toBe(good);
  expect(await destinations.through(passage({ breaker: { key: "other", policy } }), never, answering(good))).toBe(good);
  expect(await destinations.through(passage({ breaker: undefined }), never, answering(good))).toBe(good);
});

test("calls to one destination are bounded over all tenants; what finds no place is put off for a moment", async () => {
  const { destinations, seen } = open({ callsMax: 1, waitingMax: 1 });
  const slow = Promise.withResolvers<StepOutcome>();
  const first = destinations.through(passage(), never, () => slow.promise);
  await turn();
  const controller = new AbortController();
  const waiting = destinations.through(passage({ tenantId: "b" }), controller.signal, answering(good));
  await turn();
  expect(destinations.waiting).toBe(1);
  expect(await destinations.through(passage(), never, answering(good))).toMatchObject({ failure: { name: "LIMIT.CONCURRENCY" }, postponedUntil: 1_000 });
  expect(await destinations.through(passage({ destination: "https://y:443" }), never, answering(good))).toBe(good);
  controller.abort(failure("TIMEOUT.START_TO_CLOSE", "late"));
  expect(await waiting).toMatchObject({ failure: { name: "LIMIT.CONCURRENCY" }, outcome: "failed", postponedUntil: 1_000 });
  expect(seen).toEqual(["concurrency", "concurrency"]);
  const canceled = new AbortController();
  const another = destinations.through(passage(), canceled.signal, answering(good));
  canceled.abort(failure("CANCELED", "over"));
  expect(await another).toEqual({ kind: "failed", outcome: "failed", failure: { name: "CANCELED", message: "over" } });
  slow.resolve(good);
  expect(await first).toBe(good);
  expect(await destinations.through(passage(), never, answering(good))).toBe(good);
});

test("what failed because the other side is away waits for its first success, which is told once; a named time to come back is kept", async () => {
  const told: string[] = [];
  const { destinations } = open({ onRecovered: (...key) => void told.push(`good ${key}`), onFailing: (...key) => void told.push(`bad ${key}`) });
  const through = (outcome: StepOutcome) => destinations.through(passage(), never, answering(outcome));
  await through(good);
  await through(good);
  expect(told).toEqual(["good a,https://x:443"]);
  expect(await through(bad)).toMatchObject({ waitsFor: "https://x:443" });
  expect(await through({ ...bad, retryAfterMs: 5 } as StepOutcome)).not.toHaveProperty("waitsFor");
  // Open by now: it is put off, and waits all the same.
  expect(await through(good)).toMatchObject({ failure: { name: "BREAKER_OPEN" }, waitsFor: "https://x:443" });
  expect([told, destinations.isWell("a", "https://x:443")]).toEqual([["good a,https://x:443", "bad a,https://x:443"], false]);
  const refused: StepOutcome = { kind: "failed", outcome: "failed", failure: failure("HTTP.422", "m") };
  expect(await destinations.through(passage({ breaker: { key: "y", policy } }), never, answering(refused))).toBe(refused);
  expect(told.at(-1)).toBe("good a,y");
  destinations.heard("a", "y", "bad");
  await destinations.through(passage({ breaker: { key: "y", policy } }), never, answering(good));
  expect(told.slice(2)).toEqual(["good a,y", "good a,y"]);
});
