/**
 * Reports that come after the decision. A success is proof of an effect: the decision stands, but the effect is undone with
 * the others (P5: never dropped). A failure after a success contradicts it: the first word stands, the second is put on
 * record once.
 */
import { AppError } from "../base/errors.ts";
import { Answered } from "./answered.ts";
import type { NewEvent } from "./events.ts";
import type { StepRun } from "./execution-state.ts";
import { already, isTurned, type ReportRequest, recordedOf, staleToken } from "./reported-outcome.ts";
import type { SettleContext } from "./settle.ts";
import { isTerminal } from "./states.ts";

export function lateSuccess(context: SettleContext, run: StepRun, request: ReportRequest): Answered | AppError {
  const { state, now: at } = context;
  const { path: stepPath, attempt, outcome } = request;
  if (outcome.kind !== "succeeded") return staleToken({ state, run, request });
  const undoes = context.revision.definition.stepsByName.get(run.name)?.compensation?.step !== undefined;
  if (isTerminal(state.status) && !(undoes && state.turn && state.saga === "compensated")) return afterTheEnd(context, run, request);
  const details = { attempt, decided: run.status };
  const reopened: NewEvent[] = isTerminal(state.status)
    ? [
        {
          type: "execution_reopened",
          at,
          stepPath: "",
          attempt: 0,
          payload: { from: state.status, reason: `${stepPath} turned out to have succeeded`, evidence: stepPath },
        },
      ]
    : [];
  const events: NewEvent[] = [
    ...reopened,
    { type: "anomaly", at, stepPath, attempt, payload: { kind: "late_success", message: `${stepPath} succeeded after it was decided ${run.status}`, details } },
    { type: "step_succeeded", at, stepPath, attempt, payload: { result: outcome.result, late: true } },
  ];
  // Left out or failed, and the run goes on: it is undone if the run turns back.
  return new Answered(events, { decision: isTurned(state) || run.status === "canceled" ? "WILL_COMPENSATE" : "ALREADY" });
}

/** The execution is over: nothing is written to it any more. */
function afterTheEnd({ state }: SettleContext, run: StepRun, request: ReportRequest): AppError {
  const message = `the execution has ended: ${state.status.toUpperCase()}; the outcome of ${request.path} is not taken any more`;
  const metadata = { executionId: state.executionId, path: request.path, state: state.status.toUpperCase(), stepState: run.status.toUpperCase() };
  return new AppError("EXECUTION_TERMINAL", message, { metadata });
}

export function contradiction(context: SettleContext, run: StepRun, request: ReportRequest): Answered {
  const { state, now: at } = context;
  const { path: stepPath, attempt, outcome } = request;
  const answer = already(state, recordedOf(run));
  if (isTerminal(state.status) || outcome.kind !== "failed" || run.contradictedBy.includes(attempt)) return answer;
  const details = { attempt, failure: { name: outcome.failure.name, message: outcome.failure.message } };
  const message = `${stepPath} was reported failed after it had been reported succeeded; the first report stands`;
  return new Answered([{ type: "anomaly", at, stepPath, attempt, payload: { kind: "contradictory_report", message, details } }], answer.answer);
}
