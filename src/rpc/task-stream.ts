/**
 * TaskService.StreamTasks: pushes tasks while the stream has room. A task takes a place from its handing over until its
 * attempt is over, however that comes: completed on any replica, given up, taken back. Ends of tasks are told between replicas;
 * a heartbeat's look at the tables is the floor under that.
 */
import { randomUUID } from "node:crypto";
import { create } from "@bufbuild/protobuf";
import {
  StreamTasksHeartbeatSchema,
  type StreamTasksResponse,
  StreamTasksResponseSchema,
  TaskBatchSchema,
  TaskCancellationSchema,
} from "#gen/pyairtable/workflow/v1/task_service_pb.js";
import { AppError } from "../base/errors.ts";
import { limits } from "../base/limits.ts";
import type { WorkerAsk } from "../engine/task-board.ts";
import { handOver } from "./hand-over-tasks.ts";
import type { RpcParts } from "./parts.ts";
import { timestampOf } from "./wire/time.ts";

/** Tasks of one message. */
const batchMax = 100;

export async function* streamTasks(
  parts: RpcParts,
  worker: Omit<WorkerAsk, "session">,
  inFlightMax: number,
  signal: AbortSignal,
): AsyncGenerator<StreamTasksResponse> {
  const { tenantId } = worker;
  const ask = { ...worker, session: randomUUID() };
  const stream = new OpenTasks(parts, ask);
  const ageMsMax = limits.watchAgeMsMax * (0.9 + 0.2 * Math.random());
  const bornAt = parts.clock.monotonic();
  // Where nothing waits the first message is a heartbeat: whoever opened the stream hears at once that it is open.
  let saidAt = bornAt - limits.watchHeartbeatMs;
  const wait = parts.taskBoard.wait(ask);
  const unwant = parts.taskBoard.wantEnds(tenantId);
  try {
    while (!signal.aborted) {
      parts.taskClock.saw(ask);
      const room = inFlightMax - stream.size;
      const hint = room > 0 ? wait.look() : undefined;
      const tasks = room > 0 ? await parts.taskBoard.take(ask, Math.min(room, batchMax)) : [];
      if (tasks.length > 0) {
        const handed = await handOver(parts, ask, tasks);
        for (const { id } of handed) stream.add(id);
        yield create(StreamTasksResponseSchema, { item: { case: "tasks", value: create(TaskBatchSchema, { tasks: handed }) } });
        continue;
      }
      const now = parts.clock.monotonic();
      if (now - bornAt > ageMsMax) throw new AppError("SERVER_DRAINING", "this stream is old; open another one", { retryAfterMs: 100 });
      if (now - saidAt >= limits.watchHeartbeatMs) {
        saidAt = now;
        const canceled = await stream.look();
        if (canceled.length > 0)
          yield create(StreamTasksResponseSchema, { item: { case: "cancel", value: create(TaskCancellationSchema, { taskIds: canceled }) } });
        const value = create(StreamTasksHeartbeatSchema, { inFlight: stream.size, time: timestampOf(parts.clock.now()) });
        yield create(StreamTasksResponseSchema, { item: { case: "heartbeat", value } });
        // The look may have made room.
        continue;
      }
      wait.pass(hint);
      // Without room its hints are others'.
      if (room <= 0) wait.leave();
      await stream.untilNews(wait, signal, saidAt + limits.watchHeartbeatMs - now, room > 0);
    }
  } finally {
    wait.leave();
    unwant();
    stream.forget();
  }
  // A signal that ended the stream has a reason the caller must see (drain, deadline).
  signal.throwIfAborted();
}

/** The open tasks of one stream. */
class OpenTasks {
  readonly #parts: RpcParts;
  readonly #ask: WorkerAsk;
  readonly #open = new Map<string, () => void>();
  /** Tasks whose cancellation was told. */
  readonly #told = new Set<string>();
  #roomMade: () => void = () => undefined;

  constructor(parts: RpcParts, ask: WorkerAsk) {
    this.#parts = parts;
    this.#ask = ask;
  }

  get size(): number {
    return this.#open.size;
  }

  add(taskId: string): void {
    const forget = this.#parts.taskBoard.follow(taskId, () => {
      this.#open.delete(taskId);
      this.#told.delete(taskId);
      this.#roomMade();
    });
    this.#open.set(taskId, forget);
  }

  /** Drops tasks that ended unheard; answers with those that are to be stopped and have not been told so. */
  async look(): Promise<string[]> {
    const ids = [...this.#open.keys()];
    if (ids.length === 0) return [];
    const { tenantId } = this.#ask;
    const known = await this.#parts.tasks.known(tenantId, ids);
    for (const id of ids) if (!known.has(id)) this.#parts.taskBoard.ended(id);
    const canceled = (await this.#parts.tasks.canceled(tenantId, [...known])).filter((id) => !this.#told.has(id));
    for (const id of canceled) this.#told.add(id);
    return canceled;
  }

  /** Resolves when there is room again, or (with room) when tasks wait, or after a while. */
  async untilNews(wait: ReturnType<RpcParts["taskBoard"]["wait"]>, signal: AbortSignal, durationMs: number, hasRoom: boolean): Promise<void> {
    const over = new AbortController();
    const stop = (): void => over.abort("over");
    const roomMade = new Promise<void>((resolve) => (this.#roomMade = resolve));
    signal.addEventListener("abort", stop, { once: true });
    const timer = this.#parts.clock.sleep(Math.max(0, durationMs), over.signal).catch(() => undefined);
    await Promise.race([timer, roomMade, ...(hasRoom ? [wait.until(over.signal)] : [])]);
    signal.removeEventListener("abort", stop);
    stop();
  }

  forget(): void {
    for (const forget of this.#open.values()) forget();
  }
}
