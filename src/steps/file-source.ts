/** The source of a `file_process` step: a stored file, given as text, or fetched. It is read in pieces, and can be read again. */
import type { JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import { failed, failedWith, integerField, isSet, textField, textOf } from "./config-fields.ts";
import type { TaskSource } from "./files/file-job.ts";
import { matchesStatus, statusFailure } from "./http-answer.ts";
import { callHeaders } from "./http-headers.ts";
import { checkUrlLiteral } from "./http-request-check.ts";
import type { Report } from "./report.ts";
import type { AnswerSink, StepCall, StepFile, StepOutcome, StepServices } from "./step-handler.ts";

/** 10 MiB, unless `max_bytes` asks for more. */
const sourceBytesDefault = 10 * 1024 * 1024;
/** A fetched file above it goes into a temporary file of the tenant instead of memory, so that no thread waits for a slow host. */
const heldBytesMax = 1024 * 1024;
/** Should the process die before it takes the temporary file back: an hour. */
const temporaryMs = 3_600_000;

export function checkFileSource(source: JsonObject | undefined, report: Report): void {
  if (!source) return report("source", "VALIDATION_FAILED", "give the file as blob_id, text or url");
  if (isSet(source, "url")) checkUrlLiteral(source["url"], "source.url", report);
  else if (!isSet(source, "text") && !isSet(source, "blob_id")) report("source", "VALIDATION_FAILED", "give the file as blob_id, text or url");
  const bytesMax = integerField(source, "max_bytes") ?? sourceBytesDefault;
  if (bytesMax < 0 || bytesMax > limits.fileBytesMax) report("source.max_bytes", "LIMIT_EXCEEDED", `must be at most ${limits.fileBytesMax}`);
}

export interface OpenSource extends TaskSource {
  /** Of a stored file. */
  readonly name?: string;
  /** Takes back what was stored for the reading only. */
  close(): Promise<void>;
}

/** The file, or how the step ends without it. */
export async function openSource(call: StepCall, services: StepServices, source: JsonObject): Promise<Result<OpenSource, StepOutcome>> {
  const bytesMax = Math.min(integerField(source, "max_bytes") ?? sourceBytesDefault, limits.fileBytesMax);
  const blobId = textField(source, "blob_id");
  if (blobId !== undefined) return await openStored(call, services, blobId, bytesMax);
  const url = textField(source, "url");
  if (url !== undefined) return await fetchFile(call, services, url, bytesMax);
  const bytes = Buffer.from(textOf(source["text"] ?? ""));
  return bytes.length > bytesMax ? fail(failed("LIMIT.BODY", `the text has ${bytes.length} bytes, the limit is ${bytesMax}`)) : ok(held([bytes]));
}

async function openStored(call: StepCall, services: StepServices, id: string, bytesMax: number): Promise<Result<OpenSource, StepOutcome>> {
  const found = await services.files.find(call.tenantId, id);
  if (!found.ok) return fail(failedWith(found.fault));
  const { name, sizeBytes } = found.value;
  if (sizeBytes > bytesMax) return fail(failed("LIMIT.BODY", `the file has ${sizeBytes} bytes, the limit is ${bytesMax}`));
  return ok({ ...stored(call, services, found.value), name });
}

async function fetchFile(call: StepCall, services: StepServices, url: string, bytesMax: number): Promise<Result<OpenSource, StepOutcome>> {
  let source: OpenSource | undefined;
  const sink: AnswerSink = {
    bytesMax,
    accepts: ({ status }) => matchesStatus(["2xx"], status),
    async take(_, bytes) {
      const kept = await keepFetched(call, services, bytes);
      if (kept.ok) source = kept.value;
      return kept;
    },
  };
  const request = { method: "GET", url };
  const answer = await services.http.request({
    ...request,
    tenantId: call.tenantId,
    headers: { accept: "*/*", ...callHeaders(call) },
    responseBytesMax: heldBytesMax,
    sink,
    redirectsMax: 0,
    signal: call.signal,
  });
  if (answer.kind === "answered" && source) return ok(source);
  await source?.close();
  return fail(answer.kind === "failed" ? answer : statusFailure(call, request, answer));
}

/** Short ones in memory, longer ones in the tenant's storage. */
async function keepFetched(call: StepCall, services: StepServices, bytes: AsyncIterable<Uint8Array>): Promise<Result<OpenSource, Failure>> {
  const pieces: Uint8Array[] = [];
  let size = 0;
  const rest = bytes[Symbol.asyncIterator]();
  for (;;) {
    const next = await rest.next();
    if (next.done) return ok(held(pieces));
    pieces.push(next.value);
    size += next.value.length;
    if (size > heldBytesMax) break;
  }
  async function* all(): AsyncIterable<Uint8Array> {
    yield* pieces.splice(0);
    for (;;) {
      const next = await rest.next();
      if (next.done) return;
      yield next.value;
    }
  }
  const saved = await services.files.save(call.tenantId, { name: "fetched", mediaType: "application/octet-stream", ttlMs: temporaryMs }, all());
  if (!saved.ok) return saved;
  const { id } = saved.value;
  return ok({ ...stored(call, services, saved.value), close: () => services.files.discard(call.tenantId, id) });
}

function held(pieces: readonly Uint8Array[]): OpenSource {
  const sizeBytes = pieces.reduce((sum, { length }) => sum + length, 0);
  return {
    sizeBytes,
    async *read() {
      yield* pieces;
    },
    close: async () => undefined,
  };
}

function stored({ tenantId }: StepCall, { files }: StepServices, { id, sizeBytes }: StepFile): OpenSource {
  return { sizeBytes, handsOver: true, read: () => files.read(tenantId, id), close: async () => undefined };
}
