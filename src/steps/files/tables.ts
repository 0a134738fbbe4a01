/** JSON values as rows and back: what CSV and XLSX can hold of a document. */
import { isJsonObject, type Json, type JsonObject } from "../../base/json.ts";
import { fail, ok, type Result } from "../../base/result.ts";
import { type Failure, failure } from "../../domain/failure.ts";
import { textOf } from "../config-fields.ts";
import type { CsvTable } from "../csv-table.ts";

const columnsMax = 1_000;
/** Cells that a spreadsheet would run. A plain number is none of them, whatever its sign. */
const formula = /^(?:[=@\t\r]|[+-](?!\d+(?:\.\d+)?$))/;

export function documentOfTable({ columns, rows }: Pick<CsvTable, "columns" | "rows">): Json[] {
  if (columns.length === 0) return rows.map((row) => [...row]);
  // fromEntries defines keys instead of assigning them: a column may be called __proto__.
  return rows.map((row) => Object.fromEntries(columns.map((name, index) => [name, row[index] ?? ""])));
}

export interface Cells {
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** A list is its rows; anything else is one row. */
export function cellsOfDocument(document: Json): Result<Cells, Failure> {
  const items = Array.isArray(document) ? document : [document];
  const shape = new RowShape();
  const problem = shape.add(items) ?? shape.problem;
  return problem ? fail(problem) : ok({ columns: shape.columns, rows: shape.cellsOf(items) });
}

/** The columns of rows, learned batch by batch: objects give their keys, other values the column `value`; where all are lists there are no names. */
export class RowShape {
  readonly #columns = new Set<string>();
  #width = 0;
  #areLists = false;
  #isEmpty = true;

  /** LIMIT.COLUMNS when there are too many already. */
  add(rows: readonly Json[]): Failure | undefined {
    if (rows.length === 0) return undefined;
    this.#areLists = (this.#isEmpty || this.#areLists) && rows.every(Array.isArray);
    this.#isEmpty = false;
    for (const row of rows) {
      if (Array.isArray(row)) this.#width = Math.max(this.#width, row.length);
      for (const key of isJsonObject(row) ? Object.keys(row) : ["value"]) this.#columns.add(key);
    }
    return this.#columns.size > columnsMax ? tooWide : undefined;
  }

  /** Of all rows together. */
  get problem(): Failure | undefined {
    return this.#areLists && this.#width > columnsMax ? tooWide : undefined;
  }

  get columns(): readonly string[] {
    return this.#areLists ? [] : [...this.#columns];
  }

  /** Of rows that have been added. */
  cellsOf(rows: readonly Json[]): string[][] {
    if (this.#areLists) return rows.map((row) => Array.from({ length: this.#width }, (_, index) => textOf((row as Json[])[index] ?? null)));
    const names = this.columns;
    return rows.map((row) => names.map((name) => cellOf(row, name)));
  }
}

function cellOf(row: Json, name: string): string {
  if (isJsonObject(row)) return Object.hasOwn(row, name) ? textOf(row[name] ?? null) : "";
  return name === "value" ? textOf(row) : "";
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
