import { expect, test } from "vitest";
import { fail } from "../../src/steps/fail.ts";
import { log } from "../../src/steps/log.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import { setVariables } from "../../src/steps/set-variables.ts";
import { attemptOf, failureIn, problemsOf, resultIn, servicesOf } from "./step-call.ts";

test("every handler is listed under its own type", () => {
  for (const [type, handler] of stepHandlers) expect(handler.type).toBe(type);
});

test("log gives level, message and fields, with INFO as the default", async () => {
  const config = { message: "order {{trigger.id}} took {{trigger.ms}} ms", fields: { total: "{{trigger.total}}" } };
  const call = attemptOf(log, config, { trigger: { id: "A-7", ms: 12, total: 9.5 } });
  expect(resultIn(await log.run(call, servicesOf()))).toEqual({ level: "INFO", message: "order A-7 took 12 ms", fields: { total: 9.5 } });
  const warning = attemptOf(log, { level: "LOG_LEVEL_WARN", message: "m" });
  expect(resultIn(await log.run(warning, servicesOf()))).toEqual({ level: "WARN", message: "m" });
});

test("log refuses a message of more than 8 KiB, counted in bytes", async () => {
  const fits = attemptOf(log, { message: "{{m}}" }, { m: "é".repeat(4_096) });
  expect((await log.run(fits, servicesOf())).kind).toBe("succeeded");
  const tooLong = attemptOf(log, { message: "{{m}}" }, { m: "é".repeat(4_097) });
  expect(failureIn(await log.run(tooLong, servicesOf())).failure.name).toBe("LIMIT.MESSAGE");
});

test("log takes a message that is not text as its JSON text", async () => {
  const call = attemptOf(log, { message: "{{data}}" }, { data: { a: [1, null] } });
  expect(resultIn(await log.run(call, servicesOf()))).toMatchObject({ message: '{"a":[1,null]}' });
});

test("set_variables gives the variables with the types of their values", async () => {
  const call = attemptOf(setVariables, { variables: { count: "{{1 + 1}}", label: "n={{1 + 1}}", list: [1, "{{x}}"] } }, { x: null });
  expect(resultIn(await setVariables.run(call, servicesOf()))).toEqual({ count: 2, label: "n=2", list: [1, null] });
});

test("set_variables refuses names that no expression could read", () => {
  expect(problemsOf(setVariables, { variables: { ok: 1, "not ok": 2, __proto___: 3 } })).toEqual([
    "variables.not ok: VALIDATION_FAILED",
    "variables.__proto___: VALIDATION_FAILED",
  ]);
  expect(problemsOf(setVariables, {})).toEqual(["variables: VALIDATION_FAILED"]);
  const many = Object.fromEntries(Array.from({ length: 101 }, (_, index) => [`v${index}`, index]));
  expect(problemsOf(setVariables, { variables: many })).toEqual(["variables: LIMIT_EXCEEDED"]);
});

test("fail ends with USER.<error>, its message and details", async () => {
  const call = attemptOf(fail, { error: "{{code}}", message: "no stock for {{sku}}", details: { sku: "{{sku}}" } }, { code: "OUT_OF_STOCK", sku: "A" });
  expect(await fail.run(call, servicesOf())).toEqual({
    kind: "failed",
    outcome: "failed",
    failure: { name: "USER.OUT_OF_STOCK", message: "no stock for A", details: { sku: "A" } },
  });
});

test("fail makes one plain word of whatever a template gives", async () => {
  const nameFor = async (code: unknown) =>
    failureIn(await fail.run(attemptOf(fail, { error: "{{code}}" }, { code: code as never }), servicesOf())).failure.name;
  expect(await nameFor("no stock\r\nX: y")).toBe("USER.no_stock_X_y");
  expect(await nameFor({ a: 1 })).toBe("USER._a_1_");
  expect(await nameFor("")).toBe("USER.ERROR");
  expect((await nameFor("x".repeat(500))).length).toBe(69);
});
