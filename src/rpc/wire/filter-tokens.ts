/** Cuts the text of a filter into words, quoted text, operators and brackets. */
import { AppError } from "../../base/errors.ts";

export type FilterOperator = "=" | "!=" | "<" | "<=" | ">" | ">=" | ":";

interface At {
  /** Position of the first character, from 1. */
  readonly column: number;
}
/** `star`: ended in a `*` that stands for any rest; it is no longer part of `text`. */
export type WordToken = At & { readonly kind: "word"; readonly text: string; readonly quoted: boolean; readonly star: boolean };
export type FilterToken = WordToken | (At & { readonly kind: "operator"; readonly operator: FilterOperator }) | (At & { readonly kind: "(" | ")" | "end" });

/** Always ends with an `end` token. @throws AppError FILTER_INVALID */
export function readFilterTokens(text: string): readonly FilterToken[] {
  const tokens: FilterToken[] = [];
  let position = 0;
  while (position < text.length) {
    const column = position + 1;
    const rest = text.slice(position);
    const space = /^\s+/.exec(rest)?.[0];
    const operator = /^(?:!=|<=|>=|[=<>:])/.exec(rest)?.[0];
    if (space) {
      position += space.length;
    } else if (operator) {
      tokens.push({ kind: "operator", operator: operator as FilterOperator, column });
      position += operator.length;
    } else if (rest[0] === "(" || rest[0] === ")") {
      tokens.push({ kind: rest[0], column });
      position += 1;
    } else {
      const follows = tokens.at(-1)?.kind === "operator";
      const [token, length] = rest[0] === '"' || rest[0] === "'" ? readQuoted(rest, column) : readWord(rest, column, follows);
      tokens.push(token);
      position += length;
    }
  }
  tokens.push({ kind: "end", column: text.length + 1 });
  return tokens;
}

/** A value, which follows an operator, may hold colons: `create_time > 2030-01-31T12:00:00Z`. */
function readWord(rest: string, column: number, isValue: boolean): [WordToken, number] {
  const found = (isValue ? /^[^\s()"'=!<>]+/ : /^[^\s()"'=!<>:]+/).exec(rest)?.[0];
  if (found === undefined) throw filterError(column, `"${rest.slice(0, 1)}" cannot stand here; put text with special characters into quotes`);
  const star = found.endsWith("*");
  return [{ kind: "word", text: star ? found.slice(0, -1) : found, quoted: false, star, column }, found.length];
}

/** Inside quotes `\` keeps the next character as it is, a last `*` included. */
function readQuoted(rest: string, column: number): [WordToken, number] {
  let text = "";
  let star = false;
  for (let index = 1; index < rest.length; index++) {
    let character = rest[index] as string;
    if (character === rest[0]) return [{ kind: "word", text: star ? text.slice(0, -1) : text, quoted: true, star, column }, index + 1];
    star = character === "*";
    if (character === "\\" && index + 1 < rest.length) character = rest[++index] as string;
    text += character;
  }
  throw filterError(column, "the quotes that begin here do not end");
}

export function filterError(column: number, problem: string): AppError {
  const description = `${problem} (column ${column})`;
  return new AppError("FILTER_INVALID", `filter: ${description}`, {
    metadata: { column: String(column) },
    violations: [{ field: "filter", reason: "FILTER_INVALID", description }],
  });
}
