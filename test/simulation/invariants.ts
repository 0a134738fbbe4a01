/** What must hold of every execution when a simulated run has come to rest, whatever happened on the way. */
import { isJsonObject, type Json, type JsonObject } from "../../src/base/json.ts";
import type { ExecutionEvent } from "../../src/domain/events.ts";
import { foldExecution } from "../../src/domain/execution.ts";
import type { StepRun } from "../../src/domain/execution-state.ts";
import { executionRow } from "../../src/domain/projection.ts";
import { isTerminal } from "../../src/domain/states.ts";
import type { StoredExecution } from "./database.ts";
import type { Participants } from "./participants.ts";

export interface Settled {
  readonly stored: StoredExecution;
  readonly ledger: readonly ExecutionEvent[];
  /** As its author wrote it. */
  readonly definition: JsonObject;
  readonly participants: Participants;
}

/** One sentence for each thing that is wrong. */
export function faultsOf(settled: Settled): string[] {
  const { stored, ledger } = settled;
  const faults = [...ledgerFaults(ledger), ...orderFaults(settled), ...intentFaults(ledger)];
  if (faults.length === 0) faults.push(...rowFaults(settled), ...worldFaults(settled));
  return faults.map((fault) => `${stored.executionId}: ${fault}`);
}

/** Gapless numbers, one terminal event for each opening, nothing after it but another opening. */
function ledgerFaults(ledger: readonly ExecutionEvent[]): string[] {
  const faults: string[] = [];
  let ended = false;
  for (const [index, { sequence, type, payload }] of ledger.entries()) {
    if (sequence !== index + 1) faults.push(`number ${sequence} stands at place ${index + 1}`);
    const reopens = type === "execution_reopened";
    if (ended && !reopens) faults.push(`${type} follows the end`);
    if (reopens && isTerminal(payload.from) !== ended) faults.push(`reopened from ${payload.from} while it is ${ended ? "over" : "open"}`);
    if (reopens) ended = false;
    if (type === "execution_ended") ended = true;
  }
  if (!ended) faults.push(`it never ended: ${ledger.at(-1)?.type}`);
  return faults;
}

/** No outcome of an effect without its intent, and none twice. */
function intentFaults(ledger: readonly ExecutionEvent[]): string[] {
  const faults: string[] = [];
  const undone = new Set<string>();
  const started = new Map<string, number>();
  for (const { type, stepPath, attempt, payload } of ledger) {
    const intent = `${stepPath} ${attempt}`;
    // A success that was heard of after the undo begins another one.
    if (type === "compensation_started") started.set(intent, payload.generation ?? 0);
    if (type !== "compensation_succeeded") continue;
    const deed = `${stepPath} ${started.get(intent)}`;
    if (!started.has(intent)) faults.push(`${stepPath} was undone without an intent`);
    if (undone.has(deed)) faults.push(`${stepPath} was undone twice`);
    undone.add(deed);
  }
  return faults;
}

/** The row that readers see is what the ledger says. */
function rowFaults({ stored, ledger }: Settled): string[] {
  const { executionId, tenantId } = stored;
  const state = foldExecution({ executionId, tenantId }, ledger);
  const expected = JSON.stringify(sorted(JSON.parse(JSON.stringify(executionRow(state)))));
  const found = JSON.stringify(sorted({ ...stored.row } as unknown as Json));
  return expected === found ? [] : [`its row says ${found}, its ledger ${expected}`];
}

function sorted(value: Json): Json {
  if (Array.isArray(value)) return value.map(sorted);
  if (!isJsonObject(value)) return value;
  return Object.fromEntries(
    Object.keys(value)
      .sort()
      .map((key) => [key, sorted(value[key] as Json)]),
  );
}

/** Undos after a turn: what was done later is undone first, and the next one waits; branches of a parallel are free of each other. */
function orderFaults({ stored, ledger, definition }: Settled): string[] {
  const order = isJsonObject(definition["compensation_policy"]) ? definition["compensation_policy"]["undo_order"] : undefined;
  if (order === "UNDO_ORDER_PARALLEL") return [];
  const branches = order === "UNDO_ORDER_SEQUENTIAL" ? new Map<string, readonly string[]>() : branchesOf(definition);
  // What its callers carry out themselves stands beside the stages of a saga; what is heard of late takes the place that its decision had.
  const isFree = (event: ExecutionEvent): boolean =>
    (event.type === "step_enlisted" && event.payload.selfDriven === true) || (event.type === "step_succeeded" && event.payload.late === true);
  const free = new Set(ledger.flatMap((event) => (isFree(event) ? event.stepPath : [])));
  const faults: string[] = [];
  for (const [index, event] of ledger.entries()) {
    if (event.type !== "saga_state_changed" || event.payload.state !== "compensating" || event.payload.endReason === undefined) continue;
    const { steps } = foldExecution({ executionId: stored.executionId, tenantId: stored.tenantId }, ledger.slice(0, index + 1));
    const end = ledger.findIndex(({ type }, at) => at > index && type === "execution_ended");
    const undos = undosOf(ledger.slice(index + 1, end < 0 ? undefined : end));
    for (const [later, laterUndo] of undos) {
      for (const [earlier, earlierUndo] of undos) {
        if (completion(steps.get(later)) <= completion(steps.get(earlier)) || areBeside(branches, later, earlier)) continue;
        if (free.has(later) || free.has(earlier)) continue;
        if (laterUndo.succeededAt > earlierUndo.startedAt) faults.push(`the undo of ${earlier} began before that of ${later} was done`);
      }
    }
  }
  return faults;
}

function undosOf(events: readonly ExecutionEvent[]): Map<string, { startedAt: number; succeededAt: number }> {
  const undos = new Map<string, { startedAt: number; succeededAt: number }>();
  const attempts = new Set<string>();
  for (const { type, stepPath, attempt, sequence, payload } of events) {
    // An undo that began because a success was heard of late has no place in the order.
    if (type === "compensation_started" && payload.generation === undefined) attempts.add(`${stepPath} ${attempt}`);
    if (!attempts.has(`${stepPath} ${attempt}`)) continue;
    if (type === "compensation_started" && !undos.has(stepPath)) undos.set(stepPath, { startedAt: sequence, succeededAt: Number.POSITIVE_INFINITY });
    const undo = undos.get(stepPath);
    if (type === "compensation_succeeded" && undo) undo.succeededAt = sequence;
  }
  return undos;
}

function completion(run: StepRun | undefined): number {
  return run && (run.action === "succeeded" || run.action === "failed") ? run.outcomeSequence : Number.MAX_SAFE_INTEGER;
}

/** By step name: the branches of parallels around it, as `block branch`. */
function branchesOf(definition: JsonObject): Map<string, readonly string[]> {
  const branches = new Map<string, readonly string[]>();
  const walk = (value: Json | undefined, around: readonly string[]): void => {
    if (Array.isArray(value)) for (const item of value) walk(item, around);
    if (!isJsonObject(value)) return;
    if (typeof value["name"] === "string" && !("steps" in value)) branches.set(value["name"], around);
    for (const [key, member] of Object.entries(value)) {
      const parallel = key === "parallel" && isJsonObject(member) ? member["branches"] : undefined;
      if (Array.isArray(parallel)) for (const [index, branch] of parallel.entries()) walk(branch, [...around, `${value["name"]} ${index}`]);
      else walk(member, around);
    }
  };
  walk(definition["steps"], []);
  return branches;
}

function areBeside(branches: ReadonlyMap<string, readonly string[]>, one: string, other: string): boolean {
  const of = (path: string): readonly string[] => branches.get(path.slice(path.lastIndexOf("/") + 1)) ?? [];
  const blocks = new Map(of(one).map((branch) => branch.split(" ") as [string, string]));
  return of(other).some((branch) => {
    const [block, index] = branch.split(" ") as [string, string];
    return blocks.has(block) && blocks.get(block) !== index;
  });
}

/** What the ledger claims happened in the world, and what it claims undone is undone. */
function worldFaults({ stored, ledger, definition, participants }: Settled): string[] {
  const { executionId, tenantId } = stored;
  const state = foldExecution({ executionId, tenantId }, ledger);
  const decided = new Set(ledger.flatMap((event) => (event.type === "operator_acted" ? [event.payload.stepPath ?? ""] : [])));
  const undoable = undoableNames(definition);
  const isUndoneAsAWhole = state.turn !== undefined && state.endReason !== "terminated" && state.standingEffects.every((path) => !undoable.has(nameOf(path)));
  const faults: string[] = [];
  for (const run of state.steps.values()) {
    if (decided.has(run.path) || !participants.deeds.has(`${executionId} ${run.path} action`)) continue;
    const done = participants.deed(executionId, run.path, "action").count;
    const undone = participants.deed(executionId, run.path, "compensate").count;
    if (run.action === "succeeded" && done === 0) faults.push(`${run.path} is said to have succeeded and did nothing`);
    if (run.action === "failed" && done > 0) faults.push(`${run.path} is said to have surely failed and did something`);
    if (run.undo?.status === "succeeded" && done > 0 && undone === 0) faults.push(`${run.path} is said to be undone and is not`);
    if (undone > 0 && run.undo === undefined) faults.push(`${run.path} was undone and nobody knows`);
    if (isUndoneAsAWhole && undoable.has(run.name) && done > 0 && undone === 0) faults.push(`${run.path} took effect and stands after everything was undone`);
  }
  return faults;
}

function undoableNames(definition: JsonObject): Set<string> {
  const names = new Set<string>();
  JSON.stringify(definition, (_, member: Json) => {
    if (isJsonObject(member) && typeof member["name"] === "string" && isJsonObject(member["compensation"]) && member["compensation"]["step"])
      names.add(member["name"]);
    return member;
  });
  return names;
}

function nameOf(path: string): string {
  return path.slice(path.lastIndexOf("/") + 1);
}
