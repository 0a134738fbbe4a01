/** The way from a process to the database and back: it takes time, breaks before or after, and outlives whoever asked. */
import type { Faults } from "./faults.ts";
import type { Random } from "./random.ts";
import type { Scheduler, VirtualProcess } from "./scheduler.ts";

export class Link {
  readonly process: VirtualProcess;
  readonly #scheduler: Scheduler;
  readonly #faults: Faults;
  readonly #random: Random;

  constructor(process: VirtualProcess, scheduler: Scheduler, faults: Faults, random: Random) {
    this.process = process;
    this.#scheduler = scheduler;
    this.#faults = faults;
    this.#random = random;
  }

  /** `execute` happens at one virtual moment, wholly or not at all. Rejects with what it throws, or with a broken connection. */
  call<Answer>(operation: string, execute: () => Answer): Promise<Answer> {
    const { process } = this;
    return new Promise((resolve, reject) => {
      if (process.dead) return;
      const fault = this.#faults.draw(process, operation, ["die_before", "die_after", "refused", "lost", "freeze"]);
      if (fault === "die_before") return process.kill();
      const answer = (give: () => void): void => void this.#scheduler.after(this.#random.between(0.1, 1.5), process, give);
      if (fault === "refused") return answer(() => reject(broken(operation)));
      this.#scheduler.after(this.#random.between(0.1, 1.5), undefined, () => {
        let give: () => void;
        try {
          const value = execute();
          give = () => resolve(value);
        } catch (error) {
          give = () => reject(error);
        }
        if (fault === "die_after") return process.kill();
        answer(fault === "lost" ? () => reject(broken(operation)) : give);
      });
    });
  }
}

/** What a connection that broke says: nobody knows whether the statement was carried out. */
export class BrokenConnection extends Error {}

function broken(operation: string): BrokenConnection {
  return new BrokenConnection(`the connection broke during ${operation}`);
}
