import { expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { ByteWindow } from "../../src/steps/files/byte-window.ts";
import { Rests } from "../../src/steps/files/rests.ts";

/** A thread that takes `ms` for what was sent to it, and a clock that notes how long it then rested. */
async function restAfter(ms: number, othersWork: boolean): Promise<number[]> {
  let now = 0;
  const rested: number[] = [];
  const clock = { ...systemClock, monotonic: () => now, sleep: async (duration: number) => void rested.push(duration) };
  const sent = new ByteWindow(100);
  await sent.take(60);
  const resting = new Rests(clock, () => othersWork).before(sent);
  if (othersWork) {
    sent.give(20);
    now += ms;
    sent.give(40);
  }
  await resting;
  return rested;
}

test("beside other work a piece is followed by a rest of three quarters of its time", async () => {
  expect(await restAfter(8, true)).toEqual([6]);
});

test("no rest is longer than 50 ms", async () => {
  expect(await restAfter(4_000, true)).toEqual([50]);
});

test("a file that is alone neither waits nor rests", async () => {
  expect(await restAfter(8, false)).toEqual([]);
});

test("a rest before a piece that is not wanted any more ends at once", async () => {
  const sent = new ByteWindow(100);
  await sent.take(60);
  const resting = new Rests(systemClock, () => true).before(sent);
  sent.stop(new Error("over"));
  await expect(resting).rejects.toThrow("over");
});
