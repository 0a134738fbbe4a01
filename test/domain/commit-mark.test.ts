import { expect, it } from "vitest";
import { beforeAll, firstMark, isAhead, LowWater, nextMark, openMax, readMark } from "../../src/domain/commit-mark.ts";

const open = (count: number, first = 100): string => Array.from({ length: count }, (_, index) => first + index * 2).join(",");

it("a snapshot is read as PostgreSQL writes it, and nothing else", () => {
  expect(readMark("100:105:")).toEqual({ xmin: 100n, xmax: 105n, open: 0 });
  expect(readMark("4294967296:4294967299:4294967296,4294967298")).toEqual({ xmin: 4294967296n, xmax: 4294967299n, open: 2 });
  expect(readMark(beforeAll)).toBeDefined();
  for (const text of ["", "1:2", "a:b:", "1:2:,", "1:2:3,", "1:2:3 ", "-1:2:"]) expect(readMark(text), text).toBeUndefined();
});

it("a reader goes to what the database shows, and with many open transactions to what lies below all of them", () => {
  expect(nextMark("90:95:", "100:140:100")).toBe("100:140:100");
  const many = `100:140:${open(openMax + 1)}`;
  expect(nextMark("90:95:", many)).toBe("100:100:");
  expect(nextMark(beforeAll, many)).toBe("100:100:");
  expect(nextMark("90:100:91", many)).toBe("100:100:");
  // It has seen some of 100 to 105: at 100 it would see them again.
  expect(nextMark("90:106:91", many)).toBeUndefined();
  expect(nextMark("x", many)).toBeUndefined();
});

it("a reader who begins now begins where all that is open is still to come, in few words", () => {
  expect(firstMark("100:140:100")).toBe("100:140:100");
  expect(firstMark(`100:140:${open(openMax)}`)).toBe(`100:140:${open(openMax)}`);
  expect(firstMark(`100:140:${open(openMax + 1)}`)).toBe("100:100:");
});

it("a mark of a database that was further than this one is noticed", () => {
  expect(isAhead("100:105:", "100:105:")).toBe(false);
  expect(isAhead("100:106:", "100:105:")).toBe(true);
  expect(isAhead("nonsense", "100:105:")).toBe(true);
});

it("what may still come is bounded by the transactions that were open when it was last sure, and only once the reader is there", () => {
  const slack = 300_000;
  const water = new LowWater(0);
  water.saw("100:110:100", 1_000_000);
  water.saw("100:111:100", 1_001_000); // too soon after the one before
  water.saw("100:120:100", 1_010_000);
  water.reached("100:120:100");
  // The transaction 100 may have begun long before.
  expect(water.since).toBe(0);
  water.reached("110:125:113");
  expect(water.since).toBe(1_000_000 - slack);
  water.reached("119:125:119");
  expect(water.since).toBe(1_000_000 - slack);
  water.reached("120:130:");
  expect(water.since).toBe(1_010_000 - slack);
  const young = new LowWater(5_000_000);
  young.saw("1:2:", 5_000_000);
  young.reached("2:2:");
  // It never goes back.
  expect(young.since).toBe(5_000_000);
});
