import { create } from "@bufbuild/protobuf";
import { createContextValues, type HandlerContext } from "@connectrpc/connect";
import { expect, test } from "vitest";
import { ReadFileRequestSchema } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { fileRpcs } from "../../src/rpc/file-service.ts";
import { callerKey } from "../../src/rpc/interceptors/call.ts";
import type { FileRecord } from "../../src/store/file-repository.ts";
import { callerOf } from "../store/open-store.ts";

test("a reader who leaves early closes what the storage has open", async () => {
  let isOpen = false;
  async function* bytes(): AsyncGenerator<Buffer> {
    isOpen = true;
    try {
      for (;;) yield Buffer.from("x");
    } finally {
      isOpen = false;
    }
  }
  const file = { id: "blb_1", name: "n", mediaType: "text/plain", state: "ready", sizeBytes: 9, createdAt: 0, expiresAt: 0 } as FileRecord;
  const files = { get: async () => file, read: bytes };
  const rpcs = fileRpcs({ files } as never);
  const context = { values: createContextValues().set(callerKey, callerOf("acme")) } as HandlerContext;
  const seen: (string | undefined)[] = [];
  for await (const { item } of rpcs.readFile(create(ReadFileRequestSchema, { fileId: "blb_1" }), context)) {
    seen.push(item?.case);
    if (seen.length === 2) {
      expect(isOpen).toBe(true);
      break;
    }
  }
  expect([seen, isOpen]).toEqual([["file", "data"], false]);
});
