/** Stored files for tests of steps: in memory, per tenant. */
import { createHash, randomUUID } from "node:crypto";
import { formatId } from "../../src/base/ids.ts";
import { fail, ok } from "../../src/base/result.ts";
import { failure } from "../../src/domain/failure.ts";
import type { StepFile, StepFiles } from "../../src/steps/step-files.ts";

export interface MemoryFiles extends StepFiles {
  put(tenantId: string, name: string, bytes: Uint8Array, mediaType?: string): StepFile;
  bytesOf(id: string): Buffer;
  /** Of all tenants, oldest first. */
  all(): readonly StepFile[];
}

export function memoryFiles(): MemoryFiles {
  const stored = new Map<string, { readonly tenantId: string; readonly file: StepFile; readonly bytes: Buffer }>();
  const files: MemoryFiles = {
    put(tenantId, name, bytes, mediaType = "application/octet-stream") {
      const sha256 = createHash("sha256").update(bytes).digest("hex");
      const file = { id: formatId("blob", randomUUID()), name, mediaType, sizeBytes: bytes.length, sha256 };
      stored.set(file.id, { tenantId, file, bytes: Buffer.from(bytes) });
      return file;
    },
    bytesOf: (id) => stored.get(id)?.bytes ?? Buffer.alloc(0),
    all: () => [...stored.values()].map(({ file }) => file),
    async find(tenantId, id) {
      const found = stored.get(id);
      return found?.tenantId === tenantId ? ok(found.file) : fail(failure("FILE.NOT_FOUND", `file ${id} does not exist, or its time is over`));
    },
    async *read(_, id) {
      yield Buffer.from(files.bytesOf(id));
    },
    async save(tenantId, { name, mediaType }, source) {
      const pieces: Uint8Array[] = [];
      for await (const piece of source) pieces.push(Buffer.from(piece));
      return ok(files.put(tenantId, name, Buffer.concat(pieces), mediaType));
    },
    async discard(_, id) {
      stored.delete(id);
    },
  };
  return files;
}
