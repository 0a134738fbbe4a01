/** Rows of a text as they come, in batches. */
import type { Json } from "../../../base/json.ts";
import { failure } from "../../../domain/failure.ts";
import { CsvReader, columnsOfHeader } from "../../csv-reader.ts";
import { parseJsonText } from "../../json-text.ts";
import { FileFault } from "./file-fault.ts";

/** A line of a text: as much as a document may have that is read whole. */
const lineCharactersMax = 10 * 1024 * 1024;

export interface CellBatch {
  /** Empty for a table without a header. */
  readonly columns: readonly string[];
  readonly rows: readonly (readonly string[])[];
}

/** Throws a FileFault for what is no CSV. There is at least one batch. */
export async function* csvRows(texts: AsyncIterable<string>, delimiter: string, hasHeader: boolean): AsyncIterable<CellBatch> {
  const reader = new CsvReader(delimiter);
  let columns: readonly string[] | undefined = hasHeader ? undefined : [];
  const batchOf = (records: readonly string[][]): CellBatch => {
    if (columns !== undefined) return { columns, rows: records };
    const [header, ...rows] = records;
    if (!header) return { columns: [], rows: [] };
    const named = columnsOfHeader(header);
    if (!named.ok) throw new FileFault(named.fault);
    columns = named.value;
    return { columns, rows };
  };
  try {
    for await (const text of texts) {
      const { records, problem } = await reader.write(text);
      yield batchOf(records);
      if (problem) throw new FileFault(problem);
    }
    const { records, problem } = await reader.end();
    yield batchOf(records);
    if (problem) throw new FileFault(problem);
  } finally {
    reader.close();
  }
}

/** One JSON value per line, empty lines left out. Throws a FileFault for a line that is none. */
export function jsonLines(texts: AsyncIterable<string>): AsyncIterable<readonly Json[]> {
  return jsonLinesAs(texts, (value) => value);
}

/** As `jsonLines`; `rowOf` makes of each value and its line what is given. */
export async function* jsonLinesAs<Row>(texts: AsyncIterable<string>, rowOf: (value: Json, text: string) => Row): AsyncIterable<readonly Row[]> {
  let line = 0;
  for await (const text of completeLines(texts)) {
    const rows: Row[] = [];
    for (const one of text.split("\n")) {
      line++;
      if (one.trim() === "") continue;
      const value = parseJsonText(one, `line ${line}`);
      if (!value.ok) throw new FileFault(value.fault);
      rows.push(rowOf(value.value, one));
    }
    yield rows;
  }
}

/** The text cut between lines: joined with line feeds, the parts are the text again. LIMIT.FIELD for a line above 10 MiB. */
export async function* completeLines(texts: AsyncIterable<string>): AsyncIterable<string> {
  let begun: string[] = [];
  let characters = 0;
  let line = 1;
  for await (const text of texts) {
    const end = text.lastIndexOf("\n");
    if (end < 0) {
      begun.push(text);
      characters += text.length;
      if (characters > lineCharactersMax) throw new FileFault(failure("LIMIT.FIELD", `line ${line} has more than ${lineCharactersMax} characters`));
      continue;
    }
    const complete = `${begun.join("")}${text.slice(0, end)}`;
    line += complete.split("\n").length;
    yield complete;
    begun = [text.slice(end + 1)];
    characters = text.length - end - 1;
  }
  yield begun.join("");
}
