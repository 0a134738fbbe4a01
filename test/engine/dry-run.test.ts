/** A dry run computes in slices: whoever tests a large definition holds up nobody else. */
import { expect, test } from "vitest";
import { blockTypes } from "../../src/domain/block-types.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import type { StepTypeSpec } from "../../src/domain/step-type.ts";
import { dryRun } from "../../src/engine/dry-run.ts";
import { stepHandlers } from "../../src/steps/registry.ts";

const stepTypes = new Map<string, StepTypeSpec>([...stepHandlers, ...blockTypes.map((type) => [type.type, type] as const)]);

function loopOf(items: number): CompiledRevision {
  const steps = [{ name: "each", for_each: { items: `lists.range(${items})`, steps: [{ name: "line", log: { message: "{{item}}" } }] } }];
  const parsed = parseDefinition({ steps }, stepTypes);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
  return { workflowId: "", workflowName: "", revision: 0, definition: parsed.value.definition, params: {} };
}

const request = { executionId: "exe_1", tenantId: "t", input: {}, fixtures: new Map(), startAt: 0 };

test("other work gets its turn every few milliseconds while steps only compute", async () => {
  let turns = 0;
  let isOver = false;
  const other = (): void => {
    turns++;
    if (!isOver) setImmediate(other);
  };
  setImmediate(other);
  // A millisecond passes whenever the clock is read, at least once for each step.
  let now = 0;
  const { events } = await dryRun({ handlers: stepHandlers, monotonic: () => now++ }, loopOf(1_000), request);
  isOver = true;
  expect(events.length).toBeGreaterThan(1_000);
  expect(turns).toBeGreaterThan(50);
});

test("a run that only computes ends when its time is over", async () => {
  let now = 0;
  const { truncated, events } = await dryRun({ handlers: stepHandlers, monotonic: () => (now += 100) }, loopOf(1_000), request);
  expect(truncated).toBe(true);
  expect(events.length).toBeLessThan(100);
});
