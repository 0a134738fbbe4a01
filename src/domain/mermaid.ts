/** A workflow's graph as a Mermaid flowchart. Every text is quoted and its special characters are written as entities. */
import type { GraphEdge, GraphNode, WorkflowGraph } from "./workflow-graph.ts";

const colours: Readonly<Record<string, string>> = {
  completed: "fill:#d5f5d5,stroke:#2a7d2a",
  failed: "fill:#f9d0d0,stroke:#a02020",
  running: "fill:#d0e4f9,stroke:#20529e",
  waiting: "fill:#fdf0c8,stroke:#9a7410",
  compensated: "fill:#e6dcf5,stroke:#5f3a9e",
  skipped: "fill:#eeeeee,stroke:#888888",
};

/** Which colour a state has. */
const classOf: Readonly<Record<string, string>> = {
  completed: "completed",
  failed: "failed",
  compensation_failed: "failed",
  running: "running",
  compensating: "running",
  retrying: "waiting",
  waiting: "waiting",
  queued: "waiting",
  pending: "waiting",
  compensated: "compensated",
  canceled: "skipped",
  skipped: "skipped",
};

export function mermaidOf({ nodes, edges }: WorkflowGraph): string {
  const ids = new Map(nodes.map((node, index) => [node.id, `n${index}`]));
  const used = new Set(nodes.flatMap(({ state }) => (state === undefined ? [] : [classOf[state] ?? "waiting"])));
  return [
    "flowchart TD",
    ...nodes.map((node) => `  ${ids.get(node.id)}${shapeOf(node)}${node.state === undefined ? "" : `:::${classOf[node.state] ?? "waiting"}`}`),
    ...edges.map((edge) => `  ${ids.get(edge.from)} ${arrowOf(edge)} ${ids.get(edge.to)}`),
    ...[...used].map((name) => `  classDef ${name} ${colours[name]}`),
    "",
  ].join("\n");
}

function shapeOf({ label, type, attempt }: GraphNode): string {
  if (type === "") return `(["${entities(label)}"])`;
  const text = [label, ...(label === type ? [] : [type]), ...(attempt > 1 ? [`attempt ${attempt}`] : [])].map(entities).join("<br/>");
  return type === "conditional" || type === "parallel" || type === "for_each" ? `{{"${text}"}}` : `["${text}"]`;
}

function arrowOf({ label, kind }: GraphEdge): string {
  const text = kind === "compensate" ? "undo" : label;
  const arrow = kind === "next" || kind === "enter" ? "-->" : "-.->";
  return text === "" ? arrow : `${arrow}|"${entities(text)}"|`;
}

function entities(text: string): string {
  return text.replace(/[^A-Za-z0-9 _.,:;=+*()/-]/gu, (character) => `#${character.codePointAt(0)};`);
}
