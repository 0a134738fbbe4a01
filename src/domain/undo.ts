/**
 * The way back: which effects are undone, in which order, and how the execution ends.
 *
 * Undo list: every step with a declared undo whose action succeeded or may have had an effect (unknown, or still
 * dispatched when the saga turned); a step that surely had no effect only if it asks for it. Order: reverse of completion,
 * where an unknown outcome counts as completed at the turn. The next undo waits for the previous one, except that branches of a
 * parallel are undone side by side, each in reverse (`undo_order` SEQUENTIAL undoes them one by one, too), and the undo of an
 * action that was never heard of waits until that cannot be at work any more, unless its participant has a barrier.
 *
 * A failed undo is repeated with capped backoff until its budget is spent; then the saga is stuck: a visible state that
 * still tries slowly (unless told to halt) and leaves by itself when the undo succeeds.
 */
import { type Command, type InFlight, type OperationKind, operationKey } from "./command.ts";
import { branchesAround } from "./control-paths.ts";
import type { Definition, Step } from "./definition.ts";
import type { EventPayloads, NewEvent } from "./events.ts";
import type { ExecutionState, StepRun } from "./execution-state.ts";
import { type Failure, failure } from "./failure.ts";
import { patienceOf } from "./patience.ts";
import type { ReportWait } from "./report-terms.ts";
import { expiryOf } from "./reported.ts";
import type { EndReason, TerminalExecutionStatus } from "./states.ts";

interface Turn {
  readonly reason: EndReason;
  readonly failure: Failure | undefined;
  readonly stepPath: string | undefined;
}

export interface UndoStep {
  readonly step: Step;
  readonly run: StepRun;
}

/** What has to be undone if the saga turned back now, next one first. */
export function undoList(definition: Definition, state: ExecutionState): UndoStep[] {
  const list: UndoStep[] = [];
  for (const run of state.steps.values()) {
    const step = definition.stepsByName.get(run.name);
    if (step?.compensation?.step && needsUndo(step, run)) list.push({ step, run });
  }
  // Reversed first: of several with an unknown end, the one that began last is undone first.
  return list.reverse().sort((a, b) => completionOf(b.run) - completionOf(a.run));
}

function needsUndo(step: Step, run: StepRun): boolean {
  switch (run.action) {
    case "succeeded":
    case "unknown":
    case "dispatched":
    case "in_progress":
      return true;
    case "failed":
    case "exhausted":
      return step.compensation?.compensateOnFailure === true;
    default:
      return false;
  }
}

function completionOf(run: StepRun): number {
  return run.action === "succeeded" || run.action === "failed" ? run.outcomeSequence : Number.MAX_SAFE_INTEGER;
}

/** Undos that a turn back would have to carry out, next one first. */
export function openUndos(definition: Definition, state: ExecutionState): UndoStep[] {
  return undoList(definition, state).filter(({ run }) => !isUndone(run));
}

export function decideUndo(input: { definition: Definition; state: ExecutionState; inFlight: InFlight; now: number }): Command[] {
  const { definition, state, inFlight, now } = input;
  const list = undoList(definition, state);
  const { commands, open } = nextUndo(definition, list, inFlight, now);
  // An undo that was exhausted before the saga turned (a loser's) has its slow retry to wait for, and is what the saga is stuck on all the same.
  const waits = commands.every(({ kind }) => kind === "wait") && list.some(({ run }) => run.undo?.status === "exhausted" && !isUndone(run));
  const stuck = open && state.saga !== "stuck" && (commands.length === 0 || waits) ? stuckUndo(definition, state, inFlight, now) : [];
  if (open) return stuck.length > 0 ? stuck : commands;
  const turn = state.turn ?? { reason: "step_failed" as const, failure: state.failure, stepPath: undefined };
  return [{ kind: "record", event: decideEnd({ definition, state, now, turn, undone: true }) }];
}

/**
 * The undos of a list that are due now, and whether any is still open. Each waits for those before it in the list, but branches of
 * one parallel do not wait for each other, unless the definition wants them one after the other, or all at once.
 */
export function nextUndo(
  definition: Definition,
  list: readonly UndoStep[],
  inFlight: InFlight,
  now: number,
): { readonly commands: Command[]; readonly open: boolean } {
  const { undoOrder } = definition;
  const commands: Command[] = [];
  const before: string[] = [];
  for (const { step, run } of list) {
    if (isUndone(run)) continue;
    const waits = before.some((path) => undoOrder === "sequential" || (undoOrder === "reverse" && !areBeside(definition, path, run.path)));
    before.push(run.path);
    const next = waits || needsOutput(step, run) ? undefined : undoCommand(step, run, inFlight, now);
    if (next) commands.push(next);
    if (undoOrder === "sequential") break;
  }
  return { commands, open: before.length > 0 };
}

/** They stand in different branches of the same parallel. */
function areBeside(definition: Definition, one: string, other: string): boolean {
  const branches = branchesAround(definition, one);
  if (branches.size === 0) return false;
  return [...branchesAround(definition, other)].some(([block, branch]) => branches.has(block) && branches.get(block) !== branch);
}

/** An undo that takes the action's result, and there is none: only a person can tell what is to be undone. */
function needsOutput(step: Step, run: StepRun): boolean {
  return step.compensation?.undoRequiresOutput === true && run.action !== "succeeded";
}

function isUndone(run: StepRun): boolean {
  return run.undo?.abandoned === true || run.undo?.status === "succeeded" || run.undo?.status === "nothing_to_undo" || run.undo?.status === "resolved";
}

/** Nothing is due and nothing under way, and still something is open: an undo that only a person can get on with. */
function stuckUndo(definition: Definition, state: ExecutionState, inFlight: InFlight, now: number): Command[] {
  const list = undoList(definition, state).filter(({ run }) => !isUndone(run));
  if (list.some(({ run }) => inFlight.has(operationKey(run.path, "compensate")))) return [];
  const open = list.find(({ step, run }) => needsOutput(step, run)) ?? list.find(({ run }) => run.undo?.status === "exhausted");
  if (!open) return [];
  const { path, undo } = open.run;
  const noOutput = failure("COMPENSATION.NO_OUTPUT", `the undo of ${path} needs the result of its action, and there is none; resolve the step by hand`);
  const cause = needsOutput(open.step, open.run) ? noOutput : (undo?.failure ?? noOutput);
  const payload = { state: "stuck" as const, failure: cause, stepPath: path };
  return [{ kind: "record", event: { type: "saga_state_changed", at: now, stepPath: "", attempt: 0, payload } }];
}

function undoCommand(step: Step, run: StepRun, inFlight: InFlight, now: number): Command | undefined {
  if (inFlight.has(operationKey(run.path, "action")) || inFlight.has(operationKey(run.path, "compensate"))) return undefined;
  const undo = run.undo;
  // The action was given up in silence: it may still be having its effect, unless the participant sorts that out itself.
  const quietAt = step.compensation?.barrier ? undefined : patienceOf(run);
  if (!undo && quietAt !== undefined && quietAt > now) return { kind: "wait", until: quietAt };
  if (run.report && !step.compensation?.barrier) return awaitReport(step, run.path, "action", run.report, now);
  if (undo?.report) return awaitReport(step, run.path, "compensate", undo.report, now);
  if (!undo || undo.status === "none") return { kind: "undo", step, path: run.path, attempt: (undo?.attempt ?? 0) + 1 };
  if (undo.endedAt !== undefined && undo.wakeAt === undefined) return undefined;
  if (undo.wakeAt !== undefined && undo.wakeAt > now) return { kind: "wait", until: undo.wakeAt };
  return { kind: "undo", step, path: run.path, attempt: undo.attempt + 1 };
}

/** Somebody outside has it. An action that nobody has taken yet is taken back; an undo is wanted, so it stays. */
export function awaitReport(step: Step, path: string, operation: OperationKind, wait: ReportWait, now: number): Command | undefined {
  const until = expiryOf(wait);
  if (until === undefined) return operation === "action" ? { kind: "recall", path, operation, attempt: wait.attempt } : undefined;
  return until > now ? { kind: "wait", until } : { kind: "expire", step, path, operation };
}

/** The one terminal event of an opening. */
export function decideEnd(input: { definition: Definition; state: ExecutionState; now: number; turn: Turn; undone: boolean }): NewEvent {
  const { definition, state, turn, undone } = input;
  const standing = standingEffects(definition, state);
  const runs = [...state.steps.values()];
  const anythingUndone = undone && runs.some(isUndone) && !runs.some((run) => run.undo?.abandoned === true);
  const payload: EventPayloads["execution_ended"] = {
    state: anythingUndone ? "compensated" : endedState(turn.reason),
    endReason: turn.reason,
    ...(turn.failure === undefined ? {} : { failure: turn.failure }),
    ...(turn.stepPath === undefined ? {} : { failedStep: turn.stepPath }),
    ...(standing.paths.length > 0 ? { standingEffects: standing.paths } : {}),
    ...(standing.compensatable ? { compensatableStanding: true } : {}),
  };
  return { type: "execution_ended", at: input.now, stepPath: "", attempt: 0, payload };
}

function endedState(reason: EndReason): TerminalExecutionStatus {
  if (reason === "canceled" || reason === "parent" || reason === "aborted" || reason === "checkback_no") return "canceled";
  if (reason === "timeout") return "timed_out";
  return reason === "terminated" ? "terminated" : "failed";
}

/** Effects that stay: those without a declared undo, and those whose undo was not run. */
export function standingEffects(definition: Definition, state: ExecutionState): { paths: string[]; compensatable: boolean } {
  const paths: string[] = [];
  let compensatable = false;
  for (const run of state.steps.values()) {
    const step = definition.stepsByName.get(run.name);
    if (step?.nature !== "effect" || step.kind === "readonly") continue;
    if (run.action !== "succeeded" && run.action !== "unknown" && run.action !== "dispatched") continue;
    if (run.undo && isUndone(run) && !run.undo.abandoned) continue;
    paths.push(run.path);
    if (step.compensation?.step) compensatable = true;
  }
  return { paths, compensatable };
}
