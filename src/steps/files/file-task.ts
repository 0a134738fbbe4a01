/** From a task to the code that does it, in a worker thread: small files whole, large ones as a stream where their format allows it. */
import { messageOf } from "../../base/errors.ts";
import { limits } from "../../base/limits.ts";
import { fail, ok } from "../../base/result.ts";
import { failure } from "../../domain/failure.ts";
import { type FileTaskOutcome, type TaskSource, wholeBytesMax } from "./file-job.ts";
import { doFileJob } from "./file-job-table.ts";
import type { TaskPort } from "./task-port.ts";

/** Never rejects. */
export async function doFileTask(port: TaskPort): Promise<FileTaskOutcome> {
  try {
    const isStreamed = port.source.sizeBytes > wholeBytesMax;
    return withinBounds(isStreamed ? await (await import("./streams/stream-task.ts")).doStreamTask(port) : await doWhole(port));
  } catch (error) {
    return fail(failure("LIMIT.FILE", `reading the file broke off: ${messageOf(error).slice(0, 300)}`));
  }
}

/** Here, so that the server's thread never receives what it could not use. */
function withinBounds(outcome: FileTaskOutcome): FileTaskOutcome {
  if (!outcome.ok || !outcome.value.facts) return outcome;
  const bytes = Buffer.byteLength(JSON.stringify(outcome.value.facts));
  return bytes <= limits.resultBytesMax ? outcome : fail(failure("LIMIT.RESULT", `what was read is larger than ${limits.resultBytesMax} bytes`));
}

async function doWhole(port: TaskPort): Promise<FileTaskOutcome> {
  const { kind, options, select } = port.task;
  const done = await doFileJob({ kind, options, select, bytes: await readWhole(port.source) });
  if (!done.ok) return done;
  if (done.value.kind === "facts") return ok({ facts: done.value.facts });
  port.begin(done.value.mediaType);
  await port.write(done.value.bytes);
  return ok({});
}

async function readWhole({ sizeBytes, read }: TaskSource): Promise<Buffer> {
  const whole = Buffer.allocUnsafe(sizeBytes);
  let at = 0;
  for await (const piece of read()) {
    if (at + piece.length <= sizeBytes) whole.set(piece, at);
    at += piece.length;
  }
  if (at !== sizeBytes) throw new Error(`the source has ${at} bytes instead of ${sizeBytes}`);
  return whole;
}
