/**
 * A participant inside of the test's own process, reached by engines through their HTTP client: a ledger of effects with the barrier's
 * rules (each key once, an undo without its action is written down, an action after its undo is refused).
 */
import type { EgressOutcome, EgressRequest, HttpEgress } from "../../../src/steps/step-handler.ts";

export interface SiblingCall {
  readonly saga: string;
  readonly step: string;
  readonly op: "action" | "compensate" | "confirm";
  readonly key: string;
  readonly attempt: number;
}

/** "refuse": nothing happened; "dies before", "dies after": its effect; "late": the network delivers it after the caller gave up. */
export type SiblingFault = "refuse" | "dies before" | "dies after" | "late";

export class Sibling implements HttpEgress {
  readonly url = "http://sibling.example";
  readonly calls: SiblingCall[] = [];
  /** Effects that stand, by step. */
  readonly standing = new Set<string>();
  /** What it made of each call that reached it, in order: "hotel action APPLIED". */
  readonly outcomes: string[] = [];
  readonly #results = new Map<string, string>();
  readonly #undone = new Set<string>();
  readonly #faults = new Map<string, SiblingFault[]>();
  readonly #late: SiblingCall[] = [];

  /** What goes wrong with the next calls of an operation, such as "hotel action". */
  fault(operation: string, ...faults: SiblingFault[]): void {
    this.#faults.set(operation, faults);
  }

  /** "flight 1", "undo flight 2": what was asked with which attempt, in order. */
  get asked(): string[] {
    return this.calls.map(({ step, op, attempt }) => `${{ action: "", compensate: "undo ", confirm: "confirm " }[op]}${step} ${attempt}`);
  }

  /** Calls whose caller has given up reach the participant now. */
  deliverLate(): void {
    for (const call of this.#late.splice(0)) this.#carryOut(call);
  }

  async request({ headers, signal }: EgressRequest): Promise<EgressOutcome> {
    const header = (name: string): string => headers[name] ?? headers[name.toLowerCase()] ?? "";
    const key = header("Idempotency-Key").replaceAll('"', "");
    const call = {
      saga: header("saga-id"),
      step: header("saga-step"),
      op: header("saga-op") as SiblingCall["op"],
      key,
      attempt: Number(header("saga-attempt")),
    };
    this.calls.push(call);
    const fault = this.#faults.get(`${call.step} ${call.op}`)?.shift();
    if (fault === "dies before") return broken;
    if (fault === "refuse") return answered(422, "refused");
    if (fault === "late") {
      this.#late.push(call);
      if (!signal.aborted) await new Promise((resolve) => signal.addEventListener("abort", resolve, { once: true }));
      return broken;
    }
    const outcome = this.#carryOut(call);
    return fault === "dies after" ? broken : outcome;
  }

  #carryOut({ step, op, key }: SiblingCall): EgressOutcome {
    const note = (outcome: string, status: number, text = ""): EgressOutcome => {
      this.outcomes.push(`${step} ${op} ${outcome}`);
      return answered(status, text);
    };
    const known = this.#results.get(key);
    if (known !== undefined) return note("DUPLICATE", 200, known);
    if (op === "action") {
      if (this.#undone.has(step)) return note("SUSPENDED", 422);
      this.standing.add(step);
    } else if (op === "compensate") {
      this.#undone.add(step);
      if (!this.standing.delete(step)) return note("NULL_COMPENSATED", 410);
    }
    const result = `${op} of ${step}`;
    this.#results.set(key, result);
    return note("APPLIED", 200, result);
  }
}

const broken: EgressOutcome = { kind: "failed", outcome: "unknown", failure: { name: "NETWORK", message: "the connection broke" } };

function answered(status: number, text: string): EgressOutcome {
  return { kind: "answered", status, headers: { "content-type": "text/plain" }, body: Buffer.from(text) };
}
