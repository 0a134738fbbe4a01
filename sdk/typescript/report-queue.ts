/** Reports on their way: sent in batches, and again until the service has taken or refused each. */
import { setTimeout as sleep } from "node:timers/promises";
import type { MessageInitShape } from "@bufbuild/protobuf";
import type { Client } from "@connectrpc/connect";
import type { Task, TaskResultSchema } from "#gen/pyairtable/workflow/v1/task_pb.js";
import type { TaskService } from "#gen/pyairtable/workflow/v1/task_service_pb.js";

export type ResultInit = MessageInitShape<typeof TaskResultSchema>;

interface Report {
  readonly taskId: string;
  readonly token: string;
  readonly result: ResultInit;
  readonly done: () => void;
}

const batchMax = 100;
const againMs = 200;
/** Status codes after which the same report may be taken later: UNAVAILABLE, RESOURCE_EXHAUSTED, DEADLINE_EXCEEDED, ABORTED. */
const passing: ReadonlySet<number> = new Set([4, 8, 10, 14]);

export class ReportQueue {
  readonly #client: Client<typeof TaskService>;
  readonly #onError: (error: unknown) => void;
  #waiting: Report[] = [];
  #sending: Promise<void> | undefined;
  #isStopped = false;

  constructor(client: Client<typeof TaskService>, onError: (error: unknown) => void) {
    this.#client = client;
    this.#onError = onError;
  }

  /** Resolves when the service has taken the report, or refused it for good. */
  add({ id: taskId, token }: Task, result: ResultInit): Promise<void> {
    return new Promise((done) => {
      this.#waiting.push({ taskId, token, result, done });
      this.#sending ??= this.#send();
    });
  }

  /** Resolves when everything was reported, or after ten seconds; what is not reported then is given up. */
  async stop(): Promise<void> {
    const timer = new AbortController();
    await Promise.race([this.#sending, sleep(10_000, undefined, { signal: timer.signal }).catch(() => undefined)]);
    timer.abort("everything is reported");
    this.#isStopped = true;
  }

  async #send(): Promise<void> {
    // What is reported together goes together.
    await sleep(0);
    while (this.#waiting.length > 0 && !this.#isStopped) {
      const batch = this.#waiting.splice(0, batchMax);
      const again = await this.#sendBatch(batch);
      if (again.length === 0) continue;
      this.#waiting = [...again, ...this.#waiting];
      await sleep(againMs);
    }
    this.#sending = undefined;
  }

  /** Answers with those that have to be sent again. */
  async #sendBatch(batch: readonly Report[]): Promise<readonly Report[]> {
    try {
      const results = batch.map(({ taskId, token, result }) => ({ taskId, token, result }));
      const { statuses } = await this.#client.completeTasks({ results });
      return batch.filter((report, index) => {
        const status = statuses[index]?.status;
        const isPassing = status?.case === "error" && passing.has(status.value.code);
        if (!isPassing) report.done();
        return isPassing;
      });
    } catch (error) {
      this.#onError(error);
      return batch;
    }
  }
}
