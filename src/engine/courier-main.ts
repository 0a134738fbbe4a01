/** The courier's thread: storage on one side, the threads that read files on the other. */
import { type MessagePort, parentPort, workerData } from "node:worker_threads";
import { systemClock } from "../base/clock.ts";
import { keepCompiled } from "../base/compile-cache.ts";
import { messageOf } from "../base/errors.ts";
import { systemIds } from "../base/ids.ts";
import { doFileOrder } from "../steps/files/do-file-order.ts";
import type { FileOrder } from "../steps/files/file-order.ts";
import { FileWorkers } from "../steps/files/file-workers.ts";
import { lowerOwnPriority } from "../steps/files/lower-priority.ts";
import { openFilePool } from "../store/file-pool.ts";
import { createFileRepository } from "../store/file-repository.ts";
import type { CourierData, FromCourier, ToCourier } from "./courier-messages.ts";
import { createStepFiles } from "./step-files.ts";

/** Half of the share of the server's thread while that is busy. */
const niceness = 3;

async function serve(port: MessagePort, { database, s3 }: CourierData): Promise<void> {
  const objects = s3 && (await import("../store/object-storage.ts")).createS3Storage(s3);
  const pool = openFilePool(database);
  const files = createStepFiles(createFileRepository({ pool, ids: systemIds, objects }));
  // Until it is told otherwise: starting costs the others the most.
  let othersWork = true;
  const workers = new FileWorkers({ clock: systemClock, othersWork: () => othersWork });
  const running = new Map<number, AbortController>();

  async function carry(id: number, order: FileOrder): Promise<void> {
    const canceled = new AbortController();
    running.set(id, canceled);
    const answer = await doFileOrder(order, { files, workers }, canceled.signal).then(
      (outcome): FromCourier => ({ type: "done", id, outcome }),
      (error: unknown): FromCourier => ({ type: "broken", id, message: messageOf(error) }),
    );
    running.delete(id);
    port.postMessage(answer);
  }

  async function close(): Promise<void> {
    await workers[Symbol.asyncDispose]();
    await pool.end();
    port.close();
  }

  keepCompiled();
  port.on("message", (message: ToCourier) => {
    switch (message.type) {
      case "order":
        return void carry(message.id, message.order);
      case "abort":
        return running.get(message.id)?.abort(message.reason);
      case "expect":
        return workers.expect(message.sizeBytes);
      case "share":
        othersWork = message.othersWork;
        return;
      case "close":
        return void close();
    }
  });
}

lowerOwnPriority(niceness);
if (parentPort) await serve(parentPort, workerData as CourierData);
