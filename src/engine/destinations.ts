/**
 * What stands between an attempt and the host it calls, in this process: a circuit breaker for each tenant and key, and a bound
 * on the calls to one destination at a time, shared by the tenants in turns. An attempt that is not let through was never made: it is
 * put back, and the step waits as for a retry. What failed because the other side is away says whose first success ends the wait.
 */
import { FairGate } from "../base/fair-gate.ts";
import { limits } from "../base/limits.ts";
import { admit, type Breaker, type BreakerPolicy, breakerOpen, closedBreaker, learn, type Verdict, verdictOf } from "../domain/circuit-breaker.ts";
import { type Failure, failure } from "../domain/failure.ts";
import type { StepOutcome } from "../domain/step-outcome.ts";

/** Breakers that are kept; those that say nothing (closed, no failures) are not. */
const breakersMax = 10_000;

export interface Passage {
  readonly tenantId: string;
  /** `https://host:443`. */
  readonly destination: string;
  /** What shares a breaker; undefined: none watches this call. */
  readonly breaker: { readonly key: string; readonly policy: BreakerPolicy } | undefined;
}

export interface DestinationObserver {
  opened(): void;
  postponed(reason: "breaker_open" | "concurrency"): void;
}

/** Breakers of which is remembered whether their newest answer was good. */
const answersMax = 10_000;

interface Kept {
  breaker: Breaker;
  /** Resolves when the probe under way has answered. */
  probe: PromiseWithResolvers<void> | undefined;
}

export interface DestinationOptions {
  /** By the database-synchronised clock. */
  readonly now: () => number;
  readonly random: () => number;
  readonly observer?: DestinationObserver;
  /** Calls to one destination at a time [64]. */
  readonly callsMax?: number;
  /** Attempts that wait for one of them [1,000]. */
  readonly waitingMax?: number;
  /** The first success after failures, or since this process began. */
  readonly onRecovered?: (tenantId: string, key: string) => void;
  /** The first failure after successes, or since this process began. */
  readonly onFailing?: (tenantId: string, key: string) => void;
}

export class Destinations {
  readonly #options: DestinationOptions;
  readonly #breakers = new Map<string, Kept>();
  readonly #gates = new Map<string, FairGate>();
  /** The newest answer by tenant and key, those heard of last at the end. */
  readonly #answers = new Map<string, "good" | "bad">();

  constructor(options: DestinationOptions) {
    this.#options = options;
  }

  /** Breakers by state, closed ones left out. */
  get breakers(): ReadonlyMap<string, number> {
    const counts = new Map([
      ["open", 0],
      ["half_open", 0],
    ]);
    const now = this.#options.now();
    for (const { breaker } of this.#breakers.values()) {
      if (breaker.state === "closed") continue;
      const state = breaker.state === "open" && now < breaker.until ? "open" : "half_open";
      counts.set(state, (counts.get(state) ?? 0) + 1);
    }
    return counts;
  }

  /** Attempts that wait for their turn. */
  get waiting(): number {
    return [...this.#gates.values()].reduce((sum, gate) => sum + gate.waiting, 0);
  }

  /** Makes the call when it may be made; else the outcome says until when it is put off. */
  async through(passage: Passage, signal: AbortSignal, call: () => Promise<StepOutcome>): Promise<StepOutcome> {
    const { breaker } = passage;
    const key = breaker && JSON.stringify([passage.tenantId, breaker.key]);
    const admitted = breaker && key ? await this.#admit(key, breaker.key, signal) : "pass";
    if (admitted === "aborted") return this.#notMade(passage.destination, signal);
    if (typeof admitted !== "string") return admitted;
    let outcome: StepOutcome | undefined;
    try {
      outcome = await this.#inTurn(passage, signal, call);
    } finally {
      if (breaker && key) this.#learn(key, breaker.policy, admitted === "probe", outcome);
    }
    const verdict = breaker ? this.#heardFrom(passage.tenantId, breaker.key, outcome) : "nothing";
    // Who says himself when to come back is taken at his word.
    return breaker && verdict === "failing" && outcome.kind === "failed" && outcome.retryAfterMs === undefined
      ? { ...outcome, waitsFor: breaker.key }
      : outcome;
  }

  /** Whether the newest answer that was heard of it, here or by a peer, was good. */
  isWell(tenantId: string, key: string): boolean {
    return this.#answers.get(JSON.stringify([tenantId, key])) === "good";
  }

  /** A peer had that answer. */
  heard(tenantId: string, key: string, answer: "good" | "bad"): void {
    this.#remember(JSON.stringify([tenantId, key]), answer);
  }

  #heardFrom(tenantId: string, shown: string, outcome: StepOutcome): Verdict {
    const verdict = outcome.kind === "failed" && outcome.postponedUntil !== undefined ? "nothing" : verdictOf(outcome);
    const answer = verdict === "healthy" ? "good" : "bad";
    const key = JSON.stringify([tenantId, shown]);
    const before = this.#answers.get(key);
    if (verdict === "nothing" || before === answer) return verdict;
    this.#remember(key, answer);
    if (answer === "good") this.#options.onRecovered?.(tenantId, shown);
    else this.#options.onFailing?.(tenantId, shown);
    return verdict;
  }

  #remember(key: string, answer: "good" | "bad"): void {
    this.#answers.delete(key);
    this.#answers.set(key, answer);
    if (this.#answers.size > answersMax) this.#answers.delete(this.#answers.keys().next().value as string);
  }

  /** `shown`: the key as its author knows it. */
  async #admit(key: string, shown: string, signal: AbortSignal): Promise<"pass" | "probe" | "aborted" | StepOutcome> {
    for (;;) {
      if (signal.aborted) return "aborted";
      const kept = this.#breakers.get(key);
      if (!kept) return "pass";
      const { admission, breaker } = admit(kept.breaker, this.#options.now());
      kept.breaker = breaker;
      switch (admission.kind) {
        case "pass":
          return "pass";
        case "probe":
          kept.probe = Promise.withResolvers();
          return "probe";
        case "refuse":
          this.#options.observer?.postponed("breaker_open");
          return { ...postponed(breakerOpen(shown, admission.until), admission.until), waitsFor: shown };
        case "await_probe":
          await Promise.race([kept.probe?.promise, aborted(signal)]);
      }
    }
  }

  #learn(key: string, policy: BreakerPolicy, isProbe: boolean, outcome: StepOutcome | undefined): void {
    const kept = this.#breakers.get(key) ?? { breaker: closedBreaker, probe: undefined };
    const isPutOff = outcome?.kind === "failed" && outcome.postponedUntil !== undefined;
    const verdict = outcome === undefined || isPutOff ? "nothing" : verdictOf(outcome);
    const before = kept.breaker;
    kept.breaker = learn(before, verdict, isProbe, policy, this.#options.now());
    if (kept.breaker.state === "open" && before.state !== "open") this.#options.observer?.opened();
    if (isProbe) {
      kept.probe?.resolve();
      kept.probe = undefined;
    }
    this.#breakers.delete(key);
    if (kept.breaker.state === "closed" && kept.breaker.failures === 0) return;
    this.#breakers.set(key, kept);
    if (this.#breakers.size > breakersMax) this.#breakers.delete(this.#breakers.keys().next().value as string);
  }

  async #inTurn({ destination, tenantId }: Passage, signal: AbortSignal, call: () => Promise<StepOutcome>): Promise<StepOutcome> {
    const { callsMax = limits.destinationCallsMax, waitingMax = limits.destinationWaitingMax } = this.#options;
    const gate = this.#gates.get(destination) ?? new FairGate(callsMax, waitingMax);
    this.#gates.set(destination, gate);
    const entered = await gate.enter(tenantId, signal);
    if (entered === "full") return this.#crowded(destination);
    if (entered === "aborted") return this.#notMade(destination, signal);
    try {
      return await call();
    } finally {
      gate.leave();
      if (gate.isIdle) this.#gates.delete(destination);
    }
  }

  /** An attempt whose time was spent waiting here was never made either. */
  #notMade(destination: string, signal: AbortSignal): StepOutcome {
    const reason = signal.reason as Failure;
    return reason.name.startsWith("TIMEOUT.START_TO_CLOSE") ? this.#crowded(destination) : { kind: "failed", outcome: "failed", failure: reason };
  }

  #crowded(destination: string): StepOutcome {
    this.#options.observer?.postponed("concurrency");
    const message = `too many calls to ${destination} are under way or waiting; this one waits a moment`;
    return postponed(failure("LIMIT.CONCURRENCY", message), this.#options.now() + 1_000 + Math.round(1_000 * this.#options.random()));
  }
}

function postponed(reason: Failure, until: number): Extract<StepOutcome, { kind: "failed" }> {
  return { kind: "failed", outcome: "failed", failure: reason, postponedUntil: until };
}

function aborted(signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => signal.addEventListener("abort", () => resolve(), { once: true }));
}
