/** What a replica could not tell, because the database was away for a moment, it tells again by itself: its peers leave that to it. */
import { expect, it } from "vitest";
import type { Clock } from "../../src/base/clock.ts";
import { AppError } from "../../src/base/errors.ts";
import { silentLog } from "../../src/base/log.ts";
import { Deliveries } from "../../src/engine/deliveries.ts";
import type { SignalRepository } from "../../src/store/signal-repository.ts";

/** Sleeps end when the test says so. */
function manualClock(): Clock & { wake(): void } {
  let sleepers: (() => void)[] = [];
  return {
    now: () => 0,
    monotonic: () => 0,
    sleep: (_, signal) =>
      new Promise((resolve, reject) => {
        sleepers.push(resolve);
        signal?.addEventListener("abort", () => reject(signal.reason), { once: true });
      }),
    wake() {
      for (const wake of sleepers.splice(0)) wake();
      sleepers = [];
    },
  };
}

it("an event whose match failed, and a command that could not be told, are told by the next sweep", async () => {
  const clock = manualClock();
  const told: string[] = [];
  const marked: string[] = [];
  let isAway = true;
  const away = (): Promise<never> => Promise.reject(new AppError("STORAGE_UNAVAILABLE", "away"));
  const signals = {
    match: async (_: string, signalId: string) => (isAway ? await away() : [`waits for ${signalId}`]),
    delivered: async (_: string, signalId: string) => void marked.push(signalId),
    sent: async ({ executionId }: { executionId: string }) => void marked.push(executionId),
    takeUndelivered: async () => [],
    takeOutbox: async () => [],
  } as unknown as SignalRepository;
  const control = async (_: unknown, executionId: string): Promise<void> => (isAway ? await away() : void told.push(executionId));
  const deliveries = new Deliveries({ signals, control, clock, log: silentLog });
  await expect(deliveries.tellSignal("acme", "sig_1")).rejects.toThrow("away");
  deliveries.tellCommands("acme", "exe_child", [{ executionId: "exe_parent", sequence: 1, command: { kind: "look" } }]);
  // It gives up after a few tries.
  for (let round = 0; round < 50; round++) {
    clock.wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect([told, marked]).toEqual([[], []]);
  isAway = false;
  deliveries.start();
  for (let round = 0; round < 50 && marked.length < 2; round++) {
    clock.wake();
    await new Promise((resolve) => setImmediate(resolve));
  }
  expect(told.toSorted()).toEqual(["exe_parent", "waits for sig_1"]);
  expect(marked.toSorted()).toEqual(["exe_parent", "sig_1"]);
  const stopped = deliveries.stop();
  clock.wake();
  await stopped;
});

it("an execution that cannot be told for a reason of its own is told once, asked more and more seldom, and holds up nobody", async () => {
  let now = 0;
  const clock = { ...manualClock(), monotonic: () => now };
  const asked: string[] = [];
  const told: object[] = [];
  let offered = [{ tenantId: "acme", signalId: "sig_bad" }, ...[1, 2].map((n) => ({ tenantId: "acme", signalId: `sig_${n}` }))];
  const signals = {
    match: async (_: string, signalId: string) => {
      if (signalId === "sig_bad") throw new Error("no match for this");
      return [`waits for ${signalId}`];
    },
    delivered: async () => undefined,
    sent: async () => undefined,
    takeUndelivered: async () => offered.splice(0),
    takeOutbox: async () => [],
  } as unknown as SignalRepository;
  const control = async (_: unknown, executionId: string): Promise<void> => {
    asked.push(executionId);
    if (executionId === "exe_bad") throw new Error("a bug");
  };
  const log = { ...silentLog, error: (fields: object) => void told.push(fields) };
  const deliveries = new Deliveries({ signals, control, clock, log });
  deliveries.tellCommands("acme", "exe_child", [{ executionId: "exe_bad", sequence: 1, command: { kind: "look" } }]);
  deliveries.start();
  for (let second = 0; second < 120; second++) {
    now = second * 1_000;
    clock.wake();
    for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
  }
  offered = [];
  expect(asked.filter((id) => id !== "exe_bad").toSorted()).toEqual(["waits for sig_1", "waits for sig_2"]);
  // At once, then after 1, 2, 4, 8, 16, 32 and 64 seconds.
  expect(asked.filter((id) => id === "exe_bad").length).toBeLessThanOrEqual(8);
  expect(asked.filter((id) => id === "exe_bad").length).toBeGreaterThanOrEqual(6);
  expect(told).toEqual(expect.arrayContaining([expect.objectContaining({ executionId: "exe_bad" }), expect.objectContaining({ signalId: "sig_bad" })]));
  expect(told).toHaveLength(2);
  const stopped = deliveries.stop();
  clock.wake();
  await stopped;
});

it("what is read again every half minute, and fails each time, is not tried more and more often", async () => {
  let now = 0;
  const clock = { ...manualClock(), monotonic: () => now };
  const sent = { tenantId: "acme", senderId: "exe_child", executionId: "exe_bad", sequence: 1, command: { kind: "look" } };
  let tries = 0;
  const fail = async (): Promise<never> => {
    tries++;
    throw new Error("a bug");
  };
  let takenAt = 0;
  const signals = {
    match: fail,
    takeUndelivered: async () => (now - takenAt >= 30_000 ? [{ tenantId: "acme", signalId: "sig_bad" }] : []),
    async takeOutbox() {
      if (now - takenAt < 30_000) return [];
      takenAt = now;
      return [sent];
    },
  } as unknown as SignalRepository;
  const deliveries = new Deliveries({ signals, control: fail, clock, log: silentLog });
  deliveries.start();
  const triesOfHour: number[] = [];
  for (let hour = 1; hour <= 3; hour++) {
    const before = tries;
    for (; now < hour * 3_600_000; now += 5_000) {
      clock.wake();
      for (let turn = 0; turn < 4; turn++) await new Promise((resolve) => setImmediate(resolve));
    }
    triesOfHour.push(tries - before);
  }
  // Two rows, each read 120 times an hour; its own tries in between end when their pause is longer than that.
  expect(triesOfHour.map((count) => Math.round(count / 10))).toEqual([25, 24, 24]);
  const stopped = deliveries.stop();
  clock.wake();
  await stopped;
});
