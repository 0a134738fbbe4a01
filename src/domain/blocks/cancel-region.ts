/** Ends what still runs in a part of a block that lost its purpose: losers of a race, items beside a failed one. */
import { closePolicyOf } from "../children.ts";
import { operationKey } from "../command.ts";
import type { StepRun } from "../execution-state.ts";
import { failure } from "../failure.ts";
import type { ReportWait } from "../report-terms.ts";
import { expired, expiryOf } from "../reported.ts";
import type { BlockWalk } from "./block-walk.ts";

/**
 * Aborts attempts in flight and cancels waits and retries of the runs that `belongs` names. True while something is still
 * under way: an aborted attempt's outcome still counts, because its effect may stand.
 */
export function cancelRegion(walk: BlockWalk, belongs: (path: string) => boolean, reason: string): boolean {
  let pending = false;
  for (const run of walk.state.steps.values()) {
    if (!isOpen(run) || !belongs(run.path)) continue;
    pending = true;
    if (walk.inFlight.has(operationKey(run.path, "action"))) {
      walk.commands.push({ kind: "abort", path: run.path, failure: failure("CANCELED", reason) });
      continue;
    }
    const policy = run.report?.from === "child" ? closePolicyOf(walk.revision.definition.stepsByName.get(run.name)) : undefined;
    if (policy === "abandon") {
      walk.record({ type: "step_canceled", at: walk.now, stepPath: run.path, attempt: run.attempt, payload: { reason, outcome: "failed" } });
      continue;
    }
    if (run.report) {
      awaitEnd(walk, run, run.report, reason);
      continue;
    }
    // Sent by a process that died: nobody will tell, so it may have had its effect.
    const outcome = run.status === "running" && run.action === "dispatched" ? "unknown" : run.action === "unknown" ? "unknown" : undefined;
    walk.record({ type: "step_canceled", at: walk.now, stepPath: run.path, attempt: run.attempt, payload: { reason, ...(outcome ? { outcome } : {}) } });
  }
  return pending;
}

/** Somebody outside may be at it right now: it ends by its report, by being taken back untaken, or when its time is over. */
function awaitEnd(walk: BlockWalk, run: StepRun, wait: ReportWait, reason: string): void {
  const until = expiryOf(wait);
  if (until === undefined || until > walk.now) {
    if (until !== undefined) walk.commands.push({ kind: "wait", until });
    walk.commands.push({ kind: "recall", path: run.path, operation: "action", attempt: wait.attempt });
    return;
  }
  const { outcome, mayRunUntil } = expired(wait);
  const payload = { reason, outcome, ...(mayRunUntil === undefined ? {} : { mayRunUntil }) };
  walk.record({ type: "step_canceled", at: walk.now, stepPath: run.path, attempt: wait.attempt, payload });
}

function isOpen(run: StepRun): boolean {
  return run.status === "running" || run.status === "retrying" || run.status === "waiting" || (run.status === "queued" && run.report !== undefined);
}
