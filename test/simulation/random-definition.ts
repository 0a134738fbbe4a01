/** Definitions of any shape the rules allow: blocks in blocks, waits, retries, catches, undos, a point of no return; and what comes from outside. */
import type { JsonObject } from "../../src/base/json.ts";
import type { Random } from "./random.ts";

/** `outside`: draws steps that wait for events, children and workers. Absent: none, and nothing is drawn for them. */
export function drawDefinition(random: Random, outside?: DrawOutside): JsonObject {
  const draw = new Draw(random, outside);
  const steps = draw.steps(random.int(1, 4), 0);
  if (random.chance(0.25)) {
    const retriable = { name: draw.name("r"), call: { body: "on" }, compensation: { kind: "COMPENSATION_KIND_RETRIABLE" }, ...draw.policies(random.int(1, 3)) };
    steps.push({ name: draw.name("p"), call: { body: "go" }, compensation: { kind: "COMPENSATION_KIND_PIVOT" }, ...draw.policies(random.int(1, 4)) });
    if (random.chance(0.7)) steps.push(retriable);
  }
  return {
    steps,
    ...(random.chance(0.2) ? { execution_timeout: `${random.int(2, 20)}s` } : {}),
    ...(random.chance(0.1) ? { on_failure: "FAILURE_POLICY_KEEP_EFFECTS" } : {}),
    ...(random.chance(0.3) ? { durability: "DURABILITY_EVERY_STEP" } : {}),
    ...(random.chance(0.4)
      ? { compensation_policy: { undo_order: random.pick(["UNDO_ORDER_SEQUENTIAL", "UNDO_ORDER_PARALLEL"]), halt_on_stuck: random.chance(0.3) } }
      : {}),
  };
}

/** Draws one step, or nothing. */
export type DrawOutside = (name: string, random: Random, policies: (attemptsMax: number) => JsonObject) => JsonObject | undefined;

class Draw {
  readonly #random: Random;
  readonly #outside: DrawOutside | undefined;
  #count = 0;
  /** Top-level steps whose result a later one may name. */
  readonly #done: string[] = [];

  constructor(random: Random, outside: DrawOutside | undefined) {
    this.#random = random;
    this.#outside = outside;
  }

  name(letter: string): string {
    return `${letter}${++this.#count}`;
  }

  steps(count: number, depth: number): JsonObject[] {
    return Array.from({ length: count }, () => this.#step(depth));
  }

  policies(attemptsMax: number): JsonObject {
    const random = this.#random;
    return {
      retry_policy: { maximum_attempts: attemptsMax, initial_interval: random.pick(["0.05s", "0.3s", "3s"]) },
      timeouts: { start_to_close: random.pick(["0.05s", "0.5s", "2s"]), ...(random.chance(0.15) ? { schedule_to_close: "4s" } : {}) },
    };
  }

  #step(depth: number): JsonObject {
    const random = this.#random;
    const kind = random.next();
    const name = this.name("s");
    const fromOutside = this.#outside?.(name, random, (attemptsMax) => this.policies(attemptsMax));
    if (fromOutside) return fromOutside;
    if (kind < 0.55 || depth >= 3) return this.#call(name, depth);
    if (kind < 0.63) return { name, value: { value: random.int(0, 9) } };
    if (kind < 0.73) return { name, delay: { duration: random.pick(["0.02s", "0.5s", "2.5s"]) } };
    const inner = (): JsonObject[] => this.steps(random.int(1, 2), depth + 1);
    if (kind < 0.8) return { name, conditional: { cases: [{ when: random.pick(["true", "false"]), steps: inner() }], else_steps: inner() } };
    const tolerant = random.chance(0.3) ? { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } } : {};
    if (kind < 0.91) {
      const branches = Array.from({ length: random.int(2, 3) }, (_, index) => ({ name: `${name}b${index}`, steps: inner() }));
      const join = random.pick<JsonObject>([{}, { join: "JOIN_MODE_ANY" }, { join: "JOIN_MODE_AT_LEAST", join_count: 2 }]);
      return { name, parallel: { branches, ...join, ...(random.chance(0.3) ? { keep_losers: true } : {}) }, ...tolerant };
    }
    const loop = { items: "[1, 2, 3]", steps: inner(), max_parallel: random.int(1, 3), tolerated_failure_count: random.int(0, 1) };
    return { name, for_each: loop, ...tolerant };
  }

  #call(name: string, depth: number): JsonObject {
    const random = this.#random;
    const before = depth === 0 && this.#done.length > 0 ? this.#done.at(-1) : undefined;
    const body = before !== undefined && random.chance(0.5) ? `{{ steps.${before}.result }}` : name;
    const step: JsonObject = { name, call: { body }, ...this.policies(random.int(1, 3)) };
    const kind = random.next();
    if (kind < 0.7) {
      const barrier = random.chance(0.2) ? { barrier: true } : {};
      step["compensation"] = {
        step: { call: { body: "{{ original.input }}", ...barrier }, timeouts: { start_to_close: "0.5s" } },
        ...barrier,
        ...(random.chance(0.15) ? { compensate_on_failure: true } : {}),
        ...(random.chance(0.2) ? { retry_policy: { maximum_attempts: 1, maximum_interval: "2s" } } : {}),
      };
      step["call"] = { body, ...barrier };
    } else if (kind < 0.85) {
      step["call"] = { body, reads: true };
    }
    const error = random.next();
    if (error < 0.12) step["on_error"] = { action: "ON_ERROR_ACTION_CONTINUE" };
    else if (error < 0.16) step["on_error"] = { action: "ON_ERROR_ACTION_HALT" };
    else if (error < 0.24) step["on_error"] = { catches: [{ errors: ["HTTP.422"], steps: [{ name: `${name}c`, value: { value: "caught" } }] }] };
    if (depth === 0) this.#done.push(name);
    return step;
  }
}
