/** The shape that a definition gives to a run: its steps in order, blocks around them, types. */
import type { Step, WorkflowDefinition } from "#gen/pyairtable/workflow/v1/definition_pb.js";

export interface OutlineStep {
  readonly name: string;
  /** Field name of its kind, for example `http_request`. */
  readonly type: string;
  /** Name of the block that holds it; empty = none. */
  readonly parent: string;
}

/** By name, in the order of the definition. */
export type Outline = ReadonlyMap<string, OutlineStep>;

export function outlineOf(definition: WorkflowDefinition | undefined): Outline {
  const outline = new Map<string, OutlineStep>();
  if (definition) collect(definition.steps, "", outline);
  return outline;
}

function collect(steps: readonly Step[], parent: string, outline: Map<string, OutlineStep>): void {
  for (const { name, kind, onError } of steps) {
    outline.set(name, { name, type: typeOf(kind.case), parent });
    for (const { steps: caught } of onError?.catches ?? []) collect(caught, name, outline);
    switch (kind.case) {
      case "conditional":
        for (const branch of kind.value.cases) collect(branch.steps, name, outline);
        collect(kind.value.elseSteps, name, outline);
        break;
      case "parallel":
        for (const branch of kind.value.branches) collect(branch.steps, name, outline);
        break;
      case "forEach":
        collect(kind.value.steps, name, outline);
    }
  }
}

/** `httpRequest` → `http_request` */
function typeOf(kind: string | undefined): string {
  return (kind ?? "").replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`);
}
