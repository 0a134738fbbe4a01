/**
 * The filter of executions as SQL, for lists and counts. Each combination of filters makes a text of its own: one text with
 * `$n is null or …` would get a plan that fits none of them. The text depends on which filters are there, never on values.
 */
import type { EndReason, ExecutionStatus, SagaStatus } from "../domain/states.ts";

export interface TextMatch {
  /** Any of these. */
  readonly values: readonly string[];
  /** Those of them that are only the beginning. */
  readonly prefixes?: readonly string[];
  readonly negated?: boolean;
}

export interface TimeRange {
  readonly field: "create_time" | "start_time" | "end_time";
  readonly operator: "<" | "<=" | ">" | ">=" | "=";
  /** Milliseconds since the epoch. */
  readonly at: number;
}

export interface ExecutionConditions {
  /** As shown, so `paused` stands for what is shown as PAUSED. Any of these; undefined means all. */
  readonly states?: readonly ExecutionStatus[];
  readonly sagaStates?: readonly SagaStatus[];
  readonly endReasons?: readonly EndReason[];
  readonly workflowUuid?: string;
  readonly parentUuid?: string;
  readonly workflowName?: TextMatch;
  readonly correlationId?: string;
  readonly executionKey?: string;
  readonly failureName?: TextMatch;
  readonly failedStep?: TextMatch;
  readonly revision?: number;
  /** The template that its revision was made from. */
  readonly templateUuid?: string;
  readonly priority?: number;
  readonly labels?: Readonly<Record<string, string>>;
  readonly times?: readonly TimeRange[];
  /** One execution. */
  readonly uuid?: string;
  /** Address of a participant of its saga. */
  readonly participant?: string;
  /** Has not ended. */
  readonly open?: boolean;
}

/** PAUSED is shown where nothing stronger is going on. */
export const shownState = "(case when e.paused and e.state in ('pending', 'running', 'waiting') then 'paused' else e.state end)";

export interface Where {
  /** Conditions joined by `and`. */
  readonly text: string;
  /** The same for equal texts; part of a prepared statement's name. */
  readonly shape: string;
  readonly values: readonly unknown[];
}

/** `e` is the execution, `i` its saga view; `values` are the parameters before the first condition. */
export function whereOf(tenantId: string, conditions: ExecutionConditions, before: readonly unknown[] = []): Where {
  const values: unknown[] = [...before];
  const parts: string[] = [];
  const shape: string[] = [];
  const add = (name: string, value: unknown, condition: (place: string) => string): void => {
    if (value === undefined) return;
    values.push(value);
    shape.push(name);
    parts.push(condition(`$${values.length}`));
  };
  const addText = (name: string, column: string, match: TextMatch | undefined): void => {
    if (!match) return;
    const prefixes = (match.prefixes ?? []).map((prefix) => `${prefix.replace(/[\\%_]/g, (character) => `\\${character}`)}%`);
    const kind = `${name}${match.negated ? "_not" : ""}`;
    const not = match.negated ? "not " : "";
    if (prefixes.length === 0) add(kind, match.values, (place) => `${not}(coalesce(${column}, '') = any(${place}::text[]))`);
    else {
      const all = [...match.values.map((value) => value.replace(/[\\%_]/g, (character) => `\\${character}`)), ...prefixes];
      add(`${kind}_like`, all, (place) => `${not}(coalesce(${column}, '') like any(${place}::text[]))`);
    }
  };
  add("tenant", tenantId, (place) => `e.tenant_id = ${place}`);
  add("states", conditions.states, (place) => `${shownState} = any(${place}::text[])`);
  add("sagas", conditions.sagaStates, (place) => `i.state = any(${place}::text[])`);
  add("ends", conditions.endReasons, (place) => `e.end_reason = any(${place}::text[])`);
  add("workflow", conditions.workflowUuid, (place) => `e.workflow_id = ${place}`);
  add("parent", conditions.parentUuid, (place) => `e.parent_execution_id = ${place}`);
  addText("name", "e.workflow_name", conditions.workflowName);
  add("correlation", conditions.correlationId, (place) => `e.correlation_id = ${place}`);
  add("key", conditions.executionKey, (place) => `e.execution_key = ${place}`);
  addText("failure", "e.failure ->> 'name'", conditions.failureName);
  addText("step", "e.failed_step", conditions.failedStep);
  add("revision", conditions.revision, (place) => `e.revision = ${place}::numeric`);
  add(
    "template",
    conditions.templateUuid,
    (place) => `exists (select from workflow_revisions r where r.tenant_id = e.tenant_id and r.workflow_id = e.workflow_id
      and r.revision = e.revision and r.template_id = ${place})`,
  );
  add("priority", conditions.priority, (place) => `e.priority = ${place}::numeric`);
  add("labels", conditions.labels && JSON.stringify(conditions.labels), (place) => `e.labels @> ${place}::jsonb`);
  add("id", conditions.uuid, (place) => `e.id = ${place}`);
  // The condition of the partial index, besides.
  add("participant", conditions.participant && [conditions.participant], (place) => `i.participants @> ${place}::text[]`);
  if (conditions.open) {
    shape.push("open");
    parts.push("e.end_time is null and i.end_time is null");
  }
  for (const { field, operator, at } of conditions.times ?? []) {
    add(`${field}${operator}`, new Date(at), (place) => `e.${field} ${operator} ${place}::timestamptz`);
  }
  return { text: parts.join(" and "), shape: shape.join("_"), values };
}
