/**
 * What one evaluation may spend. Nothing can interrupt a running expression, so every call, loop turn and piece of
 * text is paid for before the work is done.
 *
 * Operations are the measure, since they are the same on every machine and at every replay. One operation is one call,
 * one operator or one turn of a loop, or bulk work of about the same cost (a few microseconds). Time is a second line:
 * a gap between two looks at the clock counts as at most `gapMsMax`, because a longer one is a pause of the machine
 * (garbage collection, a frozen process), and a pause must not end an execution for good.
 */
import { limits } from "../../base/limits.ts";
import { LimitProblem } from "./problem.ts";

const operationsPerLook = 32;
const gapMsMax = 10;

/** Characters that count as one operation, by how much is done with each. */
const charactersPerOperation = { copy: 1_024, decode: 128 } as const;

export class Budget {
  #operationsLeft: number = limits.expressionOperationsMax;
  #operationsToLook = operationsPerLook;
  #spentMs = 0;
  #lookedAtMs: number;
  readonly #monotonic: (() => number) | undefined;

  constructor(monotonic: (() => number) | undefined) {
    this.#monotonic = monotonic;
    this.#lookedAtMs = monotonic?.() ?? 0;
  }

  /** The next expression of the same template: operations anew, time goes on. */
  renewOperations(): void {
    this.#operationsLeft = limits.expressionOperationsMax;
  }

  /** Pays for `operations`; throws LimitProblem when they are not there. */
  charge(operations: number): void {
    this.#operationsLeft -= operations;
    if (this.#operationsLeft < 0) throw new LimitProblem(`needs more than ${limits.expressionOperationsMax} operations`);
    this.#operationsToLook -= operations;
    if (this.#operationsToLook <= 0) this.#lookAtClock();
  }

  /** Pays for reading, copying or searching text, or for taking it apart into characters (`decode`). */
  chargeText(characters: number, how: keyof typeof charactersPerOperation = "copy"): void {
    this.charge(Math.floor(characters / charactersPerOperation[how]));
  }

  /** Pays for touching that many elements of a list or map. */
  chargeElements(count: number): void {
    this.charge(Math.ceil(count / 8));
  }

  #lookAtClock(): void {
    this.#operationsToLook = operationsPerLook;
    if (!this.#monotonic) return;
    const nowMs = this.#monotonic();
    this.#spentMs += Math.min(gapMsMax, nowMs - this.#lookedAtMs);
    this.#lookedAtMs = nowMs;
    if (this.#spentMs > limits.expressionMsMax) throw new LimitProblem(`needs more than ${limits.expressionMsMax} ms`);
  }
}
