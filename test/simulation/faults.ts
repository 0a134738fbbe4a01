/**
 * What goes wrong, and when: drawn before each operation of a process, so that every operation is a crash point before and
 * after it. Faults stop after a number and a virtual moment, so that every run comes to rest.
 */
import type { Random } from "./random.ts";
import type { Scheduler, VirtualProcess } from "./scheduler.ts";

/** `lost`: carried out, but the answer never comes and the connection breaks. */
export type Fault = "none" | "die_before" | "die_after" | "refused" | "lost" | "freeze";

export interface FaultPlan {
  /** Of one operation. */
  readonly probability: number;
  readonly countMax: number;
  readonly untilMs: number;
}

export function drawFaultPlan(random: Random): FaultPlan {
  if (random.chance(0.15)) return { probability: 0, countMax: 0, untilMs: 0 };
  return { probability: random.pick([0.01, 0.03, 0.1]), countMax: random.int(1, 6), untilMs: random.int(1_000, 15_000) };
}

export class Faults {
  readonly #random: Random;
  readonly #plan: FaultPlan;
  readonly #scheduler: Scheduler;
  /** What happened, for the trace. */
  readonly happened: string[] = [];

  constructor(random: Random, plan: FaultPlan, scheduler: Scheduler) {
    this.#random = random;
    this.#plan = plan;
    this.#scheduler = scheduler;
  }

  get over(): boolean {
    return this.happened.length >= this.#plan.countMax || this.#scheduler.now > this.#plan.untilMs;
  }

  /** What happens to this operation of that process. A freeze is done here; the rest is for the caller to do. */
  draw(process: VirtualProcess, operation: string, possible: readonly Fault[]): Fault {
    if (this.over || process.dead || process.frozenUntil > this.#scheduler.now || !this.#random.chance(this.#plan.probability)) return "none";
    const fault = this.#random.pick(possible);
    this.happened.push(`${this.#scheduler.now.toFixed(1)} ${process.name} ${operation}: ${fault}`);
    // Short enough to come back in time, or long enough to be replaced.
    if (fault === "freeze")
      process.frozenUntil = this.#scheduler.now + (this.#random.chance(0.3) ? this.#random.between(50, 4_000) : this.#random.between(5_000, 12_000));
    return fault;
  }
}
