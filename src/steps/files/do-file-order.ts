/** Carries out one order where the storage is at hand: its source is read from there, what it makes is stored for 7 days. */
import { limits } from "../../base/limits.ts";
import { ok } from "../../base/result.ts";
import type { StepFile, StepFiles } from "../step-files.ts";
import type { FileTask, TaskSource } from "./file-job.ts";
import type { FileOrder, FileOrderOutcome } from "./file-order.ts";
import type { FileWorkers } from "./file-workers.ts";
import { extensionOf } from "./media-types.ts";

/** See `FileJobs.run`. */
export async function doFileOrder(
  order: FileOrder,
  { files, workers }: { readonly files: StepFiles; readonly workers: FileWorkers },
  signal: AbortSignal,
): Promise<FileOrderOutcome> {
  const { tenantId, kind, options, select, name } = order;
  let made: StepFile | undefined;
  const keep: FileTask["keep"] = async ({ mediaType }, bytes) => {
    const saved = await files.save(tenantId, { name: nameOf(name, mediaType), mediaType, bytesMax: limits.convertedBytesMax }, bytes);
    if (saved.ok) made = saved.value;
    return saved;
  };
  const task = { kind, options, source: sourceOf(order, files), ...(select ? { select } : {}), ...(kind === "inspect" ? {} : { keep }) };
  const done = await workers.run(task, signal);
  if (!done.ok) return done;
  if (kind === "inspect") return ok({ kind: "facts", facts: done.value.facts ?? {} });
  if (!made) throw new Error(`${kind} made no file`);
  return ok({ kind: "made", file: made });
}

function sourceOf({ tenantId, source }: FileOrder, files: StepFiles): TaskSource {
  if (source.from === "stored") return { sizeBytes: source.sizeBytes, handsOver: true, read: () => files.read(tenantId, source.blobId) };
  const { bytes } = source;
  return {
    sizeBytes: bytes.length,
    async *read() {
      yield bytes;
    },
  };
}

/** The source's name with the ending of what it became; gzip adds its own. */
function nameOf(source: string | undefined, mediaType: string): string {
  const name = source ?? "file";
  const stem = mediaType === "application/gzip" ? name : name.replace(/(?<=.)\.[A-Za-z0-9]{1,8}$/, "");
  const isKnown = extensionOf(mediaType) !== "bin";
  return isKnown ? `${stem.slice(0, 200)}.${extensionOf(mediaType)}` : name;
}
