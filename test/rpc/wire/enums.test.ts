import { describe, expect, it } from "vitest";
import { EndReason, ExecutionState, OperationState, SagaState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { CompensationKind } from "#gen/pyairtable/workflow/v1/policy_pb.js";
import { TemplateState } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { WorkflowState } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import { compensationKinds, endReasons, executionStates, operationStates, sagaStates, stepStates } from "../../../src/domain/states.ts";
import * as enums from "../../../src/rpc/wire/enums.ts";
import { workflowStates } from "../../../src/store/entities/workflow.ts";
import { templateStates } from "../../../src/store/entities/workflow-template.ts";

const lists: readonly [string, enums.EnumWords<string, number>, readonly string[], object][] = [
  ["ExecutionState", enums.executionStateWords, executionStates, ExecutionState],
  ["SagaState", enums.sagaStateWords, sagaStates, SagaState],
  ["EndReason", enums.endReasonWords, endReasons, EndReason],
  ["StepState", enums.stepStateWords, stepStates, StepState],
  ["OperationState", enums.operationStateWords, operationStates, OperationState],
  ["CompensationKind", enums.compensationKindWords, compensationKinds, CompensationKind],
  ["WorkflowState", enums.workflowStateWords, workflowStates, WorkflowState],
  ["TemplateState", enums.templateStateWords, templateStates, TemplateState],
];

describe.each(lists)("%s", (_name, words, domainWords, values) => {
  it("has exactly the words of the domain, each with the value of that name", () => {
    expect(words.names.map((name) => name.toLowerCase()).toSorted()).toEqual([...domainWords].toSorted());
    for (const word of domainWords) {
      expect(words.valueOf(word), word).toBe((values as Record<string, number>)[word.toUpperCase()]);
      expect(words.wordOf(words.valueOf(word))).toBe(word);
    }
  });

  it("answers UNSPECIFIED for what it does not know, and no word for UNSPECIFIED and newer values", () => {
    expect(words.valueOf(undefined)).toBe(0);
    expect(words.valueOf("no_such_state")).toBe(0);
    expect(words.wordOf(0)).toBeUndefined();
    expect(words.wordOf(9_999)).toBeUndefined();
    expect(words.parse("UNSPECIFIED")).toBeUndefined();
  });
});

it("reads states as people write them", () => {
  expect(["TIMED_OUT", "timed_out", "EXECUTION_STATE_TIMED_OUT"].map(enums.executionStateWords.parse)).toEqual(Array(3).fill("timed_out"));
  expect(enums.executionStateWords.parse("SAGA_STATE_RUNNING")).toBeUndefined();
});
