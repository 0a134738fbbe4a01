/** Errors of libraries as failures. */
import { messageOf } from "../../base/errors.ts";
import { type Failure, failure } from "../../domain/failure.ts";

/** What a library throws is about the file: the same bytes would give the same again. */
export function unforeseen(error: unknown): Failure {
  const message = messageOf(error).slice(0, 300);
  if (error instanceof RangeError && /call stack/i.test(message)) return failure("LIMIT.DEPTH", "the file is nested too deep");
  if (/pixel limit/i.test(message)) return failure("LIMIT.PIXELS", message);
  if (/timeout/i.test(message)) return failure("LIMIT.FILE", message);
  return failure("SCHEMA", `the file cannot be read: ${message}`);
}
