/** A task over a source that is too large to be read whole. Formats that cannot be read piece by piece are refused with LIMIT.BODY. */
import { fail, ok } from "../../../base/result.ts";
import type { FileTaskOutcome } from "../file-job.ts";
import type { TaskPort } from "../task-port.ts";
import { unforeseen } from "../unforeseen.ts";
import { xmlProblem } from "../xml-text.ts";
import { FileFault } from "./file-fault.ts";
import { convertStream } from "./stream-convert.ts";
import { inspectStream } from "./stream-inspect.ts";
import { optimizeStream } from "./stream-optimize.ts";

export async function doStreamTask(port: Pick<TaskPort, "task" | "source" | "begin" | "write">): Promise<FileTaskOutcome> {
  const { kind, options } = port.task;
  try {
    if (kind === "inspect") return ok({ facts: await inspectStream(port.source, options) });
    if (kind === "convert") await convertStream(port.source, options, port);
    else await optimizeStream(port.source, options, port);
    return ok({});
  } catch (error) {
    if (error instanceof FileFault) return fail(error.failure);
    return fail(xmlProblem(error) ?? unforeseen(error));
  }
}
