import { expect, test } from "vitest";
import { FairGate } from "../../src/base/fair-gate.ts";

const never = new AbortController().signal;

test("lets the groups through in turns, so that a crowd of one delays another by one place", async () => {
  const gate = new FairGate(1, 100);
  await gate.enter("a", never);
  const order: string[] = [];
  const waits = ["a1", "a2", "a3", "b1", "c1", "b2"].map((name) => gate.enter(name[0] as string, never).then(() => order.push(name)));
  for (let n = 0; n < 6; n++) {
    gate.leave();
    await Promise.resolve();
    await Promise.resolve();
  }
  await Promise.all(waits);
  expect(order).toEqual(["a1", "b1", "c1", "a2", "b2", "a3"]);
  gate.leave();
  expect(gate.isIdle).toBe(true);
});

test("is full, and forgets who gave up", async () => {
  const gate = new FairGate(1, 1);
  const controller = new AbortController();
  expect(await gate.enter("a", never)).toBe("entered");
  const waiting = gate.enter("a", controller.signal);
  expect(await gate.enter("b", never)).toBe("full");
  controller.abort();
  expect(await waiting).toBe("aborted");
  expect(await gate.enter("b", AbortSignal.abort())).toBe("aborted");
  expect(gate.waiting).toBe(0);
  const next = gate.enter("b", never);
  gate.leave();
  expect(await next).toBe("entered");
  gate.leave();
  expect(gate.isIdle).toBe(true);
});
