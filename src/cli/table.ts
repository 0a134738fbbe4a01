/** Rows of JSON → aligned text. */
import type { JsonObject, JsonValue } from "@bufbuild/protobuf";
import { columnsOf, visibleText } from "./visible-text.ts";

export interface Column {
  readonly head: string;
  /** Names of members, for example `failure.name`. */
  readonly path: string;
  /** Prefix that all values of an enum have. */
  readonly prefix?: string;
}

/** Heads and rows; no rows, no heads. */
export function tableLines(rows: readonly JsonObject[], columns: readonly Column[]): string[] {
  if (rows.length === 0) return [];
  const cells = [columns.map(({ head }) => head.toUpperCase()), ...rows.map((row) => columns.map((column) => cellOf(row, column)))];
  const widths = columns.map((_, index) => Math.max(...cells.map((row) => columnsOf(row[index] ?? ""))));
  return cells.map((row) =>
    row
      .map((cell, index) => cell + " ".repeat((widths[index] ?? 0) - columnsOf(cell)))
      .join("  ")
      .trimEnd(),
  );
}

/** `name   value` lines of what is set. */
export function factLines(facts: readonly (readonly [name: string, value: JsonValue | undefined])[]): string[] {
  const shown = facts.flatMap(([name, value]) => (isEmpty(value) ? [] : [[name, textOf(value)] as const]));
  const width = Math.max(0, ...shown.map(([name]) => name.length));
  return shown.map(([name, text]) => `${name.padEnd(width)}  ${text}`);
}

/** The value at `a.b.c`; undefined when there is none. */
export function valueAt(row: JsonObject, path: string): JsonValue | undefined {
  return path.split(".").reduce<JsonValue | undefined>((value, name) => {
    if (Array.isArray(value)) return value[Number(name)];
    return typeof value === "object" && value !== null && Object.hasOwn(value, name) ? value[name] : undefined;
  }, row);
}

function cellOf(row: JsonObject, { path, prefix = "" }: Column): string {
  const text = textOf(valueAt(row, path));
  return visibleText(text.startsWith(prefix) ? text.slice(prefix.length) : text);
}

function textOf(value: JsonValue | undefined): string {
  if (value === undefined || value === null) return "";
  if (typeof value !== "object") return String(value);
  if (Array.isArray(value) && value.every((item) => typeof item !== "object")) return value.join(", ");
  return JSON.stringify(value);
}

function isEmpty(value: JsonValue | undefined): boolean {
  return value === undefined || value === null || value === "" || (Array.isArray(value) && value.length === 0);
}
