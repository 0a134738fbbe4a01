/** Rows as text of another format, batch by batch; the same text as from the whole list at once. */
import type { Json } from "../../../base/json.ts";
import { type Cells, writeCsv } from "../tables.ts";
import { xmlListWriter } from "../xml-text.ts";

export interface RowWriter<Row> {
  write(rows: readonly Row[]): string;
  /** What follows the last row. */
  end(): string;
}

export function jsonLinesWriter(): RowWriter<Json> {
  return { write: (rows) => rows.map((row) => `${JSON.stringify(row)}\n`).join(""), end: () => "" };
}

export function jsonListWriter(pretty: boolean): RowWriter<Json> {
  let isFirst = true;
  const space = pretty ? "\n  " : "";
  const before = (): string => {
    const mark = isFirst ? "[" : ",";
    isFirst = false;
    return mark + space;
  };
  const textOf = (row: Json): string => (pretty ? JSON.stringify(row, null, 2).replaceAll("\n", "\n  ") : JSON.stringify(row));
  return {
    write: (rows) => rows.map((row) => before() + textOf(row)).join(""),
    end: () => (isFirst ? "[]\n" : `${space.slice(0, 1)}]\n`),
  };
}

/** Throws for keys and texts that XML cannot hold. */
export function xmlWriter(options: { readonly root: string; readonly pretty: boolean }): RowWriter<Json> {
  return xmlListWriter(options);
}

export function csvWriter(columns: readonly string[], delimiter: string, hasHeader: boolean): RowWriter<Cells["rows"][number]> {
  let isFirst = true;
  return {
    write(rows) {
      const text = writeCsv({ columns, rows }, { delimiter, hasHeader: hasHeader && isFirst, isExport: true });
      isFirst = false;
      return text;
    },
    end: () => (isFirst ? writeCsv({ columns, rows: [] }, { delimiter, hasHeader, isExport: true }) : ""),
  };
}
