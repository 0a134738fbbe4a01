/**
 * An example worker: renders invoices, and takes them back when the workflow turns back. It acts once per idempotency key; here
 * the notebook of what was done is a sibling over HTTP (`--notebook URL`), in a real one it is a row in the same transaction.
 *
 *   node examples/workers/invoices.ts --url http://127.0.0.1:50051 --queue invoices
 *
 * The API key comes from PAWF_API_KEY. It prints one line `{"ready":true}`, one for each task that it begins, and ends on SIGTERM, SIGINT or with the process
 * that holds its standard input: it finishes what it has, reports it, and goes.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { parseArgs } from "node:util";
import type { Task } from "#gen/pyairtable/workflow/v1/task_pb.js";
import { startWorker, TaskFailure } from "../../sdk/typescript/worker.ts";
import { stopWithStarter } from "../stop-with-starter.ts";

const { values } = parseArgs({
  options: {
    url: { type: "string", default: "http://127.0.0.1:50051" },
    queue: { type: "string", default: "invoices" },
    notebook: { type: "string", default: "" },
    "in-flight": { type: "string", default: "10" },
    "work-ms": { type: "string", default: "20" },
  },
});
const workMs = Number(values["work-ms"]);

/** Once per key: the notebook answers with the first result when it has one. */
async function note(task: Task, path: string, entry: Record<string, unknown>): Promise<Record<string, unknown>> {
  if (values.notebook === "") return entry;
  const response = await fetch(`${values.notebook}${path}`, {
    method: "POST",
    headers: { "content-type": "application/json", "idempotency-key": `"${task.idempotencyKey}"`, traceparent: task.traceparent },
    body: JSON.stringify(entry),
  });
  if (response.status >= 500) throw new TaskFailure(`HTTP.${response.status}`, { effect: "unknown" });
  if (!response.ok) throw new TaskFailure(`HTTP.${response.status}`);
  return entry;
}

const worker = startWorker({
  url: values.url,
  apiKey: process.env["PAWF_API_KEY"] ?? "",
  taskQueues: [values.queue],
  maxInFlight: Number(values["in-flight"]),
  handlers: {
    "invoice.render": async (task, { signal, progress, log }) => {
      const number = String(task.input?.["number"] ?? "");
      if (number === "") throw new TaskFailure("invoice_without_number", { message: "give input.number" });
      process.stdout.write(`${JSON.stringify({ began: task.id })}\n`);
      log(`rendering ${number}`);
      for (const percent of [0, 50]) {
        progress(percent, "pages");
        await sleep(workMs / 2, undefined, { signal });
      }
      await note(task, "/rendered", { number });
      return { number, pages: 1 + (number.length % 3) };
    },
    "invoice.void": async (task) => {
      await note(task, "/voided", { number: String(task.input?.["number"] ?? "") });
      return null;
    },
  },
  onError: (error) => process.stderr.write(`${String(error)}\n`),
});
process.stdout.write(`${JSON.stringify({ ready: true, pid: process.pid })}\n`);

let ending = false;
const end = (): void => {
  if (ending) return;
  ending = true;
  void worker.stop().then(() => process.exit(0));
};
stopWithStarter(end);
