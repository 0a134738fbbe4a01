/** Random definitions with random answers of their effects, for properties that hold for all of them. */

import type { JsonObject } from "../../src/base/json.ts";
import { fc } from "../support/property.ts";
import { type Simulated, type Simulation, simulate } from "./simulate.ts";
import { compile, fails, type Reply, type Script, succeeds, unclear } from "./simulated-steps.ts";

const letters = ["a", "b", "c", "d", "e", "f", "g", "h"];

/** A definition before its steps have names: effects with and without undo, computations, conditionals up to three deep. */
type Shape =
  | { readonly kind: "undoable" | "plain" | "pure" | "continued"; readonly onFailure: boolean }
  | { readonly kind: "block"; readonly first: boolean; readonly inner: readonly Shape[] };

const leaf: fc.Arbitrary<Shape> = fc.record({
  kind: fc.constantFrom("undoable", "undoable", "undoable", "plain", "pure", "continued"),
  onFailure: fc.boolean(),
});
const shapes: fc.Arbitrary<readonly Shape[]> = fc.letrec<{ steps: readonly Shape[]; step: Shape }>((tie) => ({
  steps: fc.array(tie("step"), { minLength: 1, maxLength: 4, depthIdentifier: "blocks" }),
  step: fc.oneof(
    { maxDepth: 3, depthIdentifier: "blocks", withCrossShrink: true },
    { weight: 4, arbitrary: leaf },
    { weight: 1, arbitrary: fc.record({ kind: fc.constant("block" as const), first: fc.boolean(), inner: tie("steps") }) },
  ),
})).steps;

function build(steps: readonly Shape[], names: { next: number } = { next: 0 }): JsonObject[] {
  return steps.map((shape) => {
    const name = `${letters[names.next % letters.length]}${names.next++}`;
    if (shape.kind === "pure") return { name, value: { value: 1 } };
    if (shape.kind === "block") {
      const inner = build(shape.inner, names);
      return { name, conditional: shape.first ? { cases: [{ when: "true", steps: inner }] } : { cases: [{ when: "false", steps: [] }], else_steps: inner } };
    }
    const undo =
      shape.kind === "plain" ? {} : { compensation: { step: { call: {} }, compensate_on_failure: shape.onFailure, retry_policy: { maximum_attempts: 2 } } };
    return {
      name,
      call: {},
      ...undo,
      retry_policy: { maximum_attempts: 2 },
      ...(shape.kind === "continued" ? { on_error: { action: "ON_ERROR_ACTION_CONTINUE" } } : {}),
    };
  });
}

const reply: fc.Arbitrary<Reply> = fc.oneof(
  { weight: 5, arbitrary: fc.constant(succeeds(1)) },
  { weight: 1, arbitrary: fc.constant(fails("HTTP.422")) },
  { weight: 1, arbitrary: fc.constant(fails("NETWORK")) },
  { weight: 2, arbitrary: fc.boolean().map((happened) => unclear("HTTP.503", happened)) },
);
/** Undos always work in the end: the last answer repeats. */
const undoReplies = fc.array(fc.constantFrom(unclear(), fails("HTTP.503")), { maxLength: 4 }).map((bad) => [...bad, succeeds()]);

export interface Case {
  readonly definition: JsonObject;
  readonly script: Script;
  readonly halt: boolean;
}
export const cases: fc.Arbitrary<Case> = fc
  .record({
    shape: shapes,
    actions: fc.array(fc.array(reply, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 8 }),
    undos: fc.array(undoReplies, { minLength: 1, maxLength: 4 }),
    halt: fc.boolean(),
  })
  .map(({ shape, actions, undos, halt }) => {
    const definition = { steps: build(shape), compensation_policy: { halt_on_stuck: halt } };
    const script: Record<string, readonly Reply[]> = {};
    [...compile(definition).definition.stepsByName.keys()].forEach((name, index) => {
      script[name] = actions[index % actions.length] ?? [];
      script[`undo ${name}`] = undos[index % undos.length] ?? [];
    });
    return { definition, script, halt };
  });

export const run = ({ definition, script }: Case, more: Simulation = {}): Simulated => simulate(compile(definition), { script, ...more });
