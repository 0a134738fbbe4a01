/** What a worker thread has used: asked from outside, also while it is busy. */
import type { Worker } from "node:worker_threads";

const mebibyte = 1024 * 1024;

/**
 * Figures are those of the last look; each look asks for newer ones, which a thread inside of one long native call cannot give. Node.js
 * before 24 cannot tell: there the time is counted in which the thread was not idle, and memory outside of the heap is not watched.
 */
export class ThreadMeter {
  readonly #worker: Worker;
  #startedMs = 0;
  #cpuMs = 0;
  #bufferMib = 0;
  #isAsking = false;

  constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** From now on CPU time counts anew. @param cpuMs of the thread so far, as it said itself. */
  restart(cpuMs: number): void {
    this.#startedMs = this.#canTell ? cpuMs : this.#activeMs;
    this.#cpuMs = Math.max(this.#cpuMs, cpuMs);
    this.#bufferMib = 0;
  }

  /** CPU time since `restart`, ms; and memory of buffers now, outside of the heap, MiB. */
  look(): { readonly cpuMs: number; readonly bufferMib: number } {
    if (!this.#canTell) return { cpuMs: this.#activeMs - this.#startedMs, bufferMib: 0 };
    void this.#ask();
    return { cpuMs: Math.max(0, this.#cpuMs - this.#startedMs), bufferMib: this.#bufferMib };
  }

  get #canTell(): boolean {
    return typeof this.#worker.cpuUsage === "function" && typeof this.#worker.getHeapStatistics === "function";
  }

  get #activeMs(): number {
    return this.#worker.performance.eventLoopUtilization().active;
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const [{ user, system }, { external_memory }] = await Promise.all([this.#worker.cpuUsage(), this.#worker.getHeapStatistics()]);
      this.#cpuMs = (user + system) / 1_000;
      this.#bufferMib = external_memory / mebibyte;
    } catch {
      // The thread has ended; its task hears of that by itself.
    }
    this.#isAsking = false;
  }
}
