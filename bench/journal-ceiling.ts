/** The journal without gRPC and without an engine: what the same writes cost at least. */
import { randomUUID } from "node:crypto";
import { systemClock } from "../src/base/clock.ts";
import { systemIds } from "../src/base/ids.ts";
import { silentLog } from "../src/base/log.ts";
import type { ExecutionEvent } from "../src/domain/events.ts";
import { BatchedJournal } from "../src/store/batched-journal.ts";
import { clientConfig } from "../src/store/connection-config.ts";
import { ReplicaLease } from "../src/store/replica-lease.ts";

const writers = 64;
const stepCount = 10;
const executionsEach = 40;

/** Steps per second of 64 writers that append one step's event after the other. */
export async function measureJournal(databaseUrl: string): Promise<number> {
  const connection = clientConfig(databaseUrl, "bench");
  const lease = new ReplicaLease({ replicaId: randomUUID(), connection, leaseMs: 300_000 });
  const { epoch } = await lease.register("bench");
  const fence = { replicaId: lease.replicaId, epoch };
  const journal = new BatchedJournal({ connection, fence: () => fence, clock: systemClock, log: silentLog, onFenced: () => undefined });
  const startedAt = performance.now();
  await Promise.all(Array.from({ length: writers }, () => write(journal)));
  const elapsedMs = performance.now() - startedAt;
  await journal.stop();
  await lease.release(epoch);
  return (writers * executionsEach * stepCount * 1000) / elapsedMs;
}

async function write(journal: BatchedJournal): Promise<void> {
  for (let n = 0; n < executionsEach; n++) {
    const executionId = systemIds.next("execution");
    for (let sequence = 1; sequence <= stepCount; sequence++) {
      const at = Date.now();
      const path = `s${sequence}`;
      const event: ExecutionEvent = {
        sequence,
        type: "step_succeeded",
        at,
        stepPath: path,
        attempt: 1,
        payload: { result: { level: "INFO", message: `step of ${executionId}`, fields: {} } },
      };
      const outcome = await journal.append({ tenantId: "bench", executionId, events: [event], release: false });
      if (outcome.kind !== "committed") throw new Error(`an append was ${outcome.kind}`);
    }
  }
}
