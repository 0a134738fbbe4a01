/** The bytes a `file_process` step works on: given as text, or fetched. */
import type { JsonObject } from "../base/json.ts";
import { failed, integerField, isSet, textField, textOf } from "./config-fields.ts";
import { matchesStatus, statusFailure } from "./http-answer.ts";
import { callHeaders } from "./http-headers.ts";
import { checkUrlLiteral, reportLater } from "./http-request-check.ts";
import type { Report } from "./report.ts";
import type { StepCall, StepOutcome, StepServices } from "./step-handler.ts";

/** 10 MiB, default and for now the maximum: files are held and read in memory. */
const sourceBytesMax = 10 * 1024 * 1024;

export function checkFileSource(source: JsonObject | undefined, report: Report): void {
  if (!source) return report("source", "VALIDATION_FAILED", "give the file as text or url");
  if (isSet(source, "blob_id")) reportLater(report, "source.blob_id", "reading a stored file");
  else if (isSet(source, "url")) checkUrlLiteral(source["url"], "source.url", report);
  else if (!isSet(source, "text")) report("source", "VALIDATION_FAILED", "give the file as text or url");
  const bytesMax = integerField(source, "max_bytes") ?? sourceBytesMax;
  if (bytesMax < 0 || bytesMax > sourceBytesMax) report("source.max_bytes", "LIMIT_EXCEEDED", `must be at most ${sourceBytesMax} until files are streamed`);
}

/** The bytes, or how the step ends without them. */
export async function loadFile(call: StepCall, services: StepServices, source: JsonObject): Promise<Buffer | StepOutcome> {
  const bytesMax = Math.min(integerField(source, "max_bytes") ?? sourceBytesMax, sourceBytesMax);
  const url = textField(source, "url");
  if (url === undefined) {
    const bytes = Buffer.from(textOf(source["text"] ?? ""));
    return bytes.length > bytesMax ? failed("LIMIT.BODY", `the text has ${bytes.length} bytes, the limit is ${bytesMax}`) : bytes;
  }
  const request = { method: "GET", url };
  const answer = await services.http.request({
    ...request,
    tenantId: call.tenantId,
    headers: { accept: "*/*", ...callHeaders(call) },
    responseBytesMax: bytesMax,
    redirectsMax: 0,
    signal: call.signal,
  });
  if (answer.kind === "failed") return answer;
  return matchesStatus(["2xx"], answer.status) ? answer.body : statusFailure(call, request, answer);
}
