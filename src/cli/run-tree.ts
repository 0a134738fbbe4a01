/** An execution as a tree of steps: one line each, no colours, nothing wider than what is there. */
import { ExecutionState, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { RunModel, StepModel } from "./run-model.ts";
import { spanText } from "./spans.ts";
import type { Outline } from "./step-outline.ts";
import { columnsOf } from "./visible-text.ts";

const signs: Readonly<Record<StepState, string>> = {
  [StepState.UNSPECIFIED]: "•",
  [StepState.PENDING]: "•",
  [StepState.QUEUED]: "⧖",
  [StepState.RUNNING]: "▶",
  [StepState.WAITING]: "⧖",
  [StepState.RETRYING]: "↻",
  [StepState.COMPLETED]: "✓",
  [StepState.FAILED]: "✗",
  [StepState.SKIPPED]: "–",
  [StepState.CANCELED]: "–",
  [StepState.COMPENSATING]: "↩",
  [StepState.COMPENSATED]: "↩",
  [StepState.COMPENSATION_FAILED]: "✗",
};

const settled: ReadonlySet<StepState> = new Set([StepState.COMPLETED, StepState.SKIPPED, StepState.CANCELED, StepState.COMPENSATED]);
/** Elements of a loop that are shown: those that are not done. */
const elementsMax = 8;
const labelWidthMin = 12;
const typeWidth = 15;

interface Node {
  readonly label: string;
  readonly step: StepModel | undefined;
  readonly type: string;
  readonly children: readonly Node[];
  /** What is counted instead of shown, for example "7/12". */
  readonly count: string;
}

/** `nowMs` measures what is still going on. */
export function runTree(model: RunModel, outline: Outline, nowMs: number): string[] {
  const nodes = childrenOf("", model, outline);
  const rows = nodes.flatMap((node, index) => drawn(node, "", index === nodes.length - 1));
  const width = Math.max(labelWidthMin, ...rows.map(({ left }) => columnsOf(left)));
  return [runHeading(model, nowMs), ...rows.map(({ left, node }) => `${left}${" ".repeat(width - columnsOf(left))}  ${stepText(node, nowMs)}`.trimEnd())];
}

/** `order-fulfilment  exe_01J…  RUNNING  2.4 s   revision 3   correlation 4f0c…` */
export function runHeading(model: RunModel, nowMs: number): string {
  const took = model.startMs === undefined ? "" : spanText(Math.max(0, (model.endMs ?? nowMs) - model.startMs));
  const revision = model.revision > 0 ? `revision ${model.revision}` : "";
  const state = ExecutionState[model.state] ?? "";
  return [model.workflow || "(saga)", model.id, [state, took].filter(Boolean).join("  "), revision, model.correlationId && `correlation ${model.correlationId}`]
    .filter(Boolean)
    .join("   ");
}

function childrenOf(parent: string, model: RunModel, outline: Outline): Node[] {
  const isOpen = model.endMs === undefined;
  const known = [...outline.values()].filter((step) => step.parent === parent);
  const nodes = known.flatMap(({ name, type }) => {
    const step = model.steps.get(name);
    const node = {
      label: name,
      step,
      type: step?.type || type,
      children: [...childrenOf(name, model, outline), ...elementsOf(name, model, outline)],
      count: countOf(name, model),
    };
    // A branch that is not taken never begins: its steps are shown once they do.
    return step || node.children.length > 0 || (parent === "" && isOpen) ? [node] : [];
  });
  if (parent !== "") return nodes;
  const others = [...model.steps.values()].filter(({ path }) => !outline.has(path) && !path.includes("/"));
  return [...nodes, ...others.map((step) => ({ label: step.path, step, type: step.type, children: elementsOf(step.path, model, outline), count: "" }))];
}

/** The steps of a loop's elements that are not done: `orders[3]/charge` below `orders`. */
function elementsOf(loop: string, model: RunModel, outline: Outline): Node[] {
  const open = stepsOfLoop(loop, model).filter(({ state }) => !settled.has(state));
  return open.slice(0, elementsMax).map((step) => {
    const name = step.path.slice(step.path.lastIndexOf("/") + 1);
    return { label: step.path.slice(loop.length), step, type: step.type || (outline.get(name)?.type ?? ""), children: [], count: "" };
  });
}

function countOf(loop: string, model: RunModel): string {
  const all = new Map<string, boolean>();
  for (const { path, state } of stepsOfLoop(loop, model)) {
    const element = path.slice(loop.length, path.indexOf("]", loop.length) + 1);
    all.set(element, (all.get(element) ?? true) && settled.has(state));
  }
  return all.size === 0 ? "" : `${[...all.values()].filter(Boolean).length}/${all.size} elements`;
}

function stepsOfLoop(loop: string, model: RunModel): StepModel[] {
  return [...model.steps.values()].filter(({ path }) => path.startsWith(`${loop}[`));
}

function drawn(node: Node, prefix: string, isLast: boolean): { readonly left: string; readonly node: Node }[] {
  const below = `${prefix}${isLast ? "  " : "│ "}`;
  return [
    { left: `${prefix}${isLast ? "└" : "├"} ${signs[node.step?.state ?? StepState.PENDING]} ${node.label}`, node },
    ...node.children.flatMap((child, index) => drawn(child, below, index === node.children.length - 1)),
  ];
}

function stepText({ step, type, count }: Node, nowMs: number): string {
  return `${type.padEnd(typeWidth)} ${[count, ...(step ? notesOf(step, nowMs) : [])].filter(Boolean).join("   ")}`;
}

function notesOf(step: StepModel, nowMs: number): string[] {
  const { state, attempt, failure, startMs, endMs, nextAttemptMs, note } = step;
  const next = nextAttemptMs === undefined ? "" : `in ${spanText(Math.max(0, nextAttemptMs - nowMs))}`;
  const took = startMs === undefined ? "" : spanText(Math.max(0, (endMs ?? nowMs) - startMs));
  const tried = attempt > 1 ? `attempt ${attempt}` : "";
  switch (state) {
    case StepState.RETRYING:
      return [`attempt ${attempt + 1} ${next}`.trim(), failure];
    case StepState.FAILED:
      return [took, tried, failure];
    case StepState.COMPENSATING:
      return ["undoing", next, failure];
    case StepState.COMPENSATED:
      return ["undone"];
    case StepState.COMPENSATION_FAILED:
      return ["could not be undone", next && `again ${next}`, failure];
    case StepState.SKIPPED:
      return ["skipped"];
    case StepState.CANCELED:
      return ["canceled"];
    case StepState.QUEUED:
      return ["waits for a worker", took];
    case StepState.WAITING:
      return [note, next && `ends ${next}`];
    case StepState.PENDING:
      return [];
    default:
      return [took, tried, note];
  }
}
