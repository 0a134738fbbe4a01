import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { mergeDefinitions } from "../../src/domain/definition-merge.ts";
import { fc } from "../support/property.ts";
import { definitions } from "./definition-arbitrary.ts";
import { choice, line, post } from "./parsed.ts";

const of = (...steps: JsonObject[]): JsonObject => ({ steps });
const names = (definition: JsonObject): string[] => (definition["steps"] as JsonObject[]).map((step) => String(step["name"]));

describe("the three-way merge of definitions", () => {
  it("takes both sides' changes of different parts", () => {
    const base = of(post("charge"), line("done"));
    const template = of(post("charge", { retry_policy: { maximum_attempts: 5 } }), line("audit"), line("done"));
    const workflow = of(post("charge", { timeouts: { start_to_close: "5s" } }), line("done", "thank you"));
    const merged = mergeDefinitions(base, template, workflow);
    expect(merged.conflicts).toEqual([]);
    expect(merged.definition).toEqual(
      of(post("charge", { retry_policy: { maximum_attempts: 5 }, timeouts: { start_to_close: "5s" } }), line("audit"), line("done", "thank you")),
    );
  });

  it("keeps the workflow's side of what both changed, and says where", () => {
    const merged = mergeDefinitions(of(line("a", "base")), of(line("a", "theirs"), line("b")), of(line("a", "ours")));
    expect(merged.conflicts).toEqual([{ path: "steps[a].log.message", base: "base", template: "theirs", workflow: "ours" }]);
    expect(merged.definition).toEqual(of(line("a", "ours"), line("b")));
  });

  it("does not lose a workflow's change of a step that the template removed, nor a removal of one that it changed", () => {
    const base = of(line("a"), line("b"));
    const removed = mergeDefinitions(base, of(line("a")), of(line("a"), line("b", "mine")));
    expect(removed.conflicts).toEqual([{ path: "steps[b]", base: line("b"), workflow: line("b", "mine") }]);
    expect(names(removed.definition)).toEqual(["a", "b"]);
    const changed = mergeDefinitions(base, of(line("a"), line("b", "theirs")), of(line("a")));
    expect(changed.conflicts).toEqual([{ path: "steps[b]", base: line("b"), template: line("b", "theirs") }]);
    expect(names(changed.definition)).toEqual(["a"]);
    expect(mergeDefinitions(base, of(line("a")), base)).toEqual({ definition: of(line("a")), conflicts: [] });
  });

  it("follows a step that one side moved into a block and the other one changed", () => {
    const base = of(line("a"), line("b"));
    const merged = mergeDefinitions(base, of(choice("block", [line("a")]), line("b")), of(line("a", "mine"), line("b")));
    expect(merged).toEqual({ definition: of(choice("block", [line("a", "mine")]), line("b")), conflicts: [] });
  });

  it("reports a step whose block the other side removed", () => {
    const base = of(choice("block", [line("a")]));
    const merged = mergeDefinitions(base, of(line("other")), of(choice("block", [line("a"), line("added")])));
    expect(merged.conflicts.map(({ path }) => path)).toEqual(["steps[added]"]);
  });

  it("reports an order that both changed differently, and takes the one that only one side changed", () => {
    const order = (...letters: string[]): JsonObject => of(...letters.map((letter) => line(letter)));
    const base = order("a", "b", "c");
    expect(mergeDefinitions(base, order("c", "a", "b"), base).definition).toEqual(order("c", "a", "b"));
    const merged = mergeDefinitions(base, order("c", "a", "b"), order("b", "a", "c"));
    expect(merged.conflicts.map(({ path }) => path)).toEqual(["steps"]);
    expect(merged.definition).toEqual(order("b", "a", "c"));
  });

  it("reports two steps that the sides nested into each other, and changes nothing then", () => {
    const base = of(choice("x", []), choice("y", []));
    const workflow = of(choice("y", [choice("x", [])]));
    const merged = mergeDefinitions(base, of(choice("x", [choice("y", [])])), workflow);
    expect(merged.definition).toEqual(workflow);
    expect(merged.conflicts.map(({ path }) => path).sort()).toEqual(["steps[x]", "steps[y]"]);
  });

  it("gives the template's side when the workflow changed nothing, and the workflow's when the template did not", () => {
    fc.assert(
      fc.property(definitions, definitions, (base, other) => {
        expect(mergeDefinitions(base, other, base)).toEqual({ definition: other, conflicts: [] });
        expect(mergeDefinitions(base, base, other)).toEqual({ definition: other, conflicts: [] });
        expect(mergeDefinitions(base, other, other)).toEqual({ definition: other, conflicts: [] });
      }),
      { numRuns: 300 },
    );
  });

  it("finds the same places in conflict whichever side is called the template", () => {
    fc.assert(
      fc.property(definitions, definitions, definitions, (base, one, other) => {
        const places = (a: JsonObject, b: JsonObject): string[] => [...new Set(mergeDefinitions(base, a, b).conflicts.map(({ path }) => path))].sort();
        expect(places(one, other).length > 0).toBe(places(other, one).length > 0);
      }),
      { numRuns: 300 },
    );
  });
});
