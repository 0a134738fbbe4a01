import { expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { findChildFaults } from "../../src/rpc/pin-children.ts";
import type { WorkflowRecord } from "../../src/store/workflow-row.ts";
import { callerOf } from "../store/open-store.ts";

const children = (count: number, workflow: string): JsonObject => ({
  steps: Array.from({ length: count }, (_, index) => ({ name: `s${index}`, sub_workflow: { workflow, revision: 1 } })),
});

/** Workflows by name, each with one revision, and how often their steps were read. */
function stored(definitions: Readonly<Record<string, JsonObject>>) {
  const reads = { count: 0 };
  const watched = (definition: JsonObject): JsonObject =>
    Object.defineProperty({}, "steps", {
      enumerable: true,
      get() {
        reads.count += 1;
        return definition["steps"];
      },
    });
  const workflows = {
    getWorkflow: async (_: unknown, name: string) => (definitions[name] ? ({ id: name, name, activeRevision: 1 } as WorkflowRecord) : undefined),
    getRevision: async (_: unknown, id: string) => ({ definition: watched(definitions[id] as JsonObject) }) as never,
  };
  const faultsOf = (definition: JsonObject) => findChildFaults(workflows, callerOf("acme"), definition, "definition", { name: "top" });
  return { reads, faultsOf };
}

test("a revision to which many paths lead is walked once", async () => {
  const { reads, faultsOf } = stored({ a: children(10, "b"), b: children(10, "c"), c: children(10, "d"), d: { steps: [] } });
  const found = await faultsOf(children(10, "a"));
  expect(found.violations).toEqual([]);
  // Each of the four once for its children and once for its points of no return; by paths it would be more than 2,000.
  expect(reads.count).toBeLessThanOrEqual(4 * 4);
});

test("a revision that was walked near the top is too deep all the same where it stands lower", async () => {
  const chain = Object.fromEntries(Array.from({ length: 5 }, (_, level) => [`w${level}`, level < 4 ? children(1, `w${level + 1}`) : { steps: [] }]));
  const low = Object.fromEntries(Array.from({ length: 4 }, (_, level) => [`x${level}`, children(1, level < 3 ? `x${level + 1}` : "w0")]));
  const { faultsOf } = stored({ ...chain, ...low });
  const steps = [...(children(1, "w0")["steps"] as JsonObject[]), { name: "low", sub_workflow: { workflow: "x0", revision: 1 } }];
  expect((await faultsOf({ steps })).violations).toMatchObject([{ field: "definition.steps[1].sub_workflow.workflow", reason: "LIMIT_EXCEEDED" }]);
});

test("workflows that run each other are found from wherever the walk begins", async () => {
  const { faultsOf } = stored({ a: children(2, "b"), b: children(2, "a"), leaf: { steps: [] } });
  expect((await faultsOf(children(1, "a"))).violations).toMatchObject([{ reason: "SUB_WORKFLOW_CYCLE" }]);
  expect((await faultsOf(children(1, "leaf"))).violations).toEqual([]);
});
