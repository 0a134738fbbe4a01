import { createHash, randomBytes } from "node:crypto";
import { Code, ConnectError } from "@connectrpc/connect";
import { expect, it } from "vitest";
import { ExecutionState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import { FileState } from "#gen/pyairtable/workflow/v1/file_pb.js";
import { run, useServer } from "./support/fixture.ts";

const fixture = useServer();

it("a file is uploaded in chunks, completed with its digest, read whole and by range, listed and deleted", async () => {
  const { files } = fixture.clients;
  const bytes = randomBytes(4_000_000);
  const sha256 = createHash("sha256").update(bytes).digest("hex");
  const { file } = await files.createFile({ name: "orders.bin", mediaType: "application/x-orders" });
  expect(file).toMatchObject({ name: "orders.bin", mediaType: "application/x-orders", state: FileState.UPLOADING, sizeBytes: 0n });
  const fileId = file?.id as string;
  for (let at = 0; at < bytes.length; at += 3_000_000) await files.appendFile({ fileId, offsetBytes: BigInt(at), data: bytes.subarray(at, at + 3_000_000) });
  const done = await files.completeFile({ fileId, sha256 });
  expect(done.file).toMatchObject({ state: FileState.READY, sizeBytes: 4_000_000n, sha256 });

  const pieces: Uint8Array[] = [];
  let described = 0;
  for await (const { item } of files.readFile({ fileId })) {
    if (item.case === "file") described++;
    else if (item.case === "data") pieces.push(item.value);
  }
  expect(described).toBe(1);
  expect(Buffer.concat(pieces).equals(bytes)).toBe(true);
  const part: Uint8Array[] = [];
  for await (const { item } of files.readFile({ fileId, offsetBytes: 2_999_990n, lengthBytes: 20n })) if (item.case === "data") part.push(item.value);
  expect(Buffer.concat(part).equals(bytes.subarray(2_999_990, 3_000_010))).toBe(true);

  expect((await files.listFiles({ filter: 'name = "orders*"' })).files.map(({ id }) => id)).toEqual([fileId]);
  expect((await files.listFiles({ filter: 'name = "other*"' })).files).toEqual([]);
  await files.deleteFile({ fileId });
  await expect(files.getFile({ fileId })).rejects.toMatchObject({ code: Code.NotFound });
  const reading = (async () => {
    for await (const _ of files.readFile({ fileId }));
  })();
  await expect(reading).rejects.toMatchObject({ code: Code.NotFound });
});

it("names that look like paths, empty or too large chunks and short lives are refused with their field", async () => {
  const { files } = fixture.clients;
  for (const name of ["../../etc/passwd", "a\\b", "a\nb", ""]) await expectInvalid(files.createFile({ name }), "name");
  await expectInvalid(files.createFile({ name: "a", mediaType: "text" }), "media_type");
  await expectInvalid(files.createFile({ name: "a", ttl: { seconds: 1n, nanos: 0 } }), "ttl");
  const { file } = await files.createFile({ name: "a" });
  await expectInvalid(files.appendFile({ fileId: file?.id ?? "", data: new Uint8Array() }), "data");
  await expectInvalid(files.appendFile({ fileId: file?.id ?? "", data: new Uint8Array(3_145_729) }), "data");
  await expectInvalid(files.completeFile({ fileId: file?.id ?? "", sha256: "beef" }), "sha256");
});

it("an http_request stores its answer as a file, and another one sends that on", async () => {
  const csv = "id,total\n1,2.50\n".repeat(50_000);
  fixture.ledger.script("/report", [
    { status: 200, raw: csv, headers: { "content-type": "text/csv", "content-disposition": 'attachment; filename="../report.csv"' } },
  ]);
  const execution = await run(fixture.clients, [
    { name: "report", http_request: { url: `${fixture.ledger.url}/report`, response_type: "HTTP_RESPONSE_TYPE_BLOB" } },
    {
      name: "upload",
      http_request: { method: "PUT", url: `${fixture.ledger.url}/upload`, blob_id: "{{steps.report.result.blob.blob_id}}" },
    },
  ]);
  expect(execution.state).toBe(ExecutionState.COMPLETED);
  expect(fixture.ledger.callsTo("/upload")).toMatchObject([
    { method: "PUT", body: csv, headers: { "content-type": "text/csv", "content-length": String(csv.length) } },
  ]);
  const { files } = await fixture.clients.files.listFiles({ filter: 'name = "report.csv"' });
  expect(files).toMatchObject([{ mediaType: "text/csv", state: FileState.READY, sizeBytes: BigInt(csv.length) }]);
});

async function expectInvalid(call: Promise<unknown>, field: string): Promise<void> {
  const error = await call.then(
    () => undefined,
    (refusal: unknown) => ConnectError.from(refusal),
  );
  expect(error?.code).toBe(Code.InvalidArgument);
  expect(error?.message).toContain(field);
}
