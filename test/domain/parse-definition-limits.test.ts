import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { limits } from "../../src/base/limits.ts";
import { choice, line, nested, post, stepFaults, undoStep } from "./parsed.ts";

describe("limits", () => {
  it(`allow blocks ${limits.blockDepthMax} deep and refuse one more`, () => {
    expect(stepFaults(nested(limits.blockDepthMax))).toEqual([]);
    const [fault] = stepFaults(nested(limits.blockDepthMax + 1));
    expect(fault).toBe(`definition.steps[0]${".conditional.cases[0].steps[0]".repeat(limits.blockDepthMax)}.conditional.cases[0].steps LIMIT_EXCEEDED`);
  });

  it(`allow ${limits.stepsPerDefinitionMax} steps, nested ones counted, and refuse one more once`, () => {
    const steps = Array.from({ length: limits.stepsPerDefinitionMax - 1 }, (_, index) => line(`s${index}`));
    expect(stepFaults(...steps, line("last"))).toEqual([]);
    expect(stepFaults(...steps.slice(0, -1), choice("block", [line("one"), line("two")]))).toEqual([
      expect.stringMatching(/^definition\.steps\[998\].* LIMIT_EXCEEDED$/),
    ]);
  });

  it("look at no step behind the last one that is allowed", () => {
    const steps = Array.from({ length: limits.stepsPerDefinitionMax }, (_, index) => line(`s${index}`));
    const bad = { name: "b", teleport: {} };
    expect(stepFaults(...steps, bad, bad)).toEqual([`definition.steps[${limits.stepsPerDefinitionMax}] LIMIT_EXCEEDED`]);
  });

  it("refuse a definition that is too large before looking further", () => {
    expect(stepFaults(line("a", "x".repeat(limits.definitionBytesMax)), { name: "b", teleport: {} })).toEqual(["definition LIMIT_EXCEEDED"]);
  });

  it.each<[string, JsonObject, string]>([
    ["a retry interval that is too small", { retry_policy: { initial_interval: "0.005s" } }, "retry_policy.initial_interval"],
    ["an attempt that takes no time", { timeouts: { start_to_close: "0s" } }, "timeouts.start_to_close"],
    ["an attempt that takes longer than its type allows", { timeouts: { start_to_close: "901s" } }, "timeouts.start_to_close"],
    [
      "an undo that takes longer than 15 minutes",
      { compensation: { step: undoStep, timeouts: { start_to_close: "901s" } } },
      "compensation.timeouts.start_to_close",
    ],
    [
      "an undo that is retried too fast",
      { compensation: { step: undoStep, retry_policy: { initial_interval: "0s" } } },
      "compensation.retry_policy.initial_interval",
    ],
  ])("refuse %s", (_, fields, place) => {
    expect(stepFaults(post("a", fields))).toEqual([`definition.steps[0].${place} LIMIT_EXCEEDED`]);
  });
});

describe("compensation", () => {
  it.each<[string, JsonObject, string]>([
    ["an undo of an undo", { step: { ...undoStep, compensation: { step: undoStep } } }, "compensation.step.compensation"],
    ["a pivot that has an undo", { kind: "COMPENSATION_KIND_PIVOT", step: undoStep }, "compensation.kind"],
    ["a read that has an undo", { kind: "COMPENSATION_KIND_READONLY", step: undoStep }, "compensation.kind"],
    ["a retriable step that has an undo", { kind: "COMPENSATION_KIND_RETRIABLE", step: undoStep }, "compensation.kind"],
    ["a compensatable step without an undo", { kind: "COMPENSATION_KIND_COMPENSATABLE" }, "compensation.step"],
    ["a block as undo", { step: { conditional: { cases: [{ when: "true", steps: [] }] } } }, "compensation.step"],
    ["a delay as undo", { step: { delay: { duration: "1s" } } }, "compensation.step"],
  ])("refuses %s", (_, compensation, place) => {
    expect(stepFaults(post("a", { compensation }))).toEqual([`definition.steps[0].${place} COMPENSATION_INVALID`]);
  });

  it("refuses a compensatable step after the point of no return", () => {
    const pivot = post("pay", { compensation: { kind: "COMPENSATION_KIND_PIVOT" } });
    expect(stepFaults(pivot, post("ship", { compensation: { step: undoStep } }))).toEqual(["definition.steps[1].compensation.kind PIVOT_ORDER"]);
  });
});
