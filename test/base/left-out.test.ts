import { expect, it } from "vitest";
import { AppError } from "../../src/base/errors.ts";
import { GrowingPauses } from "../../src/base/growing-pauses.ts";
import { LeftOut } from "../../src/base/left-out.ts";
import { type Log, silentLog } from "../../src/base/log.ts";

const bug = new Error("no number");
const away = new AppError("STORAGE_UNAVAILABLE", "away");

function listening() {
  const told: object[] = [];
  let counted = 0;
  const log: Log = { ...silentLog, error: (fields) => void told.push(fields) };
  return { leftOut: new LeftOut({ work: "retention", log, onLeftOut: () => counted++ }), told, counted: () => counted };
}

it("a row that fails for a reason of its own is left out at once and told once, however often it is met", () => {
  const { leftOut, told, counted } = listening();
  for (let pass = 0; pass < 5; pass++) leftOut.goOn({ executionId: "exe_1" }, bug);
  expect(told).toEqual([{ executionId: "exe_1", work: "retention", error: "no number" }]);
  expect(counted()).toBe(1);
  leftOut.goOn({ executionId: "exe_2" }, bug);
  expect(counted()).toBe(2);
});

it("what may pass repeats the batch, and is left out when one row does it again and again", () => {
  const { leftOut, told } = listening();
  expect(() => leftOut.goOn({ executionId: "exe_1" }, away)).toThrow(away);
  expect(() => leftOut.goOn({ executionId: "exe_2" }, away)).toThrow(away);
  expect(() => leftOut.goOn({ executionId: "exe_1" }, away)).toThrow(away);
  expect(told).toEqual([]);
  leftOut.goOn({ executionId: "exe_1" }, away);
  expect(told).toHaveLength(1);
});

it("pauses double up to their bound, per thing, and begin anew after a success or a long peace", () => {
  let now = 0;
  const pauses = new GrowingPauses({ firstMs: 1_000, maxMs: 5_000, now: () => now });
  const pausesOf = (key: string, times: number) => Array.from({ length: times }, () => pauses.failed(key).pauseMs);
  expect(pausesOf("a", 5)).toEqual([1_000, 2_000, 4_000, 5_000, 5_000]);
  expect(pauses.failed("b")).toEqual({ failures: 1, pauseMs: 1_000 });
  now = 2_000;
  expect(pauses.paused()).toEqual(["a"]);
  pauses.forget("a");
  expect(pauses.failed("a").pauseMs).toBe(1_000);
  now = 1_000_000;
  expect(pauses.failed("b")).toEqual({ failures: 1, pauseMs: 1_000 });
});
