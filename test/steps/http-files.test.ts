import { createHash, createHmac, randomBytes } from "node:crypto";
import { once } from "node:events";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { setImmediate } from "node:timers/promises";
import { gzipSync } from "node:zlib";
import { afterAll, beforeAll, beforeEach, describe, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { Mask } from "../../src/base/mask.ts";
import { fail, ok } from "../../src/base/result.ts";
import { failure } from "../../src/domain/failure.ts";
import { httpRequest } from "../../src/steps/http-request.ts";
import { maskedServices } from "../../src/steps/masked-services.ts";
import type { StepFiles } from "../../src/steps/step-files.ts";
import type { HttpEgress, StepCall, StepOutcome } from "../../src/steps/step-handler.ts";
import { type MemoryFiles, memoryFiles } from "./memory-files.ts";
import { type MisbehavingServer, startMisbehavingServer } from "./misbehaving-server.ts";
import { attemptOf, failureIn, localEgress, resultIn, secretsOf, servicesOf } from "./step-call.ts";

const mebibyte = 1024 * 1024;
const blob = { response_type: "HTTP_RESPONSE_TYPE_BLOB" };
let server: MisbehavingServer;
let egress: HttpEgress & AsyncDisposable;
let files: MemoryFiles;
beforeAll(async () => {
  server = await startMisbehavingServer();
  egress = localEgress();
});
afterAll(async () => {
  await egress[Symbol.asyncDispose]();
  await server[Symbol.asyncDispose]();
});
beforeEach(() => {
  files = memoryFiles();
});

function run(path: string, config: JsonObject = {}, facts: Partial<StepCall> = {}, stored: StepFiles = files): Promise<StepOutcome> {
  const call = attemptOf(httpRequest, { url: `{{origin}}${path}`, ...config }, { origin: server.origin }, facts);
  return Promise.resolve(httpRequest.run(call, servicesOf(egress, undefined, { files: stored })));
}
const keep = (path: string, config: JsonObject = {}, facts: Partial<StepCall> = {}) => run(path, { ...blob, ...config }, facts);
async function failedAs(outcome: Promise<StepOutcome>): Promise<string> {
  const { failure: met, outcome: effect } = failureIn(await outcome);
  return `${met.name} ${effect}`;
}

describe("an answer stored as a file", () => {
  test("is a reference in the result, with status and headers", async () => {
    const disposition = encodeURIComponent('attachment; filename="orders 1.csv"');
    const result = resultIn(await keep(`/file/${disposition}/${encodeURIComponent("Text/CSV; charset=utf-8")}`)) as { blob: { blob_id: string } };
    const sha256 = createHash("sha256").update("a,b\n1,2\n").digest("hex");
    expect(result).toMatchObject({ status: 200, blob: { name: "orders 1.csv", media_type: "text/csv", size_bytes: 8, sha256 } });
    expect(result).not.toHaveProperty("body");
    expect(files.bytesOf(result.blob.blob_id).toString()).toBe("a,b\n1,2\n");
  });

  test.each([
    ['attachment; filename="../../etc/passwd"', "passwd"],
    ['attachment; filename="C:\\\\\\\\temp\\\\\\\\a.txt"', "a.txt"],
    ["attachment; filename=plain.txt; size=3", "plain.txt"],
    ["attachment; filename=ignored; filename*=UTF-8''caf%C3%A9%00%0A.txt", "caf\u00e9.txt"],
    ["attachment; filename*=UTF-8''%E2%80%AEfdp.exe", "fdp.exe"],
    [`attachment; filename="${"x".repeat(300)}"`, "x".repeat(255)],
    ['attachment; filename=".."', "csv"],
    ["attachment", "csv"],
    ["-", "csv"],
  ])("of the disposition %j is named %j", async (disposition, name) => {
    expect(resultIn(await keep(`/file/${encodeURIComponent(disposition)}/csv?key=hidden`))).toMatchObject({
      blob: { name, media_type: "application/octet-stream" },
    });
  });

  test.each(["gzip", "br", "deflate", "deflate-raw"])("is decoded from %s", async (encoding) => {
    await keep(`/${encoding}`);
    expect(files.all().map(({ id }) => files.bytesOf(id).toString())).toEqual(["plain words"]);
  });

  test("may be empty; without a body due there is none", async () => {
    expect(resultIn(await keep("/empty"))).toMatchObject({ blob: { size_bytes: 0 } });
    expect(resultIn(await keep("/status/204"))).toMatchObject({ status: 204, blob: null });
    expect(resultIn(await keep("/ok", { method: "HEAD" }))).toMatchObject({ status: 200, blob: null });
  });

  test.each([
    ["/endless", {}, "LIMIT.BODY unknown"],
    ["/bomb", { max_response_bytes: String(4 * mebibyte) }, "LIMIT.BODY unknown"],
    ["/huge-length", {}, "LIMIT.BODY unknown"],
    ["/ok", { max_response_bytes: "5" }, "LIMIT.BODY unknown"],
    ["/lying-length", {}, "NETWORK unknown"],
    ["/reset-late", {}, "NETWORK unknown"],
    ["/broken-gzip", {}, "NETWORK unknown"],
    ["/double-gzip", {}, "LIMIT.BODY unknown"],
    ["/ok", { success_when: "result.blob.size_bytes > 100" }, "HTTP.REJECTED unknown"],
  ] as [string, JsonObject, string][])("is never left behind by %s with %j, which is %s", async (path, config, expected) => {
    expect(await failedAs(keep(path, config))).toBe(expected);
    expect(files.all()).toEqual([]);
  });

  test("is only made of success: other statuses are read as ever, within their own bound", async () => {
    const { failure: met } = failureIn(await keep("/status/404", { max_response_bytes: String(100 * mebibyte) }));
    expect(met).toMatchObject({ name: "HTTP.404", details: { body: { code: "NO" } } });
    expect(await failedAs(keep("/status/202", {}, { isParticipant: true }))).toBe("IN_PROGRESS unknown");
    expect(files.all()).toEqual([]);
    expect(resultIn(await keep("/status/404", { success_statuses: ["404"] }))).toMatchObject({ blob: { media_type: "application/json" } });
  });

  test("ends with the attempt", async () => {
    const timeout = new AbortController();
    const outcome = failedAs(keep("/slow-body", {}, { signal: timeout.signal }));
    await expect.poll(() => server.seen.some(({ path }) => path === "/slow-body")).toBe(true);
    timeout.abort(failure("TIMEOUT.START_TO_CLOSE", "too long"));
    expect(await outcome).toBe("TIMEOUT.START_TO_CLOSE unknown");
    expect(files.all()).toEqual([]);
  });

  test("fails as the storage does, whether it reads or not", async () => {
    const full: StepFiles = { ...files, save: async () => fail(failure("LIMIT.FILES", "the tenant has too many files")) };
    expect(await failedAs(run("/endless", blob, {}, full))).toBe("LIMIT.FILES unknown");
    expect(await failedAs(run("/broken-gzip", blob, {}, full))).toBe("LIMIT.FILES unknown");
  });

  test("has a name without the secrets of the attempt", async () => {
    const mask = new Mask();
    mask.conceal("s3cret-value");
    const call = attemptOf(httpRequest, { url: `${server.origin}/file/${encodeURIComponent("attachment; filename=s3cret-value.csv")}/text%2Fcsv`, ...blob });
    await httpRequest.run(call, maskedServices(servicesOf(egress, undefined, { files }), mask));
    expect(files.all().map(({ name }) => name)).toEqual([expect.not.stringContaining("s3cret-value")]);
  });

  test("of tens of MiB passes in pieces: the sender waits for the storage", async () => {
    const size = 64 * mebibyte;
    let written = 0;
    const source = createServer(async (_, response) => {
      for (response.writeHead(200, { "content-type": "video/mp4" }); written < size; written += 65_536)
        if (!response.write(Buffer.alloc(65_536, 7))) await once(response, "drain");
      response.end();
    });
    await new Promise<void>((resolve) => source.listen(0, "127.0.0.1", resolve));
    let taken = 0;
    let underWayMax = 0;
    const slow: StepFiles = {
      ...files,
      async save(tenantId, file, bytes) {
        for await (const piece of bytes) {
          taken += piece.length;
          underWayMax = Math.max(underWayMax, written - taken);
          await setImmediate();
          await setImmediate();
        }
        return ok(files.put(tenantId, file.name, Buffer.from("x"), file.mediaType));
      },
    };
    const url = `http://127.0.0.1:${(source.address() as AddressInfo).port}/film.mp4`;
    expect(resultIn(await run("", { ...blob, url, max_response_bytes: String(100 * mebibyte) }, {}, slow))).toMatchObject({ blob: { name: "film.mp4" } });
    source.closeAllConnections();
    source.close();
    expect(taken).toBe(size);
    expect(underWayMax).toBeLessThan(24 * mebibyte);
  });
});

describe("a stored file as the body", () => {
  const content = Buffer.from("id,total\n1,2.50\n");
  const send = (id: string, path = "/echo", config: JsonObject = {}, facts: Partial<StepCall> = {}) =>
    run(path, { method: "POST", blob_id: `{{"${id}"}}`, ...config }, facts);

  test("is sent with its media type and length, again after a redirect", async () => {
    const { id } = files.put("tenant-a", "orders.csv", content, "text/csv");
    const sent = { body: content.toString(), headers: { "content-type": "text/csv", "content-length": String(content.length) } };
    expect(resultIn(await send(id))).toMatchObject({ body: sent });
    expect(resultIn(await send(id, "/redirect/307", { max_redirects: 1 }))).toMatchObject({ body: { method: "POST", ...sent } });
    expect(resultIn(await send(id, "/echo", { headers: { "Content-Type": "application/x-orders" } }))).toMatchObject({
      body: { headers: { "content-type": "application/x-orders" } },
    });
    expect(resultIn(await send(files.put("tenant-a", "none", Buffer.alloc(0)).id))).toMatchObject({ body: { body: "" } });
  });

  test("is signed as any other", async () => {
    const { id } = files.put("tenant-a", "orders.csv", content);
    const key = "k3y-k3y-k3y";
    const outcome = await send(id, "/echo", { auth: { hmac_sha256: { slot: "hook" } } }, { secrets: secretsOf({ hook: key }) });
    const signature = `sha256=${createHmac("sha256", key).update(content).digest("hex")}`;
    expect(resultIn(outcome)).toMatchObject({ body: { headers: { "x-signature-256": signature }, body: content.toString() } });
  });

  test("that is not there, or another tenant's, is FILE.NOT_FOUND and nothing is sent", async () => {
    const before = server.seen.length;
    for (const id of ["blb_nonsense", "", files.put("tenant-b", "theirs", content).id]) expect(await failedAs(send(id))).toBe("FILE.NOT_FOUND failed");
    expect(server.seen.length).toBe(before);
  });

  test("that breaks off while it is sent fails as the storage did", async () => {
    const { id } = files.put("tenant-a", "orders.csv", randomBytes(100_000));
    const broken: StepFiles = {
      ...files,
      async *read() {
        yield randomBytes(50_000);
        throw failure("FILE.NOT_FOUND", "its time is over");
      },
    };
    expect(await failedAs(run("/echo", { method: "POST", blob_id: id }, {}, broken))).toBe("FILE.NOT_FOUND unknown");
  });

  test("comes back as a file unchanged", async () => {
    const bytes = gzipSync(randomBytes(3 * mebibyte));
    const { id } = files.put("tenant-a", "orders.bin", bytes, "application/gzip");
    const mirror = createServer((request, response) => void request.pipe(response));
    await new Promise<void>((resolve) => mirror.listen(0, "127.0.0.1", resolve));
    const url = `http://127.0.0.1:${(mirror.address() as AddressInfo).port}/mirror`;
    const outcome = await run("", { ...blob, url, method: "POST", blob_id: id, max_response_bytes: String(10 * mebibyte) });
    mirror.closeAllConnections();
    mirror.close();
    const { blob: made } = resultIn(outcome) as { blob: { blob_id: string } };
    expect(files.bytesOf(made.blob_id).equals(bytes)).toBe(true);
  });
});
