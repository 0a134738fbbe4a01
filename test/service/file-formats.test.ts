/**
 * Real files of every format go through every operation on the real service. What comes out is read by libraries that the service
 * does not use (Python with Pillow, openpyxl and PyYAML), and compared with what is known to be in the files.
 */
import { execFile } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import path from "node:path";
import { fileURLToPath } from "node:url";
import { type JsonObject, type JsonValue, toJson } from "@bufbuild/protobuf";
import { ValueSchema } from "@bufbuild/protobuf/wkt";
import { afterAll, beforeAll, expect, it } from "vitest";
import { pythonWith, type Tool } from "../sdk/toolchains.ts";
import { downloadFile, uploadFile } from "./support/files.ts";
import { run, stepsOf, useServer } from "./support/fixture.ts";
import type { FormatCase } from "./support/format-case.ts";
import { formatCases } from "./support/format-cases.ts";

const fixture = useServer();
const packages = ["Pillow==12.0.0", "openpyxl==3.1.5", "PyYAML==6.0.3"];
const folder = fileURLToPath(new URL("../fixtures/files/", import.meta.url));
const results = new Map<FormatCase, JsonObject>();
const readings = new Map<FormatCase | string, JsonValue>();
let tool: Tool;
let made: string;

/** Everything is run once, and read by one Python. */
beforeAll(async () => {
  made = await mkdtemp(path.join(tmpdir(), "pawf-formats-"));
  const reader = pythonWith("python-readers", packages, "import PIL.features, openpyxl, yaml; assert PIL.features.check('avif')", "test/fixtures/read.py");
  for (const [file, cases] of Map.groupBy(formatCases, (one) => one.file)) await runCases(file, cases);
  tool = await reader;
  if ("missing" in tool) return;
  const wanted: { key: FormatCase | string; ask: JsonObject }[] = [
    { key: "folder.zip", ask: { path: path.join(folder, "folder.zip"), kind: "zip" } },
    { key: "workbook.xlsx", ask: { path: path.join(folder, "workbook.xlsx"), kind: "xlsx" } },
  ];
  for (const one of formatCases.filter(({ read }) => read)) {
    const { blob_id, media_type } = blobOf(one);
    const file = path.join(made, blob_id);
    await writeFile(file, await downloadFile(fixture.clients, blob_id));
    const isPacked = media_type === "application/gzip" && one.read?.["kind"] !== "gzip";
    wanted.push({ key: one, ask: { ...(isPacked ? { kind: "gzip", inner: one.read?.["kind"] ?? "" } : one.read), path: file } });
  }
  const found = await askPython(
    tool,
    wanted.map(({ ask }) => ask),
  );
  for (const [index, { key }] of wanted.entries()) readings.set(key, found[index] as JsonValue);
}, 180_000);
afterAll(async () => {
  await rm(made, { recursive: true, force: true });
});

function blobOf(one: FormatCase): { readonly blob_id: string; readonly media_type: string } {
  const result = results.get(one);
  if (!result?.["blob"]) throw new Error(`${one.file} ${JSON.stringify(one.does)}: ${JSON.stringify(result)}`);
  return result["blob"] as { blob_id: string; media_type: string };
}

/** One execution with a step for each case of a file. */
async function runCases(file: string, cases: readonly FormatCase[]): Promise<void> {
  const blob_id = await uploadFile(fixture.clients, file, await readFile(path.join(folder, file)));
  const execution = await run(
    fixture.clients,
    cases.map(({ does }, index) => ({ name: `step_${index}`, file_process: { source: { blob_id }, ...does } })),
  );
  const steps = await stepsOf(fixture.clients, execution.id);
  for (const [index, one] of cases.entries()) {
    const step = steps.get(`step_${index}`);
    const result = step?.result && toJson(ValueSchema, step.result);
    results.set(one, (result ?? { failure: `${execution.failure?.name}: ${execution.failure?.message}` }) as JsonObject);
  }
}

function askPython({ command, environment }: Extract<Tool, { command: unknown }>, asked: readonly JsonObject[]): Promise<JsonValue[]> {
  const [program = "", ...args] = command;
  const { promise, resolve, reject } = Promise.withResolvers<JsonValue[]>();
  const child = execFile(program, args, { env: { ...process.env, ...environment }, maxBuffer: 64 * 1024 * 1024 }, (error, stdout) =>
    error ? reject(error) : resolve(JSON.parse(stdout) as JsonValue[]),
  );
  child.stdin?.end(JSON.stringify(asked));
  return promise;
}

const named = formatCases.map((one) => [`${one.file}: ${JSON.stringify(one.does)}`.slice(0, 120), one] as const);

it.each(named)("%s", (_, one) => {
  expect(results.get(one)).toMatchObject(one.gives ?? {});
});

it.for(named.filter(([, { read }]) => read))("an independent reader sees it: %s", ([, one], context) => {
  if ("missing" in tool) return context.skip(tool.missing);
  const reading = readings.get(one) ?? null;
  expect(one.as ? one.as(reading) : reading).toEqual(one.says);
});

it("the entries of an archive are those that an independent reader lists", (context) => {
  if ("missing" in tool) return context.skip(tool.missing);
  const { entries, bad } = readings.get("folder.zip") as { entries: JsonObject[]; bad: null };
  expect(bad).toBeNull();
  const listed = formatCases.find(({ file, does }) => file === "folder.zip" && JSON.stringify(does).includes("ENTRIES"));
  expect((results.get(listed as FormatCase) as { entries: JsonObject[] }).entries).toMatchObject(entries);
});

it("the cells of a workbook are those that an independent reader sees, errors left out", (context) => {
  if ("missing" in tool) return context.skip(tool.missing);
  const { sheets, rows } = readings.get("workbook.xlsx") as { sheets: string[]; rows: JsonValue[][] };
  const [names = [], ...others] = rows.map((row) => row.map((cell) => (cell === "#DIV/0!" ? null : cell)));
  const read = formatCases.find(({ file, does }) => file === "workbook.xlsx" && JSON.stringify(does).includes("ROWS"));
  expect(sheets).toEqual(["Stock", "Prices 2026", "7"]);
  expect(results.get(read as FormatCase)?.["rows"]).toEqual(others.map((row) => Object.fromEntries(row.map((cell, index) => [names[index], cell]))));
});

it("every file is put through something", async () => {
  expect(new Set(formatCases.map(({ file }) => file))).toEqual(new Set(await readdir(folder)));
});
