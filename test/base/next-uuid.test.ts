import { expect, test } from "vitest";
import { nextUuid } from "../../src/base/ids.ts";

test("ids sort in the order they were made, also within a millisecond and when the clock goes back", () => {
  const at = Date.now() + 1_000;
  const made = [...Array.from({ length: 10_000 }, () => nextUuid(at)), nextUuid(at - 500), nextUuid(at + 1_000)];
  expect(made).toEqual([...made].sort());
  expect(new Set(made).size).toBe(made.length);
  expect(made.every((uuid) => /^[0-9a-f]{8}-[0-9a-f]{4}-7[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/.test(uuid))).toBe(true);
});
