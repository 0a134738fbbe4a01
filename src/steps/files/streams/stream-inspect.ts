/** `validate` and `extract` of a large file: one reading, which also counts and digests it. */
import type { JsonObject } from "../../../base/json.ts";
import { type Failure, failure } from "../../../domain/failure.ts";
import { integerField, listField, objectField } from "../../config-fields.ts";
import { notAnImage } from "../../file-facts.ts";
import { isWorkbook, xlsxType } from "../../file-formats.ts";
import { findViolations, type KnownContent, mayBeCsv, needsDocument } from "../../file-validate.ts";
import type { TaskSource } from "../file-job.ts";
import { isImageType } from "../image.ts";
import { Digest, drain, keptOpen, peek, tailOf } from "./byte-stream.ts";
import { FileFault, needsWhole } from "./file-fault.ts";
import { csvRows, jsonLines } from "./row-stream.ts";
import { type Sniffed, sniff } from "./sniff.ts";
import { extractStream } from "./stream-extract.ts";
import { TableFold } from "./table-fold.ts";
import { BrokenText, textIn } from "./text-stream.ts";

/** `{media_type, size_bytes, sha256}` and either `violations` or what `extract` gives, as of a small file. */
export async function inspectStream(source: TaskSource, config: JsonObject): Promise<JsonObject> {
  const digest = new Digest();
  const { head, bytes: all } = await peek(source.read());
  const bytes = keptOpen(digest.through(all));
  const sniffed = await sniff(head, undefined);
  const rules = objectField(config, "validate");
  if (!rules) {
    const { mediaType, facts } = await extractStream(bytes, objectField(config, "extract") ?? {}, sniffed, source.sizeBytes);
    await drain(bytes);
    const { sizeBytes, sha256 } = digest.end();
    return { media_type: mediaType, size_bytes: sizeBytes, sha256, ...facts };
  }
  const pixelsMax = integerField(rules, "max_pixels");
  if (pixelsMax !== undefined && isImageType(sniffed.mediaType)) throw needsWhole(`${sniffed.mediaType} whose pixels are counted`);
  const { file, table } = await readForRules(bytes, rules, sniffed);
  await drain(bytes);
  const { sizeBytes, sha256 } = digest.end();
  const pixelProblem = pixelsMax === undefined ? undefined : notAnImage(file.mediaType);
  const violations = await findViolations(rules, file, { sha256, pixelProblem, structure: undefined, table });
  return { media_type: file.mediaType, size_bytes: sizeBytes, sha256, violations };
}

/** What the rules need to know of the file. */
async function readForRules(
  bytes: AsyncIterable<Uint8Array>,
  rules: JsonObject,
  sniffed: Sniffed,
): Promise<{ readonly file: KnownContent; readonly table?: TableFold }> {
  const { kind, delimiter } = sniffed;
  const isNeeded = needsDocument(rules);
  if (kind === "binary") return { file: await knownBinary(bytes, sniffed, isNeeded) };
  if (sniffed.mediaType === "application/json" || (kind === "document" && isNeeded)) throw needsWhole(sniffed.mediaType);
  const schema = objectField(rules, "json_schema");
  if (kind === "lines" && schema) throw needsWhole("NDJSON that is held to a schema");
  const table = new TableFold(listField(rules, "required_columns").map(String), schema);
  const file = { mediaType: sniffed.mediaType, text: "" };
  const isRead = isNeeded || mayBeCsv(rules, file.mediaType);
  try {
    if (kind === "lines") for await (const rows of jsonLines(textIn(bytes, undefined))) table.addValues(rows);
    else if (isRead) for await (const batch of csvRows(textIn(bytes, undefined), delimiter ?? ",", true)) table.addCells(batch);
    else await drain(textIn(bytes, undefined));
  } catch (error) {
    if (!(error instanceof FileFault)) throw error;
    if (error instanceof BrokenText) return { file: { mediaType: "application/octet-stream", textProblem: error.failure } };
    if (kind === "lines") return { file: { mediaType: "text/plain", text: "", jsonProblem: error.failure } };
    table.problem = error.failure.message;
  }
  return { file, table };
}

/** Whether an archive is a workbook, its end tells. */
async function knownBinary(bytes: AsyncIterable<Uint8Array>, { mediaType, textProblem }: Sniffed, isDocumentNeeded: boolean): Promise<KnownContent> {
  const named = mediaType === "application/zip" && isWorkbook(await tailOf(bytes)) ? xlsxType : mediaType;
  if (named === xlsxType && isDocumentNeeded) throw needsWhole("a workbook");
  const problem: Failure = textProblem ?? failure("SCHEMA", `the file is ${named}, not text`);
  return { mediaType: named, textProblem: problem };
}
