/**
 * Children of a definition, checked and pinned where it is saved: the workflow of each sub_workflow step exists, its revision is
 * fixed, no workflow runs itself by way of others, and a child with a point of no return stands only where it may.
 */
import type { Caller } from "../base/caller.ts";
import { type FieldViolation, violationsError } from "../base/errors.ts";
import type { JsonObject } from "../base/json.ts";
import { limits } from "../base/limits.ts";
import { type ChildPin, type ChildReference, childReferences, holdsPivot, pinChildReferences } from "../domain/child-references.ts";
import type { WorkflowRepository } from "../store/workflow-repository.ts";
import type { WorkflowRecord } from "../store/workflow-row.ts";

type Workflows = Pick<WorkflowRepository, "getWorkflow" | "getRevision">;

/** The workflow that is saved: a definition that names it calls itself. */
export interface SavedWorkflow {
  readonly id?: string | undefined;
  readonly name?: string | undefined;
}

export interface ChildFaults {
  readonly violations: readonly FieldViolation[];
  readonly source: JsonObject;
}

/** Throws the first fault's reason (VALIDATION_FAILED, SUB_WORKFLOW_CYCLE, LIMIT_EXCEEDED, PIVOT_ORDER) with all of them; answers the definition to store. */
export async function pinChildren(workflows: Workflows, caller: Caller, source: JsonObject, path: string, self: SavedWorkflow): Promise<JsonObject> {
  const found = await findChildFaults(workflows, caller, source, path, self);
  if (found.violations.length > 0) throw violationsError(found.violations);
  return found.source;
}

/** `path` is where the definition stands in the request. */
export async function findChildFaults(workflows: Workflows, caller: Caller, source: JsonObject, path: string, self: SavedWorkflow): Promise<ChildFaults> {
  const violations: FieldViolation[] = [];
  const pins = new Map<string, ChildPin>();
  const tree = new Tree(workflows, caller, self);
  for (const reference of childReferences(source)) {
    const found = await tree.look(reference, [], 1);
    if ("pin" in found) pins.set(reference.step, found.pin);
    else violations.push({ field: `${path}.${reference.path}.${found.field}`, reason: found.reason, description: found.description });
  }
  return { violations, source: pinChildReferences(source, pins) };
}

/** What a revision leads to, itself counted in. */
interface Below {
  readonly hasPivot: boolean;
  /** How many executions run below one another at most. */
  readonly levels: number;
}

type Found = (Below & { readonly pin: ChildPin }) | Fault;
interface Fault {
  readonly field: "workflow" | "revision";
  readonly reason: FieldViolation["reason"];
  readonly description: string;
}

/** Kinds of a step below which nothing has to be undone any more. */
const pastUndo: ReadonlySet<string> = new Set(["COMPENSATION_KIND_PIVOT", "COMPENSATION_KIND_RETRIABLE"]);
/** Revisions that one save looks at: a tree of children may be wide. */
const revisionsMax = 500;

class Tree {
  readonly #workflows: Workflows;
  readonly #caller: Caller;
  readonly #self: SavedWorkflow;
  readonly #heads = new Map<string, Promise<WorkflowRecord | undefined>>();
  /** Definitions that were looked at, by workflow and revision. */
  readonly #seen = new Map<string, Promise<JsonObject | undefined>>();
  /**
   * Revisions that were walked to their ends without a fault: each once, however many paths lead to it (eight workflows whose
   * thousand steps all run the next one have 10^24). Whatever runs one of them cannot be found below it again.
   */
  readonly #walked = new Map<string, Below>();

  constructor(workflows: Workflows, caller: Caller, self: SavedWorkflow) {
    this.#workflows = workflows;
    this.#caller = caller;
    this.#self = self;
  }

  /** `above`: ids of the workflows between the saved one and this reference. */
  async look(reference: ChildReference, above: readonly string[], depth: number): Promise<Found> {
    const { workflow: name, step } = reference;
    if (depth > limits.childDepthMax) return tooDeep();
    const isSelf = name === this.#self.name && name !== "";
    const workflow = isSelf ? undefined : await this.#workflow(name);
    const isSaved = workflow && (workflow.id === this.#self.id || workflow.name === this.#self.name);
    if (isSelf || isSaved || (workflow && above.includes(workflow.id))) {
      return fault("SUB_WORKFLOW_CYCLE", `step ${step} runs ${workflow?.name ?? name}, which would run itself without end`);
    }
    if (!workflow) return fault("VALIDATION_FAILED", `workflow ${name} does not exist; create it first`);
    const revision = reference.revision === 0 ? workflow.activeRevision : reference.revision;
    if (revision === 0) return fault("VALIDATION_FAILED", `workflow ${workflow.name} has no active revision; activate one or name one`);
    const definition = await this.#definition(workflow.id, revision);
    if (definition === "too many") return fault("LIMIT_EXCEEDED", `leads, with its children, to more than ${revisionsMax} revisions of other workflows`);
    if (!definition) return { ...fault("VALIDATION_FAILED", `workflow ${workflow.name} has no revision ${revision}`), field: "revision" };
    const below = await this.#below(`${workflow.id} ${revision}`, definition, [...above, workflow.id], depth);
    if ("reason" in below) return { ...below, field: "workflow" };
    if (depth - 1 + below.levels > limits.childDepthMax) return tooDeep();
    if (depth === 1 && below.hasPivot && !pastUndo.has(reference.kind)) {
      const description = `workflow ${workflow.name} has a PIVOT, so it cannot be undone as a step; declare the step PIVOT or RETRIABLE`;
      return fault("PIVOT_ORDER", description);
    }
    return { ...below, pin: { workflowId: workflow.id, revision } };
  }

  /** Walks a revision, unless it was walked before. A fault is that of a cycle or of too many levels; others were judged where they were saved. */
  async #below(key: string, definition: JsonObject, above: readonly string[], depth: number): Promise<Below | Fault> {
    const walked = this.#walked.get(key);
    if (walked) return walked;
    let hasPivot = holdsPivot(definition);
    let levels = 1;
    for (const reference of childReferences(definition)) {
      const found = await this.look(reference, above, depth + 1);
      if ("pin" in found) {
        hasPivot ||= found.hasPivot;
        levels = Math.max(levels, 1 + found.levels);
      } else if (found.reason === "SUB_WORKFLOW_CYCLE" || found.reason === "LIMIT_EXCEEDED") return found;
    }
    const below = { hasPivot, levels };
    this.#walked.set(key, below);
    return below;
  }

  #workflow(name: string): Promise<WorkflowRecord | undefined> {
    const known = this.#heads.get(name) ?? this.#workflows.getWorkflow(this.#caller, name);
    this.#heads.set(name, known);
    return known;
  }

  #definition(workflowId: string, revision: number): Promise<JsonObject | undefined> | "too many" {
    const key = `${workflowId} ${revision}`;
    let known = this.#seen.get(key);
    if (known === undefined) {
      if (this.#seen.size >= revisionsMax) return "too many";
      known = this.#workflows.getRevision(this.#caller, workflowId, revision).then((found) => found?.definition);
      this.#seen.set(key, known);
    }
    return known;
  }
}

function tooDeep(): Fault {
  return fault("LIMIT_EXCEEDED", `executions below one another are at most ${limits.childDepthMax} deep`);
}

function fault(reason: Fault["reason"], description: string): Fault {
  return { field: "workflow", reason, description };
}
