/**
 * The filter of templates as SQL. Each combination of filters makes a text of its own (one text with `$n is null or …` would get
 * a plan that fits none of them); the text depends on which filters are there, never on values.
 */
import { createHash } from "node:crypto";
import type { TemplateStatus } from "./entities/workflow-template.ts";
import type { TextMatch } from "./execution-conditions.ts";

export interface TemplateConditions {
  readonly uuid?: string | undefined;
  readonly name?: TextMatch | undefined;
  readonly displayName?: TextMatch | undefined;
  readonly category?: TextMatch | undefined;
  /** All of these. */
  readonly tags?: readonly string[] | undefined;
  /** None of these. */
  readonly withoutTags?: readonly string[] | undefined;
  readonly states?: readonly TemplateStatus[] | undefined;
  /** Each of them stands in name, title or description, in any case. */
  readonly texts?: readonly string[] | undefined;
  readonly labels?: Readonly<Record<string, string>> | undefined;
  readonly times?: readonly TemplateTime[] | undefined;
}

export interface TemplateTime {
  readonly field: "create_time" | "update_time";
  readonly operator: "<" | "<=" | ">" | ">=" | "=";
  /** Milliseconds since the epoch. */
  readonly at: number;
}

/** Collects parameters and the conditions that read them; the first parameters are given. */
export class ConditionList {
  readonly values: unknown[];
  readonly parts: string[] = [];

  constructor(values: readonly unknown[]) {
    this.values = [...values];
  }

  /** Nothing for an undefined value. */
  add(value: unknown, condition: (place: string) => string): void {
    if (value === undefined) return;
    this.values.push(value);
    this.parts.push(condition(`$${this.values.length}`));
  }

  addPair(first: unknown, second: unknown, condition: (first: string, second: string) => string): void {
    this.values.push(first, second);
    this.parts.push(condition(`$${this.values.length - 1}`, `$${this.values.length}`));
  }

  /** The same for equal texts: the name under which a statement is prepared. */
  shape(text: string): string {
    return createHash("sha256").update(text).digest("hex").slice(0, 24);
  }
}

/** On a table or alias `t`. */
export function addTemplateConditions(list: ConditionList, conditions: TemplateConditions): void {
  list.add(conditions.uuid, (place) => `t.id = ${place}`);
  addMatch(list, "t.name", conditions.name);
  addMatch(list, "t.display_name", conditions.displayName);
  addMatch(list, "t.category", conditions.category);
  list.add(conditions.tags, (place) => `t.tags @> ${place}::text[]`);
  list.add(conditions.withoutTags, (place) => `not t.tags && ${place}::text[]`);
  list.add(conditions.states, (place) => `t.state = any(${place}::text[])`);
  list.add(conditions.labels && JSON.stringify(conditions.labels), (place) => `t.labels @> ${place}::jsonb`);
  const patterns = conditions.texts?.map((text) => `%${escapeLike(text)}%`);
  list.add(patterns, (place) => `(t.name || ' ' || t.display_name || ' ' || t.description) ilike all(${place}::text[])`);
  for (const { field, operator, at } of conditions.times ?? []) {
    list.add(new Date(at).toISOString(), (place) => `t.${field} ${operator} ${place}::timestamptz`);
  }
}

function addMatch(list: ConditionList, column: string, match: TextMatch | undefined): void {
  if (!match) return;
  const not = match.negated ? "not " : "";
  const prefixes = (match.prefixes ?? []).map((prefix) => `${escapeLike(prefix)}%`);
  if (prefixes.length > 0) list.add([...match.values.map(escapeLike), ...prefixes], (place) => `${not}${column} like any(${place}::text[])`);
  else if (match.values.length === 1 && !match.negated) list.add(match.values[0], (place) => `${column} = ${place}`);
  else list.add(match.values, (place) => `${not}${column} = any(${place}::text[])`);
}

function escapeLike(text: string): string {
  return text.replace(/[\\%_]/g, (character) => `\\${character}`);
}
