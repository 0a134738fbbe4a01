/** The bytes a `file_process` step works on: a stored file, given as text, or fetched. */
import type { JsonObject } from "../base/json.ts";
import { fail, ok, type Result } from "../base/result.ts";
import type { Failure } from "../domain/failure.ts";
import { failed, failedWith, integerField, isSet, textField, textOf } from "./config-fields.ts";
import { matchesStatus, statusFailure } from "./http-answer.ts";
import { callHeaders } from "./http-headers.ts";
import { checkUrlLiteral } from "./http-request-check.ts";
import type { Report } from "./report.ts";
import { signalFailure } from "./signal-failure.ts";
import type { StepCall, StepOutcome, StepServices } from "./step-handler.ts";

/** 10 MiB, default and for now the maximum: files are held and read in memory. */
const sourceBytesMax = 10 * 1024 * 1024;

export function checkFileSource(source: JsonObject | undefined, report: Report): void {
  if (!source) return report("source", "VALIDATION_FAILED", "give the file as blob_id, text or url");
  if (isSet(source, "url")) checkUrlLiteral(source["url"], "source.url", report);
  else if (!isSet(source, "text") && !isSet(source, "blob_id")) report("source", "VALIDATION_FAILED", "give the file as blob_id, text or url");
  const bytesMax = integerField(source, "max_bytes") ?? sourceBytesMax;
  if (bytesMax < 0 || bytesMax > sourceBytesMax) report("source.max_bytes", "LIMIT_EXCEEDED", `must be at most ${sourceBytesMax} until files are streamed`);
}

export interface SourceFile {
  readonly bytes: Buffer;
  /** Of a stored file. */
  readonly name?: string;
}

/** The file, or how the step ends without it. */
export async function loadFile(call: StepCall, services: StepServices, source: JsonObject): Promise<Result<SourceFile, StepOutcome>> {
  const bytesMax = Math.min(integerField(source, "max_bytes") ?? sourceBytesMax, sourceBytesMax);
  const blobId = textField(source, "blob_id");
  if (blobId !== undefined) return await readStored(call, services, blobId, bytesMax);
  const url = textField(source, "url");
  if (url !== undefined) return await fetchFile(call, services, url, bytesMax);
  const bytes = Buffer.from(textOf(source["text"] ?? ""));
  return bytes.length > bytesMax ? fail(failed("LIMIT.BODY", `the text has ${bytes.length} bytes, the limit is ${bytesMax}`)) : ok({ bytes });
}

async function readStored(call: StepCall, services: StepServices, id: string, bytesMax: number): Promise<Result<SourceFile, StepOutcome>> {
  const found = await services.files.find(call.tenantId, id);
  if (!found.ok) return fail(failedWith(found.fault));
  const { name, sizeBytes } = found.value;
  if (sizeBytes > bytesMax) return fail(failed("LIMIT.BODY", `the file has ${sizeBytes} bytes, the limit is ${bytesMax}`));
  const pieces: Uint8Array[] = [];
  try {
    for await (const piece of services.files.read(call.tenantId, id)) {
      if (call.signal.aborted) return fail(failedWith(signalFailure(call.signal)));
      pieces.push(piece);
    }
  } catch (error) {
    if (!isFailure(error)) throw error;
    return fail(failedWith(error));
  }
  return ok({ bytes: Buffer.concat(pieces), name });
}

function isFailure(error: unknown): error is Failure {
  return typeof error === "object" && error !== null && !(error instanceof Error) && "name" in error && "message" in error;
}

async function fetchFile(call: StepCall, services: StepServices, url: string, bytesMax: number): Promise<Result<SourceFile, StepOutcome>> {
  const request = { method: "GET", url };
  const answer = await services.http.request({
    ...request,
    tenantId: call.tenantId,
    headers: { accept: "*/*", ...callHeaders(call) },
    responseBytesMax: bytesMax,
    redirectsMax: 0,
    signal: call.signal,
  });
  if (answer.kind === "failed") return fail(answer);
  return matchesStatus(["2xx"], answer.status) ? ok({ bytes: answer.body }) : fail(statusFailure(call, request, answer));
}
