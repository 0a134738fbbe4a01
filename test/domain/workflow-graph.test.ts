import { describe, expect, it } from "vitest";
import type { JsonObject } from "../../src/base/json.ts";
import { mermaidOf } from "../../src/domain/mermaid.ts";
import { graphOf } from "../../src/domain/workflow-graph.ts";
import { line, parse, post, undoStep } from "./parsed.ts";

const graph = (...steps: JsonObject[]) => {
  const parsed = parse({ steps });
  if (!parsed.ok) throw new Error(JSON.stringify(parsed.fault));
  return graphOf(parsed.value.definition);
};
const arrows = (...steps: JsonObject[]): string[] =>
  graph(...steps).edges.map(({ from, to, label, kind }) => `${from} ${kind}${label === "" ? "" : ` "${label}"`} ${to}`);

describe("the graph of a workflow", () => {
  it("of nothing leads from start to end", () => {
    expect(arrows()).toEqual(["start next end"]);
  });

  it("shows branches, loops, catches and undos", () => {
    expect(
      arrows(
        { name: "both", parallel: { branches: [{ name: "left", steps: [line("l")] }, { steps: [line("r")] }] } },
        { name: "each", for_each: { items: "[1]", steps: [line("one")] } },
        post("call", {
          compensation: { step: undoStep },
          on_error: { catches: [{ errors: ["HTTP.4xx"], steps: [line("caught")] }, { steps: [line("other")] }] },
        }),
      ),
    ).toEqual([
      'both enter "left" l',
      'both enter "branch_2" r',
      "both next each",
      'each enter "each item" one',
      "each next call",
      'call catch "HTTP.4xx" caught',
      'call catch "any error" other',
      "call compensate call.undo",
      "start next both",
      "call next end",
    ]);
  });

  it("keeps steps called start and end apart from the terminals", () => {
    expect(arrows(line("end"), line("start"))).toEqual(["end next start", "start. next end", "start next end."]);
  });

  it("becomes a chart in which no text can be anything but text", () => {
    const chart = mermaidOf(
      graph({ name: "which", conditional: { cases: [{ name: 'a"]; click n0 "javascript:alert(1)', when: "true", steps: [line("x")] }] } }),
    );
    expect(chart.split("\n").filter((text) => text.includes("alert"))).toEqual(['  n1 -->|"a#34;#93;; click n0 #34;javascript:alert(1)"| n2']);
    expect(chart).toMatch(/^flowchart TD\n {2}n0\(\["start"\]\)\n {2}n1\{\{"which<br\/>conditional"\}\}/);
  });
});
