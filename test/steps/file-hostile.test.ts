/** Files made to hurt: each is refused for good with a named error, by what its head or directory says, or by a count. */
import { zipSync } from "fflate";
import sharp from "sharp";
import { expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import { memoryFiles } from "./memory-files.ts";
import { attemptOf, failureIn, resultIn, servicesOf } from "./step-call.ts";

const files = memoryFiles();
const services = servicesOf(undefined, undefined, { files });

async function outcomeOf(bytes: Uint8Array, operation: JsonObject) {
  const { id } = files.put("tenant-a", "some.file", bytes);
  return await fileProcess.run(attemptOf(fileProcess, { source: { blob_id: id }, ...operation }), services);
}
async function refusal(bytes: Uint8Array, operation: JsonObject): Promise<string> {
  const before = files.all().length;
  const { failure, outcome } = failureIn(await outcomeOf(bytes, operation));
  // The source is all that is stored.
  expect([outcome, files.all().length]).toEqual(["failed", before + 1]);
  return `${failure.name}: ${failure.message}`;
}
const rows: JsonObject = { extract: { target: "FILE_EXTRACT_TARGET_ROWS" } };
const metadata: JsonObject = { extract: { target: "FILE_EXTRACT_TARGET_METADATA" } };
const toJson: JsonObject = { convert: { to_media_type: "application/json" } };
const minify: JsonObject = { optimize: { minify: true } };

const main = "http://schemas.openxmlformats.org/spreadsheetml/2006/main";
const relations = "http://schemas.openxmlformats.org/officeDocument/2006/relationships";
/** A workbook whose sheet is this text. */
function workbookOf(sheet: string, more: Record<string, string> = {}): Buffer {
  const parts: Record<string, string> = {
    "[Content_Types].xml": '<Types xmlns="http://schemas.openxmlformats.org/package/2006/content-types"/>',
    "xl/workbook.xml": `<workbook xmlns="${main}" xmlns:r="${relations}"><sheets><sheet name="S" sheetId="1" r:id="rId1"/></sheets></workbook>`,
    "xl/_rels/workbook.xml.rels": `<Relationships><Relationship Id="rId1" Type="${relations}/worksheet" Target="worksheets/sheet1.xml"/></Relationships>`,
    "xl/worksheets/sheet1.xml": sheet,
    ...more,
  };
  return Buffer.from(zipSync(Object.fromEntries(Object.entries(parts).map(([name, text]) => [name, Buffer.from(text)]))));
}
const sheetOf = (cells: string): string => `<worksheet xmlns="${main}"><sheetData><row r="1">${cells}</row></sheetData></worksheet>`;
const cell = '<c r="A1" t="inlineStr"><is><t>a</t></is></c>';

test("a workbook made by hand is read, so that the others are refused for what is wrong with them", async () => {
  expect(resultIn(await outcomeOf(workbookOf(sheetOf(cell)), { extract: { target: "FILE_EXTRACT_TARGET_ROWS", no_header: true } }))).toMatchObject({
    rows: [["a"]],
  });
});

/** Marks every entry as encrypted, in the directory and in front of the bytes. */
function encrypted(zip: Buffer): Buffer {
  for (const [mark, offset] of [
    ["PK\u0003\u0004", 6],
    ["PK\u0001\u0002", 8],
  ] as const)
    for (let at = zip.indexOf(mark); at >= 0; at = zip.indexOf(mark, at + 1)) zip.writeUInt16LE(zip.readUInt16LE(at + offset) | 1, at + offset);
  return zip;
}

test.each<[string, () => Buffer, RegExp]>([
  [
    "a sheet that unpacks to more than a hundred times its size",
    () => workbookOf(`${sheetOf(cell)}${" ".repeat(5_000_000)}`),
    /^LIMIT\.RATIO: xl\/worksheets\/sheet1\.xml/,
  ],
  ["entities", () => workbookOf(`<!DOCTYPE x [<!ENTITY y "z">]>${sheetOf(cell)}`), /^SCHEMA: .*document type/],
  ["an archive in it", () => workbookOf(sheetOf(cell), { "xl/embeddings/a.zip": "x" }), /^LIMIT\.NESTING: /],
  ["names that lead outside", () => workbookOf(sheetOf(cell), { "../../etc/cron.d/x": "x" }), /^SCHEMA: .*path/],
  ["encryption", () => encrypted(workbookOf(sheetOf(cell))), /^SCHEMA: \S+ is encrypted$/],
  ["a sheet that is no XML", () => workbookOf("not a sheet"), /^SCHEMA: /],
  ["a column named twice", () => workbookOf(sheetOf(`${cell}<c r="B1" t="inlineStr"><is><t>a</t></is></c>`)), /^SCHEMA: .*"a" twice/],
])("a workbook with %s", async (_, make, expected) => {
  expect(await refusal(make(), rows)).toMatch(expected);
  expect(await refusal(make(), toJson)).toMatch(expected);
});

test("an archive whose entries are encrypted is listed all the same", async () => {
  const zip = encrypted(Buffer.from(zipSync({ "a.txt": Buffer.from("secret") })));
  expect(resultIn(await outcomeOf(zip, { extract: { target: "FILE_EXTRACT_TARGET_ENTRIES" } }))).toMatchObject({
    entries: [{ name: "a.txt", is_encrypted: true }],
  });
});

test("an image of more than 100 frames", async () => {
  const frames = 101;
  const raw = Buffer.from(Array.from({ length: frames }, (_, frame) => Array<number>(12).fill(frame * 2)).flat());
  const moving = await sharp(raw, { raw: { width: 2, height: 2 * frames, channels: 3, pageHeight: 2 } })
    .webp({ lossless: true })
    .toBuffer();
  for (const operation of [metadata, { convert: { to_media_type: "image/webp" } }, { optimize: { max_width: 1 } }])
    expect(await refusal(moving, operation)).toMatch(/^LIMIT\.FRAMES: the image has 101 frames/);
});

/** A PDF of these objects, whose first is the catalog. */
function pdfOf(objects: readonly string[], trailer = ""): Buffer {
  let text = "%PDF-1.4\n";
  const places = objects.map((body, index) => {
    const at = text.length;
    text += `${index + 1} 0 obj\n${body}\nendobj\n`;
    return `${String(at).padStart(10, "0")} 00000 n \n`;
  });
  const table = `xref\n0 ${objects.length + 1}\n0000000000 65535 f \n${places.join("")}`;
  return Buffer.from(`${text}${table}trailer\n<</Size ${objects.length + 1}/Root 1 0 R${trailer}>>\nstartxref\n${text.length}\n%%EOF\n`);
}
const pagesOf = (count: number): string[] => [
  "<</Type/Catalog/Pages 2 0 R>>",
  `<</Type/Pages/Count ${count}/Kids[${"3 0 R ".repeat(count)}]>>`,
  "<</Type/Page/Parent 2 0 R/MediaBox[0 0 9 9]>>",
];

test.each<[string, () => Buffer, RegExp]>([
  ["more than 2,000 pages", () => pdfOf(pagesOf(2_001)), /^LIMIT\.PAGES: the PDF has 2001 pages/],
  [
    "a password",
    () => pdfOf([...pagesOf(1), `<</Filter/Standard/V 1/R 2/P -4/O<${"ab".repeat(32)}>/U<${"cd".repeat(32)}>>>`], "/Encrypt 4 0 R/ID[<00><00>]"),
    /^SCHEMA: .*password/i,
  ],
  ["nothing but its head", () => Buffer.from("%PDF-1.7\n"), /^SCHEMA: /],
])("a PDF with %s", async (_, make, expected) => {
  expect(await refusal(make(), { extract: {} })).toMatch(expected);
  expect(await refusal(make(), metadata)).toMatch(expected);
});

const begun = '<?xml version="1.0"?>';
test.each<[string, string, JsonObject, RegExp]>([
  ["XML of 10,000 levels", `${begun}${"<a>".repeat(10_000)}${"</a>".repeat(10_000)}`, toJson, /^(?:LIMIT\.DEPTH|SCHEMA): /],
  ["XML with two roots", `${begun}<a/><b/>`, toJson, /^SCHEMA: .*one root/],
  ["XML with the same root twice", `${begun}<a/><a/>`, rows, /^SCHEMA: .*one root/],
  ["XML with text beside its root", `${begun}<a/>text`, minify, /^SCHEMA: /],
  ["XML with external entities", `${begun}<!DOCTYPE a SYSTEM "http://127.0.0.1/x"><a/>`, rows, /^SCHEMA: .*document type/],
  ["a list of YAML that holds itself", "a: &a [*a]\n", toJson, /^(?:SCHEMA|LIMIT\.DEPTH): /],
  ["YAML with a key twice", "a: 1\na: 2\n", toJson, /^SCHEMA: .*unique/i],
  ["a style sheet of 10,000 levels", "a{".repeat(10_000), minify, /^SCHEMA: minify/],
])("%s", async (_, text, operation, expected) => {
  expect(await refusal(Buffer.from(text), operation)).toMatch(expected);
});

test("beginnings that never end cost no more than other texts, and stay as they are", async () => {
  const text = `<!DOCTYPE html>${"<pre <!-- <script ".repeat(20_000)}`;
  expect(resultIn(await outcomeOf(Buffer.from(text), minify))).toMatchObject({ media_type: "text/html" });
});
