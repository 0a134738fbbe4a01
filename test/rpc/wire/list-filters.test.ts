import { describe, expect, it } from "vitest";
import { AppError } from "../../../src/base/errors.ts";
import { executionFilterOf, templateFilterOf, workflowFilterOf } from "../../../src/rpc/wire/list-filters.ts";

function columnOf(run: () => unknown): number {
  try {
    return Number(`no fault: ${JSON.stringify(run())}`);
  } catch (error) {
    expect(error).toBeInstanceOf(AppError);
    expect((error as AppError).reason).toBe("FILTER_INVALID");
    return Number((error as AppError).metadata["column"]);
  }
}

describe("the filter of executions", () => {
  it("selects states, workflow and correlation", () => {
    expect(executionFilterOf("")).toEqual({});
    expect(executionFilterOf("state = FAILED OR state = STUCK AND workflow_id = wfl_1 AND correlation_id = 'a b'")).toEqual({
      states: ["stuck", "failed"],
      workflowId: "wfl_1",
      correlationId: "a b",
    });
  });

  it("takes a workflow by id or by name", () => {
    expect(executionFilterOf("id = exe_1 AND template_id = tpl_1 AND workflow = wfl_1")).toEqual({ id: "exe_1", templateId: "tpl_1", workflowId: "wfl_1" });
    expect(executionFilterOf("workflow = orders").workflowName).toEqual({ values: ["orders"] });
    expect(columnOf(() => executionFilterOf("workflow = a AND workflow_name = b"))).toBe(18);
  });

  it("takes the complement of negated states, and none at all for a contradiction", () => {
    expect(executionFilterOf("NOT (state = COMPLETED OR state = FAILED) AND state != STUCK").states).toEqual([
      "pending",
      "running",
      "waiting",
      "paused",
      "compensating",
      "compensated",
      "canceled",
      "timed_out",
      "terminated",
    ]);
    expect(executionFilterOf("state = FAILED AND state = STUCK").states).toEqual([]);
  });

  it("refuses what the store cannot answer", () => {
    expect(columnOf(() => executionFilterOf("state = FAILED AND template = x"))).toBe(20);
    expect(columnOf(() => executionFilterOf("workflow_id = a OR workflow_id = b"))).toBe(17);
    expect(columnOf(() => executionFilterOf("workflow_id = a AND workflow_id = b"))).toBe(21);
    expect(columnOf(() => executionFilterOf("correlation_id = a*"))).toBe(18);
  });
});

describe("the filter of workflows", () => {
  it("selects states, the beginning of the name, template and labels", () => {
    expect(workflowFilterOf("")).toEqual({});
    expect(workflowFilterOf('state = ACTIVE name = "orders-*" template_id = tpl_1 labels.team = a labels.stage = "b c"')).toEqual({
      states: ["active"],
      name: { text: "orders-", isPrefix: true },
      templateId: "tpl_1",
      labels: { team: "a", stage: "b c" },
    });
  });

  it("keeps a label named __proto__ as data", () => {
    expect(Object.entries(workflowFilterOf("labels.__proto__ = x").labels ?? {})).toEqual([["__proto__", "x"]]);
  });

  it("takes a whole name, too", () => {
    expect(workflowFilterOf("name = orders")).toEqual({ name: { text: "orders", isPrefix: false } });
  });

  it("refuses a label twice and its negation", () => {
    expect(columnOf(() => workflowFilterOf("labels.a = x AND labels.a = y"))).toBe(18);
    expect(columnOf(() => workflowFilterOf("labels.a != x"))).toBe(10);
  });
});

describe("the filter of templates", () => {
  it("selects category, all of the tags, the beginning of the name and where they come from", () => {
    expect(templateFilterOf("")).toEqual({});
    expect(templateFilterOf("category = sync tags:a tags:b NOT tags:c name = h* AND built_in = true")).toEqual({
      category: { values: ["sync"] },
      tags: ["a", "b"],
      withoutTags: ["c"],
      name: { values: [], prefixes: ["h"] },
      builtIn: true,
    });
    expect(templateFilterOf('state = DRAFT text:"two words" text:x update_time > "2030-01-01T00:00:00Z" labels.team = a')).toEqual({
      states: ["draft"],
      texts: ["two words", "x"],
      times: [{ field: "update_time", operator: ">", at: Date.UTC(2030, 0) }],
      labels: { team: "a" },
    });
    expect(["NOT built_in = true", "built_in != true", "built_in = false", "built_in != false"].map((text) => templateFilterOf(text).builtIn)).toEqual([
      false,
      false,
      false,
      true,
    ]);
  });

  it("refuses another operator for tags", () => {
    expect(columnOf(() => templateFilterOf("tags = a"))).toBe(6);
    expect(columnOf(() => templateFilterOf("tags:a OR tags:b"))).toBe(8);
  });
});
