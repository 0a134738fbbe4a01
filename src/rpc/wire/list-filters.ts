/**
 * The `filter` of each listing as the store takes it. Only fields that the store can answer are offered; every other one is
 * refused by name instead of being passed over. All functions throw AppError FILTER_INVALID with the column.
 */
import { type ExecutionStatus, executionStates } from "../../domain/states.ts";
import { type WorkflowStatus, workflowStates } from "../../store/entities/workflow.ts";
import type { ExecutionFilter } from "../../store/execution-repository.ts";
import type { TemplateFilter } from "../../store/template-repository.ts";
import type { WorkflowFilter } from "../../store/workflow-repository.ts";
import { executionStateWords, workflowStateWords } from "./enums.ts";
import { type FilterFields, type FilterTerm, parseFilter } from "./filter.ts";
import { filterError } from "./filter-tokens.ts";
import type { FilterField } from "./filter-value.ts";

/** One exact text. */
const exact: FilterField = { kind: "text", operators: ["="], star: "never", negatable: false, valuesMax: 1 };
/** The beginning of a text. */
const beginning: FilterField = { ...exact, star: "always" };
const labels: FilterField = { ...exact, kind: "labels" };

const executionFields: FilterFields = {
  state: { kind: "enum", operators: ["=", "!="], words: executionStateWords },
  workflow_id: exact,
  correlation_id: exact,
};
const workflowFields: FilterFields = {
  name: beginning,
  state: { kind: "enum", operators: ["=", "!="], words: workflowStateWords },
  template_id: exact,
  labels,
};
const templateFields: FilterFields = {
  name: beginning,
  category: exact,
  tags: { ...exact, kind: "list", operators: [":"] },
  built_in: { kind: "bool", operators: ["=", "!="], valuesMax: 1 },
};

export function executionFilterOf(text: string): ExecutionFilter {
  const terms = termsOf(text, executionFields);
  const states = wordsLeft<ExecutionStatus>(terms, executionStates);
  const workflowId = oneText(terms, "workflow_id");
  const correlationId = oneText(terms, "correlation_id");
  return { ...(states && { states }), ...(workflowId !== undefined && { workflowId }), ...(correlationId !== undefined && { correlationId }) };
}

export function workflowFilterOf(text: string): WorkflowFilter {
  const terms = termsOf(text, workflowFields);
  const byLabel = Map.groupBy(
    terms.filter(({ field }) => field === "labels"),
    ({ label }) => label ?? "",
  );
  const labelValues = [...byLabel].map(([label, found]) => [label, oneText(found, "labels") ?? ""] as const);
  return {
    states: wordsLeft<WorkflowStatus>(terms, workflowStates),
    namePrefix: oneText(terms, "name"),
    templateId: oneText(terms, "template_id"),
    labels: labelValues.length > 0 ? Object.fromEntries(labelValues) : undefined,
  };
}

export function templateFilterOf(text: string): TemplateFilter {
  const terms = termsOf(text, templateFields);
  const tags = terms.filter(({ field }) => field === "tags").map(({ values }) => String(values[0].value));
  const builtIn = only(terms, "built_in");
  return {
    category: oneText(terms, "category"),
    tags: tags.length > 0 ? tags : undefined,
    namePrefix: oneText(terms, "name"),
    builtIn: builtIn && builtIn.values[0].value !== builtIn.negated,
  };
}

function termsOf(text: string, fields: FilterFields): readonly FilterTerm[] {
  const parsed = parseFilter(text, fields);
  if (!parsed.ok) throw parsed.fault;
  return parsed.value;
}

/** The states that all terms about `state` leave over; undefined when there is none of them. */
function wordsLeft<Word extends string>(terms: readonly FilterTerm[], all: readonly Word[]): Word[] | undefined {
  const about = terms.filter(({ field }) => field === "state");
  if (about.length === 0) return undefined;
  return all.filter((word) => about.every(({ negated, values }) => values.some(({ value }) => value === word) !== negated));
}

function oneText(terms: readonly FilterTerm[], field: string): string | undefined {
  const value = only(terms, field)?.values[0].value;
  return value === undefined ? undefined : String(value);
}

function only(terms: readonly FilterTerm[], name: string): FilterTerm | undefined {
  const [first, second] = terms.filter(({ field }) => field === name);
  if (second) throw filterError(second.column, `${name} stands in the filter twice`);
  return first;
}
