import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, expect, it } from "vitest";
import { systemClock } from "../../src/base/clock.ts";
import { silentLog } from "../../src/base/log.ts";
import { failure } from "../../src/domain/failure.ts";
import { FileCourier } from "../../src/engine/file-courier.ts";
import { createStepFiles } from "../../src/engine/step-files.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import type { StepFiles } from "../../src/steps/step-files.ts";
import { createFileRepository } from "../../src/store/file-repository.ts";
import { attemptOf, failureIn, resultIn, servicesOf } from "../steps/step-call.ts";
import { openStore, risingIds, type TestStore } from "../store/open-store.ts";

let store: TestStore;
let files: StepFiles;
beforeAll(async () => {
  store = await openStore();
  files = createStepFiles(createFileRepository({ pool: store.database.pool, ids: risingIds() }));
});
afterAll(() => store?.[Symbol.asyncDispose]());

const orders = { name: "orders.csv", mediaType: "text/csv" };

async function* pieces(bytes: Buffer, size: number): AsyncIterable<Buffer> {
  for (let at = 0; at < bytes.length; at += size) yield bytes.subarray(at, at + size);
}

async function collect(source: AsyncIterable<Uint8Array>): Promise<Buffer> {
  const all: Uint8Array[] = [];
  for await (const piece of source) all.push(piece);
  return Buffer.concat(all);
}

const count = async (table: string): Promise<number> => (await store.database.pool.query(`select 1 from ${table} where true`)).rows.length;

it("what a step saves is found and read by another, in a few chunks whatever the pieces were", async () => {
  const bytes = randomBytes(3_500_000);
  const saved = await files.save("acme", orders, pieces(bytes, 1_000));
  if (!saved.ok) throw new Error(saved.fault.message);
  expect(saved.value).toMatchObject({ ...orders, sizeBytes: bytes.length });
  expect(await count("file_chunks")).toBe(14);
  expect(saved.value.sha256).toBe(createHash("sha256").update(bytes).digest("hex"));
  expect(await files.find("acme", saved.value.id)).toEqual(saved);
  expect((await collect(files.read("acme", saved.value.id))).equals(bytes)).toBe(true);
  expect(await files.find("rival", saved.value.id)).toMatchObject({ ok: false, fault: { name: "FILE.NOT_FOUND" } });
  await expect(collect(files.read("rival", saved.value.id))).rejects.toMatchObject({ name: "FILE.NOT_FOUND" });
});

it("of a source that breaks off nothing is kept, and its reason is thrown on", async () => {
  const before = await store.database.pool.query("select 1 from files where state <> 'deleted'");
  async function* broken(): AsyncIterable<Buffer> {
    yield Buffer.from("half");
    throw failure("NETWORK", "it broke");
  }
  await expect(files.save("acme", orders, broken())).rejects.toMatchObject({ name: "NETWORK" });
  expect((await store.database.pool.query("select 1 from files where state <> 'deleted'")).rows).toHaveLength(before.rows.length);
});

it("more than a file holds is LIMIT.BODY", async () => {
  async function* endless(): AsyncIterable<Buffer> {
    const piece = Buffer.alloc(3 * 1024 * 1024);
    for (;;) yield piece;
  }
  expect(await files.save("acme", orders, endless())).toMatchObject({ ok: false, fault: { name: "LIMIT.BODY" } });
});

it("what is discarded is gone, and discarding what is not there is no mistake", async () => {
  const saved = await files.save("acme", orders, pieces(Buffer.from("a,b"), 2));
  if (!saved.ok) throw new Error(saved.fault.message);
  await files.discard("rival", saved.value.id);
  expect(await files.find("acme", saved.value.id)).toEqual(saved);
  await files.discard("acme", saved.value.id);
  expect(await files.find("acme", saved.value.id)).toMatchObject({ ok: false, fault: { name: "FILE.NOT_FOUND" } });
  await files.discard("acme", saved.value.id);
});

it("a file may be empty", async () => {
  const saved = await files.save("acme", orders, pieces(Buffer.alloc(0), 1));
  expect(saved).toMatchObject({ ok: true, value: { sizeBytes: 0 } });
});

it("a file may be held to fewer bytes, and lives as long as its maker says", async () => {
  expect(await files.save("acme", { ...orders, bytesMax: 5 }, pieces(Buffer.from("sixsix"), 3))).toMatchObject({ ok: false, fault: { name: "LIMIT.BODY" } });
  const saved = await files.save("acme", { ...orders, ttlMs: 60_000 }, pieces(Buffer.from("abc"), 2));
  if (!saved.ok) throw new Error(saved.fault.message);
  const { rows } = await store.database.pool.query(
    "select extract(epoch from expire_time - create_time)::int as seconds from files order by create_time desc limit 1",
  );
  expect(rows).toEqual([{ seconds: 60 }]);
});

it("a large table goes from the storage through a thread and back, and of one that is broken nothing is left", { timeout: 240_000 }, async () => {
  const count = 120_000;
  const text = "lorem ipsum dolor ".repeat(4);
  const line = `${text},sit\n`;
  async function* table(end: string): AsyncIterable<Buffer> {
    yield Buffer.from("a,b\n");
    for (let at = 0; at < 50; at++) yield Buffer.from(line.repeat(count / 50));
    yield Buffer.from(end);
  }
  await using fileJobs = new FileCourier({ clock: systemClock, log: silentLog, database: store.place.connection, s3: undefined });
  const services = servicesOf(undefined, undefined, { files, fileJobs });
  const alive = async (): Promise<string[]> =>
    (await store.database.pool.query<{ name: string }>("select name from files where tenant_id = 'tenant-a' and state <> 'deleted' order by name")).rows.map(
      ({ name }) => name,
    );
  const convert = async (name: string, end: string) => {
    const source = await files.save("tenant-a", { name, mediaType: "text/csv" }, table(end));
    if (!source.ok) throw new Error(source.fault.message);
    const config = { source: { blob_id: source.value.id, max_bytes: 100_000_000 }, convert: { to_media_type: "application/x-ndjson" } };
    return await fileProcess.run(attemptOf(fileProcess, config), services);
  };
  const expected = Buffer.from(`{"a":"${text}","b":"sit"}\n`.repeat(count));
  const { blob } = resultIn(await convert("whole.csv", "")) as { blob: { blob_id: string; sha256: string } };
  expect(blob.sha256).toBe(createHash("sha256").update(expected).digest("hex"));
  expect((await collect(files.read("tenant-a", blob.blob_id))).equals(expected)).toBe(true);
  expect(failureIn(await convert("broken.csv", '"x')).failure.name).toBe("SCHEMA");
  expect(await alive()).toEqual(["broken.csv", "whole.csv", "whole.ndjson"]);
});
