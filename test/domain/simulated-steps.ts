/** What simulated runs are made of: step types whose effects a script answers, and the answers. */
import type { Json, JsonObject } from "../../src/base/json.ts";
import { blockTypes } from "../../src/domain/block-types.ts";
import type { OperationKind } from "../../src/domain/command.ts";
import type { CompiledRevision } from "../../src/domain/definition.ts";
import { failure } from "../../src/domain/failure.ts";
import { parseDefinition } from "../../src/domain/parse-definition.ts";
import type { StepOutcome } from "../../src/domain/step-outcome.ts";
import type { StepTypes } from "../../src/domain/step-type.ts";
import { stepHandlers } from "../../src/steps/registry.ts";
import type { StepHandler } from "../../src/steps/step-handler.ts";

/** How an effect answers one attempt. */
export interface Reply {
  readonly outcome: StepOutcome;
  /** Virtual milliseconds until the answer; 5 unless told. */
  readonly tookMs?: number;
  /** Whether the world was changed; by default what the outcome says, and "yes" where it does not know. */
  readonly happened?: boolean;
}
export const succeeds = (result: Json = null, tookMs?: number): Reply => ({
  outcome: { kind: "succeeded", result },
  ...(tookMs === undefined ? {} : { tookMs }),
});
export const fails = (name = "HTTP.422", more: { retryAfterMs?: number } = {}): Reply => ({
  outcome: { kind: "failed", outcome: "failed", failure: failure(name, name), ...more },
});
export const unclear = (name = "HTTP.503", happened = true): Reply => ({
  outcome: { kind: "failed", outcome: "unknown", failure: failure(name, name) },
  happened,
});

/** Answers by path of the step, or `undo <path>`; the last one also answers every later attempt. Unnamed ones succeed. */
export type Script = Readonly<Record<string, readonly Reply[]>>;

/** An effect that the script answers, and a computation that gives back its own `value`. */
const call: StepHandler = {
  type: "call",
  nature: "effect",
  fields: { body: { as: "template" } },
  startToCloseMs: 30_000,
  startToCloseMsMax: 900_000,
  naturalKind: (config) => (config["reads"] === true ? "readonly" : undefined),
  run: () => {
    throw new Error("the script answers calls");
  },
};
const value: StepHandler = {
  type: "value",
  nature: "pure",
  fields: { value: { as: "template" } },
  startToCloseMs: 30_000,
  startToCloseMsMax: 900_000,
  run: ({ config }) => ({ kind: "succeeded", result: config["value"] ?? null }),
};
/** Effects whose outcome is reported: by a worker that takes the task, or by whoever was handed the token. */
const pull: StepHandler = { ...call, type: "pull", reportedFrom: "queue" };
const ask: StepHandler = { ...call, type: "ask", reportedFrom: "caller" };
export const handlers: ReadonlyMap<string, StepHandler> = new Map([...stepHandlers, ["call", call], ["value", value], ["pull", pull], ["ask", ask]]);

export const stepTypes: StepTypes = new Map([...handlers, ...blockTypes.map((type) => [type.type, type] as const)]);

export function compile(definition: JsonObject, params: JsonObject = {}): CompiledRevision {
  const parsed = parseDefinition(definition, stepTypes);
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault.violations));
  return { workflowId: "wfl_1", workflowName: "orders", revision: 1, definition: parsed.value.definition, params };
}

export function replyTo(script: Script, path: string, operation: OperationKind, attempt: number): Reply {
  const name = { action: path, compensate: `undo ${path}`, confirm: `confirm ${path}` }[operation];
  const replies = script[name] ?? [];
  return replies[attempt - 1] ?? replies.at(-1) ?? succeeds(`${name} done`);
}
