/** What `file_process` says of archives, PDF files and images. */
import { randomBytes } from "node:crypto";
import { zipSync } from "fflate";
import sharp from "sharp";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import type { StepServices } from "../../src/steps/step-handler.ts";
import { memoryFiles } from "./memory-files.ts";
import { attemptOf, failureIn, resultIn, servicesOf } from "./step-call.ts";

const files = memoryFiles();
const services = servicesOf(undefined, undefined, { files });

async function outcomeOf(bytes: Uint8Array, operation: JsonObject) {
  const { id } = files.put("tenant-a", "some.file", bytes);
  return await fileProcess.run(attemptOf(fileProcess, { source: { blob_id: id }, ...operation }), services);
}
const extract = async (bytes: Uint8Array, target: string, options: JsonObject = {}) =>
  resultIn(await outcomeOf(bytes, { extract: { target: `FILE_EXTRACT_TARGET_${target}`, ...options } })) as JsonObject;
async function refusal(bytes: Uint8Array, operation: JsonObject): Promise<string> {
  const { failure } = failureIn(await outcomeOf(bytes, operation));
  return `${failure.name}: ${failure.message}`;
}
const entries: JsonObject = { extract: { target: "FILE_EXTRACT_TARGET_ENTRIES" } };

/** A PDF with one line of text on each page, written by hand. */
function pdfOf(lines: readonly string[]): Buffer {
  const objects = ["<</Type/Catalog/Pages 2 0 R>>", `<</Type/Pages/Count ${lines.length}/Kids[${lines.map((_, i) => `${4 + 2 * i} 0 R`).join(" ")}]>>`];
  objects.push("<</Type/Font/Subtype/Type1/BaseFont/Helvetica>>");
  lines.forEach((line, i) => {
    const content = `BT /F1 12 Tf 20 100 Td (${line}) Tj ET`;
    objects.push(`<</Type/Page/Parent 2 0 R/MediaBox[0 0 300 200]/Resources<</Font<</F1 3 0 R>>>>/Contents ${5 + 2 * i} 0 R>>`);
    objects.push(`<</Length ${content.length}>>\nstream\n${content}\nendstream`);
  });
  let text = "%PDF-1.4\n";
  const offsets = objects.map((body, index) => {
    const at = text.length;
    text += `${index + 1} 0 obj\n${body}\nendobj\n`;
    return `${String(at).padStart(10, "0")} 00000 n \n`;
  });
  const start = text.length;
  return Buffer.from(
    `${text}xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${offsets.join("")}trailer\n<</Size ${objects.length + 1}/Root 1 0 R>>\nstartxref\n${start}\n%%EOF\n`,
  );
}

test("ENTRIES lists an archive, to the number asked for", async () => {
  const zip = zipSync({ "a/b.txt": Buffer.from("hello"), "c.csv": Buffer.from("x,y\n") });
  const listed = await extract(zip, "ENTRIES");
  expect(listed).toMatchObject({ media_type: "application/zip", entry_count: 2, total_bytes: 9, truncated: false });
  expect(listed["entries"]).toMatchObject([
    { name: "a/b.txt", size_bytes: 5, is_directory: false, is_encrypted: false },
    { name: "c.csv", size_bytes: 4 },
  ]);
  expect(await extract(zip, "ENTRIES", { max_rows: 1 })).toMatchObject({ entries: [{ name: "a/b.txt" }], entry_count: 2, truncated: true });
  expect(await extract(zip, "METADATA")).toMatchObject({ entry_count: 2, total_bytes: 9 });
});

test.each<[string, () => Uint8Array, RegExp]>([
  ["an entry that unpacks to more than a hundred times its size", () => zipSync({ "zeros.bin": Buffer.alloc(5_000_000) }), /^LIMIT\.RATIO: zeros\.bin/],
  [
    "more than 10,000 entries",
    () => zipSync(Object.fromEntries(Array.from({ length: 10_001 }, (_, i) => [`${i}`, new Uint8Array()])), { level: 0 }),
    /^LIMIT\.ENTRIES: /,
  ],
  ["an archive inside", () => zipSync({ "inner.zip": zipSync({}) }), /^LIMIT\.NESTING: inner\.zip/],
  ["names that lead outside", () => zipSync({ "../../etc/passwd": Buffer.from("x") }), /^SCHEMA: .*path/],
  ["a broken archive", () => zipSync({ "a.txt": Buffer.from("x") }).subarray(0, 40), /^SCHEMA: /],
  ["what is no archive", () => Buffer.from("a,b\n1,2\n"), /^SCHEMA: the file is text\/csv, not application\/zip/],
])("ENTRIES refuses %s", async (_, make, expected) => {
  expect(await refusal(make(), entries)).toMatch(expected);
});

test("an archive that says it unpacks to more than 256 MiB in all is refused by what it says", async () => {
  const zip = Buffer.from(zipSync({ "a.bin": randomBytes(2_600_000), "b.bin": randomBytes(2_600_000) }, { level: 1 }));
  for (let at = zip.indexOf("PK\u0001\u0002"); at >= 0; at = zip.indexOf("PK\u0001\u0002", at + 1)) zip.writeUInt32LE(250_000_000, at + 24);
  expect(await refusal(zip, entries)).toMatch(/^LIMIT\.ARCHIVE: /);
});

test("TEXT of a PDF is that of its pages", async () => {
  const pdf = pdfOf(["Invoice 4711", "Total 12 EUR"]);
  expect(await extract(pdf, "TEXT")).toMatchObject({ media_type: "application/pdf", text: "Invoice 4711\fTotal 12 EUR", truncated: false });
  expect(await extract(pdf, "TEXT", { max_characters: 7 })).toMatchObject({ text: "Invoice", truncated: true });
  expect(await extract(pdf, "METADATA")).toMatchObject({ pages: 2, characters: 25 });
  expect(await refusal(Buffer.from("%PDF-1.4\nnothing more"), { extract: {} })).toMatch(/^SCHEMA: /);
});

test("METADATA of an image is what a reader sees of it, upright", async () => {
  const image = await sharp({ create: { width: 40, height: 20, channels: 3, background: "red" } })
    .jpeg()
    .withMetadata({ orientation: 6 })
    .toBuffer();
  expect(await extract(image, "METADATA")).toMatchObject({
    media_type: "image/jpeg",
    format: "jpeg",
    width: 20,
    height: 40,
    pixels: 800,
    frames: 1,
    has_alpha: false,
  });
});

test("validate.max_pixels is a rule like the others", async () => {
  const image = await sharp({ create: { width: 40, height: 20, channels: 3, background: "red" } })
    .png()
    .toBuffer();
  expect(resultIn(await outcomeOf(image, { validate: { max_pixels: 800 } }))).toMatchObject({ valid: true, media_type: "image/png" });
  expect(await refusal(image, { validate: { max_pixels: 799 } })).toBe("SCHEMA: the file is not valid: the image has 800 pixels, more than 799");
  expect(resultIn(await outcomeOf(Buffer.from("x"), { validate: { max_pixels: 799, report_only: true } }))).toMatchObject({
    violations: [{ rule: "max_pixels" }],
  });
});

test("every file is looked into by a worker thread, however small, and so is what select picks", async () => {
  const asked: string[] = [];
  const fileJobs: StepServices["fileJobs"] = {
    run(task, signal) {
      asked.push(task.kind);
      return services.fileJobs.run(task, signal);
    },
  };
  const run = (text: string, operation: JsonObject, scope: JsonObject = {}) =>
    fileProcess.run(attemptOf(fileProcess, { source: { text }, ...operation }, scope), { ...services, fileJobs });
  const rows = `a,b\n${"lorem,=1\n".repeat(20_000)}`;
  expect(resultIn(await run(rows, { extract: { target: "FILE_EXTRACT_TARGET_ROWS", max_rows: 1 } }))).toMatchObject({
    media_type: "text/csv",
    size_bytes: rows.length,
    rows: [{ a: "lorem", b: "=1" }],
    truncated: true,
  });
  expect(failureIn(await run("a,b\n1,2\n3,4\n", { validate: { max_rows: 1 } })).failure).toMatchObject({
    name: "SCHEMA",
    message: "the file is not valid: the file has 2 rows, more than 1",
    details: { valid: false, violations: [{ rule: "max_rows" }], media_type: "text/csv" },
  });
  const select = "document.n + steps.count.result.n + variables[trigger.data.name]";
  const scope = {
    steps: { count: { result: { n: 20 } }, unread: { result: "x" } },
    variables: { m: 300 },
    trigger: { data: { name: "m" } },
  };
  expect(resultIn(await run('{"n":1}', { extract: { select } }, scope))).toMatchObject({ text: "321" });
  expect(failureIn(await run('{"n":1}', { extract: { select: "document.nothing" } })).failure.name).toBe("EXPRESSION");
  expect(asked).toEqual(["inspect", "inspect", "inspect", "inspect"]);
});

test("what is larger than a step's result may be is refused in the thread", async () => {
  const wide = `${"x".repeat(900_000)},y\n`.repeat(7);
  expect(await refusal(Buffer.from(wide), { extract: { target: "FILE_EXTRACT_TARGET_ROWS", no_header: true } })).toMatch(/^LIMIT\.RESULT: /);
});
