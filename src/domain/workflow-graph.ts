/**
 * A definition as nodes and arrows: steps in their order, ways into blocks and catches, and what undoes a step. A block is
 * followed by what comes after it; what it holds hangs below it.
 */
import type { Definition, Step } from "./definition.ts";
import type { ExecutionState } from "./execution-state.ts";
import type { CompensationKind, StepStatus } from "./states.ts";

export interface GraphNode {
  /** Name of the step, `<step>.undo`, `start` or `end`. No step's name has a dot, and both words are made different from steps of that name. */
  readonly id: string;
  readonly label: string;
  /** Step type; empty for start and end. */
  readonly type: string;
  /** Step that holds it; empty at the top. */
  readonly parent: string;
  readonly kind: CompensationKind | undefined;
  /** In the execution that is shown; undefined before it began. Loop items are summed up: what is open or went wrong wins. */
  readonly state: StepStatus | undefined;
  readonly attempt: number;
}

export interface GraphEdge {
  readonly from: string;
  readonly to: string;
  /** Case, branch or errors; empty: always. */
  readonly label: string;
  readonly kind: "next" | "enter" | "catch" | "compensate";
}

export interface WorkflowGraph {
  readonly nodes: readonly GraphNode[];
  readonly edges: readonly GraphEdge[];
}

export function graphOf(definition: Definition, execution?: ExecutionState): WorkflowGraph {
  return new Graph(definition, execution).draw();
}

/** The first one that any run of a step has is what the step shows. */
const precedence: readonly StepStatus[] = [
  "compensation_failed",
  "failed",
  "compensating",
  "running",
  "retrying",
  "waiting",
  "queued",
  "pending",
  "compensated",
  "canceled",
  "completed",
  "skipped",
];

class Graph {
  readonly #definition: Definition;
  readonly #nodes: GraphNode[] = [];
  readonly #edges: GraphEdge[] = [];
  readonly #shown = new Map<string, { state: StepStatus; attempt: number; undo: StepStatus | undefined }>();

  constructor(definition: Definition, execution: ExecutionState | undefined) {
    this.#definition = definition;
    for (const run of execution?.steps.values() ?? []) {
      const known = this.#shown.get(run.name);
      const undo =
        run.undo &&
        (run.undo.status === "succeeded" || run.undo.status === "nothing_to_undo" ? "completed" : run.undo.status === "exhausted" ? "failed" : "running");
      this.#shown.set(run.name, {
        state: known && precedence.indexOf(known.state) < precedence.indexOf(run.status) ? known.state : run.status,
        attempt: Math.max(known?.attempt ?? 0, run.attempt),
        undo: undo ?? known?.undo,
      });
    }
  }

  draw(): WorkflowGraph {
    const [start, end] = [this.#terminal("start"), this.#terminal("end")];
    this.#node({ id: start, label: "start" });
    const { first, last } = this.#sequence(this.#definition.steps, "");
    this.#node({ id: end, label: "end" });
    this.#edge(start, first ?? end, "", "next");
    if (last !== undefined) this.#edge(last, end, "", "next");
    return { nodes: this.#nodes, edges: this.#edges };
  }

  #terminal(word: string): string {
    return this.#definition.stepsByName.has(word) ? `${word}.` : word;
  }

  #sequence(steps: readonly Step[], parent: string): { first: string | undefined; last: string | undefined } {
    steps.forEach((step, index) => {
      this.#step(step, parent);
      const next = steps[index + 1];
      if (next) this.#edge(step.name, next.name, "", "next");
    });
    return { first: steps[0]?.name, last: steps.at(-1)?.name };
  }

  #step(step: Step, parent: string): void {
    const shown = this.#shown.get(step.name);
    this.#node({ id: step.name, label: step.name, type: step.type, parent, kind: step.kind, state: shown?.state, attempt: shown?.attempt ?? 0 });
    for (const { name, steps } of step.sequences) {
      const { first } = this.#sequence(steps, step.name);
      if (first !== undefined) this.#edge(step.name, first, step.block?.kind === "for_each" ? "each item" : name, "enter");
    }
    for (const { errors, steps } of step.catches) {
      const { first } = this.#sequence(steps, step.name);
      if (first !== undefined) this.#edge(step.name, first, errors.length > 0 ? errors.join(", ") : "any error", "catch");
    }
    const undo = step.compensation?.step;
    if (!undo) return;
    const id = `${step.name}.undo`;
    this.#node({ id, label: step.compensation?.stepName ?? undo.type, type: undo.type, parent, state: shown?.undo });
    this.#edge(step.name, id, "", "compensate");
  }

  #node(node: Pick<GraphNode, "id" | "label"> & Partial<GraphNode>): void {
    this.#nodes.push({ type: "", parent: "", kind: undefined, state: undefined, attempt: 0, ...node });
  }

  #edge(from: string, to: string, label: string, kind: GraphEdge["kind"]): void {
    this.#edges.push({ from, to, label, kind });
  }
}
