/** `convert` of a large table or NDJSON, row by row. NDJSON is read twice for CSV: only its last line tells the last column. */
import type { Json, JsonObject } from "../../../base/json.ts";
import { failure } from "../../../domain/failure.ts";
import { textField } from "../../config-fields.ts";
import { delimiterField } from "../../delimiter-field.ts";
import { misfitOf } from "../convert.ts";
import type { TaskSource } from "../file-job.ts";
import { isImageType } from "../image.ts";
import { findTarget, type TargetType } from "../media-types.ts";
import { documentOfTable, RowShape } from "../tables.ts";
import type { ResultSink } from "../task-port.ts";
import { peek } from "./byte-stream.ts";
import { FileFault, needsWhole } from "./file-fault.ts";
import { csvRows, jsonLines } from "./row-stream.ts";
import { csvWriter, jsonLinesWriter, jsonListWriter, type RowWriter, xmlWriter } from "./row-writer.ts";
import { type Sniffed, sniff } from "./sniff.ts";
import { TextResult } from "./text-result.ts";
import { textIn } from "./text-stream.ts";

const sliceCharacters = 128 * 1024;
const sliceRowsMax = 4_096;

export async function convertStream(source: TaskSource, options: JsonObject, sink: ResultSink): Promise<void> {
  const target = findTarget(textField(options, "to_media_type") ?? "");
  if (!target) throw new FileFault(failure("SCHEMA", "to_media_type names no format that can be written"));
  const misfit = misfitOf(options, target);
  if (misfit) throw new FileFault(failure("SCHEMA", `${misfit} has no meaning for ${target}`));
  const charset = textField(options, "charset");
  const { head, bytes } = await peek(source.read());
  const file = await sniff(head, charset);
  const hasHeader = options["no_header"] !== true;
  const delimiter = delimiterField(options);
  if (file.kind === "lines") {
    if (delimiter !== undefined && target !== "text/csv") throw new FileFault(failure("SCHEMA", `delimiter has no meaning for ${file.mediaType}`));
    if (target !== "text/csv") return await writeRows(jsonLines(textIn(bytes, charset)), writerOf(target, options, file), target, sink);
    const shape = await shapeOfLines(jsonLines(textIn(bytes, charset)));
    return await writeRows(cellsOfLines(jsonLines(textIn(source.read(), charset)), shape), csvWriter(shape.columns, delimiter ?? ",", hasHeader), target, sink);
  }
  const isPlain = file.mediaType === "text/plain" || file.mediaType === "text/csv";
  const isTable = file.kind === "table" || (isPlain && delimiter !== undefined && target !== "text/csv");
  if (!isTable) throw refusalOf(file, target);
  const read = target === "text/csv" ? undefined : delimiter;
  const batches = csvRows(textIn(bytes, charset), read ?? file.delimiter ?? ",", hasHeader);
  if (target !== "text/csv") return await writeRows(asDocuments(batches), writerOf(target, options, file), target, sink);
  sink.begin(target);
  const out = new TextResult(sink);
  let writer: RowWriter<readonly string[]> | undefined;
  for await (const { columns, rows } of batches) {
    if (rows.length === 0) continue;
    writer ??= csvWriter(columns, delimiter ?? ",", hasHeader);
    await out.add(writer.write(rows));
  }
  await out.end();
}

function refusalOf({ mediaType, kind, textProblem }: Sniffed, target: TargetType): FileFault {
  const isPossible = isImageType(target) ? isImageType(mediaType) : kind !== "binary" || mediaType === "application/zip";
  if (isPossible) return needsWhole(`${mediaType} that becomes ${target}`);
  return new FileFault(failure("SCHEMA", `${mediaType} cannot become ${target}${textProblem ? `: ${textProblem.message}` : ""}`));
}

function writerOf(target: TargetType, options: JsonObject, { mediaType }: Sniffed): RowWriter<Json> {
  const pretty = options["pretty"] === true;
  if (target === "application/x-ndjson") return jsonLinesWriter();
  if (target === "application/json") return jsonListWriter(pretty);
  if (target === "application/xml") return xmlWriter({ root: textField(options, "root_element") ?? "root", pretty });
  throw needsWhole(`${mediaType} that becomes ${target}`);
}

async function writeRows<Row>(batches: AsyncIterable<readonly Row[]>, writer: RowWriter<Row>, mediaType: string, sink: ResultSink): Promise<void> {
  sink.begin(mediaType);
  const out = new TextResult(sink);
  let slice = 1;
  for await (const rows of batches) {
    for (let at = 0; at < rows.length; ) {
      const text = writer.write(rows.slice(at, at + slice));
      at += slice;
      await out.add(text);
      // A row that becomes much larger than it was must not be met by thousands at once: long column names stand in every row of JSON.
      slice = text.length < sliceCharacters ? Math.min(2 * slice, sliceRowsMax) : Math.max(1, slice >> 1);
    }
  }
  await out.add(writer.end());
  await out.end();
}

async function* asDocuments(batches: ReturnType<typeof csvRows>): AsyncIterable<readonly Json[]> {
  for await (const { columns, rows } of batches) yield documentOfTable({ columns, rows });
}

async function shapeOfLines(batches: AsyncIterable<readonly Json[]>): Promise<RowShape> {
  const shape = new RowShape();
  for await (const rows of batches) {
    const problem = shape.add(rows);
    if (problem) throw new FileFault(problem);
  }
  if (shape.problem) throw new FileFault(shape.problem);
  return shape;
}

async function* cellsOfLines(batches: AsyncIterable<readonly Json[]>, shape: RowShape): AsyncIterable<readonly (readonly string[])[]> {
  for await (const rows of batches) yield shape.cellsOf(rows);
}
