/**
 * The way forward through what joined a saga: stage by stage, the steps of one stage together, and beside them the steps
 * that their callers carry out. A standalone saga has nothing else; in a workflow's execution both have to be done.
 *
 * When nothing is left to do a standalone saga stays open until it is told that no more steps come, unless it completes by
 * itself. Confirmations come last: the saga is then past the point of turning back.
 */
import type { Position } from "./blocks/block-walk.ts";
import { cancelRegion } from "./blocks/cancel-region.ts";
import { type Command, operationKey } from "./command.ts";
import type { Step } from "./definition.ts";
import type { StepRun } from "./execution-state.ts";
import { joinedSteps } from "./saga-definition.ts";
import { awaitReport } from "./undo.ts";
import type { Walk } from "./walk.ts";

const done: Position = { kind: "done" };
const blocked: Position = { kind: "blocked" };

/** The position of the whole: what the definition holds and what joined. Adds the commands that are due to the walk. */
export function walkAll(walk: Walk): Position {
  const { definition } = walk.revision;
  if (!definition.joined) return walk.sequence(definition.steps, "");
  const parts = [
    walk.fork(definition.steps, ""),
    ...definition.joined.selfDriven.map((step) => walk.fork([step], "")),
    ...stageParts(walk, definition.joined.stages),
  ];
  const failed = parts.flatMap(({ position }) => (position.kind === "failed" ? position.run : []));
  const first = failed.reduce<StepRun | undefined>((first, run) => (first && first.outcomeSequence <= run.outcomeSequence ? first : run), undefined);
  if (first) {
    // What runs beside it is ended first: no undo may start while its action may still run.
    if (!walk.state.pastPivot && cancelRegion(walk, isOursToEnd(walk), "another step failed")) return blocked;
    return { kind: "failed", run: first };
  }
  for (const part of parts) walk.commands.push(...part.commands);
  return parts.some(({ position }) => position.kind === "blocked") ? blocked : done;
}

/** What its caller carries out goes on until it is reported; the saga turns back meanwhile, and its undo waits. */
export function isOursToEnd({ state }: Walk): (path: string) => boolean {
  return (path) => state.steps.get(path)?.report?.from !== "caller";
}

/** The steps of the first stage that is not done; those before it are. */
function stageParts(walk: Walk, stages: readonly (readonly Step[])[]): ReturnType<Walk["fork"]>[] {
  for (const stage of stages) {
    const parts = stage.map((step) => walk.fork([step], ""));
    if (parts.some(({ position }) => position.kind !== "done")) return parts;
  }
  return [];
}

/** Everything is done: what completing takes, in this order. An empty list means that it waits to be told. */
export function decideClosing(walk: Walk): Command[] {
  const { state, revision } = walk;
  const terms = state.info?.saga;
  const mayEnd = !terms || state.completeWhenIdle || (terms.autoComplete === true && state.enlisted.length > 0);
  if (!mayEnd) return [];
  const open = joinedSteps(revision.definition).flatMap((step) => {
    const run = state.steps.get(step.name);
    return step.confirmation && run?.action === "succeeded" && !isConfirmed(run) ? [{ step, run }] : [];
  });
  if (open.length === 0) return [{ kind: "complete" }];
  if (state.saga === "running") {
    return [{ kind: "record", event: { type: "saga_state_changed", at: walk.now, stepPath: "", attempt: 0, payload: { state: "completing" } } }];
  }
  return open.flatMap(({ step, run }) => confirmCommand(walk, step, run) ?? []);
}

function isConfirmed({ confirm }: StepRun): boolean {
  return confirm?.status === "succeeded" || confirm?.status === "resolved" || confirm?.abandoned === true;
}

function confirmCommand(walk: Walk, step: Step, run: StepRun): Command | undefined {
  if (walk.inFlight.has(operationKey(run.path, "confirm"))) return undefined;
  const { confirm } = run;
  if (confirm?.report) return awaitReport(step, run.path, "confirm", confirm.report, walk.now);
  if (!confirm || confirm.status === "none") return { kind: "confirm", step, path: run.path, attempt: 1 };
  if (confirm.endedAt !== undefined && confirm.wakeAt === undefined) return undefined;
  if (confirm.wakeAt !== undefined && confirm.wakeAt > walk.now) return { kind: "wait", until: confirm.wakeAt };
  return { kind: "confirm", step, path: run.path, attempt: confirm.attempt + 1 };
}
