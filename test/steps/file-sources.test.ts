/** Where a `file_process` step gets its bytes, and that nothing of it stays behind. */
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterAll, beforeAll, expect, test } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { fileProcess } from "../../src/steps/file-process.ts";
import type { HttpEgress } from "../../src/steps/step-handler.ts";
import { memoryFiles } from "./memory-files.ts";
import { attemptOf, failureIn, localEgress, resultIn, servicesOf } from "./step-call.ts";

const table = `id,name\n${"1,lorem ipsum\n".repeat(150_000)}`;
let server: Server;
let origin: string;
let egress: HttpEgress & AsyncDisposable;
beforeAll(async () => {
  server = createServer((request, response) => {
    if (request.url === "/table") response.end(table);
    else if (request.url === "/none") response.writeHead(204).end();
    else response.write(table, () => response.destroy());
  });
  await new Promise<void>((resolve) => server.listen(0, "127.0.0.1", resolve));
  origin = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
  egress = localEgress();
});
afterAll(async () => {
  await egress[Symbol.asyncDispose]();
  server.closeAllConnections();
  await new Promise((resolve) => server.close(resolve));
});

async function outcomeOf(url: string, operation: JsonObject, files = memoryFiles(), facts: object = {}) {
  const source = { url: `${origin}${url}`, ...facts };
  return { files, outcome: await fileProcess.run(attemptOf(fileProcess, { source, ...operation }), servicesOf(egress, undefined, { files })) };
}
const rows: JsonObject = { validate: { required_columns: ["id"], max_rows: 150_000 } };

test("a fetched file above 1 MiB is read from a temporary file of the tenant, which is gone afterwards", async () => {
  const names: string[] = [];
  const files = memoryFiles();
  const watched = {
    ...files,
    save: async (...[tenantId, file, bytes]: Parameters<typeof files.save>) => {
      names.push(`${file.name} for ${file.ttlMs} ms`);
      return await files.save(tenantId, file, bytes);
    },
  };
  const { outcome } = await outcomeOf("/table", rows, watched);
  expect(resultIn(outcome)).toMatchObject({ valid: true, media_type: "text/csv", size_bytes: table.length });
  expect(names).toEqual(["fetched for 3600000 ms"]);
  expect(files.all()).toEqual([]);
});

test("of a conversion only its result stays", async () => {
  const { outcome, files } = await outcomeOf("/table", { convert: { to_media_type: "application/x-ndjson" } });
  const { blob } = resultIn(outcome) as { blob: { blob_id: string } };
  expect(files.all().map(({ id }) => id)).toEqual([blob.blob_id]);
  expect(files.bytesOf(blob.blob_id).toString()).toBe('{"id":"1","name":"lorem ipsum"}\n'.repeat(150_000));
});

test.each([
  ["/broken", {}, /^NETWORK: /],
  ["/table", { max_bytes: 2_000_000 }, /^LIMIT\.BODY: /],
])("a fetched file that does not come whole leaves nothing behind (%s)", async (url, facts, expected) => {
  const { outcome, files } = await outcomeOf(url, rows, memoryFiles(), facts);
  const { failure } = failureIn(outcome);
  expect(`${failure.name}: ${failure.message}`).toMatch(expected);
  expect(files.all()).toEqual([]);
});

test("an answer without a body is an empty file", async () => {
  const { outcome } = await outcomeOf("/none", { extract: {} });
  expect(resultIn(outcome)).toMatchObject({ media_type: "text/plain", size_bytes: 0, text: "" });
});
