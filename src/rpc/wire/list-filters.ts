/**
 * The `filter` of each listing as the store takes it. Only fields that the store can answer are offered; every other one is
 * refused by name instead of being passed over. All functions throw AppError FILTER_INVALID with the column.
 */
import type { ExecutionStep } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { type EndReason, type ExecutionStatus, endReasons, executionStates, type SagaStatus, sagaStates } from "../../domain/states.ts";
import type { AuditFilter } from "../../store/audit-repository.ts";
import { type WorkflowStatus, workflowStates } from "../../store/entities/workflow.ts";
import { type TemplateStatus, templateStates } from "../../store/entities/workflow-template.ts";
import type { TextMatch } from "../../store/execution-conditions.ts";
import type { ExecutionFilter } from "../../store/execution-repository.ts";
import type { NameMatch } from "../../store/listing.ts";
import type { TemplateFilter } from "../../store/template-repository.ts";
import type { WorkflowFilter } from "../../store/workflow-repository.ts";
import { compensationKindWords, endReasonWords, executionStateWords, sagaStateWords, stepStateWords, templateStateWords, workflowStateWords } from "./enums.ts";
import { type FilterFields, type FilterTerm, parseFilter } from "./filter.ts";
import { filterError } from "./filter-tokens.ts";
import type { FilterField } from "./filter-value.ts";

/** One exact text. */
const exact: FilterField = { kind: "text", operators: ["="], star: "never", negatable: false, valuesMax: 1 };
/** A text, whole or by its beginning. */
const named: FilterField = { kind: "text", operators: ["="], negatable: false, valuesMax: 1 };
const labels: FilterField = { ...exact, kind: "labels" };

/** One or more texts, whole or by their beginning, or none of them. */
const matching: FilterField = { kind: "text", operators: ["=", "!="] };
const moment: FilterField = { kind: "time", operators: ["=", "<", "<=", ">", ">="], negatable: false, valuesMax: 1 };
const number: FilterField = { kind: "number", operators: ["="], negatable: false, valuesMax: 1 };

const executionFields: FilterFields = {
  id: exact,
  state: { kind: "enum", operators: ["=", "!="], words: executionStateWords },
  saga_state: { kind: "enum", operators: ["=", "!="], words: sagaStateWords },
  end_reason: { kind: "enum", operators: ["=", "!="], words: endReasonWords },
  workflow: exact,
  workflow_id: exact,
  workflow_name: matching,
  revision: number,
  template_id: exact,
  execution_key: exact,
  correlation_id: exact,
  parent_execution_id: exact,
  priority: number,
  "failure.reason": matching,
  failed_step: matching,
  create_time: moment,
  start_time: moment,
  end_time: moment,
  labels,
};
const workflowFields: FilterFields = {
  id: exact,
  name: named,
  display_name: named,
  state: { kind: "enum", operators: ["=", "!="], words: workflowStateWords },
  template_id: exact,
  create_time: moment,
  update_time: moment,
  labels,
};
const templateFields: FilterFields = {
  id: exact,
  name: matching,
  display_name: matching,
  category: matching,
  tags: { kind: "list", operators: [":"], star: "never", valuesMax: 1 },
  state: { kind: "enum", operators: ["=", "!="], words: templateStateWords },
  built_in: { kind: "bool", operators: ["=", "!="], valuesMax: 1 },
  text: { kind: "text", operators: ["=", ":"], star: "never", negatable: false, valuesMax: 1 },
  create_time: moment,
  update_time: moment,
  labels,
};

export function executionFilterOf(text: string): ExecutionFilter {
  const terms = termsOf(text, executionFields).map(asIdOrName);
  return present({
    id: oneText(terms, "id"),
    states: wordsLeft<ExecutionStatus>(terms, executionStates),
    sagaStates: wordsLeft<SagaStatus>(terms, sagaStates, "saga_state"),
    endReasons: wordsLeft<EndReason>(terms, endReasons, "end_reason"),
    workflowId: oneText(terms, "workflow_id"),
    workflowName: oneMatch(terms, "workflow_name"),
    revision: oneNumber(terms, "revision"),
    templateId: oneText(terms, "template_id"),
    executionKey: oneText(terms, "execution_key"),
    correlationId: oneText(terms, "correlation_id"),
    parentId: oneText(terms, "parent_execution_id"),
    priority: oneNumber(terms, "priority"),
    failureName: oneMatch(terms, "failure.reason"),
    failedStep: oneMatch(terms, "failed_step"),
    labels: labelsOf(terms),
    times: timesOf(terms),
  });
}

/** `workflow` is a workflow's id or its name, as in requests. */
function asIdOrName(term: FilterTerm): FilterTerm {
  if (term.field !== "workflow") return term;
  return { ...term, field: String(term.values[0].value).startsWith("wfl_") ? "workflow_id" : "workflow_name" };
}

const sagaFields: FilterFields = {
  id: exact,
  state: { kind: "enum", operators: ["=", "!="], words: sagaStateWords },
  end_reason: { kind: "enum", operators: ["=", "!="], words: endReasonWords },
  stuck: { kind: "bool", operators: ["=", "!="], valuesMax: 1 },
  participant: exact,
  workflow_name: matching,
  execution_key: exact,
  correlation_id: exact,
  create_time: moment,
  end_time: moment,
  labels,
};

/** The filter of sagas: their states are those of the saga view. */
export function sagaFilterOf(text: string): ExecutionFilter {
  const terms = termsOf(text, sagaFields);
  const states = wordsLeft<SagaStatus>(terms, sagaStates);
  const stuck = only(terms, "stuck");
  const isStuck = stuck && stuck.values[0].value !== stuck.negated;
  return present({
    id: oneText(terms, "id"),
    sagaStates: isStuck === undefined ? states : (states ?? [...sagaStates]).filter((state) => (state === "stuck") === isStuck),
    endReasons: wordsLeft<EndReason>(terms, endReasons, "end_reason"),
    participant: oneText(terms, "participant"),
    workflowName: oneMatch(terms, "workflow_name"),
    executionKey: oneText(terms, "execution_key"),
    correlationId: oneText(terms, "correlation_id"),
    labels: labelsOf(terms),
    times: timesOf(terms),
  });
}

function timesOf(terms: readonly FilterTerm[]): ExecutionFilter["times"] {
  const times = terms.flatMap(({ field, operator, values }) =>
    (field === "create_time" || field === "start_time" || field === "end_time") && operator !== ":"
      ? ({ field, operator, at: Number(values[0].value) } as const)
      : [],
  );
  return times.length > 0 ? times : undefined;
}

const stepFields: FilterFields = {
  path: matching,
  name: matching,
  type: matching,
  state: { kind: "enum", operators: ["=", "!="], words: stepStateWords },
  kind: { kind: "enum", operators: ["=", "!="], words: compensationKindWords },
};

/** Whether a step is wanted; steps are filtered in memory, since a running one has no row. */
export function stepFilterOf(text: string): (step: ExecutionStep) => boolean {
  const terms = termsOf(text, stepFields);
  return (step) =>
    terms.every(({ field, values, negated }) => {
      const own = ownText(step, field);
      return values.some(({ value, prefix }) => (prefix ? own.startsWith(String(value)) : own === value)) !== negated;
    });
}

function ownText(step: ExecutionStep, field: string): string {
  switch (field) {
    case "state":
      return stepStateWords.wordOf(step.state) ?? "";
    case "kind":
      return compensationKindWords.wordOf(step.kind) ?? "";
    case "path":
      return step.path;
    case "name":
      return step.name;
    default:
      return step.type;
  }
}

/** Without what is undefined. */
function present<T extends object>(fields: { [Name in keyof T]: T[Name] | undefined }): T {
  return Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as T;
}

export function workflowFilterOf(text: string): WorkflowFilter {
  const terms = termsOf(text, workflowFields);
  const times = terms.flatMap(({ field, operator, values }) =>
    (field === "create_time" || field === "update_time") && operator !== ":" ? ({ field, operator, at: Number(values[0].value) } as const) : [],
  );
  return present({
    id: oneText(terms, "id"),
    states: wordsLeft<WorkflowStatus>(terms, workflowStates),
    name: oneName(terms),
    displayName: oneName(terms, "display_name"),
    templateId: oneText(terms, "template_id"),
    labels: labelsOf(terms),
    times: times.length > 0 ? times : undefined,
  });
}

export function secretFilterOf(text: string): { readonly name: NameMatch | undefined } {
  return { name: oneName(termsOf(text, { name: named })) };
}

export function auditFilterOf(text: string): AuditFilter {
  const terms = termsOf(text, { actor: exact, method: exact, target: exact, execution_id: exact, correlation_id: exact, time: moment });
  const times = terms.flatMap(({ field, operator, values }) =>
    field === "time" && operator !== ":" ? [{ operator, at: new Date(Number(values[0].value)) }] : [],
  );
  return {
    actor: oneText(terms, "actor"),
    method: oneText(terms, "method"),
    target: oneText(terms, "target"),
    executionId: oneText(terms, "execution_id"),
    correlationId: oneText(terms, "correlation_id"),
    times,
  };
}

export function fileFilterOf(text: string): { readonly name: NameMatch | undefined } {
  return { name: oneName(termsOf(text, { name: named })) };
}

function labelsOf(terms: readonly FilterTerm[]): Record<string, string> | undefined {
  const byLabel = Map.groupBy(
    terms.filter(({ field }) => field === "labels"),
    ({ label }) => label ?? "",
  );
  const values = [...byLabel].map(([label, found]) => [label, oneText(found, "labels") ?? ""] as const);
  return values.length > 0 ? Object.fromEntries(values) : undefined;
}

export function templateFilterOf(text: string): TemplateFilter {
  const terms = termsOf(text, templateFields);
  const tagged = (negated: boolean): string[] | undefined => listed(terms.filter((term) => term.field === "tags" && term.negated === negated));
  const builtIn = only(terms, "built_in");
  const times = terms.flatMap(({ field, operator, values }) =>
    (field === "create_time" || field === "update_time") && operator !== ":" ? ({ field, operator, at: Number(values[0].value) } as const) : [],
  );
  return {
    id: oneText(terms, "id"),
    name: oneMatch(terms, "name"),
    displayName: oneMatch(terms, "display_name"),
    category: oneMatch(terms, "category"),
    tags: tagged(false),
    withoutTags: tagged(true),
    states: wordsLeft<TemplateStatus>(terms, templateStates),
    builtIn: builtIn && builtIn.values[0].value !== builtIn.negated,
    texts: listed(terms.filter(({ field }) => field === "text")),
    labels: labelsOf(terms),
    times: times.length > 0 ? times : undefined,
  };
}

/** The texts of terms with one value each; undefined for none. */
function listed(terms: readonly FilterTerm[]): string[] | undefined {
  return terms.length > 0 ? terms.map(({ values }) => String(values[0].value)) : undefined;
}

function termsOf(text: string, fields: FilterFields): readonly FilterTerm[] {
  const parsed = parseFilter(text, fields);
  if (!parsed.ok) throw parsed.fault;
  return parsed.value;
}

/** The words that all terms about a field leave over; undefined when there is none of them. */
function wordsLeft<Word extends string>(terms: readonly FilterTerm[], all: readonly Word[], name = "state"): Word[] | undefined {
  const about = terms.filter(({ field }) => field === name);
  if (about.length === 0) return undefined;
  return all.filter((word) => about.every(({ negated, values }) => values.some(({ value }) => value === word) !== negated));
}

function oneText(terms: readonly FilterTerm[], field: string): string | undefined {
  const value = only(terms, field)?.values[0].value;
  return value === undefined ? undefined : String(value);
}

function oneNumber(terms: readonly FilterTerm[], field: string): number | undefined {
  const value = only(terms, field)?.values[0].value;
  return value === undefined ? undefined : Number(value);
}

function oneName(terms: readonly FilterTerm[], field = "name"): NameMatch | undefined {
  const value = only(terms, field)?.values[0];
  return value && { text: String(value.value), isPrefix: value.prefix === true };
}

function oneMatch(terms: readonly FilterTerm[], field: string): TextMatch | undefined {
  const term = only(terms, field);
  if (!term) return undefined;
  const prefixes = term.values.filter(({ prefix }) => prefix).map(({ value }) => String(value));
  const values = term.values.filter(({ prefix }) => !prefix).map(({ value }) => String(value));
  return { values, ...(prefixes.length > 0 ? { prefixes } : {}), ...(term.negated ? { negated: true } : {}) };
}

function only(terms: readonly FilterTerm[], name: string): FilterTerm | undefined {
  const [first, second] = terms.filter(({ field }) => field === name);
  if (second) throw filterError(second.column, `${name} stands in the filter twice`);
  return first;
}
