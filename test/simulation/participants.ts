/**
 * The world outside: participants that keep a ledger of what they did by idempotency key, and misbehave as participants may:
 * they fail, are slow, do the work and never say so, answer long after whoever asked is dead.
 *
 * They are honest in one thing: work that was asked for is begun and done within the attempt's deadline plus its grace (as long again,
 * at least five seconds), and what they answer is true.
 */
import { canonicalJson, type Json, type JsonObject } from "../../src/base/json.ts";
import { failure } from "../../src/domain/failure.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import type { StepCall } from "../../src/steps/step-handler.ts";
import type { Random } from "./random.ts";
import { epochMs, type Scheduler } from "./scheduler.ts";

export interface Request {
  readonly executionId: string;
  readonly path: string;
  readonly operation: StepCall["operation"];
  readonly key: string;
  readonly body: Json;
  /** The participant refuses an action that its undo has overtaken. */
  readonly barrier: boolean;
  readonly startToCloseMs: number;
  /** Milliseconds since the epoch. */
  readonly deadlineAt: number;
}

/** What became of one operation of one step in the world. */
export interface Deed {
  /** How often it took effect. */
  count: number;
  readonly keys: Map<string, KeyRecord>;
}

interface KeyRecord {
  readonly body: string;
  state: "idle" | "working" | "done";
  requests: number;
}

export type Answer = (outcome: StepOutcome) => void;

const badAnswersMax = 4;

export class Participants {
  /** By execution, path and operation. */
  readonly deeds = new Map<string, Deed>();
  readonly violations: string[] = [];
  /** Asked more than once for the same thing. */
  repeats = 0;
  readonly #random: Random;
  readonly #scheduler: Scheduler;

  constructor(random: Random, scheduler: Scheduler) {
    this.#random = random;
    this.#scheduler = scheduler;
  }

  deed(executionId: string, path: string, operation: Request["operation"]): Deed {
    const name = `${executionId} ${path} ${operation}`;
    let deed = this.deeds.get(name);
    if (!deed) this.deeds.set(name, (deed = { count: 0, keys: new Map() }));
    return deed;
  }

  /** A request is on its way; the answer comes by `answer`, or never. */
  request(request: Request, answer: Answer): void {
    this.#scheduler.after(this.#random.between(0.2, 3), undefined, () => {
      const deed = this.deed(request.executionId, request.path, request.operation);
      const record = this.#recordOf(deed, request);
      if (request.operation === "action") this.#act(request, deed, record, answer);
      else this.#undo(request, deed, record, answer);
    });
  }

  #recordOf(deed: Deed, { key, body, executionId, path, operation }: Request): KeyRecord {
    const text = canonicalJson(body);
    const known = deed.keys.get(key);
    if (known) {
      this.repeats += 1;
      if (known.body !== text) this.#violated(`${executionId}/${path}/${operation}: another request under the same key: ${known.body}, then ${text}`);
    }
    const record = known ?? { body: text, state: "idle", requests: 0 };
    deed.keys.set(key, record);
    record.requests += 1;
    return record;
  }

  #act(request: Request, deed: Deed, record: KeyRecord, answer: Answer): void {
    const undo = this.deed(request.executionId, request.path, "compensate");
    const isOvertaken = [...undo.keys.values()].some(({ state }) => state === "done");
    const random = this.#random;
    const say = (outcome: StepOutcome, durationMs = random.between(0.2, 20)): void => void this.#scheduler.after(durationMs, undefined, () => answer(outcome));
    if (record.state === "done") return say(doneOutcome(request));
    if (record.state === "working") return say(failed("HTTP.409", "unknown"));
    if (isOvertaken && request.barrier) return say(failed("HTTP.422", "failed"));
    const mood = record.requests > badAnswersMax ? 0 : random.next();
    if (mood < 0.55) return this.#work(request, deed, record, random.between(0.5, 60), say);
    if (mood < 0.65) return this.#work(request, deed, record, this.#longWorkMs(request), say);
    if (mood < 0.72) return this.#work(request, deed, record, this.#longWorkMs(request), () => undefined);
    if (mood < 0.8) return say(failed("HTTP.422", "failed"));
    if (mood < 0.86) return say(failed("NETWORK", "failed"));
    if (mood < 0.92) return this.#work(request, deed, record, random.between(0.5, 30), () => say(failed("HTTP.503", "unknown")));
    if (mood < 0.97) return say(failed("HTTP.503", "unknown"));
    // Never heard of again, and nothing was done.
  }

  /** Up to the last moment at which an honest participant may still do it. */
  #longWorkMs({ deadlineAt, startToCloseMs }: Request): number {
    const until = deadlineAt + Math.max(5_000, startToCloseMs) - (epochMs + this.#scheduler.now);
    return Math.max(1, this.#random.next() ** 2 * until * 0.99);
  }

  #work(request: Request, deed: Deed, record: KeyRecord, durationMs: number, say: (outcome: StepOutcome) => void): void {
    record.state = "working";
    this.#scheduler.after(durationMs, undefined, () => {
      record.state = "done";
      deed.count += 1;
      const { executionId, path } = request;
      if (deed.count > 1) this.#violated(`${executionId}/${path}: the action took effect ${deed.count} times`);
      const undo = this.deed(executionId, path, "compensate");
      const wasUndone = [...undo.keys.values()].some(({ state }) => state === "done");
      if (wasUndone) this.#violated(`${executionId}/${path}: the action took effect after its undo`);
      say(doneOutcome(request));
    });
  }

  #undo(request: Request, deed: Deed, record: KeyRecord, answer: Answer): void {
    const { executionId, path, barrier } = request;
    const action = this.deed(executionId, path, "action");
    const isRunning = [...action.keys.values()].some(({ state }) => state === "working");
    const random = this.#random;
    const say = (outcome: StepOutcome): void => void this.#scheduler.after(random.between(0.2, 20), undefined, () => answer(outcome));
    if (isRunning && barrier) return say(failed("HTTP.409", "unknown"));
    if (isRunning) this.#violated(`${executionId}/${path}: the undo came while the action was running`);
    if (record.state === "done") return say(doneOutcome(request));
    // Asked again under another key, because a success was heard of late: there is nothing left to undo.
    if (/#\d+$/.test(request.key) && deed.count > 0) {
      record.state = "done";
      return say(doneOutcome(request));
    }
    const mood = record.requests > badAnswersMax ? 0 : random.next();
    if (mood >= 0.85) return mood < 0.95 ? say(failed("HTTP.503", "unknown")) : undefined;
    record.state = "done";
    deed.count += 1;
    if (deed.count > 1) this.#violated(`${executionId}/${path}: the undo took effect ${deed.count} times`);
    say(mood < 0.75 ? doneOutcome(request) : failed("HTTP.503", "unknown"));
  }

  #violated(what: string): void {
    this.violations.push(what);
  }
}

/** The same answer for the same operation, whoever asks and when. */
function doneOutcome({ path, operation }: Request): StepOutcome {
  const result: JsonObject = { done: `${operation} ${path}`, items: [1, 2, 3] };
  return { kind: "succeeded", result };
}

function failed(name: string, outcome: "failed" | "unknown"): StepOutcome {
  return { kind: "failed", failure: failure(name, `the participant says ${name}`), outcome };
}
