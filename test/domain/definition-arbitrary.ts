/** Random definitions and random edits of one, for properties of comparing and merging. */

import type { JsonObject } from "../../src/base/json.ts";
import { fc } from "../support/property.ts";

interface Shape {
  readonly name: number;
  readonly kind: "log" | "set" | "conditional" | "parallel" | "loop" | "caught";
  readonly text: string;
  readonly first: readonly Shape[];
  readonly second: readonly Shape[];
}

const shapes = fc.letrec<{ steps: readonly Shape[]; step: Shape }>((tie) => ({
  steps: fc.array(tie("step"), { maxLength: 4, depthIdentifier: "blocks" }),
  step: fc.record({
    name: fc.nat(14),
    kind: fc.constantFrom("log", "log", "set", "conditional", "parallel", "loop", "caught"),
    text: fc.constantFrom("one", "two", "three"),
    first: fc.oneof({ maxDepth: 2, depthIdentifier: "blocks" }, { weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: tie("steps") }),
    second: fc.oneof({ maxDepth: 2, depthIdentifier: "blocks" }, { weight: 3, arbitrary: fc.constant([]) }, { weight: 1, arbitrary: tie("steps") }),
  }),
})).steps;

/** A name is used once, as definitions have it; empty lists are left out, as the JSON of messages has it. */
function build(steps: readonly Shape[], used: Set<number>): JsonObject[] {
  return steps.flatMap((shape): JsonObject[] => {
    if (used.has(shape.name)) return [];
    used.add(shape.name);
    const name = `s${shape.name}`;
    const held = (inner: readonly Shape[]): JsonObject => {
      const built = build(inner, used);
      return built.length > 0 ? { steps: built } : {};
    };
    switch (shape.kind) {
      case "log":
        return [{ name, log: { message: shape.text } }];
      case "set":
        return [{ name, set_variables: { variables: { [shape.text]: [1, { deep: shape.text }] } } }];
      case "conditional": {
        const cases = [{ name: shape.text, when: "true", ...held(shape.first) }];
        const { steps: otherwise } = held(shape.second);
        return [{ name, conditional: { cases, ...(otherwise ? { else_steps: otherwise } : {}) } }];
      }
      case "parallel":
        return [{ name, parallel: { branches: [{ name: "left", ...held(shape.first) }, { ...held(shape.second) }] } }];
      case "loop":
        return [{ name, for_each: { items: `[${shape.text}]`, ...held(shape.first) } }];
      case "caught":
        return [{ name, fail: { error: shape.text }, on_error: { catches: [{ errors: [shape.text], ...held(shape.first) }] } }];
      default:
        return shape.kind satisfies never;
    }
  });
}

export const definitions: fc.Arbitrary<JsonObject> = fc
  .record({ steps: shapes, outputs: fc.option(fc.constantFrom("x", "y")), timeout: fc.option(fc.constantFrom("60s", "120s")) })
  .map(({ steps, outputs, timeout }) => {
    const built = build(steps, new Set());
    return {
      ...(timeout ? { execution_timeout: timeout } : {}),
      ...(built.length > 0 ? { steps: built } : {}),
      ...(outputs ? { outputs: { [outputs]: "{{variables}}" } } : {}),
    };
  });
