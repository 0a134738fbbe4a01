import { createHash, randomBytes } from "node:crypto";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { parseId } from "../../src/base/ids.ts";
import { LeftOut } from "../../src/base/left-out.ts";
import { silentLog } from "../../src/base/log.ts";
import { createFileRepository, type FileRepository } from "../../src/store/file-repository.ts";
import { createS3Storage } from "../../src/store/object-storage.ts";
import { openStore, risingIds, type TestStore } from "./open-store.ts";
import { type S3Server, s3Credentials, startS3 } from "./s3-server.ts";

let store: TestStore;
let s3: S3Server;
beforeAll(async () => {
  store = await openStore();
  s3 = await startS3();
});
afterAll(async () => {
  await s3?.[Symbol.asyncDispose]();
  await store?.[Symbol.asyncDispose]();
});

const ids = risingIds();
const acme = "acme";
const bytes = randomBytes(2_500_000);
const digest = createHash("sha256").update(bytes).digest("hex");
const hour = 3_600_000;

async function collect(pieces: AsyncIterable<Buffer>): Promise<Buffer> {
  const all: Buffer[] = [];
  for await (const piece of pieces) all.push(piece);
  return Buffer.concat(all);
}

async function upload(files: FileRepository, content: Buffer = bytes, chunkBytes = 1_000_000): Promise<string> {
  const { id } = await files.create(acme, { name: "orders.csv", mediaType: "text/csv", ttlMs: hour });
  for (let at = 0; at < content.length; at += chunkBytes) await files.append(acme, id, at, content.subarray(at, at + chunkBytes));
  return id;
}

const rowsOf = async (table: string, id: string): Promise<number> => {
  const column = table === "files" ? "id" : "file_id";
  return (await store.database.pool.query(`select 1 from ${table} where ${column} = $1`, [parseId("blob", id)])).rows.length;
};

const expire = (id: string) => store.database.pool.query("update files set expire_time = now() - interval '1 second' where id = $1", [parseId("blob", id)]);

describe.each(["the database", "S3-compatible storage"])("files in %s", (place) => {
  let files: FileRepository;
  beforeAll(() => {
    const objects = place === "the database" ? undefined : createS3Storage({ ...s3Credentials, endpoint: s3.endpoint });
    files = createFileRepository({ pool: store.database.pool, ids, objects });
  });

  it("come back byte by byte, whole and by ranges across chunks", async () => {
    const id = await upload(files);
    await expect(files.complete(acme, id, digest.toUpperCase())).resolves.toMatchObject({ state: "ready", sizeBytes: bytes.length, sha256: digest });
    expect((await collect(files.read(acme, id))).equals(bytes)).toBe(true);
    for (const [start, end] of [
      [0, 1],
      [999_999, 1_000_001],
      [2_499_999, 9_000_000],
      [1_234_567, 2_345_678],
    ] as const) {
      expect((await collect(files.read(acme, id, start, end))).equals(bytes.subarray(start, end))).toBe(true);
    }
    expect(await collect(files.read(acme, id, bytes.length))).toHaveLength(0);
    expect(await rowsOf("file_chunks", id)).toBe(place === "the database" ? 3 : 0);
    await expect(files.complete(acme, id, digest)).resolves.toMatchObject({ state: "ready" });
  });

  it("may be empty", async () => {
    const { id } = await files.create(acme, { name: "empty", mediaType: "text/plain", ttlMs: hour });
    await files.complete(acme, id);
    expect(await collect(files.read(acme, id))).toHaveLength(0);
  });

  it("leave nothing when their time is over: no row, no chunk, no object", async () => {
    const id = await upload(files);
    await files.complete(acme, id);
    await expire(id);
    await expect(files.get(acme, id)).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    expect(await files.purge()).toBeGreaterThan(0);
    expect([await rowsOf("files", id), await rowsOf("file_chunks", id)]).toEqual([0, 0]);
    expect([...s3.objects.keys()].filter((name) => name.includes(parseId("blob", id) as string))).toEqual([]);
  });
});

describe("an upload", () => {
  let files: FileRepository;
  beforeAll(() => {
    files = createFileRepository({ pool: store.database.pool, ids });
  });

  it("goes on where it broke off, and a chunk whose answer was lost is taken again", async () => {
    const { id } = await files.create(acme, { name: "a", mediaType: "text/plain", ttlMs: hour });
    await files.append(acme, id, 0, bytes.subarray(0, 1000));
    await expect(files.append(acme, id, 0, bytes.subarray(0, 1000))).resolves.toMatchObject({ sizeBytes: 1000 });
    await expect(files.append(acme, id, 0, bytes.subarray(1, 1001))).rejects.toMatchObject({ reason: "FILE_OFFSET_CONFLICT", metadata: { sizeBytes: "1000" } });
    await expect(files.append(acme, id, 1500, bytes.subarray(0, 1))).rejects.toMatchObject({ reason: "FILE_OFFSET_CONFLICT" });
    await files.append(acme, id, (await files.get(acme, id)).sizeBytes, bytes.subarray(1000, 1500));
    await files.complete(acme, id);
    expect((await collect(files.read(acme, id))).equals(bytes.subarray(0, 1500))).toBe(true);
    await expect(files.append(acme, id, 1500, bytes.subarray(0, 1))).rejects.toMatchObject({ reason: "FILE_NOT_UPLOADING" });
  });

  it("of two chunks for one place takes one", async () => {
    const { id } = await files.create(acme, { name: "a", mediaType: "text/plain", ttlMs: hour });
    const both = await Promise.allSettled([files.append(acme, id, 0, Buffer.from("one")), files.append(acme, id, 0, Buffer.from("two"))]);
    expect(both.map(({ status }) => status).sort()).toEqual(["fulfilled", "rejected"]);
    expect((await files.get(acme, id)).sizeBytes).toBe(3);
  });

  it("with a wrong digest is refused and stays as it is", async () => {
    const id = await upload(files, Buffer.from("hello"));
    await expect(files.complete(acme, id, "0".repeat(64))).rejects.toMatchObject({ reason: "FILE_DIGEST_MISMATCH" });
    await expect(files.get(acme, id)).resolves.toMatchObject({ state: "uploading", sizeBytes: 5 });
    await expect(collect(files.read(acme, id))).rejects.toMatchObject({ reason: "FILE_NOT_READY" });
  });

  it("ends at the size limit of a file", async () => {
    const { id } = await files.create(acme, { name: "big", mediaType: "text/plain", ttlMs: hour });
    await store.database.pool.query("update files set size_bytes = 104857600 where id = $1", [parseId("blob", id)]);
    await expect(files.append(acme, id, 104_857_600, Buffer.from("x"))).rejects.toMatchObject({ reason: "LIMIT_EXCEEDED" });
    await files.remove(acme, id);
  });

  it("ends at the tenant's quota", async () => {
    const { id } = await files.create("hoarder", { name: "big", mediaType: "text/plain", ttlMs: hour });
    await store.database.pool.query(
      "insert into files (tenant_id, id, name, media_type, state, size_bytes, expire_time) values ('hoarder', gen_random_uuid(), 'x', 'x/x', 'ready', 10737418239, now() + interval '1 hour')",
    );
    await files.append("hoarder", id, 0, Buffer.from("x"));
    await expect(files.append("hoarder", id, 1, Buffer.from("x"))).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
    await expect(files.create("hoarder", { name: "more", mediaType: "text/plain", ttlMs: hour })).rejects.toMatchObject({ reason: "QUOTA_EXCEEDED" });
  });

  it("of another tenant reads like one that does not exist", async () => {
    const id = await upload(files, Buffer.from("secret"));
    for (const reference of [id, ids.next("blob"), "blb_nonsense", ""]) {
      await expect(files.get("rival", reference)).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
      await expect(files.append("rival", reference, 0, Buffer.from("x"))).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
      await expect(collect(files.read("rival", reference))).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
      await expect(files.remove("rival", reference)).rejects.toMatchObject({ reason: "FILE_NOT_FOUND" });
    }
  });
});

it("object storage in trouble is told as STORAGE_UNAVAILABLE, and the upload is completed later", async () => {
  const files = createFileRepository({ pool: store.database.pool, ids, objects: createS3Storage({ ...s3Credentials, endpoint: s3.endpoint }) });
  const id = await upload(files, Buffer.from("hello"));
  s3.trouble = 503;
  await expect(files.complete(acme, id)).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  await expect(files.get(acme, id)).resolves.toMatchObject({ state: "uploading" });
  s3.trouble = undefined;
  await files.complete(acme, id);
  s3.trouble = 500;
  await expect(collect(files.read(acme, id))).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  s3.trouble = undefined;
  expect((await collect(files.read(acme, id))).toString()).toBe("hello");
  const stranger = createS3Storage({ ...s3Credentials, secretAccessKey: "wrong", endpoint: s3.endpoint });
  await expect(stranger.remove("x/y")).rejects.toMatchObject({ reason: "STORAGE_UNAVAILABLE" });
  expect(s3.refused).toEqual(["wrong signature"]);
});

it.each<[string, (put: () => Promise<void>, files: FileRepository, id: string) => Promise<void>]>([
  [
    "the process died after the object was written",
    async (put) => {
      await put();
      throw new Error("died");
    },
  ],
  [
    "the file was deleted and purged before the object was there",
    async (put, files, id) => {
      await files.remove(acme, id);
      await files.purge();
      await put();
    },
  ],
])("no object is left behind when %s", async (_, putting) => {
  const storage = createS3Storage({ ...s3Credentials, endpoint: s3.endpoint });
  let id = "";
  const objects = { ...storage, put: (...object: Parameters<typeof storage.put>) => putting(() => storage.put(...object), files, id) };
  const files: FileRepository = createFileRepository({ pool: store.database.pool, ids, objects });
  id = await upload(files, Buffer.from("hello"));
  await expect(files.complete(acme, id)).rejects.toThrow();
  await expire(id);
  await files.purge();
  expect([...s3.objects.keys()].filter((name) => name.includes(parseId("blob", id) as string))).toEqual([]);
  expect(await rowsOf("files", id)).toBe(0);
});

it("a file whose object cannot be removed does not hold up the purge of those behind it", async () => {
  const storage = createS3Storage({ ...s3Credentials, endpoint: s3.endpoint });
  let bad = "";
  const remove = (name: string): Promise<void> => (name.endsWith(bad) ? Promise.reject(new Error("no such right")) : storage.remove(name));
  const leftOut = new LeftOut({ work: "files", log: silentLog });
  const files = createFileRepository({ pool: store.database.pool, ids, objects: { ...storage, remove }, leftOut });
  const [first, second] = [await upload(files, Buffer.from("one")), await upload(files, Buffer.from("two"))];
  for (const id of [first, second]) {
    await files.complete(acme, id);
    await expire(id);
  }
  bad = parseId("blob", first) as string;
  while ((await files.purge()) > 0);
  expect([await rowsOf("files", first), await rowsOf("files", second)]).toEqual([1, 0]);
  bad = "nobody";
  while ((await files.purge()) > 0);
  expect(await rowsOf("files", first)).toBe(0);
});
