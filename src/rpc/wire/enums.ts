/**
 * The closed lists of states, between the words of the domain (`timed_out`) and the numbers of the contract. Both sides are
 * the same list; the tables are made from the descriptors, so a value that is added to the contract needs no change here.
 */
import type { DescEnum } from "@bufbuild/protobuf";
import {
  EndReasonSchema,
  type EndReason as EndReasonValue,
  ExecutionStateSchema,
  type ExecutionState as ExecutionStateValue,
  OperationStateSchema,
  type OperationState as OperationStateValue,
  SagaStateSchema,
  type SagaState as SagaStateValue,
  StepStateSchema,
  type StepState as StepStateValue,
} from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { CompensationKindSchema, type CompensationKind as CompensationKindValue } from "#gen/pyairtable/workflow/v1/policy_pb.js";
import { TemplateStateSchema, type TemplateState as TemplateStateValue } from "#gen/pyairtable/workflow/v1/template_pb.js";
import { WorkflowStateSchema, type WorkflowState as WorkflowStateValue } from "#gen/pyairtable/workflow/v1/workflow_pb.js";
import type { CompensationKind, EndReason, ExecutionStatus, OperationStatus, SagaStatus, StepStatus } from "../../domain/states.ts";
import type { WorkflowStatus } from "../../store/entities/workflow.ts";
import type { TemplateStatus } from "../../store/entities/workflow-template.ts";

export interface EnumWords<Word extends string, Value extends number> {
  /** The contract's value of a domain word; UNSPECIFIED (0) for undefined and for words it does not know. */
  valueOf(word: Word | undefined): Value;
  /** The domain word of a value; undefined for UNSPECIFIED and for values of a newer contract. */
  wordOf(value: Value): Word | undefined;
  /** The domain word of a name as people write it in filters: `TIMED_OUT` or `EXECUTION_STATE_TIMED_OUT`, in any case. */
  parse(text: string): Word | undefined;
  /** Short names in the contract's order, for messages to people: `PENDING`, `RUNNING` … */
  readonly names: readonly string[];
}

export const executionStateWords = wordsOf<ExecutionStatus, ExecutionStateValue>(ExecutionStateSchema);
export const sagaStateWords = wordsOf<SagaStatus, SagaStateValue>(SagaStateSchema);
export const endReasonWords = wordsOf<EndReason, EndReasonValue>(EndReasonSchema);
export const stepStateWords = wordsOf<StepStatus, StepStateValue>(StepStateSchema);
export const operationStateWords = wordsOf<OperationStatus, OperationStateValue>(OperationStateSchema);
export const compensationKindWords = wordsOf<CompensationKind, CompensationKindValue>(CompensationKindSchema);
export const workflowStateWords = wordsOf<WorkflowStatus, WorkflowStateValue>(WorkflowStateSchema);
export const templateStateWords = wordsOf<TemplateStatus, TemplateStateValue>(TemplateStateSchema);

function wordsOf<Word extends string, Value extends number>(desc: DescEnum): EnumWords<Word, Value> {
  const known = desc.values.filter(({ number }) => number !== 0);
  const values = new Map<string, Value>(known.map(({ localName, number }) => [localName.toLowerCase(), number as Value]));
  const words = new Map<number, Word>(known.map(({ localName, number }) => [number, localName.toLowerCase() as Word]));
  const prefix = desc.sharedPrefix ?? "";
  return {
    valueOf: (word) => (word === undefined ? undefined : values.get(word)) ?? (0 as Value),
    wordOf: (value) => words.get(value),
    parse: (text) => {
      const lower = text.toLowerCase();
      const word = prefix !== "" && lower.startsWith(prefix) ? lower.slice(prefix.length) : lower;
      return values.has(word) ? (word as Word) : undefined;
    },
    names: known.map(({ localName }) => localName),
  };
}
