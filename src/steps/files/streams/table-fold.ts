/** What the rules of `validate` and METADATA ask of rows, learned batch by batch. */
import { isJsonObject, type Json, type JsonObject } from "../../../base/json.ts";
import { breachesOf, type Table, type Violation, violationsMax } from "../../file-validate.ts";
import { documentOfTable } from "../tables.ts";
import type { CellBatch } from "./row-stream.ts";

const columnsMax = 1_000;

export class TableFold implements Table {
  problem: string | undefined;
  readonly #required: readonly string[];
  readonly #schema: JsonObject | undefined;
  readonly #firstWithout = new Map<string, number>();
  readonly #breaches: Violation[] = [];
  #columns: readonly string[] | undefined;
  readonly #keys = new Set<string>();
  #count = 0;

  /** @param schema that each row of a table is held to */
  constructor(required: readonly string[] = [], schema?: JsonObject) {
    this.#required = required;
    this.#schema = schema;
  }

  get count(): number {
    return this.#count;
  }

  /** Of a table its header, else the keys of all objects in order of appearance, 1,000 at most. */
  get columns(): string[] {
    return [...(this.#columns ?? this.#keys)];
  }

  addCells({ columns, rows }: CellBatch): void {
    if (this.#columns === undefined || this.#columns.length === 0) this.#columns = columns;
    if (this.#schema && this.#breaches.length <= violationsMax)
      this.#breaches.push(...breachesOf(this.#schema, documentOfTable({ columns, rows }), this.#count + 1));
    this.#count += rows.length;
  }

  addValues(rows: readonly Json[]): void {
    for (const row of rows) {
      this.#count++;
      for (const name of this.#required)
        if (!this.#firstWithout.has(name) && !(isJsonObject(row) && Object.hasOwn(row, name))) this.#firstWithout.set(name, this.#count);
      if (isJsonObject(row) && this.#keys.size < columnsMax) for (const key of Object.keys(row)) if (this.#keys.size < columnsMax) this.#keys.add(key);
    }
  }

  firstWithout(column: string): string | undefined {
    if (this.#columns) return this.#columns.includes(column) ? undefined : "";
    const row = this.#firstWithout.get(column);
    return row === undefined ? undefined : ` in row ${row}`;
  }

  breaches(): readonly Violation[] {
    return this.#breaches;
  }
}
