/**
 * The filter language of listings, a subset of AIP-160: `state = FAILED AND (labels.team = "a" OR labels.team = "b*")`.
 *
 *     filter  = all END                 all = any { [AND] any }
 *     any     = one { OR one }          one = [NOT] one | "(" all ")" | field operator value
 *
 * OR binds tighter than AND and joins only equalities of one field, NOT stands before one condition or one such group: what
 * is left is a list of terms that must all hold, each of which an index can answer. Fields and operators are closed lists.
 */
import { AppError } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type FilterOperator, type FilterToken, filterError, readFilterTokens, type WordToken } from "./filter-tokens.ts";
import { type FilterField, type FilterValue, readValue } from "./filter-value.ts";

/** By name as in the contract; one of kind `labels` is used as `labels.<key>`. */
export type FilterFields = Readonly<Record<string, FilterField>>;

/** A condition; `a != b` is the negation of `a = b`. Several values: any of them. */
export interface FilterTerm {
  readonly field: string;
  /** Key of a label. */
  readonly label: string | undefined;
  readonly operator: Exclude<FilterOperator, "!=">;
  readonly negated: boolean;
  readonly values: readonly [FilterValue, ...FilterValue[]];
  readonly column: number;
}

const depthMax = 10;
const termsMax = 100;

/** The terms of `text`, all of which must hold; none for an empty text. The fault is FILTER_INVALID with metadata `column`. */
export function parseFilter(text: string, fields: FilterFields): Result<readonly FilterTerm[], AppError> {
  try {
    if (Buffer.byteLength(text) > limits.filterBytesMax) throw filterError(1, `a filter has at most ${limits.filterBytesMax} bytes`);
    return ok(new Parser(readFilterTokens(text), fields).filter());
  } catch (error) {
    if (error instanceof AppError && error.reason === "FILTER_INVALID") return fail(error);
    throw error;
  }
}

class Parser {
  readonly #tokens: readonly FilterToken[];
  readonly #fields: FilterFields;
  #position = 0;
  #termCount = 0;

  constructor(tokens: readonly FilterToken[], fields: FilterFields) {
    this.#tokens = tokens;
    this.#fields = fields;
  }

  filter(): FilterTerm[] {
    if (this.#next().kind === "end") return [];
    const terms = this.#all(0);
    const rest = this.#next();
    if (rest.kind !== "end") throw filterError(rest.column, "a condition, AND, OR or the end was expected here");
    return terms;
  }

  #all(depth: number): FilterTerm[] {
    const terms = this.#any(depth);
    while (this.#takeWord("AND") || this.#next().kind === "word" || this.#next().kind === "(") terms.push(...this.#any(depth));
    return terms;
  }

  #any(depth: number): FilterTerm[] {
    let terms = this.#one(depth);
    while (this.#isWord("OR")) {
      const { column } = this.#take();
      terms = [this.#joined(terms, this.#one(depth), column)];
    }
    return terms;
  }

  #one(depth: number): FilterTerm[] {
    const { column } = this.#next();
    if (depth > depthMax) throw filterError(column, `brackets and NOT are nested deeper than ${depthMax}`);
    if (this.#takeWord("NOT")) return this.#not(this.#one(depth + 1), column);
    if (this.#next().kind !== "(") return [this.#condition()];
    this.#take();
    const terms = this.#all(depth + 1);
    if (this.#next().kind !== ")") throw filterError(this.#next().column, `the bracket of column ${column} is not closed`);
    this.#take();
    return terms;
  }

  #not(terms: readonly FilterTerm[], column: number): FilterTerm[] {
    const [term, ...others] = terms;
    if (!term || others.length > 0) throw filterError(column, "NOT takes one condition, or one field with several values; negate each condition by itself");
    this.#checkNegation(term.field, column);
    return [{ ...term, negated: !term.negated }];
  }

  #joined(left: readonly FilterTerm[], right: readonly FilterTerm[], column: number): FilterTerm {
    const [first, second] = [left[0], right[0]];
    const joinable =
      first &&
      second &&
      left.length + right.length === 2 &&
      [first, second].every(({ operator, negated }) => !negated && (operator === "=" || operator === ":"));
    if (!joinable || first.field !== second.field || first.label !== second.label || first.operator !== second.operator) {
      throw filterError(column, "OR joins only equal comparisons of one field, for example `state = FAILED OR state = STUCK`");
    }
    const values = [...first.values, ...second.values] as const;
    const { valuesMax = Infinity } = this.#fields[first.field] ?? {};
    if (values.length > valuesMax)
      throw filterError(column, valuesMax === 1 ? `${first.field} cannot be joined by OR here` : `OR joins at most ${valuesMax} values of ${first.field}`);
    return { ...first, values: values as unknown as FilterTerm["values"] };
  }

  #condition(): FilterTerm {
    const name = this.#take();
    if (name.kind !== "word" || name.quoted || name.star) throw filterError(name.column, "the name of a field was expected here");
    if (++this.#termCount > termsMax) throw filterError(name.column, `a filter has at most ${termsMax} conditions`);
    const { field, label, rules } = this.#field(name);
    const sign = this.#take();
    if (sign.kind !== "operator" || !rules.operators.includes(sign.operator)) {
      throw filterError(sign.column, `${name.text} takes one of ${rules.operators.join(" ")}`);
    }
    if (sign.operator === "!=") this.#checkNegation(field, sign.column);
    const value = this.#take();
    if (value.kind !== "word") throw filterError(value.column, `${name.text} ${sign.operator} needs a value; put text with special characters into quotes`);
    const operator = sign.operator === "!=" ? "=" : sign.operator;
    return { field, label, operator, negated: sign.operator === "!=", values: [readValue(field, rules, value)], column: name.column };
  }

  #field({ text, column }: WordToken): { field: string; label: string | undefined; rules: FilterField } {
    const dot = text.indexOf(".");
    const map = dot > 0 ? text.slice(0, dot) : undefined;
    const known = (name: string): FilterField | undefined => (Object.hasOwn(this.#fields, name) ? this.#fields[name] : undefined);
    const whole = known(text);
    if (whole && whole.kind !== "labels") return { field: text, label: undefined, rules: whole };
    const labels = map === undefined ? undefined : known(map);
    if (map !== undefined && labels?.kind === "labels" && dot + 1 < text.length) return { field: map, label: text.slice(dot + 1), rules: labels };
    const names = Object.entries(this.#fields).map(([name, { kind }]) => (kind === "labels" ? `${name}.<key>` : name));
    throw filterError(column, `${text.slice(0, 64)} is not a field of this filter; use ${names.join(", ")}`);
  }

  #checkNegation(field: string, column: number): void {
    if (this.#fields[field]?.negatable === false) throw filterError(column, `${field} cannot be negated here`);
  }

  #next(): FilterToken {
    return this.#tokens[this.#position] as FilterToken;
  }

  /** The `end` token is never passed. */
  #take(): FilterToken {
    const token = this.#next();
    if (token.kind !== "end") this.#position++;
    return token;
  }

  #isWord(text: string): boolean {
    const token = this.#next();
    return token.kind === "word" && !token.quoted && token.text === text;
  }

  #takeWord(text: string): boolean {
    const found = this.#isWord(text);
    if (found) this.#take();
    return found;
  }
}
