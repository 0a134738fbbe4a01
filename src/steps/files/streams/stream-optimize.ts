/** `optimize` of a large file: blanks of NDJSON and needless quotes of CSV go line by line, gzip packs whatever comes. */

import { Readable } from "node:stream";
import { pipeline } from "node:stream/promises";
import { createGzip, gzipSync } from "node:zlib";
import type { JsonObject } from "../../../base/json.ts";
import { failure } from "../../../domain/failure.ts";
import type { TaskSource } from "../file-job.ts";
import { isImageType } from "../image.ts";
import { withoutJsonBlanks } from "../minify.ts";
import { misfitFor } from "../optimize.ts";
import { writeCsv } from "../tables.ts";
import type { ResultSink } from "../task-port.ts";
import { pieceBytes } from "../thread-messages.ts";
import { peek } from "./byte-stream.ts";
import { FileFault, needsWhole } from "./file-fault.ts";
import { csvRows, jsonLinesAs } from "./row-stream.ts";
import { type Sniffed, sniff } from "./sniff.ts";
import { textIn } from "./text-stream.ts";

/** A beginning that packs to more than this part of itself is not worth packing the rest. */
const worthwhile = 0.98;

export async function optimizeStream(source: TaskSource, options: JsonObject, sink: ResultSink): Promise<void> {
  const { head, bytes } = await peek(source.read());
  const file = await sniff(head, undefined);
  const problem = misfitFor(file.mediaType, options);
  if (problem) throw new FileFault(problem);
  if (isImageType(file.mediaType)) throw needsWhole(file.mediaType);
  const isPacked = options["gzip"] === true && gzipSync(head, { level: 9 }).length < head.length * worthwhile;
  const content = options["minify"] === true ? minified(bytes, file, source.sizeBytes) : bytes;
  sink.begin(isPacked ? "application/gzip" : file.mediaType);
  let written = 0;
  const write = async (pieces: AsyncIterable<Uint8Array>): Promise<void> => {
    for await (const piece of pieces) {
      written += piece.length;
      if (written > source.sizeBytes) throw new FileFault(failure("SCHEMA", "the file cannot be made smaller that way"));
      await sink.write(piece);
    }
  };
  if (isPacked) await pipeline(Readable.from(copied(content), { objectMode: false }), createGzip({ level: 9, chunkSize: pieceBytes }), write);
  else await write(content);
}

/** Compression reads on while it is at work in another thread. */
async function* copied(pieces: AsyncIterable<Uint8Array>): AsyncIterable<Uint8Array> {
  for await (const piece of pieces) yield Buffer.from(piece);
}

async function* minified(bytes: AsyncIterable<Uint8Array>, file: Sniffed, sizeBytes: number): AsyncIterable<Uint8Array> {
  const texts = minifiedTexts(bytes, file);
  let written = 0;
  // The last line break may be new: without it the result is never larger than the source.
  let held = Buffer.alloc(0);
  for await (const text of texts) {
    if (held.length > 0) yield held;
    written += held.length;
    held = Buffer.from(text);
  }
  const isLarger = written + held.length > sizeBytes && held.at(-1) === 10;
  yield isLarger ? held.subarray(0, -1) : held;
}

function minifiedTexts(bytes: AsyncIterable<Uint8Array>, { kind, delimiter = ",", mediaType }: Sniffed): AsyncIterable<string> {
  if (kind === "lines") return minifiedLines(textIn(bytes, undefined));
  if (kind === "table") return minifiedTable(textIn(bytes, undefined), delimiter);
  if (kind !== "binary") throw needsWhole(`${mediaType} that is minified`);
  throw new FileFault(failure("SCHEMA", `minify is possible for JSON, NDJSON, HTML, CSS, XML and CSV; the file is ${mediaType}`));
}

async function* minifiedTable(texts: AsyncIterable<string>, delimiter: string): AsyncIterable<string> {
  for await (const { rows } of csvRows(texts, delimiter, false)) {
    if (rows.length > 0) yield writeCsv({ columns: [], rows }, { delimiter, hasHeader: false, isExport: false });
  }
}

/** By characters, as in a small file; that the lines are JSON is checked on the way. */
async function* minifiedLines(texts: AsyncIterable<string>): AsyncIterable<string> {
  for await (const lines of jsonLinesAs(texts, (_, line) => withoutJsonBlanks(line))) if (lines.length > 0) yield `${lines.join("\n")}\n`;
}
