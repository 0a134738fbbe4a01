/** Whatever callers and operators do, at whatever moment: the ledger stays legal, results are kept, nothing is undone twice. */

import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { type ControlCommand, previewCommand } from "../../src/domain/control-command.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import { isTerminal } from "../../src/domain/states.ts";
import { fc } from "../support/property.ts";
import { compile, fails, identity, type Order, type Script, type Simulated, simulate, succeeds, unclear } from "./simulate.ts";

type Shape =
  | { readonly kind: "undoable" | "plain" | "pure" | "wait" | "halt" }
  | { readonly kind: "choose" | "side" | "each"; readonly inner: readonly Shape[] };

const leaf: fc.Arbitrary<Shape> = fc.record({ kind: fc.constantFrom("undoable", "undoable", "plain", "pure", "wait", "halt") });
const shapes: fc.Arbitrary<readonly Shape[]> = fc.letrec<{ steps: readonly Shape[]; step: Shape }>((tie) => ({
  steps: fc.array(tie("step"), { minLength: 1, maxLength: 3, depthIdentifier: "blocks" }),
  step: fc.oneof(
    { maxDepth: 2, depthIdentifier: "blocks", withCrossShrink: true },
    { weight: 3, arbitrary: leaf },
    { weight: 1, arbitrary: fc.record({ kind: fc.constantFrom("choose", "side", "each"), inner: tie("steps") }) },
  ),
})).steps;

function build(steps: readonly Shape[], names: string[]): JsonObject[] {
  return steps.map((shape) => {
    const name = `s${names.length}`;
    names.push(name);
    const retry_policy = { maximum_attempts: 2, initial_interval: "1s" };
    switch (shape.kind) {
      case "pure":
        return { name, value: { value: 1 } };
      case "wait":
        return { name, delay: { duration: "5s" } };
      case "plain":
        return { name, call: {}, retry_policy };
      case "halt":
        return { name, call: {}, retry_policy, on_error: { action: "ON_ERROR_ACTION_HALT" } };
      case "undoable":
        return { name, call: {}, retry_policy, compensation: { step: { call: {} }, retry_policy: { maximum_attempts: 2, initial_interval: "1s" } } };
      case "choose":
        return { name, conditional: { cases: [{ when: "true", steps: build(shape.inner, names) }] } };
      case "side":
        return {
          name,
          parallel: {
            branches: [
              { name: "l", steps: build(shape.inner, names) },
              { name: "r", steps: build([{ kind: "plain" }], names) },
            ],
          },
        };
      case "each":
        return { name, for_each: { items: "[1, 2]", max_parallel: 2, steps: build(shape.inner, names) } };
      default:
        return shape satisfies never;
    }
  });
}

const by = { actor: "key_1", reason: "because" };
const command = (names: readonly string[]): fc.Arbitrary<ControlCommand> => {
  const name = fc.constantFrom(...names);
  const path = fc.oneof(
    name,
    name.map((text) => `s0[1]/${text}`),
  );
  return fc.oneof(
    fc.constantFrom<ControlCommand["kind"]>("pause", "resume", "terminate").map((kind) => ({ kind, ...by }) as ControlCommand),
    fc.constantFrom(0, 3, 2_000).map((graceMs): ControlCommand => ({ kind: "cancel", ...by, graceMs })),
    fc.array(path, { maxLength: 1 }).map((steps): ControlCommand => ({ kind: "retry", ...by, steps })),
    path.map((text): ControlCommand => ({ kind: "skip_step", ...by, path: text })),
    path.map((text): ControlCommand => ({ kind: "complete_step", ...by, path: text, result: 2 })),
    path.map((text): ControlCommand => ({ kind: "fail_step", ...by, path: text, failure: { name: "USER.no", message: "no" } })),
    fc.constant<ControlCommand>({ kind: "update_variables", ...by, variables: { v: 1 } }),
  );
};

interface Case {
  readonly definition: JsonObject;
  readonly script: Script;
  readonly commands: readonly { readonly from: number; readonly command: ControlCommand }[];
}

const reply = fc.constantFrom(succeeds(1), succeeds(1, 40), fails("HTTP.422"), unclear("HTTP.503"));
const cases: fc.Arbitrary<Case> = shapes.chain((shape) => {
  const names: string[] = [];
  const steps = build(shape, names);
  return fc
    .record({
      replies: fc.array(fc.array(reply, { minLength: 1, maxLength: 3 }), { minLength: 1, maxLength: 5 }),
      undos: fc.array(fc.array(fc.constantFrom(unclear(), succeeds()), { minLength: 1, maxLength: 4 }), { minLength: 1, maxLength: 3 }),
      commands: fc.array(fc.record({ from: fc.nat(25), command: command(names) }), { minLength: 1, maxLength: 6 }),
      keep: fc.boolean(),
    })
    .map(({ replies, undos, commands, keep }) => {
      const script: Record<string, (typeof replies)[number]> = {};
      names.forEach((name, index) => {
        for (const path of [name, `s0[0]/${name}`, `s0[1]/${name}`]) {
          script[path] = replies[index % replies.length] ?? [];
          script[`undo ${path}`] = [...(undos[index % undos.length] ?? []), succeeds()];
        }
      });
      const definition = {
        variables: { v: 0 },
        steps,
        ...(keep ? { on_failure: "FAILURE_POLICY_KEEP_EFFECTS" } : {}),
        compensation_policy: { halt_on_stuck: true },
      };
      return { definition, script, commands };
    });
});

/** Commands that come when the run stands still or has ended are given to what was started from its ledger. */
function play({ definition, script, commands }: Case): Simulated {
  const revision = compile(definition);
  const orderOf = (wish: ControlCommand, when: Order["when"]): Order => ({
    when,
    command: (state, own, now) => previewCommand({ state, revision: own, now }, wish),
  });
  let left = [...commands].sort((a, b) => a.from - b.from);
  let simulated = simulate(revision, { script, orders: left.map(({ from, command: wish }) => orderOf(wish, (state) => state.sequence >= from)) });
  for (const { from, command: wish } of (left = left.filter((item) => item.from > simulated.ledger.length))) {
    void from;
    simulated = simulate(revision, { script, resumeFrom: simulated.ledger, orders: [orderOf(wish, () => true)] });
  }
  return simulated;
}

function expectLegal({ ledger, state }: Simulated): void {
  expect(ledger.map(({ sequence }) => sequence)).toEqual(ledger.map((_, index) => index + 1));
  const folded = foldExecution(identity, ledger);
  expect(folded).toEqual(state);
  let open = true;
  for (const event of ledger) {
    if (event.type === "execution_reopened") {
      expect(open).toBe(event.payload.from === "stuck");
      open = true;
    } else expect(open).toBe(true);
    if (event.type === "execution_ended") open = false;
  }
  expect(isTerminal(state.status)).toBe(!open);
}

const countOf = (ledger: readonly ExecutionEvent[], type: string, path: string): number =>
  ledger.filter((event) => event.type === type && event.stepPath === path).length;

describe("commands at any moment", () => {
  it("keep the ledger legal, results once made, and undo nothing twice", () => {
    fc.assert(
      fc.property(cases, (item) => {
        const simulated = play(item);
        expectLegal(simulated);
        for (const path of simulated.state.steps.keys()) {
          expect(countOf(simulated.ledger, "compensation_succeeded", path)).toBeLessThanOrEqual(1);
          const succeeded = simulated.ledger.findIndex((event) => event.type === "step_succeeded" && event.stepPath === path);
          const later = simulated.ledger.slice(succeeded + 1);
          if (succeeded >= 0) expect(later.filter((event) => event.type === "step_started" && event.stepPath === path)).toEqual([]);
        }
      }),
      { numRuns: 600 },
    );
  });

  it("leave a ledger that any process can go on from, cut where you like", () => {
    fc.assert(
      fc.property(cases, fc.nat(), (item, seed) => {
        const whole = play(item);
        const at = whole.groups.length === 0 ? whole.ledger.length : (whole.groups[seed % whole.groups.length] ?? whole.ledger.length);
        const resumed = simulate(compile(item.definition), { script: item.script, resumeFrom: whole.ledger.slice(0, at) });
        expectLegal(resumed);
        const state = resumed.state;
        if (resumed.isParkedForGood) expect(state.paused || state.saga === "stuck").toBe(true);
      }),
      { numRuns: 300 },
    );
  });
});
