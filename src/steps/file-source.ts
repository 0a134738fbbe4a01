/** The source of a `file_process` step: a stored file, given as text, or fetched. */
import type { JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import { failed, failedWith, integerField, isSet, textField, textOf } from "./config-fields.ts";
import type { OrderSource } from "./files/file-order.ts";
import { matchesStatus, statusFailure } from "./http-answer.ts";
import { callHeaders } from "./http-headers.ts";
import { checkUrlLiteral } from "./http-request-check.ts";
import type { Report } from "./report.ts";
import type { StepFile } from "./step-files.ts";
import type { AnswerSink, StepCall, StepOutcome, StepServices } from "./step-handler.ts";

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

export interface OpenSource {
  readonly order: OrderSource;
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
  const bytes = new TextEncoder().encode(textOf(source["text"] ?? ""));
  return bytes.length > bytesMax ? fail(failed("LIMIT.BODY", `the text has ${bytes.length} bytes, the limit is ${bytesMax}`)) : ok(held(bytes));
}

async function openStored(call: StepCall, services: StepServices, id: string, bytesMax: number): Promise<Result<OpenSource, StepOutcome>> {
  const found = await services.files.find(call.tenantId, id);
  if (!found.ok) return fail(failedWith(found.fault));
  const { name, sizeBytes } = found.value;
  if (sizeBytes > bytesMax) return fail(failed("LIMIT.BODY", `the file has ${sizeBytes} bytes, the limit is ${bytesMax}`));
  return ok({ ...stored(found.value), name });
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
    if (next.done) return ok(held(joined(pieces, size)));
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
  return ok({ ...stored(saved.value), close: () => services.files.discard(call.tenantId, id) });
}

/** In memory of their own, since it is handed over. */
function joined(pieces: readonly Uint8Array[], size: number): Uint8Array<ArrayBuffer> {
  const bytes = new Uint8Array(size);
  let at = 0;
  for (const piece of pieces) {
    bytes.set(piece, at);
    at += piece.length;
  }
  return bytes;
}

function held(bytes: Uint8Array<ArrayBuffer>): OpenSource {
  return { order: { from: "bytes", bytes }, close: async () => undefined };
}

function stored({ id, sizeBytes }: StepFile): OpenSource {
  return { order: { from: "stored", blobId: id, sizeBytes }, close: async () => undefined };
}
