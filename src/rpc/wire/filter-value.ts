/** What a filter may compare a field with, and how the text of a value is read. */
import { type FilterOperator, filterError, type WordToken } from "./filter-tokens.ts";

/** `words` turns what people write into the domain's word (see `enums.ts`); `names` are shown when it cannot. */
export interface FilterField {
  readonly kind: "text" | "enum" | "bool" | "number" | "time" | "list" | "labels";
  readonly operators: readonly FilterOperator[];
  /** For `enum` only. */
  readonly words?: { parse(text: string): string | undefined; readonly names: readonly string[] };
  /** Whether NOT and `!=` may be used; default true. */
  readonly negatable?: boolean;
  /** Values that OR may join; default: any number. */
  readonly valuesMax?: number;
  /** `never`: a trailing `*` is refused (always so for enum, bool, number and time). */
  readonly star?: "never";
}

export interface FilterValue {
  /** Moments in milliseconds, enums as domain words. */
  readonly value: string | number | boolean;
  /** Ended in `*`: `value` is how it begins. */
  readonly prefix: boolean;
}

/** @throws AppError FILTER_INVALID at the value's column */
export function readValue(field: string, rules: FilterField, { text, star, column }: WordToken): FilterValue {
  const free = rules.kind === "text" || rules.kind === "list" || rules.kind === "labels";
  if (star && (!free || rules.star === "never")) throw filterError(column, `${field} takes no *`);
  const value = free ? text : readTyped(rules, text);
  if (value === undefined) throw filterError(column, `${text.slice(0, 64)} is no value of ${field}; ${expected(rules)}`);
  return { value, prefix: star };
}

function readTyped(rules: FilterField, text: string): string | number | boolean | undefined {
  switch (rules.kind) {
    case "enum":
      return rules.words?.parse(text);
    case "bool":
      return text === "true" ? true : text === "false" ? false : undefined;
    case "number":
      return /^-?\d{1,15}(?:\.\d{1,9})?$/.test(text) ? Number(text) : undefined;
    default:
      return readMoment(text);
  }
}

/** Milliseconds; a day that its month does not have is refused, not rolled over. */
function readMoment(text: string): number | undefined {
  const day = /^(\d{4}-\d\d-\d\d)T\d\d:\d\d:\d\d(?:\.\d{1,9})?(?:Z|[+-]\d\d:\d\d)$/.exec(text)?.[1];
  const dayMs = Date.parse(`${day}T00:00:00Z`);
  const atMs = Date.parse(text);
  if (day === undefined || Number.isNaN(dayMs) || Number.isNaN(atMs)) return undefined;
  return new Date(dayMs).toISOString().startsWith(day) ? atMs : undefined;
}

function expected(rules: FilterField): string {
  switch (rules.kind) {
    case "enum":
      return `use one of ${rules.words?.names.join(", ") ?? ""}`;
    case "bool":
      return "use true or false";
    case "number":
      return "use a number";
    default:
      return 'use a time as in RFC 3339, for example "2030-01-31T12:00:00Z"';
  }
}
