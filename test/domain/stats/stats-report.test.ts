import { describe, expect, it } from "vitest";
import { type ExecutionGroup, executionTotals } from "../../../src/domain/stats/execution-stats.ts";
import { statsReport } from "../../../src/domain/stats/stats-report.ts";
import { actionSuccessRate, revisionsByRuns, type StepGroup, stepTotals, totalsByType } from "../../../src/domain/stats/step-stats.ts";

const group = (change: Partial<ExecutionGroup>): ExecutionGroup => ({
  ...{ workflowId: "wfl_1", revision: 1, state: "completed", ended: true, bucket: 5, failure: null, step: null, count: 1 },
  ...change,
});
const failed = (failure: string, step: string, count: number) => group({ state: "failed", bucket: null, failure, step, count });
const step = (change: Partial<StepGroup>): StepGroup => ({
  ...{ workflowId: "wfl_1", revision: 1, name: "a", state: "completed", action: "succeeded", bucket: 3, count: 1, retries: 0 },
  ...change,
});
const wide = { revisionsMax: 100, stepsMax: 100 };

describe("totals", () => {
  it("add up alike groups and name the most frequent failures first", () => {
    const totals = executionTotals([
      group({ count: 3 }),
      group({ bucket: 9, count: 2 }),
      failed("HTTP.402", "charge", 2),
      failed("HTTP.402", "ship", 4),
      failed("NETWORK", "ship", 4),
      group({ state: "waiting", ended: false, bucket: null, count: 7 }),
    ]);
    expect(totals).toMatchObject({ executions: 22, ended: 15, completed: 5, durations: { 5: 3, 9: 2 } });
    expect([...totals.states]).toEqual([
      ["completed", 5],
      ["failed", 10],
      ["waiting", 7],
    ]);
    expect(totals.failures.map(({ name, step, count }) => [name, step, count])).toEqual([
      ["HTTP.402", "ship", 4],
      ["NETWORK", "ship", 4],
      ["HTTP.402", "charge", 2],
    ]);
  });

  it("of steps rate the action, whatever was undone, and nothing without an outcome", () => {
    const totals = stepTotals([step({ state: "compensated", count: 3, retries: 2 }), step({ state: "failed", action: "failed", bucket: null })]);
    expect(totals).toMatchObject({ runs: 4, succeeded: 3, failed: 1, retries: 2, durations: { 3: 3 } });
    expect(actionSuccessRate(totals)).toBe(0.75);
    expect(actionSuccessRate(stepTotals([step({ state: "running", action: null, bucket: null })]))).toBe(0);
  });
});

describe("steps by type", () => {
  it("are added up over revisions, most runs first, and revisions are ranked by their runs", () => {
    const steps = [
      step({ count: 2 }),
      step({ name: "b", count: 5, retries: 1 }),
      step({ revision: 2, count: 4 }),
      step({ workflowId: "", name: "joined", bucket: null }),
    ];
    const byType = totalsByType(steps, ({ name }) => (name === "joined" ? "" : name === "b" ? "log" : "delay"));
    expect(byType.map(({ type, runs, retries }) => [type, runs, retries])).toEqual([
      ["delay", 6, 0],
      ["log", 5, 1],
      ["", 1, 0],
    ]);
    expect(revisionsByRuns(steps).map(({ workflowId, revision }) => [workflowId, revision])).toEqual([
      ["wfl_1", 1],
      ["wfl_1", 2],
      ["", 1],
    ]);
  });
});

describe("the report", () => {
  it("puts the workflow with the most executions and the newest revision first", () => {
    const executions = [group({ revision: 1, count: 2 }), group({ revision: 2 }), group({ workflowId: "wfl_2", count: 9 })];
    const steps = [step({ name: "b", count: 5 }), step({ count: 5 }), step({ name: "c", count: 6 }), step({ revision: 2 })];
    const { total, workflows, revisionsLeftOut } = statsReport({ executions, steps, failures: [] }, wide);
    expect([total.executions, revisionsLeftOut]).toEqual([12, 0]);
    expect(workflows.map(({ workflowId, revisions }) => [workflowId, revisions.map(({ revision }) => revision)])).toEqual([
      ["wfl_2", [1]],
      ["wfl_1", [2, 1]],
    ]);
    expect(workflows[1]?.revisions[1]?.steps.map(({ name }) => name)).toEqual(["c", "a", "b"]);
  });

  it("is cut to the revisions and steps that fit, and says how many revisions are left out", () => {
    const executions = [1, 2, 3, 4].map((revision) => group({ revision }));
    const steps = [1, 2, 3, 4].flatMap((revision) => ["a", "b"].map((name) => step({ revision, name })));
    const { total, workflows, revisionsLeftOut } = statsReport({ executions, steps, failures: [] }, { revisionsMax: 2, stepsMax: 3 });
    expect([total.executions, revisionsLeftOut]).toEqual([4, 2]);
    expect(workflows[0]?.totals.executions).toBe(4);
    expect(workflows[0]?.revisions.map(({ revision, steps: shown }) => [revision, shown.length])).toEqual([
      [4, 2],
      [3, 1],
    ]);
  });

  it("gives the failures of attempts to their step and revision", () => {
    const failures = [
      { workflowId: "wfl_1", revision: 1, name: "a", failure: "HTTP.503", count: 2 },
      { workflowId: "wfl_1", revision: 2, name: "a", failure: "NETWORK", count: 1 },
    ];
    const { workflows } = statsReport({ executions: [group({})], steps: [step({}), step({ name: "b" })], failures }, wide);
    expect(workflows[0]?.revisions[0]?.steps.map(({ name, failures: own }) => [name, own])).toEqual([
      ["a", [{ name: "HTTP.503", step: "", count: 2 }]],
      ["b", []],
    ]);
  });
});
