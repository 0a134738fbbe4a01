/** Files above what is read whole: they pass through a worker thread in pieces, on real threads. */
import { createHash } from "node:crypto";
import { afterAll, expect, test } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import type { JsonObject } from "../../src/base/json.ts";
import { ok } from "../../src/base/result.ts";
import { failure } from "../../src/domain/failure.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import { FileWorkers } from "../../src/steps/files/file-workers.ts";
import { windowBytes } from "../../src/steps/files/thread-messages.ts";
import type { StepFiles } from "../../src/steps/step-files.ts";
import { fileJobsOn } from "./offline-services.ts";
import { attemptOf, failureIn, resultIn, servicesOf } from "./step-call.ts";

const mebibyte = 1024 * 1024;
/** Time goes by the row, what is tested by the byte: few rows, and long ones. */
const rowCount = 14_000;
const header = "id,name,note\n";
const note = `a, b ${"lorem ipsum ".repeat(80)}`;
const rowOf = (id: number): string => `${String(id).padStart(6, "0")},Ännchen von Tharau,"${note}"\n`;
const sizeBytes = Buffer.byteLength(header) + rowCount * Buffer.byteLength(rowOf(0));
const jsonOf = (id: number): string => `{"id":"${String(id).padStart(6, "0")}","name":"Ännchen von Tharau","note":"${note}"}\n`;

/** Made while it is read, so that nobody holds it. */
function* pieces(lineOf: (id: number) => string, first: string): Iterable<Buffer> {
  let text = first;
  for (let id = 0; id < rowCount; id++) {
    text += lineOf(id);
    if (text.length < 200_000) continue;
    yield Buffer.from(text);
    text = "";
  }
  yield Buffer.from(text);
}

function digestOf(content: Iterable<Uint8Array>): string {
  const hash = createHash("sha256");
  for (const piece of content) hash.update(piece);
  return hash.digest("hex");
}

/** Storage that holds one large file and only digests what is saved. */
function largeStorage(content: () => Iterable<Uint8Array>, sourceBytes = sizeBytes) {
  const saved: { sha256: string; sizeBytes: number }[] = [];
  const source = { id: "blb_1", name: "rows.csv", mediaType: "text/plain", sizeBytes: sourceBytes, sha256: "" };
  const files: StepFiles = {
    find: async () => ok(source),
    async *read() {
      yield* content();
    },
    async save(_, { name, mediaType }, bytes) {
      const hash = createHash("sha256");
      let size = 0;
      for await (const piece of bytes) {
        hash.update(piece);
        size += piece.length;
      }
      const file = { id: "blb_2", name, mediaType, sizeBytes: size, sha256: hash.digest("hex") };
      saved.push(file);
      return ok(file);
    },
    discard: async () => undefined,
  };
  return { files, saved };
}

const pool = new FileWorkers({ clock: systemClock });
afterAll(() => pool[Symbol.asyncDispose]());

async function outcomeOf(files: StepFiles, operation: JsonObject) {
  const config = { source: { blob_id: "blb_1", max_bytes: 100 * mebibyte }, ...operation };
  return await fileProcess.run(attemptOf(fileProcess, config), servicesOf(undefined, undefined, { files, fileJobs: fileJobsOn(pool, files) }));
}

test("a CSV is validated and converted in pieces: never more than a window of it is under way, and memory hardly grows", { timeout: 240_000 }, async () => {
  const { files } = largeStorage(() => pieces(rowOf, header));
  const rules = { media_types: ["text/csv"], required_columns: ["id", "note"], max_rows: rowCount };
  expect(resultIn(await outcomeOf(files, { validate: { ...rules, max_rows: rowCount - 1, report_only: true } }))).toEqual({
    valid: false,
    violations: [{ rule: "max_rows", message: `the file has ${rowCount} rows, more than ${rowCount - 1}` }],
    media_type: "text/csv",
    size_bytes: sizeBytes,
    sha256: digestOf(pieces(rowOf, header)),
  });
  const rssBefore = process.memoryUsage.rss();
  const result = resultIn(await outcomeOf(files, { convert: { to_media_type: "application/x-ndjson" } }));
  expect(result).toMatchObject({ media_type: "application/x-ndjson", sha256: digestOf(pieces(jsonOf, "")), blob: { name: "rows.ndjson" } });
  expect(process.memoryUsage.rss() - rssBefore).toBeLessThan(200 * mebibyte);
  expect(sizeBytes).toBeGreaterThan(12 * mebibyte);
  expect(pool.bytesUnderWayPeak).toBeGreaterThan(0);
  expect(pool.bytesUnderWayPeak).toBeLessThanOrEqual(2 * windowBytes);
  expect(pool.bytesUnderWay).toBe(0);
});

test("NDJSON becomes CSV by reading it twice", { timeout: 240_000 }, async () => {
  let readings = 0;
  const last = '{"id":"x","late":true}\n';
  const { files, saved } = largeStorage(
    function* () {
      readings++;
      yield* pieces(jsonOf, "");
      yield Buffer.from(last);
    },
    rowCount * Buffer.byteLength(jsonOf(0)) + last.length,
  );
  await outcomeOf(files, { convert: { to_media_type: "text/csv" } });
  function* expected(): Iterable<Buffer> {
    yield* pieces((id) => rowOf(id).replace("\n", ",\n"), "id,name,note,late\n");
    yield Buffer.from("x,,,true\n");
  }
  expect(saved).toMatchObject([{ sha256: digestOf(expected()) }]);
  expect(readings).toBe(2);
});

test.each<[string, () => Iterable<Uint8Array>, JsonObject, RegExp]>([
  [
    "a row that is broken near the end",
    function* () {
      yield* pieces(rowOf, header);
      yield Buffer.from('x,"y');
    },
    { convert: { to_media_type: "application/json" } },
    /^SCHEMA: the CSV is not valid/,
  ],
  [
    "storage that breaks off",
    function* () {
      yield* [...pieces(rowOf, header)].slice(0, 30);
      throw failure("NETWORK", "the storage is away");
    },
    { convert: { to_media_type: "application/json" } },
    /^NETWORK: the storage is away$/,
  ],
  [
    "a document that has to be whole",
    () => pieces((id) => `${id},`, "["),
    { convert: { to_media_type: "text/csv" } },
    /^LIMIT\.BODY: application\/json that becomes text\/csv has to be read whole/,
  ],
])("of %s nothing is kept", { timeout: 240_000 }, async (_, content, operation, expected) => {
  const { files, saved } = largeStorage(content, sizeBytes + 4);
  const { failure: cause } = failureIn(await outcomeOf(files, operation));
  expect(`${cause.name}: ${cause.message}`).toMatch(expected);
  expect(saved).toEqual([]);
  expect(pool.bytesUnderWay).toBe(0);
});
