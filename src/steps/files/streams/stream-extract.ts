/** `extract` of a large file. */
import { systemClock } from "../../../base/clock.ts";
import type { Json, JsonObject } from "../../../base/json.ts";
import { failure } from "../../../domain/failure.ts";
import { integerField, isSet, textField } from "../../config-fields.ts";
import { delimiterField } from "../../delimiter-field.ts";
import { charactersDefault, misfitOf, rowsDefault, tableOf, targetOf } from "../../file-extract.ts";
import { shownEntries } from "../../file-facts.ts";
import { isWorkbook, xlsxType } from "../../file-formats.ts";
import { LineFilter, lineEnd } from "../../filter-lines.ts";
import { listEntriesOfTail } from "../archive.ts";
import { isImageType } from "../image.ts";
import { documentOfTable } from "../tables.ts";
import { drain, keptOpen, tailOf } from "./byte-stream.ts";
import { FileFault, needsWhole } from "./file-fault.ts";
import { completeLines, csvRows, jsonLines } from "./row-stream.ts";
import type { Sniffed } from "./sniff.ts";
import { TableFold } from "./table-fold.ts";
import { BrokenText, textIn } from "./text-stream.ts";

export interface Extracted {
  readonly mediaType: string;
  readonly facts: JsonObject;
}

/** Reads as much of the bytes as it needs, at least all that a text has to be checked for. */
export async function extractStream(bytes: AsyncIterable<Uint8Array>, extract: JsonObject, file: Sniffed, sizeBytes: number): Promise<Extracted> {
  if (isSet(extract, "select")) throw needsWhole("a file that select looks into");
  const target = targetOf(extract);
  if (file.kind === "binary") return await extractBinary(bytes, extract, file, sizeBytes);
  if (target === "ENTRIES") throw new FileFault(failure("SCHEMA", `the file is ${file.mediaType}, not application/zip`));
  const misfit = misfitOf(extract, { mediaType: file.mediaType, text: "", ...(file.kind === "lines" ? { json: [] } : {}) });
  if (misfit) throw new FileFault(misfit);
  if (file.mediaType === "application/json") throw needsWhole(file.mediaType);
  const { mediaType } = file;
  if (target === "METADATA") return await describe(bytes, extract, file);
  // Kept open, so that the rest of the text is still checked when enough has been taken.
  const texts = keptOpen(textIn(bytes, undefined));
  const facts = target === "ROWS" ? await rowsOf(texts, extract, file) : await textOf(texts, extract);
  await drain(texts);
  return { mediaType, facts };
}

async function extractBinary(bytes: AsyncIterable<Uint8Array>, extract: JsonObject, file: Sniffed, sizeBytes: number): Promise<Extracted> {
  const target = targetOf(extract);
  const tail = file.mediaType === "application/zip" ? await tailOf(bytes) : undefined;
  const mediaType = tail && isWorkbook(tail) ? xlsxType : file.mediaType;
  if (target === "ENTRIES" || (target === "METADATA" && mediaType === "application/zip")) {
    if (!tail) throw new FileFault(failure("SCHEMA", `the file is ${mediaType}, not application/zip`));
    const listed = await listEntriesOfTail(tail, sizeBytes);
    if (!listed.ok) throw new FileFault(listed.fault);
    const facts = listed.value.kind === "facts" ? listed.value.facts : {};
    const { entry_count = 0, total_bytes = 0 } = facts;
    return { mediaType, facts: target === "ENTRIES" ? shownEntries(facts, integerField(extract, "max_rows") ?? rowsDefault) : { entry_count, total_bytes } };
  }
  if (mediaType === xlsxType || mediaType === "application/pdf" || (target === "METADATA" && isImageType(mediaType))) throw needsWhole(mediaType);
  if (target === "METADATA") return { mediaType, facts: {} };
  throw new FileFault(file.textProblem ?? failure("SCHEMA", `the file is ${mediaType}, not text`));
}

async function textOf(texts: AsyncIterable<string>, extract: JsonObject): Promise<JsonObject> {
  const limit = integerField(extract, "max_characters") ?? charactersDefault;
  const pattern = textField(extract, "pattern");
  let text = "";
  for await (const part of pattern === undefined ? texts : linesWith(texts, pattern)) {
    text += part;
    if (text.length > limit) break;
  }
  return { text: text.slice(0, limit).toWellFormed(), truncated: text.length > limit };
}

/** The lines in which a pattern is found, with line feeds between them. */
async function* linesWith(texts: AsyncIterable<string>, pattern: string): AsyncIterable<string> {
  const filter = new LineFilter(pattern, systemClock, new AbortController().signal);
  let isFirst = true;
  for await (const part of completeLines(texts)) {
    const kept = await filter.keep(part.replace(/\r$/, "").split(lineEnd));
    if (!kept.ok) throw new FileFault(kept.fault);
    if (kept.value.length === 0) continue;
    yield (isFirst ? "" : "\n") + kept.value.join("\n");
    isFirst = false;
  }
}

async function rowsOf(texts: AsyncIterable<string>, extract: JsonObject, file: Sniffed): Promise<JsonObject> {
  const limit = integerField(extract, "max_rows") ?? rowsDefault;
  const rows: Json[] = [];
  if (file.kind === "lines") {
    for await (const more of jsonLines(texts)) if (take(rows, more, limit)) break;
    return tableOf(rows, limit);
  }
  const delimiter = delimiterField(extract);
  if (file.kind === "document" && (delimiter === undefined || !["text/plain", "text/csv"].includes(file.mediaType))) throw needsWhole(file.mediaType);
  let columns: readonly string[] = [];
  for await (const batch of csvRows(texts, delimiter ?? file.delimiter ?? ",", extract["no_header"] !== true)) {
    columns = batch.columns;
    if (take(rows, documentOfTable(batch), limit)) break;
  }
  const taken = rows.slice(0, limit);
  return { columns: [...columns], rows: taken, truncated: rows.length > limit, row_count: taken.length };
}

/** Whether there are enough: one more than is wanted tells that there are more. */
function take(rows: Json[], more: readonly Json[], limit: number): boolean {
  for (const row of more) if (rows.length <= limit) rows.push(row);
  return rows.length > limit;
}

async function describe(bytes: AsyncIterable<Uint8Array>, extract: JsonObject, file: Sniffed): Promise<Extracted> {
  let characters = 0;
  let lines = 0;
  let last = "\n";
  async function* counted(): AsyncIterable<string> {
    for await (const text of textIn(bytes, undefined)) {
      characters += text.length;
      for (let at = text.indexOf("\n"); at >= 0; at = text.indexOf("\n", at + 1)) lines++;
      last = text.at(-1) ?? last;
      yield text;
    }
  }
  const isCsv = file.mediaType === "text/csv" || delimiterField(extract) !== undefined;
  const table = new TableFold();
  try {
    if (file.kind === "lines") for await (const rows of jsonLines(counted())) table.addValues(rows);
    else if (isCsv) {
      const delimiter = delimiterField(extract) ?? file.delimiter ?? ",";
      for await (const batch of csvRows(counted(), delimiter, extract["no_header"] !== true)) table.addCells(batch);
    } else await drain(counted());
  } catch (error) {
    if (error instanceof BrokenText) return { mediaType: "application/octet-stream", facts: {} };
    throw error;
  }
  const facts: JsonObject = { characters, lines: lines + (last === "\n" ? 0 : 1) };
  return { mediaType: file.mediaType, facts: file.kind === "lines" || isCsv ? { ...facts, columns: table.columns, row_count: table.count } : facts };
}
