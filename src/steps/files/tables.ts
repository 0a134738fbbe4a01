/** JSON values as rows and back: what CSV and XLSX can hold of a document. */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { textOf } from "../config-fields.ts";
import type { CsvTable } from "../csv-table.ts";

const columnsMax = 1_000;
/** Cells that a spreadsheet would run. A plain number is none of them, whatever its sign. */
const formula = /^(?:[=@\t\r]|[+-](?!\d+(?:\.\d+)?$))/;

export function documentOfTable({ columns, rows }: CsvTable): Json[] {
  if (columns.length === 0) return rows.map((row) => [...row]);
  // fromEntries defines keys instead of assigning them: a column may be called __proto__.
  return rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index] ?? ""])));
}

export interface Cells {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A list is its rows; anything else is one row. Objects give their keys as columns, other values the column `value`; lists have no names. */
export function cellsOfDocument(document: Json): Result<Cells, Failure> {
  const items = Array.isArray(document) ? document : [document];
  if (items.length > 0 && items.every(Array.isArray)) {
    const lists = items as Json[][];
    const width = Math.max(...lists.map((list) => list.length));
    if (width > columnsMax) return fail(tooWide);
    return ok({ columns: [], rows: lists.map((list) => Array.from({ length: width }, (_, index) => textOf(list[index] ?? null))) });
  }
  const columns = new Set<string>();
  for (const item of items) for (const key of isJsonObject(item) ? Object.keys(item) : ["value"]) columns.add(key);
  if (columns.size > columnsMax) return fail(tooWide);
  const names = [...columns];
  const cell = (item: Json, name: string): string => {
    if (isJsonObject(item)) return Object.hasOwn(item, name) ? textOf(item[name] ?? null) : "";
    return name === "value" ? textOf(item) : "";
  };
  return ok({ columns: names, rows: items.map((item) => names.map((name) => cell(item, name))) });
}

const tooWide = failure("LIMIT.COLUMNS", `the table would have more than ${columnsMax} columns`);

/** RFC 4180 with line feeds. `isExport` puts an apostrophe before cells that a spreadsheet would run as a formula. */
export function writeCsv({ columns, rows }: Cells, options: { readonly delimiter: string; readonly hasHeader: boolean; readonly isExport: boolean }): string {
  const { delimiter, hasHeader, isExport } = options;
  const cell = (text: string): string => {
    const isFormula = isExport && formula.test(text);
    const safe = isFormula ? `'${text}` : text;
    return isFormula || safe.includes(delimiter) || /["\r\n]/.test(safe) ? `"${safe.replaceAll('"', '""')}"` : safe;
  };
  // A line with one empty cell would be an empty line, which readers skip.
  const line = (cells: readonly string[]): string => (cells.length === 1 && cells[0] === "" ? '""' : cells.map(cell).join(delimiter));
  return [...(hasHeader && columns.length > 0 ? [line(columns)] : []), ...rows.map(line)].map((text) => `${text}\n`).join("");
}

/** The rows inside of a document whose outermost object only wraps a list, as XML does. */
export function unwrapList(document: Json): Json {
  let at = document;
  while (isJsonObject(at)) {
    const values = Object.values(at as JsonObject);
    const [only] = values;
    if (values.length !== 1 || typeof only !== "object" || only === null) return at;
    at = only;
  }
  return at;
}
