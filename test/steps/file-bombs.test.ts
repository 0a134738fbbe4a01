/** Files that are made to harm whoever reads them: each is refused by name, for good, and leaves neither a file nor memory behind. */
import { deflateSync, gzipSync } from "node:zlib";
import { zipSync } from "fflate";
import sharp from "sharp";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import { memoryFiles } from "./memory-files.ts";
import { attemptOf, failureIn, resultIn, servicesOf } from "./step-call.ts";

const files = memoryFiles();
const services = servicesOf(undefined, undefined, { files });
const mebibyte = 1024 * 1024;

async function outcomeOf(bytes: Uint8Array, operation: JsonObject) {
  const { id } = files.put("tenant-a", "report.csv", bytes, "text/csv");
  try {
    const source = { blob_id: id, max_bytes: 100 * mebibyte };
    return await fileProcess.run(attemptOf(fileProcess, { source, ...operation }), services);
  } finally {
    await files.discard("tenant-a", id);
  }
}

const text: JsonObject = { extract: {} };
const to = (type: string): JsonObject => ({ convert: { to_media_type: type } });
const repeated = (line: string, bytes: number): Buffer => Buffer.alloc(bytes, line);

/** One page whose content packs very well. */
function pdfOf(content: Buffer): Buffer {
  const packed = deflateSync(content, { level: 9 });
  const page = "<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Resources<</Font<</F1 3 0 R>>>>/Contents 5 0 R>>";
  const parts = ["<</Type/Catalog/Pages 2 0 R>>", "<</Type/Pages/Count 1/Kids[4 0 R]>>", "<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>", page];
  const stream = [`<</Length ${packed.length}/Filter/FlateDecode>>\nstream\n`, packed, "\nendstream"];
  const objects = [...parts.map((part) => [part]), stream].map((part, index) =>
    Buffer.concat([`${index + 1} 0 obj\n`, ...part, "\nendobj\n"].map((one) => Buffer.from(one as string))),
  );
  return Buffer.concat([Buffer.from("%PDF-1.4\n"), ...objects, Buffer.from("trailer\n<</Size 6/Root 1 0 R>>\n%%EOF\n")]);
}

/** A workbook with one sheet. */
function workbookOf(sheet: Uint8Array, others: Record<string, Uint8Array> = {}): Buffer {
  const type = "http://schemas.openxmlformats.org";
  const parts = {
    "[Content_Types].xml": `<Types xmlns="${type}/package/2006/content-types"/>`,
    "xl/workbook.xml": `<workbook xmlns="${type}/spreadsheetml/2006/main" xmlns:r="${type}/officeDocument/2006/relationships"><sheets><sheet name="a" sheetId="1" r:id="rId1"/></sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": `<Relationships xmlns="${type}/package/2006/relationships"><Relationship Id="rId1" Type="${type}/officeDocument/2006/relationships/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
  };
  const entries = Object.entries(parts).map(([name, part]) => [name, Buffer.from(part)] as const);
  return Buffer.from(zipSync({ ...Object.fromEntries(entries), "xl/worksheets/sheet1.xml": sheet, ...others }, { level: 6 }));
}

/** The size that the archive's list tells of an entry. */
function claiming(zip: Buffer, name: string, bytes: number): Buffer {
  const entry = zip.lastIndexOf(name) - 46;
  zip.writeUInt32LE(bytes, entry + 24);
  return zip;
}

const image = () => sharp({ create: { width: 8, height: 8, channels: 3, background: "red" } });
async function animation(frames: number, side: number): Promise<Buffer> {
  const frame = (n: number) =>
    sharp({ create: { width: side, height: side, channels: 3, background: { r: (n * 97) % 256, g: 0, b: 0 } } }).png({ compressionLevel: 1 });
  const pages = await Promise.all(Array.from({ length: frames }, (_, n) => frame(n).toBuffer()));
  return await sharp(pages, { join: { animated: true } })
    .webp({ effort: 0 })
    .toBuffer();
}

test.each<[string, () => Uint8Array | Promise<Uint8Array>, JsonObject, RegExp]>([
  ["a PDF whose page unpacks to 200 MiB", () => pdfOf(repeated("BT (a) Tj ET ", 200 * mebibyte)), text, /^LIMIT\.FILE: the file needs more than 256 MiB/],
  ["a workbook whose sheet is packed a thousandfold", () => workbookOf(Buffer.alloc(20 * mebibyte, 32)), to("text/csv"), /^LIMIT\.RATIO: xl\/worksheets/],
  [
    "a workbook whose list claims little of an entry that holds much",
    () => claiming(workbookOf(Buffer.alloc(2 * mebibyte, "<row/>")), "xl/worksheets/sheet1.xml", 1_000),
    to("text/csv"),
    /^SCHEMA: /,
  ],
  ["an animation of more than 50 megapixels", () => animation(60, 1_000), to("image/webp"), /^LIMIT\.PIXELS: /],
  [
    "a page called a table",
    () => Buffer.from("<!DOCTYPE html><script>alert(1)</script>"),
    { validate: { media_types: ["text/csv"] } },
    /^SCHEMA: .*text\/html/,
  ],
  ["a program called a table", () => Buffer.from("7f454c460201010000", "hex"), { validate: { media_types: ["text/csv"] } }, /^SCHEMA: .*application\/x-elf/],
  ["a picture that is a page behind its first bytes", () => Buffer.from("\x89PNG\r\n\x1a\n<html>", "latin1"), to("image/webp"), /^SCHEMA: /],
  [
    "half a character",
    () => Buffer.concat([Buffer.from("a,b\n1,"), Buffer.from([0xf0, 0x9f])]),
    to("application/json"),
    /^SCHEMA: .*octet-stream.*byte 6, line 2/,
  ],
  ["overlong UTF-8", () => Buffer.from([0x61, 0xc0, 0xaf]), text, /^SCHEMA: .*not UTF-8 text: broken at byte 1/],
  [
    "1,001 columns",
    () => Buffer.from(`${Array.from({ length: 1_001 }, (_, n) => `c${n}`).join(",")}\n${",".repeat(1_000)}\n`),
    to("application/json"),
    /^LIMIT\.COLUMNS: /,
  ],
  ["a field above 1 MiB", () => Buffer.from(`a,b\n1,2\n1,${"x".repeat(mebibyte + 1)}\n`), to("application/json"), /^LIMIT\.FIELD: /],
  ["a quote that never closes", () => Buffer.concat([Buffer.from('a,b\n1,2\n1,"'), repeated("x", 18 * mebibyte)]), to("application/json"), /^LIMIT\.FIELD: /],
  ["a line that never ends", () => Buffer.concat([Buffer.from('{"a":1}\n{"a":"'), repeated("x", 12 * mebibyte)]), to("text/csv"), /^LIMIT\.FIELD: line 2 /],
  ["16 million brackets", () => Buffer.alloc(9 * mebibyte, "["), to("text/csv"), /^LIMIT\.DEPTH: |^SCHEMA: /],
  ["brackets in a line", () => Buffer.from(`{"a":1}\n${"[".repeat(100)}\n`), to("text/csv"), /^LIMIT\.DEPTH: |^SCHEMA: /],
  [
    "a large archive of archives",
    () => zipSync({ "inner.zip": zipSync({}), "a.bin": noise(11) }, { level: 0 }),
    { extract: { target: "FILE_EXTRACT_TARGET_ENTRIES" } },
    /^LIMIT\.NESTING: /,
  ],
  [
    "a large archive with a path",
    () => zipSync({ "../../etc/passwd": noise(11) }, { level: 0 }),
    { extract: { target: "FILE_EXTRACT_TARGET_ENTRIES" } },
    /^SCHEMA: .*path/,
  ],
  [
    "packed bytes that are asked for their rows",
    () => gzipSync(repeated("1,2\n", 20 * mebibyte)),
    { extract: { target: "FILE_EXTRACT_TARGET_ROWS" } },
    /^SCHEMA: the file is application\/gzip/,
  ],
])("%s: refused, and nothing stays", { timeout: 240_000 }, async (_, make, operation, expected) => {
  const bytes = await make();
  const before = process.memoryUsage.rss();
  const { failure, outcome } = failureIn(await outcomeOf(bytes, operation));
  expect(`${failure.name}: ${failure.message}`).toMatch(expected);
  expect(outcome).toBe("failed");
  expect(files.all()).toEqual([]);
  expect(process.memoryUsage.rss() - before).toBeLessThan(700 * mebibyte);
  expect(resultIn(await outcomeOf(Buffer.from("a,b\n1,2\n"), text))).toMatchObject({ media_type: "text/csv" });
});

/** Bytes that do not pack, without the cost of true randomness. */
function noise(mib: number): Buffer {
  const bytes = Buffer.alloc(mib * mebibyte);
  for (let at = 0, state = 1; at < bytes.length; at += 4) {
    state = (Math.imul(state, 1_103_515_245) + 12_345) >>> 0;
    bytes.writeUInt32LE(state, at);
  }
  return bytes;
}

test("a picture's file that is larger than what is decoded is refused unread", async () => {
  const padded = Buffer.concat([await image().png().toBuffer(), Buffer.alloc(11 * mebibyte)]);
  expect(failureIn(await outcomeOf(padded, to("image/webp"))).failure).toMatchObject({ name: "LIMIT.BODY" });
});
