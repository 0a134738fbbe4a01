/**
 * Files of `http_request`: an answer that becomes one, and one that is the body of a request. Bytes pass in pieces; neither is
 * ever whole in memory.
 */
import { limits } from "../base/limits.ts";
import { fail, ok, type Result } from "../base/result.ts";
import { type Failure, failure } from "../domain/failure.ts";
import type { StepFile } from "./step-files.ts";
import type { AnswerHead, AnswerSink, EgressBody, StepCall, StepServices } from "./step-handler.ts";

const nameCharactersMax = 255;

export interface KeptAnswer {
  readonly sink: AnswerSink;
  /** What was stored, if anything. */
  file(): StepFile | undefined;
  /** Takes it back: nobody will be told of it. */
  discard(): Promise<void>;
}

/** Stores the answers that `accepts` takes as files of the tenant; of several (a redirect's, a refused token's) the last one stays. */
export function keepAnswer(
  call: StepCall,
  { files }: StepServices,
  { url, bytesMax, accepts }: { readonly url: string; readonly bytesMax: number; readonly accepts: (head: AnswerHead) => boolean },
): KeptAnswer {
  let stored: StepFile | undefined;
  const discard = async (): Promise<void> => {
    if (stored) await files.discard(call.tenantId, stored.id);
    stored = undefined;
  };
  const sink: AnswerSink = {
    bytesMax,
    accepts,
    async take({ headers }, bytes) {
      await discard();
      const saved = await files.save(call.tenantId, { name: fileNameOf(headers, url), mediaType: mediaTypeOf(headers) }, bytes);
      if (saved.ok) stored = saved.value;
      return saved;
    },
  };
  return { sink, file: () => stored, discard };
}

/** A stored file as the body of a request. FILE.NOT_FOUND (not retried), LIMIT.BODY, NETWORK while the storage is in trouble. */
export async function fileBody(
  call: StepCall,
  { files }: StepServices,
  id: string,
): Promise<Result<{ readonly content: EgressBody; readonly mediaType: string }, Failure>> {
  const file = await files.find(call.tenantId, id);
  if (!file.ok) return file;
  const { sizeBytes, mediaType } = file.value;
  if (sizeBytes > limits.fileBytesMax) return fail(failure("LIMIT.BODY", `the file has ${sizeBytes} bytes, the limit is ${limits.fileBytesMax}`));
  return ok({ content: { sizeBytes, read: () => files.read(call.tenantId, file.value.id) }, mediaType });
}

/** As the server calls it, else the end of the address, else "download"; never a path, at most 255 characters. */
function fileNameOf(headers: Readonly<Record<string, string>>, url: string): string {
  const path = URL.canParse(url) ? new URL(url).pathname : "";
  return cleanName(dispositionName(headers["content-disposition"] ?? "")) ?? cleanName(unescapePercent(path.split("/").at(-1) ?? "")) ?? "download";
}

/** `filename*` (RFC 8187, UTF-8) before `filename`. */
function dispositionName(disposition: string): string {
  const extended = /(?:^|;)\s*filename\*\s*=\s*utf-8'[^']*'([^;\s]+)/i.exec(disposition)?.[1];
  if (extended !== undefined) return unescapePercent(extended);
  const plain = /(?:^|;)\s*filename\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^;\s"]+))/i.exec(disposition);
  return plain?.[1]?.replace(/\\(.)/g, "$1") ?? plain?.[2] ?? "";
}

function unescapePercent(text: string): string {
  try {
    return decodeURIComponent(text);
  } catch {
    return text;
  }
}

/** The last part of what may be a path, without control characters and those that turn the direction of writing. */
function cleanName(name: string): string | undefined {
  const last = name.toWellFormed().split(/[/\\]/).at(-1) ?? "";
  const clean = Array.from(last.replace(/[\p{Cc}\u202a-\u202e\u2066-\u2069]/gu, "").trim())
    .slice(0, nameCharactersMax)
    .join("");
  return clean === "" || clean === "." || clean === ".." ? undefined : clean;
}

/** Without parameters; what is no media type of at most 127 characters is bytes. */
function mediaTypeOf(headers: Readonly<Record<string, string>>): string {
  const named = (headers["content-type"] ?? "").split(";")[0]?.trim().toLowerCase() ?? "";
  return named.length <= 127 && /^[a-z0-9.+-]+\/[a-z0-9.+-]+$/.test(named) ? named : "application/octet-stream";
}
