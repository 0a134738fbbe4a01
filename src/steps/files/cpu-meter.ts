/** CPU time of a worker thread. */
import type { Worker } from "node:worker_threads";

export class CpuMeter {
  readonly #worker: Worker;
  #startedMs = 0;
  #latestMs = 0;
  #isAsking = false;

  constructor(worker: Worker) {
    this.#worker = worker;
  }

  /** From now on `spentMs` counts anew. @param cpuMs of the thread so far, as it said itself. */
  restart(cpuMs: number): void {
    this.#startedMs = this.#canTell ? cpuMs : this.#worker.performance.eventLoopUtilization().active;
    this.#latestMs = Math.max(this.#latestMs, cpuMs);
  }

  get #canTell(): boolean {
    return typeof this.#worker.cpuUsage === "function";
  }

  /**
   * CPU time as it was known lately, in milliseconds; asks for the newest, which a thread inside of one long native call cannot give. Node.js
   * before 24.6 cannot tell at all: there the time is counted in which the thread was not idle.
   */
  spentMs(): number {
    if (!this.#canTell) return this.#worker.performance.eventLoopUtilization().active - this.#startedMs;
    void this.#ask();
    return Math.max(0, this.#latestMs - this.#startedMs);
  }

  async #ask(): Promise<void> {
    if (this.#isAsking) return;
    this.#isAsking = true;
    try {
      const { user, system } = await this.#worker.cpuUsage();
      this.#latestMs = (user + system) / 1_000;
    } catch {
      // The thread has ended; its task hears of that by itself.
    }
    this.#isAsking = false;
  }
}
