/** What `extract` and `validate` learn of files that are no plain text: PDF, images and archives are read by a worker thread. */
import type { Json, JsonObject } from "../base/json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import { type FileContent, isArchive, xlsxType } from "./file-formats.ts";
import type { FileJob, FileJobOutcome } from "./files/file-job.ts";

/** Reads what is no text. */
export type BinaryReader = (job: FileJob) => Promise<FileJobOutcome>;

async function factsOf(kind: FileJob["kind"], file: FileContent, reader: BinaryReader, options: JsonObject = {}): Promise<Result<JsonObject, Failure>> {
  const done = await reader({ kind, options, bytes: file.bytes });
  if (!done.ok) return done;
  if (done.value.kind !== "facts") throw new Error(`${kind} gave no facts`);
  return ok(done.value.facts);
}

/** The file as one JSON value: XLSX (its first sheet's rows), XML and YAML beside JSON and CSV. SCHEMA when it is none of them. */
export async function readAsDocument(file: FileContent, options: JsonObject, reader: BinaryReader): Promise<Result<Json, Failure>> {
  const facts = await factsOf("document", file, reader, options);
  return facts.ok ? ok(facts.value["document"] ?? null) : facts;
}

/** The entries of a ZIP archive, as `{entries, entry_count, total_bytes, truncated}`; nothing is unpacked. */
export async function listArchive(file: FileContent, entriesMax: number, reader: BinaryReader): Promise<Result<JsonObject, Failure>> {
  if (!isArchive(file)) return fail(failure("SCHEMA", `the file is ${file.mediaType}, not application/zip`));
  const facts = await factsOf("entries", file, reader);
  if (!facts.ok) return facts;
  return ok(shownEntries(facts.value, entriesMax));
}

export function shownEntries({ entries, ...others }: JsonObject, entriesMax: number): JsonObject {
  const all = Array.isArray(entries) ? entries : [];
  return { entries: all.slice(0, entriesMax), ...others, truncated: all.length > entriesMax };
}

/** The file with the text of a PDF as its text; any other as it is. */
export async function withPdfText(file: FileContent, reader: BinaryReader): Promise<Result<FileContent, Failure>> {
  if (file.mediaType !== "application/pdf") return ok(file);
  const facts = await factsOf("text", file, reader);
  return facts.ok ? ok({ mediaType: file.mediaType, bytes: file.bytes, text: String(facts.value["text"]) }) : facts;
}

/** Undefined when the file is no image, PDF or archive. */
export async function describeBinary(file: FileContent, options: JsonObject, reader: BinaryReader): Promise<Result<JsonObject, Failure> | undefined> {
  if (isImage(file)) return await factsOf("image", file, reader);
  if (file.mediaType === "application/pdf") {
    const facts = await factsOf("text", file, reader);
    return facts.ok ? ok({ pages: facts.value["pages"] ?? 0, characters: String(facts.value["text"]).length }) : facts;
  }
  if (file.mediaType === xlsxType) return await factsOf("workbook", file, reader, { no_header: options["no_header"] === true });
  if (!isArchive(file)) return undefined;
  const facts = await factsOf("entries", file, reader);
  return facts.ok ? ok({ entry_count: facts.value["entry_count"] ?? 0, total_bytes: facts.value["total_bytes"] ?? 0 }) : facts;
}

/** Which sentence says that an image has too many pixels, if any. What keeps the file from being read at all (time, abort) is a fault. */
export async function pixelProblem(file: FileContent, pixelsMax: number, reader: BinaryReader): Promise<Result<string | undefined, Failure>> {
  if (!isImage(file)) return ok(notAnImage(file.mediaType));
  const facts = await factsOf("image", file, reader);
  if (!facts.ok) return /^(?:LIMIT\.(?:PIXELS|FRAMES)|SCHEMA)$/.test(facts.fault.name) ? ok(facts.fault.message) : facts;
  const pixels = Number(facts.value["pixels"]);
  return ok(pixels > pixelsMax ? `the image has ${pixels} pixels, more than ${pixelsMax}` : undefined);
}

export function notAnImage(mediaType: string): string {
  return `the file is ${mediaType}, not an image`;
}

function isImage({ mediaType }: FileContent): boolean {
  return ["image/png", "image/jpeg", "image/webp", "image/avif"].includes(mediaType);
}
