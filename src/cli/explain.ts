/** "Why" as text: the sentence of the service, the chain of causes, what was tried, what is waited for, what to do. */
import { type Execution, ExecutionState, type ExecutionStep, StepState } from "#gen/pyairtable/workflow/v1/execution_pb.js";
import type { Failure } from "#gen/pyairtable/workflow/v1/failure_pb.js";
import type { Blocker, ExplainExecutionResponse } from "#gen/pyairtable/workflow/v1/workflow_service_pb.js";
import { failureNote } from "./event-line.ts";
import { spanText, timeMs } from "./spans.ts";

const causesMax = 16;

export function whyLines(explained: ExplainExecutionResponse, execution: Execution, steps: readonly ExecutionStep[], nowMs: number): string[] {
  const failure = execution.failure ?? explained.rootCause;
  const tried = steps.filter(({ failure: own, compensationFailure }) => own || compensationFailure);
  return [
    `${ExecutionState[execution.state]}  ${execution.id}  ${execution.workflowName}`.trimEnd(),
    explained.summary,
    ...section("cause", failure ? causeLines(failure) : []),
    ...section(
      "waits for",
      explained.blockers.map((blocker) => blockerLine(blocker, nowMs)),
    ),
    ...section("tried", tried.map(attemptLine)),
    ...section("effects that stand", execution.standingEffects),
    ...section("next", nextCommands(execution, explained.blockers)),
  ];
}

function section(name: string, lines: readonly string[]): string[] {
  return lines.length === 0 ? [] : ["", name, ...lines.map((line) => `  ${line}`)];
}

/** From what was seen to the deepest cause. */
function causeLines(failure: Failure): string[] {
  const lines: string[] = [];
  for (let at: Failure | undefined = failure; at && lines.length < causesMax; at = at.cause) {
    lines.push(`${lines.length > 0 ? `${"  ".repeat(lines.length - 1)}└ ` : ""}${at.stepPath ? `${at.stepPath}  ` : ""}${failureNote(at)}`);
  }
  return lines;
}

function blockerLine({ stepPath, message, untilTime }: Blocker, nowMs: number): string {
  const until = timeMs(untilTime);
  const when = until === undefined ? "" : until > nowMs ? `in ${spanText(until - nowMs)}` : "due now";
  return [stepPath, message, when].filter(Boolean).join("  ");
}

function attemptLine({ path, type, state, attempt, failure, compensationFailure }: ExecutionStep): string {
  const attempts = attempt === 1 ? "1 attempt" : `${attempt} attempts`;
  const undo = compensationFailure ? `undo: ${failureNote(compensationFailure)}` : "";
  return [path, type, StepState[state], attempts, failureNote(failure), undo].filter(Boolean).join("  ");
}

/** What a person would do now. */
export function nextCommands(execution: Execution, blockers: readonly Blocker[]): string[] {
  const { id, state } = execution;
  const isCause = (...causes: readonly Blocker["cause"]["case"][]): boolean => blockers.some(({ cause }) => causes.includes(cause.case));
  const event = blockers.flatMap(({ cause }) => (cause.case === "event" ? [cause.value] : []))[0];
  switch (state) {
    case ExecutionState.FAILED:
    case ExecutionState.TIMED_OUT:
      return [`pawf execution retry ${id}      goes on from what failed`, `pawf execution rerun ${id}      begins anew`];
    case ExecutionState.COMPENSATED:
    case ExecutionState.CANCELED:
    case ExecutionState.TERMINATED:
      return [`pawf execution rerun ${id}      begins anew`];
    case ExecutionState.STUCK:
      return [`pawf saga describe ${id}      participants and effects`, `pawf execution retry ${id}      with a fresh budget`];
    case ExecutionState.COMPLETED:
      return [];
    default:
      if (isCause("pause")) return [`pawf execution resume ${id}`];
      if (event) return event.correlationKey === "" ? [`pawf execution signal ${id} ${event.eventType} -d '{}'`] : [];
      if (isCause("worker")) return ["pawf task list-queues      who works, and how much waits"];
      return [`pawf watch ${id}`];
  }
}
