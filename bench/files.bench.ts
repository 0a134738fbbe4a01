/**
 * A CSV of 100 MiB, the largest file there is, validated and converted, and NDJSON converted back: how fast, how much the server's memory
 * grows, and what another execution feels meanwhile: the time of executions of one durable step, one after the other, alone and beside the
 * file. All over gRPC against a service of its own on embedded PostgreSQL, which shares two cores with the server, its threads and this client.
 */
import { setTimeout as sleep } from "node:timers/promises";
import { createClient } from "@connectrpc/connect";
import { FileService } from "#gen/pyairtable/workflow/v1/file_service_pb.js";
import { measureRawCommitMs, median, round, writeResults } from "./measure.ts";
import { type Service, startService } from "./service.ts";

const mebibyte = 1024 * 1024;
const fileBytes = 100 * mebibyte;
const chunkBytes = 3 * mebibyte;
/** Before and after each file: what the machine does besides changes. */
const aloneMs = 3_000;
const sampleMs = 20;

const jobs = [
  {
    name: "validate_csv",
    from: "csv",
    operation: { case: "validate", value: { mediaTypes: ["text/csv"], requiredColumns: ["id", "note"], maxRows: 10_000_000n } },
  },
  { name: "csv_to_ndjson", from: "csv", operation: { case: "convert", value: { toMediaType: "application/x-ndjson" } } },
  { name: "ndjson_to_csv", from: "ndjson", operation: { case: "convert", value: { toMediaType: "text/csv" } } },
  { name: "gzip_csv", from: "csv", operation: { case: "optimize", value: { gzip: true } } },
] as const;

export async function run(): Promise<void> {
  const service = await startService();
  try {
    const files = { csv: await upload(service, "rows.csv", csvLine), ndjson: await upload(service, "rows.ndjson", jsonLine) };
    const step = { name: "only", kind: { case: "log", value: { message: "step of {{execution_id}}" } } };
    await service.workflows.createWorkflow({ workflow: { name: "beside", definition: { durability: 2, steps: [step] } } } as never);
    for (const job of jobs) await makeWorkflow(service, job, files[job.from]);
    await stepTimes(service, until(2_000));
    const results: Record<string, number> = { file_mib: round(fileBytes / mebibyte) };
    results["raw_commit_ms"] = round(await measureRawCommitMs(service.database), 3);
    console.log(`raw commit ${results["raw_commit_ms"]} ms`);
    console.log("job              MiB/s   RSS before, growth MiB   step alone p50, p99 ms   beside it p50, p99 ms   p99 beside/alone");
    let before = await stepTimes(service, until(aloneMs));
    for (const { name } of jobs) {
      const measured = await measureJob(service, name);
      const after = await stepTimes(service, until(aloneMs));
      const alone = [...before, ...after];
      before = after;
      const figures = {
        mib_per_s: round(fileBytes / mebibyte / (measured.ms / 1_000), 1),
        rss_before_mib: Math.round(measured.rssBefore / mebibyte),
        rss_growth_mib: Math.round(measured.rssGrowth / mebibyte),
        alone_p50_ms: round(median(alone), 3),
        alone_p99_ms: round(percentile(alone, 0.99), 3),
        beside_p50_ms: round(median(measured.beside), 3),
        beside_p99_ms: round(percentile(measured.beside, 0.99), 3),
        p99_ratio: round(percentile(measured.beside, 0.99) / percentile(alone, 0.99)),
      };
      for (const [figure, value] of Object.entries(figures)) results[`${name}_${figure}`] = value;
      const widths = [5, 12, 9, 18, 8, 17, 8, 16];
      console.log(
        `${name.padEnd(16)} ${Object.values(figures)
          .map((value, index) => String(value).padStart(widths[index] ?? 8))
          .join(" ")}`,
      );
    }
    writeResults("files", results);
  } finally {
    await service.stop();
  }
}

function csvLine(id: number): string {
  return id < 0 ? "id,name,email,amount,city,note\n" : `${id},Customer ${id},c${id}@example.com,${(id * 1.37).toFixed(2)},"Berlin, DE","said ""hi"" ${id}"\n`;
}

function jsonLine(id: number): string {
  if (id < 0) return "";
  const row = { id, name: `Customer ${id}`, email: `c${id}@example.com`, amount: Math.round(id * 137) / 100, city: "Berlin, DE", note: `said "hi" ${id}` };
  return `${JSON.stringify(row)}\n`;
}

/** As many whole lines as fit into the largest file. */
async function upload(service: Service, name: string, lineOf: (id: number) => string): Promise<string> {
  const client = createClient(FileService, service.transport);
  const { file } = await client.createFile({ name, mediaType: "text/plain" });
  const fileId = file?.id ?? "";
  let text = lineOf(-1);
  let sent = 0;
  let id = 0;
  const send = async (): Promise<void> => {
    await client.appendFile({ fileId, offsetBytes: BigInt(sent), data: Buffer.from(text) });
    sent += text.length;
    text = "";
  };
  for (let line = lineOf(id); sent + text.length + line.length <= fileBytes; line = lineOf(++id)) {
    if (text.length + line.length > chunkBytes) await send();
    text += line;
  }
  await send();
  await client.completeFile({ fileId });
  return fileId;
}

async function makeWorkflow(service: Service, { name, operation }: (typeof jobs)[number], blobId: string): Promise<void> {
  const source = { from: { case: "blobId", value: blobId }, maxBytes: BigInt(fileBytes) };
  const step = { name: "file", timeouts: { startToClose: { seconds: 600n } }, kind: { case: "fileProcess", value: { source, operation } } };
  await service.workflows.createWorkflow({ workflow: { name: name.replaceAll("_", "-"), definition: { steps: [step] } } } as never);
}

async function measureJob(service: Service, name: string): Promise<{ ms: number; rssBefore: number; rssGrowth: number; beside: number[] }> {
  const rssBefore = await service.rssBytes();
  let peak = rssBefore;
  const sampling = setInterval(async () => {
    peak = Math.max(peak, await service.rssBytes());
  }, sampleMs);
  let isOver = false;
  const startedAt = performance.now();
  const job = runJob(service, name.replaceAll("_", "-")).finally(() => {
    isOver = true;
  });
  const beside = await stepTimes(service, () => isOver);
  await job;
  const ms = performance.now() - startedAt;
  clearInterval(sampling);
  return { ms, rssBefore, rssGrowth: peak - rssBefore, beside };
}

/** Looks now and then: a call that waits has a deadline. */
async function runJob(service: Service, workflow: string): Promise<void> {
  const { execution } = await service.workflows.startExecution({ workflow });
  const executionId = execution?.id ?? "";
  for (;;) {
    await sleep(200);
    const { execution: now } = await service.workflows.getExecution({ executionId });
    if (now?.failure) throw new Error(`${workflow}: ${now.failure.message}`);
    if (now?.endTime !== undefined) return;
  }
}

/** From the call to the answer, of executions of one step. */
async function stepTimes(service: Service, isOver: () => boolean): Promise<number[]> {
  const times: number[] = [];
  while (!isOver()) {
    const startedAt = performance.now();
    await service.workflows.startExecution({ workflow: "beside", wait: { seconds: 30n } });
    times.push(performance.now() - startedAt);
  }
  return times;
}

function until(ms: number): () => boolean {
  const endsAt = performance.now() + ms;
  return () => performance.now() > endsAt;
}

function percentile(values: readonly number[], part: number): number {
  const sorted = [...values].sort((a, b) => a - b);
  return sorted[Math.min(sorted.length - 1, Math.floor(sorted.length * part))] as number;
}
